import { CrossrankError } from "@crossrank/core";

/** A file of a model did not come as it should: no answer, another file, too large, or not what its sha256 says. */
export class ModelFetchError extends CrossrankError<"model-fetch"> {
  static override readonly code = "model-fetch";

  /** Where it was asked for. */
  readonly url: string;
  /** Of the answer; undefined where none came. */
  readonly status: number | undefined;

  constructor(
    facts: { url: string; problem: string; fix: string; status?: number | undefined },
    options?: { cause?: unknown },
  ) {
    super("model-fetch", `${facts.url}: ${facts.problem}. ${facts.fix}`, options);
    this.url = facts.url;
    this.status = facts.status;
  }
}
