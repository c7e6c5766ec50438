import { messageOf, problemOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { ModelLoadError } from "@crossrank/core";
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

/** What went wrong in a runtime while it loaded, as the contract's error. */
export function modelLoadError(model: string, file: string, failure: unknown): ModelLoadError {
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
    fixes.find(([pattern]) => pattern.test(message))?.[1] ??
    "Check the file and the session options.";
  return new ModelLoadError({ ...facts, problem, fix }, { cause: failure });
}
