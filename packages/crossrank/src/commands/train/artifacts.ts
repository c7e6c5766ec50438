import {
  type ArtifactWriter,
  ConversionNotFaithfulError,
  convert,
  describeModel,
  ExternalConverterError,
  UnsupportedConversionError,
} from "@crossrank/convert";
import { type Backend, type ModelFiles, readProfile } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { createBackend } from "../../backends.js";
import { CommandError, UsageError } from "../../failure.js";
import { type Progress, showConversion } from "../../progress.js";
import { diagnosisOf } from "../../registry.js";
import { chooseWriter } from "../convert/writers.js";

/** A format and a precision that the trained model shall have. */
export interface WantedArtifact {
  /** As the user wrote it. */
  readonly name: string;
  readonly writer: ArtifactWriter;
  readonly dtype: string;
  readonly judges: readonly Backend[];
  /** Runs it for the gate: the first of those that judge. */
  readonly backend: string;
}

/**
 * Artifacts by names such as `onnx` and `gguf:Q8_0`. That a backend does not work here is said now, and not after
 * hours of training.
 *
 * @throws {UsageError} {CommandError}
 */
export async function chooseArtifacts(names: readonly string[]): Promise<WantedArtifact[]> {
  const wanted: WantedArtifact[] = [];
  for (const name of names) {
    const [format = "", asked] = name.split(":");
    const { descriptor, judgesOf } = await chooseWriter(format, undefined);
    const writer = await descriptor.create({});
    const { dtypes, defaultDtype = dtypes[0] ?? "" } = writer;
    const dtype = dtypes.find((one) => one.toLowerCase() === (asked ?? defaultDtype).toLowerCase());
    if (dtype === undefined) {
      throw new UsageError(`--to ${name}: the precisions of ${format} are ${dtypes.join(", ")}`);
    }
    const judgeNames = judgesOf(dtype);
    const judges: Backend[] = [];
    for (const judge of judgeNames) judges.push(await workingBackend(judge, name));
    wanted.push({ name, writer, dtype, judges, backend: judgeNames[0] ?? "" });
  }
  return wanted;
}

async function workingBackend(name: string, artifact: string): Promise<Backend> {
  const fail = (problem: string, cause?: unknown): CommandError =>
    new CommandError(`--to ${artifact} cannot be verified here: ${problem}`, { cause });
  const backend = await createBackend(name).catch((cause: unknown) => {
    throw cause instanceof CommandError ? fail(cause.message, cause) : cause;
  });
  const { available, detail } = await diagnosisOf(name, backend);
  if (available) return backend;
  throw fail(`${name} does not work here: ${detail}`);
}

/**
 * That the model can be written so, and that programs which write it are here: said before anything is trained.
 *
 * @throws {CommandError}
 */
export async function requireWritable(
  model: ModelFiles,
  wanted: readonly WantedArtifact[],
  signal: AbortSignal,
): Promise<void> {
  if (wanted.length === 0) return;
  const { profile } = await readProfile(model, undefined, signal);
  const fail = (names: string, cause: unknown): never => {
    if (UnsupportedConversionError.isInstance(cause) || ExternalConverterError.isInstance(cause)) {
      // MNN's converter is a Python too, and --python is of the engine torch.
      const message = cause.message.replace("in the option `python` or in", "in").replace(/\.$/, "");
      throw new CommandError(`--to ${names}: ${message}`, { cause });
    }
    throw cause;
  };
  const description = await describeModel(model, profile, { signal }).catch((cause: unknown) =>
    fail(wanted.map(({ name }) => name).join(","), cause),
  );
  for (const { name, writer, dtype } of wanted) {
    try {
      writer.check(description, profile, dtype);
      await writer.prepare?.(signal);
    } catch (cause) {
      fail(name, cause);
    }
  }
}

/**
 * Writes an artifact into the model's own folder, verified.
 * @returns why it was not kept: it does not give what the weights give. Undefined where it does.
 */
export async function writeArtifact(
  folder: string,
  { writer, dtype, judges, name }: WantedArtifact,
  progress: Progress,
  signal: AbortSignal,
): Promise<string | undefined> {
  const writing = convert({
    model: await openModel(folder, { signal }),
    to: writer,
    dtype,
    output: folder,
    backend: judges,
    force: true,
    signal,
    onProgress: (now) => showConversion(progress, now, name),
  });
  return writing.then(
    () => undefined,
    (error: unknown) => {
      if (ConversionNotFaithfulError.isInstance(error)) return error.message;
      throw error;
    },
  );
}
