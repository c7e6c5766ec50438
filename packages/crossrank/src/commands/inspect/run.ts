import { readProfile } from "@crossrank/core";
import { precisionsAmong } from "../../backends.js";
import { type Context, print } from "../../context.js";
import { encodeExample } from "../../example.js";
import { translateInputError } from "../../failure.js";
import { openModelFiles, readProfileFile } from "../../model.js";
import type { PackageInspectionOptions } from "../../model-package.js";
import type { ProfiledModelOptions } from "../../options.js";
import { inspectionJson, inspectionTable } from "./table.js";

export interface InspectCommandOptions extends ProfiledModelOptions, PackageInspectionOptions {}

export async function inspect(
  source: string,
  options: InspectCommandOptions,
  { signal }: Context,
): Promise<void> {
  const overrides = await readProfileFile(options.profile);
  const model = await openModelFiles(source, options, signal);
  const reading = await readProfile(model, overrides, signal).catch((error: unknown) => {
    throw translateInputError(error, { profile: options.profile && `--profile ${options.profile}` });
  });
  const files = [...(await model.list({ signal }))].sort((a, b) => (a.path < b.path ? -1 : 1));
  const precisions = await precisionsAmong(files.map(({ path }) => path));
  const sequences = encodeExample(reading, model.id);
  const view = { model, reading, files, precisions, sequences };
  await print(options.format === "json" ? inspectionJson(view) : inspectionTable(view));
}
