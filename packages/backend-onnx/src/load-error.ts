import { messageOf, problemOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { ModelLoadError } from "@crossrank/core";
import { shortened } from "./graph-plan.js";
import { slimPackage } from "./library.js";
import type { FailureStage } from "./protocol.js";

/** What to do where ONNX Runtime does not start on this machine. */
export function runtimeFix(): string {
  const slim = slimPackage();
  if (slim === undefined || (process.platform === "linux" && !hasGlibc())) {
    const libc = process.platform === "linux" && !hasGlibc() ? " without glibc (musl)" : "";
    return (
      `ONNX Runtime has no library for ${process.platform}-${process.arch}${libc}, but for Linux (glibc) x64 and arm64, ` +
      "Windows x64 and arm64, and macOS arm64: install another backend, @crossrank/backend-llamacpp for one, or an " +
      "onnxruntime-node of your own that was built for it."
    );
  }
  return (
    `Install ${slim}, an optional dependency of @crossrank/backend-onnx: npm leaves it out with --omit=optional, and ` +
    "a node_modules folder that came from another platform has another one."
  );
}

/** Of the C library that Node.js itself was linked to. */
function hasGlibc(): boolean {
  const { header } = process.report.getReport() as unknown as {
    readonly header: { readonly glibcVersionRuntime?: string };
  };
  return header.glibcVersionRuntime !== undefined;
}

/** Which of ONNX Runtime's libraries failed. */
export interface RuntimeLibrary {
  /** Name of the backend. */
  readonly backend: string;
  /** What to do where it does not start. */
  readonly fix: () => string;
  /** What to do where an execution provider does not work. */
  readonly providerFix: string;
}

const onnxruntimeNode: RuntimeLibrary = {
  backend: "onnx",
  fix: runtimeFix,
  providerFix:
    'That execution provider does not work here: install onnxruntime-node, which has what providers other than "cpu" need, ' +
    'or leave `executionProviders` out to run on "cpu".',
};

/** Recognised by ONNX Runtime's own words, most specific first. */
const fixes: readonly (readonly [pattern: RegExp, fix: string | ((library: RuntimeLibrary) => string)])[] = [
  [/external data/i, "Put the weight files that the .onnx names beside it, under those names."],
  [
    /protobuf parsing failed|does not have a graph|invalid protobuf/i,
    "The file is damaged or no ONNX model: download it again and compare its sha256.",
  ],
  [
    /not a registered function\/op|no op registered|NOT_IMPLEMENTED|could not find an implementation|opset|unsupported data type/i,
    "This ONNX Runtime lacks an operator that the graph uses: export it with an older opset or other operators.",
  ],
  [/execution ?provider|shared library|webgpu|backend not found/i, ({ providerFix }) => providerFix],
  [/doesn't exist|no such file/i, "The file is gone: open the model again."],
  [/bad allocation|alloc/i, "There is not enough memory: take a smaller dtype or fewer workers."],
];

const stageFixes: Readonly<Partial<Record<FailureStage, string>>> = {
  crash: "The file makes ONNX Runtime crash: download or export it again, or take another.",
  deadline:
    "Check where the file comes from; for a large model on a slow disk raise the option `deadlines.load`.",
  limit: "Dispose of models that are not needed any more.",
};

const mostNamed = 3;

/** ONNX Runtime reads shapes before the weight files. */
function externalShapesFix(names: readonly string[]): string {
  const shown = names.slice(0, mostNamed).map((name) => JSON.stringify(shortened(name)));
  const others = names.length - shown.length;
  const listed = `${shown.join(", ")}${others > 0 ? ` and ${others} more` : ""}`;
  return (
    "ONNX Runtime needs shapes in the .onnx itself, and this graph has them in its weight file" +
    `${shown.length === 0 ? "" : ` (${listed})`}: save it again with a threshold of 1024 bytes for external data ` +
    "(`size_threshold` of onnx.save), or convert the model's safetensors with `crossrank convert --to onnx`."
  );
}

/**
 * What went wrong in a runtime while it loaded, as the contract's error.
 *
 * @param externalShapes tensors of the graph as `readGraph` tells them.
 */
export function modelLoadError(facts: LoadFacts, failure: unknown): ModelLoadError {
  return loadErrorOf(onnxruntimeNode, facts, failure);
}

interface LoadFacts {
  readonly model: string;
  readonly file: string;
  readonly externalShapes: readonly string[];
}

/** {@link modelLoadError} of any of ONNX Runtime's libraries. */
export function loadErrorOf(
  library: RuntimeLibrary,
  { model, file, externalShapes }: LoadFacts,
  failure: unknown,
): ModelLoadError {
  const facts = { model, backend: library.backend, file };
  const stage: FailureStage | undefined = failure instanceof RuntimeFailure ? failure.stage : undefined;
  const problem = problemOf(failure);
  if (stage === "runtime") {
    const start = `ONNX Runtime does not start: ${problem}`;
    return new ModelLoadError({ ...facts, problem: start, fix: library.fix() }, { cause: failure });
  }
  const message = messageOf(failure);
  const fix =
    stageFixes[stage ?? "model"] ??
    (/data from external tensors|external data into raw data/i.test(message)
      ? externalShapesFix(externalShapes)
      : undefined) ??
    recognised(message, library) ??
    "Check the file and the session options.";
  return new ModelLoadError({ ...facts, problem, fix }, { cause: failure });
}

function recognised(message: string, library: RuntimeLibrary): string | undefined {
  const fix = fixes.find(([pattern]) => pattern.test(message))?.[1];
  return typeof fix === "function" ? fix(library) : fix;
}
