import { messageOf, problemOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { ModelLoadError } from "@crossrank/core";
import { shortened } from "./graph-plan.js";
import type { FailureStage } from "./protocol.js";

export const runtimeFix: string =
  "Install onnxruntime-node with its native files; it has them for Linux (glibc) x64 and arm64, Windows x64 and " +
  "arm64, and macOS arm64.";

/** Recognised by ONNX Runtime's own words, most specific first. */
const fixes: readonly (readonly [pattern: RegExp, fix: string])[] = [
  [/external data/i, "Put the weight files that the .onnx names beside it, under those names."],
  [
    /protobuf parsing failed|does not have a graph|invalid protobuf/i,
    "The file is damaged or no ONNX model: download it again and compare its sha256.",
  ],
  [
    /not a registered function\/op|no op registered|NOT_IMPLEMENTED|could not find an implementation|opset|unsupported data type/i,
    "This onnxruntime-node lacks an operator that the graph uses: export it with an older opset or other operators.",
  ],
  [
    /execution ?provider|shared library|webgpu|backend not found/i,
    'That execution provider does not work here: leave `executionProviders` out to run on "cpu".',
  ],
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
export function modelLoadError(
  {
    model,
    file,
    externalShapes,
  }: {
    readonly model: string;
    readonly file: string;
    readonly externalShapes: readonly string[];
  },
  failure: unknown,
): ModelLoadError {
  const facts = { model, backend: "onnx", file };
  const stage: FailureStage | undefined = failure instanceof RuntimeFailure ? failure.stage : undefined;
  const problem = problemOf(failure);
  if (stage === "runtime") {
    const start = `onnxruntime-node does not start: ${problem}`;
    return new ModelLoadError({ ...facts, problem: start, fix: runtimeFix }, { cause: failure });
  }
  const message = messageOf(failure);
  const fix =
    stageFixes[stage ?? "model"] ??
    (/data from external tensors|external data into raw data/i.test(message)
      ? externalShapesFix(externalShapes)
      : undefined) ??
    fixes.find(([pattern]) => pattern.test(message))?.[1] ??
    "Check the file and the session options.";
  return new ModelLoadError({ ...facts, problem, fix }, { cause: failure });
}
