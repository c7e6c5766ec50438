import { RuntimeStartError } from "@crossrank/backend-kit";
import { problemOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { ModelLoadError } from "@crossrank/core";
import type { FailureStage } from "./protocol.js";

export const runtimeFix: string =
  "Install it with `npm install node-llama-cpp`, optional dependencies included: they hold its binaries, for Linux " +
  "(glibc) x64, arm64 and armv7l, macOS arm64 and x64, and Windows x64 and arm64.";

const fixes: Readonly<Record<FailureStage, string>> = {
  runtime: runtimeFix,
  device:
    "Leave the option `gpu` out to run on the processor, or install node-llama-cpp's binaries for that device.",
  model: "Check where the file comes from, and download or convert it again.",
  run: "Check where the file comes from, and download or convert it again.",
  crash: "The file is malformed in a way that its metadata do not show: download or convert it again.",
  deadline:
    "Check where the file comes from; for a large model on a slow disk raise the option `deadlines.load`.",
  limit: "Dispose of models that are not needed any more.",
};

const memoryFix = "There is not enough memory: take fewer contexts or a smaller dtype.";

/** What went wrong in the runtime while it loaded, as the contract's error. */
export function modelLoadError(
  model: string,
  file: string,
  failure: unknown,
): ModelLoadError | RuntimeStartError {
  // No file was looked at yet.
  if (RuntimeStartError.isInstance(failure)) return failure;
  const stage: FailureStage = failure instanceof RuntimeFailure ? failure.stage : "model";
  const message = problemOf(failure);
  const problem = stage === "runtime" ? `node-llama-cpp does not start: ${message}` : message;
  const isMemory = stage === "model" && /memory|alloc|too large/i.test(message);
  const fix = isMemory ? memoryFix : fixes[stage];
  return new ModelLoadError(
    { model, backend: "llamacpp", file, problem, fix: fix.replace(/\.$/, "") },
    { cause: failure },
  );
}
