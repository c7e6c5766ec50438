import { RuntimeStartError } from "@crossrank/backend-kit";
import { problemOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { ModelLoadError } from "@crossrank/core";
import type { FailureStage } from "./protocol.js";

const again = "Check where the file comes from, and download or convert it again";

const fixes: Readonly<Record<FailureStage, string>> = {
  // The addon's own message says what to install or build.
  runtime: "`crossrank doctor` says whether it works afterwards",
  memory: "There is not enough memory: take a smaller model, or one in 8 bits",
  processor: "Take the model in another precision, or another backend",
  model: again,
  run: again,
  crash: again,
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
  const problem = stage === "runtime" ? `CTranslate2 does not start: ${message}` : message;
  return new ModelLoadError(
    { model, backend: "ctranslate2", file, problem, fix: fixes[stage] },
    { cause: failure },
  );
}
