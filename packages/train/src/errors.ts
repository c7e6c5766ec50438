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
