import { resolve } from "node:path";
import { type ArtifactWriter, type Conversion, convert } from "@crossrank/convert";
import type { Backend, CrossrankJson, ModelFiles } from "@crossrank/core";
import type { Goldens } from "@crossrank/core/verify";
import { createBackend } from "../../backends.js";
import { type Context, print } from "../../context.js";
import { CommandError, translateInputError, UsageError } from "../../failure.js";
import { defaultModel, openModelFiles, readProfileFile } from "../../model.js";
import type { ProfiledModelOptions } from "../../options.js";
import { createProgress, showConversion } from "../../progress.js";
import { defaultOutput } from "../../reference.js";
import { diagnosisOf } from "../../registry.js";
import { conversionJson, conversionTable } from "./table.js";
import { type ChosenWriter, chooseWriter, readWriterOptions } from "./writers.js";

export interface ConvertCommandOptions extends ProfiledModelOptions {
  readonly model?: string;
  readonly to: string;
  /** Who judges the artifact, or the file or package that writes it. */
  readonly backend?: string;
  /** Undefined for the format's own choice. */
  readonly dtype?: readonly string[];
  readonly output?: string;
  /** `name=value` of the format's options. */
  readonly set?: readonly string[];
  readonly force?: true;
  /** False with `--no-verify`. */
  readonly verify: boolean;
  readonly tolerance?: number;
  readonly format: "table" | "json";
}

/** Flags of the formats' options that were given, by name. */
export type FormatFlags = Readonly<Record<string, unknown>>;

/** One model in several precisions, one after the other. What was done before one fails is kept, and shown. */
export async function runConvertCommand(
  source: string,
  options: ConvertCommandOptions,
  flags: FormatFlags,
  context: Context,
): Promise<void> {
  const chosen = await chooseWriter(options.to, options.backend);
  const set = readWriterOptions(chosen.descriptor, flags, options.set ?? []);
  const writer = await makeWriter(chosen, set);
  const dtypes = chosenDtypes(writer, set, options.dtype);
  const profile = await readProfileFile(options.profile);
  const judges = options.verify ? await workingJudges(chosen, dtypes) : new Map<string, Backend>();
  const model = await openModelFiles(source, options, context.signal);
  await requireWeights(source, model, context.signal);
  const output = options.output ?? (await defaultOutput(source));
  const done: Conversion[] = [];
  const show = (): Promise<void> =>
    print(options.format === "json" ? conversionJson(model, done) : conversionTable(model, output, done));
  try {
    for (const dtype of dtypes) {
      const goldens = done[0]?.goldens;
      const names = options.verify ? chosen.judgesOf(dtype) : [];
      const backend = [...judges].flatMap(([name, judge]) => (names.includes(name) ? [judge] : []));
      const parts = { model, to: writer, output, dtype, backend, profile, goldens };
      done.push(await convertOne(parts, options, context));
    }
  } catch (error) {
    if (done.length > 0 && !context.signal.aborted) await show();
    throw error;
  }
  await show();
}

/** Of the embedded model, whose weights are a package of their own. */
async function requireWeights(source: string, model: ModelFiles, signal: AbortSignal): Promise<void> {
  if (source !== defaultModel) return;
  const { weightsPackage } = await import("../../embedded-model.js");
  if ((await model.list({ signal })).some(({ path }) => path.endsWith(".safetensors"))) return;
  throw new CommandError(
    `nano's weights are not installed: they are a package of their own. Run: npm install ${weightsPackage}`,
  );
}

async function makeWriter(
  { descriptor }: ChosenWriter,
  set: Readonly<Record<string, unknown>>,
): Promise<ArtifactWriter> {
  try {
    return await descriptor.create(set);
  } catch (error) {
    throw translateInputError(
      error,
      Object.fromEntries(Object.keys(descriptor.options ?? {}).map((name) => [name, `--${name}`])),
    );
  }
}

/** Checked before anything is computed. Default: the format's own choice. */
function chosenDtypes(
  { format, dtypes, defaultDtype = dtypes[0] ?? "" }: ArtifactWriter,
  set: Readonly<Record<string, unknown>>,
  asked: readonly string[] = [defaultDtype],
): readonly string[] {
  const chosen = asked.map((name) => {
    const found = dtypes.find((one) => one.toLowerCase() === name.toLowerCase());
    if (found !== undefined) return found;
    const settings = Object.entries(set).map(([option, value]) => ` with --${option} ${value}`);
    throw new UsageError(
      `--dtype must be one of ${dtypes.join(", ")} for ${format}${settings.join("")}, not ${name}`,
    );
  });
  return [...new Set(chosen)];
}

/** Those that will run the artifacts, by name; that one does not work here should not be found out at the end. */
async function workingJudges(
  { judgesOf }: ChosenWriter,
  dtypes: readonly string[],
): Promise<ReadonlyMap<string, Backend>> {
  const judges = new Map<string, Backend>();
  for (const name of new Set(dtypes.flatMap((dtype) => judgesOf(dtype)))) {
    judges.set(name, await workingBackend(name));
  }
  return judges;
}

async function workingBackend(name: string): Promise<Backend> {
  const way = "or pass --no-verify, which keeps the artifact without looking at what it gives";
  const backend = await createBackend(name).catch((cause: unknown) => {
    if (!(cause instanceof CommandError)) throw cause;
    throw new CommandError(`the artifact cannot be verified: ${cause.message}, ${way}`, { cause });
  });
  const { available, detail } = await diagnosisOf(name, backend);
  if (available) return backend;
  throw new CommandError(
    `the artifact cannot be verified, since ${name} does not work here: ${detail}; ${way}`,
  );
}

async function convertOne(
  parts: {
    readonly model: ModelFiles;
    readonly to: ArtifactWriter;
    readonly output: string;
    readonly dtype: string;
    readonly backend: readonly Backend[];
    readonly profile: CrossrankJson | undefined;
    readonly goldens: Goldens | undefined;
  },
  options: ConvertCommandOptions,
  { signal, log }: Context,
): Promise<Conversion> {
  const { verify, tolerance, force } = options;
  const { dtype } = parts;
  const progress = createProgress(process.stderr);
  try {
    log(`converting ${parts.model.id} to ${parts.to.format} ${dtype}, into ${resolve(parts.output)}`);
    return await convert({
      ...parts,
      verify,
      tolerance,
      force,
      signal,
      onProgress: (now) => showConversion(progress, now, dtype),
    });
  } catch (error) {
    throw translateInputError(error, { profile: options.profile && `--profile ${options.profile}` });
  } finally {
    progress.clear();
  }
}
