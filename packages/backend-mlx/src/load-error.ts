import { RuntimeStartError } from "@crossrank/backend-kit";
import { problemOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { ModelLoadError, type ModelProfileError } from "@crossrank/core";
import type { FailureStage } from "./protocol.js";

const fixes: Readonly<Record<FailureStage, string>> = {
  // The addon's own message says what to install or build.
  runtime: "`crossrank doctor` says whether it works afterwards",
  memory: "There is not enough memory: take dtype bf16, q8 or q4, or a smaller model",
  model: "Check where the files come from, and download them again",
  run: "Check where the files come from, and download them again",
  crash: "The process may have been ended for want of memory: take dtype bf16, q8 or q4, or a smaller model",
  deadline: "For a large model on a slow disk raise the option `deadlines.load`",
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
  const problem = stage === "runtime" ? `MLX does not start: ${message}` : message;
  return new ModelLoadError({ model, backend: "mlx", file, problem, fix: fixes[stage] }, { cause: failure });
}

/** A fault of the model's files, found by those who read them, as the contract's error of a backend. */
export function fileLoadError(model: string, path: string, cause: ModelProfileError): ModelLoadError {
  const { file = path, message } = cause;
  const said = [`${cause.model}: `, `${file}: `].reduce(
    (text, place) => (text.startsWith(place) ? text.slice(place.length) : text),
    message,
  );
  // What is wrong, and behind it what to do.
  const at = said.lastIndexOf(". ");
  const problem = at < 0 ? said : said.slice(0, at);
  const fix = at < 0 ? "Download the model again" : said.slice(at + 2).replace(/\.$/, "");
  return new ModelLoadError({ model, backend: "mlx", file, problem, fix }, { cause });
}
