import {
  type AnswerMessage,
  type CallMessage,
  type CallTable,
  type CancelMessage,
  type Handlers,
  RuntimeFailure,
} from "./calls.js";
import { messageOf } from "./failure-text.js";

/** How messages come and answers go. */
export interface Channel<Calls extends CallTable<Calls>> {
  onMessage(react: (message: CallMessage<Calls> | CancelMessage) => void): void;
  /**
   * @param isLast nothing comes after it: the process or thread ends.
   * @throws when the message cannot be cloned.
   */
  answer(message: AnswerMessage<Calls>, isLast: boolean): void;
  /** Native work, so that a thread is not ended in the midst of it. */
  during<Result>(work: () => Promise<Result>): Promise<Result>;
}

/**
 * Answers the calls that come through a channel.
 *
 * @param options.blocking calls are answered one after the other. Default: several at a time.
 */
export function answerCalls<Calls extends CallTable<Calls>>(
  channel: Channel<Calls>,
  handlers: Handlers<Calls>,
  { blocking = false }: { readonly blocking?: boolean } = {},
): void {
  const cancellations = new Map<number, AbortController>();
  const underWay = new Set<Promise<void>>();
  let last: Promise<void> = Promise.resolve();
  channel.onMessage((message) => {
    if (message.kind === "cancel") {
      cancellations.get(message.id)?.abort(new RuntimeFailure("run", "cancelled"));
      return;
    }
    const call = message as CallMessage<Calls>;
    const cancellation = new AbortController();
    cancellations.set(call.id, cancellation);
    const before = [...underWay];
    const serve = async (): Promise<void> => {
      await serveCall(handlers, call, { channel, signal: cancellation.signal, before });
      cancellations.delete(call.id);
    };
    if (blocking) {
      last = last.then(serve);
      return;
    }
    const served = serve().finally(() => underWay.delete(served));
    // Whoever is released while a model loads has no use for it.
    if (call.kind !== "load") underWay.add(served);
  });
}

async function serveCall<Calls extends CallTable<Calls>>(
  handlers: Handlers<Calls>,
  { id, kind, argument }: CallMessage<Calls>,
  {
    channel,
    signal,
    before,
  }: {
    readonly channel: Channel<Calls>;
    readonly signal: AbortSignal;
    /** Calls that came before and have no answer yet. */
    readonly before: readonly Promise<void>[];
  },
): Promise<void> {
  const isLast = kind === "release";
  // What the runtime has computed by the time that it is released is still on its way through promises.
  const answered = async (): Promise<unknown> => (isLast ? Promise.allSettled(before) : undefined);
  try {
    signal.throwIfAborted();
    const result = await channel.during(async () => handlers[kind](argument, signal));
    await answered();
    channel.answer({ id, result }, isLast);
  } catch (error) {
    await answered();
    const stage = error instanceof RuntimeFailure ? error.stage : kind === "load" ? "model" : "run";
    channel.answer({ id, failure: { stage, message: messageOf(error).trim() } }, isLast);
  }
}

/** Buffers of a result's arrays that nothing else is in: they move to the other thread without a copy. */
export function buffersOf(result: unknown): ArrayBuffer[] {
  const values: unknown[] = typeof result === "object" && result !== null ? Object.values(result) : [];
  const buffers = new Set<ArrayBuffer>();
  for (const value of values) {
    const isOwn = ArrayBuffer.isView(value) && value.buffer.byteLength === value.byteLength;
    if (isOwn && value.buffer instanceof ArrayBuffer) buffers.add(value.buffer);
  }
  return [...buffers];
}
