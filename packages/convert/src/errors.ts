import { CrossrankError } from "@crossrank/core";

/** A model cannot be written in a format: nobody's runtime computes it there, or we do not write it. */
export class UnsupportedConversionError extends CrossrankError {
  /** Model id or folder. */
  readonly model: string;
  /** `"onnx"`, `"gguf"`, or `"description"` where the architecture itself is not known. */
  readonly format: string;
  /** What stands in the way, as a clause. */
  readonly problem: string;

  constructor(facts: { model: string; format: string; problem: string; fix: string }) {
    const target = facts.format === "description" ? "converted" : `converted to ${facts.format}`;
    super("unsupported-conversion", `${facts.model} cannot be ${target}: ${facts.problem}. ${facts.fix}`);
    this.model = facts.model;
    this.format = facts.format;
    this.problem = facts.problem;
  }
}
