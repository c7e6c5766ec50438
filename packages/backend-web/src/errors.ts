import { CrossrankError } from "@crossrank/core";

/** A file of a model did not come as it should: no answer, another file, too large, or not what its sha256 says. */
export class ModelFetchError extends CrossrankError<"model-fetch"> {
  static override readonly code = "model-fetch";

  /** Where it was asked for, without the query, which may be a signature. */
  readonly url: string;
  /** Of the answer; undefined where none came. */
  readonly status: number | undefined;

  constructor(
    facts: { url: string; problem: string; fix: string; status?: number | undefined },
    options?: { cause?: unknown },
  ) {
    const url = shown(facts.url);
    super("model-fetch", `${url}: ${facts.problem}. ${facts.fix}`, options);
    this.url = url;
    this.status = facts.status;
  }
}

/** An address without what may be secret in it: user and password, query and fragment. */
export function shown(address: string): string {
  return address.replace(/[?#][\s\S]*$/, "").replace(/^([^/]*\/\/)?[^/]*@/, "$1");
}
