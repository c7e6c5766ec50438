/**
 * What a runtime can be asked, by name: an interface with the argument and the result of each call. Both travel by
 * structured clone. `load` is the first, and is repeated where a runtime that died is started anew; `release` is the
 * last: it waits for the calls under way and frees the memory.
 */
export type CallTable<Calls> = {
  [Kind in keyof Calls]: { argument: unknown; result: unknown };
} & {
  load: { argument: unknown; result: unknown };
  release: { argument: undefined; result: undefined };
};

/** One call on its way, by an id that its answer carries too. */
export type CallMessage<Calls extends CallTable<Calls>> = {
  [Kind in keyof Calls]: {
    readonly id: number;
    readonly kind: Kind;
    readonly argument: Calls[Kind]["argument"];
  };
}[keyof Calls];

/** Stop the call of that id if you can; it is answered all the same. */
export interface CancelMessage {
  readonly id: number;
  readonly kind: "cancel";
}

/** Every call is answered once. */
export type AnswerMessage<Calls extends CallTable<Calls>> =
  | { readonly id: number; readonly result: Calls[keyof Calls]["result"] }
  | { readonly id: number; readonly failure: { readonly stage: string; readonly message: string } };

/** The first message of a process or thread: from now on it answers calls. */
export interface ReadyMessage {
  readonly ready: true;
}

/** A runtime itself. A call that cannot be stopped leaves the signal unused. */
export type Handlers<Calls extends CallTable<Calls>> = {
  [Kind in keyof Calls]: (
    argument: Calls[Kind]["argument"],
    signal: AbortSignal | undefined,
  ) => Calls[Kind]["result"] | Promise<Calls[Kind]["result"]>;
};

/** A failure of the runtime, as the session sees it. `stage` says where: each backend has its own names. */
export class RuntimeFailure<Stage extends string = string> extends Error {
  readonly stage: Stage;
  constructor(stage: Stage, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "RuntimeFailure";
    this.stage = stage;
  }
}

/** Stages of failures that the host finds: the process or thread ended, did not answer in time, or could not start. */
export type HostStage = "crash" | "deadline" | "limit";

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Buffers that are the caller's no longer: a worker thread takes them over without a copy, a child process gets one. */
  readonly transfer?: readonly ArrayBuffer[] | undefined;
}

/** A runtime in a child process, a worker thread or this one. */
export interface RuntimeClient<Calls extends CallTable<Calls>> {
  /**
   * @throws {RuntimeFailure} when the call fails, or the runtime ends before it is answered.
   * @throws the signal's reason once it is aborted, whatever the call is at.
   */
  call<Kind extends keyof Calls>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    options?: CallOptions | undefined,
  ): Promise<Calls[Kind]["result"]>;
  /** Frees everything after the calls under way. Never rejects. */
  close(): Promise<void>;
  /** Frees everything as soon as that is possible, without waiting for work that cannot be interrupted. Never rejects. */
  abandon(): Promise<void>;
}

/** A client that may have died. */
export interface MortalClient<Calls extends CallTable<Calls>> extends RuntimeClient<Calls> {
  /** Why no more answers come; undefined while they do. */
  readonly death: Error | undefined;
}
