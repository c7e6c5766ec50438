import { CrossrankError } from "@crossrank/core";

/**
 * - `unreachable`: the server of the queue does not answer.
 * - `refused`: it answers, and does not let us in or is none of ours.
 * - `address`: the address cannot be one.
 */
export type QueueProblem = "unreachable" | "refused" | "address";

/** The queue cannot be used. */
export class QueueError extends CrossrankError<"queue"> {
  static override readonly code = "queue";

  readonly reason: QueueProblem;
  constructor(reason: QueueProblem, message: string, options?: { cause?: unknown }) {
    super("queue", message, options);
    this.reason = reason;
  }
}

/**
 * - `missing`: there is no such bucket or object.
 * - `refused`: the store does not let us in, or what it gives is not what was asked for.
 * - `address`: the address cannot be one.
 * - `unreachable`: the store does not answer.
 * - `changed`: an object is no more what it was.
 * - `not-installed`: the client is not there.
 */
export type ObjectStoreProblem =
  | "missing"
  | "refused"
  | "address"
  | "unreachable"
  | "changed"
  | "not-installed";

/** An object in S3 cannot be read or written. */
export class ObjectStoreError extends CrossrankError<"object-store"> {
  static override readonly code = "object-store";

  readonly reason: ObjectStoreProblem;
  /** `s3://bucket/key`. */
  readonly place: string;
  constructor(reason: ObjectStoreProblem, place: string, problem: string, options?: { cause?: unknown }) {
    super("object-store", `${place}: ${problem}`, options);
    this.reason = reason;
    this.place = place;
  }
}
