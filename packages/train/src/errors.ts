import { CrossrankError } from "@crossrank/core";

/** An option, the model, the machine or what is installed does not allow this training. Nothing was begun. */
export class TrainingSetupError extends CrossrankError<"training-setup"> {
  static override readonly code = "training-setup";

  /** What is at fault: an option's name, a package, the model. */
  readonly subject: string;

  constructor(facts: { subject: string; problem: string; fix: string }, options?: { cause?: unknown }) {
    super("training-setup", `${facts.subject} ${facts.problem}. ${facts.fix}`, options);
    this.subject = facts.subject;
  }
}

/** Beside the output lies unfinished mining that is not this one, or that is damaged. Nothing was written. */
export class MiningStateError extends CrossrankError<"mining-state"> {
  static override readonly code = "mining-state";

  readonly path: string;
  readonly reason: "other" | "damaged" | "locked";

  constructor(
    facts: { path: string; reason?: "other" | "damaged" | "locked" },
    options?: { cause?: unknown },
  ) {
    const { path, reason = "other" } = facts;
    const problems = {
      other: "is unfinished work of other queries, documents, options or another teacher",
      damaged: "is damaged",
      locked: "is being written by another process",
    };
    const fix =
      reason === "locked" ? "Wait for it, or name another output." : "Delete it, or name another output.";
    super("mining-state", `${path} ${problems[reason]}. ${fix}`, options);
    this.path = path;
    this.reason = reason;
  }
}

/** A checkpoint cannot be gone on from: it belongs to another training, or is damaged. Nothing was trained. */
export class TrainingCheckpointError extends CrossrankError<"training-checkpoint"> {
  static override readonly code = "training-checkpoint";

  readonly path: string;

  constructor(facts: { path: string; problem: string; fix: string }, options?: { cause?: unknown }) {
    super("training-checkpoint", `${facts.path} ${facts.problem}. ${facts.fix}`, options);
    this.path = facts.path;
  }
}

/** Training went wrong: there was not enough memory, the numbers left all bounds, or the runtime failed. */
export class TrainingFailedError extends CrossrankError<"training-failed"> {
  static override readonly code = "training-failed";

  readonly reason: "memory" | "diverged" | "runtime";

  constructor(
    facts: { reason: "memory" | "diverged" | "runtime"; problem: string; fix: string },
    options?: { cause?: unknown },
  ) {
    super("training-failed", `Training stopped: ${facts.problem}. ${facts.fix}`, options);
    this.reason = facts.reason;
  }
}
