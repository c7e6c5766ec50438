import { messageOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import { CrossrankError } from "@crossrank/core";

/** The model, or what of it should be trained, cannot be. Nothing was begun. */
export class UntrainableError extends CrossrankError<"untrainable"> {
  static override readonly code = "untrainable";

  readonly model: string;

  constructor(facts: { model: string; problem: string; fix: string }, options?: { cause?: unknown }) {
    super("untrainable", `${facts.model} ${facts.problem}. ${facts.fix}`, options);
    this.model = facts.model;
  }
}

/** MLX failed while it trained a model. What was trained since the last checkpoint is lost. */
export class MlxTrainingError extends CrossrankError<"mlx-training"> {
  static override readonly code = "mlx-training";

  /** `"memory"`: there was not enough, or the process was ended, as systems without memory do. */
  readonly reason: "memory" | "run";

  constructor(
    facts: { reason: "memory" | "run"; problem: string; fix: string },
    options?: { cause?: unknown },
  ) {
    super("mlx-training", `MLX: ${facts.problem}. ${facts.fix}`, options);
    this.reason = facts.reason;
  }
}

const lessMemory =
  "Take a smaller batch size with more accumulation, fewer tokens a pair, gradient checkpointing, or the method qlora";

/** What a call of the runtime failed with, as an error that says what to do. */
export function trainingFailure(failure: unknown): unknown {
  if (!(failure instanceof RuntimeFailure)) return failure;
  const problem = messageOf(failure).replace(/\.$/, "");
  if (failure.stage === "memory")
    return new MlxTrainingError({ reason: "memory", problem, fix: lessMemory }, { cause: failure });
  if (failure.stage === "crash") {
    const fix = `It may have been for want of memory. ${lessMemory}`;
    return new MlxTrainingError({ reason: "memory", problem, fix }, { cause: failure });
  }
  const fix =
    failure.stage === "deadline"
      ? "Raise the option deadlines.run, or take smaller batches"
      : "Check the batch and the settings";
  return new MlxTrainingError({ reason: "run", problem, fix }, { cause: failure });
}
