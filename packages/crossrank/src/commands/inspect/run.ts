import {
  type CrossrankJson,
  type DeclaredClasses,
  ModelFileNotFoundError,
  ModelProfileError,
  readProfile,
  type TruncationStrategy,
} from "@crossrank/core";
import { recogniseFiles } from "@crossrank/core/files";
import { type Context, print } from "../../context.js";
import { translateInputError, UsageError } from "../../failure.js";
import { openModelFiles, readProfileFile } from "../../model.js";
import { originOf } from "../../model-origin.js";
import type { PackageInspectionOptions } from "../../model-package.js";
import type { ProfiledModelOptions } from "../../options.js";
import { askedArtifact, classesOfArtifact, inspectArtifacts } from "./artifacts.js";
import { encodeExample, encodeTexts } from "./encode.js";
import { inspectionJson, inspectionTable, refusalJson, refusalTable, type ShownFile } from "./table.js";

export interface InspectCommandOptions extends ProfiledModelOptions, PackageInspectionOptions {
  readonly dtype?: string;
  readonly file?: string;
  readonly query?: string;
  readonly document?: readonly string[];
  readonly instruction?: string;
  readonly maxLength?: number;
  readonly truncation?: TruncationStrategy;
}

export async function inspect(
  source: string,
  options: InspectCommandOptions,
  { signal }: Context,
): Promise<void> {
  const { query, document: documents = [], instruction, truncation, maxLength } = options;
  const model = await openModelFiles(source, options, signal);
  // As a reranker takes them: facts about the model, which refuses what does not go with it.
  const overrides: CrossrankJson = {
    ...(await readProfileFile(options.profile)),
    ...(truncation === undefined ? {} : { truncation }),
    ...(instruction === undefined ? {} : { instruction }),
  };
  const derived = originOf(model)?.derived;
  const files: ShownFile[] = (await model.list({ signal }))
    .map((file) => ({ ...file, ...(derived?.has(file.path) ? { from: derived.get(file.path) } : {}) }))
    .sort((a, b) => (a.path < b.path ? -1 : 1));
  const { file, dtype } = options;
  const offline = options.offline === true;
  const asked = await askedArtifact(model, files, { file, dtype, offline, signal });
  const declaredLabels = (): Promise<DeclaredClasses | undefined> =>
    classesOfArtifact(model, { asked, offline, signal });
  const found = await readProfile(model, overrides, signal, declaredLabels).catch(async (error: unknown) => {
    // What can be chosen is worth most where nothing could be chosen.
    if (ModelProfileError.isInstance(error) || ModelFileNotFoundError.isInstance(error)) {
      const artifacts = await inspectArtifacts(model, files, { asked, profile: undefined, offline, signal });
      const view = { model, files, artifacts, error };
      if (artifacts.length > 0) {
        await print(options.format === "json" ? refusalJson(view) : refusalTable(view));
      }
    }
    throw translateInputError(error, {
      profile: options.profile && `--profile ${options.profile}`,
      instruction: instruction === undefined ? undefined : "--instruction",
    });
  });
  if (maxLength !== undefined && maxLength > found.profile.maxLength) {
    throw new UsageError(
      `--max-length must be a whole number of at most ${found.profile.maxLength}, the model's own, and is ${maxLength}`,
    );
  }
  const reading = {
    ...found,
    profile: { ...found.profile, maxLength: maxLength ?? found.profile.maxLength },
    sources: { ...found.sources, ...(maxLength === undefined ? {} : { maxLength: "given by the caller" }) },
  };
  const { profile } = reading;
  const artifacts = await inspectArtifacts(model, files, {
    asked,
    profile,
    offline,
    signal,
  });
  const unread = artifacts.length === 0 ? await recogniseFiles(model, { signal }) : undefined;
  const texts = query === undefined ? undefined : { query, documents };
  const sequences =
    texts === undefined ? encodeExample(reading, model.id) : encodeTexts(reading, model.id, texts);
  const view = { model, reading, files, artifacts, unread, texts, sequences };
  await print(options.format === "json" ? inspectionJson(view) : inspectionTable(view));
}
