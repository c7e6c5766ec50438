import { RuntimeStartError } from "@crossrank/backend-kit";
import { problemOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { ModelLoadError } from "@crossrank/core";
import type { FailureStage } from "./protocol.js";

const fixes: Readonly<Record<FailureStage, string>> = {
  // The addon's own message says what to install or build.
  runtime: "`crossrank doctor` says whether it works afterwards",
  threads:
    'Ask for no more `threads` than the first model of this process, or leave `isolation` at "process", where every ' +
    "model has a pool of its own",
  memory: "There is not enough memory: take fewer `sessions`, or a smaller model",
  model: "Check where the file comes from, and download or convert it again",
  run: "Check where the file comes from, and download or convert it again",
  crash: "The file is malformed in a way that its tables do not show: download or convert it again",
  deadline:
    "Check where the file comes from; for a large model on a slow disk raise the option `deadlines.load`",
  limit: "Dispose of models that are not needed any more",
};

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
  const problem = stage === "runtime" ? `MNN does not start: ${message}` : message;
  return new ModelLoadError({ model, backend: "mnn", file, problem, fix: fixes[stage] }, { cause: failure });
}
