import {
  type AnswerMessage,
  type CallMessage,
  type CallTable,
  type CancelMessage,
  type Handlers,
  RuntimeFailure,
} from "./calls.js";
import { messageOf } from "./failure-text.js";

/** The child's side of a `ChildClient`: answers the parent's calls, several at a time. The process ends with its parent. */
export function serveCalls<Calls extends CallTable<Calls>>(handlers: Handlers<Calls>): void {
  const cancellations = new Map<number, AbortController>();
  process.on("message", (message: CallMessage<Calls> | CancelMessage) => {
    if (message.kind === "cancel") {
      cancellations.get(message.id)?.abort(new RuntimeFailure("run", "cancelled"));
    } else {
      void serveCall(handlers, message as CallMessage<Calls>, cancellations);
    }
  });
  process.on("disconnect", () => process.exit(0));
}

async function serveCall<Calls extends CallTable<Calls>>(
  handlers: Handlers<Calls>,
  { id, kind, argument }: CallMessage<Calls>,
  cancellations: Map<number, AbortController>,
): Promise<void> {
  const cancellation = new AbortController();
  cancellations.set(id, cancellation);
  const answer = (message: AnswerMessage<Calls>): void => {
    process.send?.(message, () => {
      if (kind === "release") process.exit(0);
    });
  };
  try {
    answer({ id, result: await handlers[kind](argument, cancellation.signal) });
  } catch (error) {
    const stage = error instanceof RuntimeFailure ? error.stage : kind === "load" ? "model" : "run";
    answer({ id, failure: { stage, message: messageOf(error) } });
  } finally {
    cancellations.delete(id);
  }
}
