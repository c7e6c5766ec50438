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
  constructor(facts: { model: string; format: string; dtype: string; command: string; why: string }) {
    const { model, format, dtype, command, why } = facts;
    super("not-converted", `${model} has weights and no ${format} file, and ${why}. Run: ${command}`);
    this.model = model;
    this.format = format;
    this.dtype = dtype;
    this.command = command;
  }
}
