import { CrossrankError } from "@crossrank/core";

/** A model has weights and no artifact that the backend runs, and may not be converted now. */
export class NotConvertedError extends CrossrankError<"not-converted"> {
  static override readonly code = "not-converted";

  /** Model id or folder. */
  readonly model: string;
  readonly format: string;
  readonly dtype: string;
  /** The command that converts it. */
  readonly command: string;
  constructor(facts: {
    model: string;
    format: string;
    dtype: string;
    command: string;
    why: string;
    /** Sentences on what the command needs, and on what it leaves to do. */
    hints?: readonly string[];
  }) {
    const { model, format, dtype, command, why, hints = [] } = facts;
    super(
      "not-converted",
      [
        `${model} has weights and no ${format} file of ${dtype}, and ${why}.`,
        ...hints,
        `Run: ${command}`,
      ].join(" "),
    );
    this.model = model;
    this.format = format;
    this.dtype = dtype;
    this.command = command;
  }
}
