import { CrossrankError } from "@crossrank/core";

/** What was to be published is not fit for it: nothing was sent. */
export class PublishRefusedError extends CrossrankError<"publish-refused"> {
  static override readonly code = "publish-refused";

  /** The folder. */
  readonly folder: string;
  /** All that is in the way, each a sentence with what to do. */
  readonly reasons: readonly string[];

  constructor(folder: string, reasons: readonly string[]) {
    super("publish-refused", `${folder} is not published: ${reasons.join(" ")}`);
    this.folder = folder;
    this.reasons = reasons;
  }
}
