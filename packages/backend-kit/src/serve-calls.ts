import { writeFileSync } from "node:fs";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import {
  type AnswerMessage,
  type CallMessage,
  type CallTable,
  type CancelMessage,
  type Handlers,
  RuntimeFailure,
} from "./calls.js";
import { messageOf } from "./failure-text.js";
import { inNativeSection } from "./native-section.js";

/**
 * The runtime's side of a host: answers the calls that come to this child process or worker thread. A process ends with
 * its parent.
 *
 * @param options.blocking the handlers compute on this thread, which sees no message meanwhile: calls are answered one
 * after the other, and in a process a thread of its own watches whether the parent lives. Default: several at a time.
 */
export function serveCalls<Calls extends CallTable<Calls>>(
  handlers: Handlers<Calls>,
  { blocking = false }: { readonly blocking?: boolean } = {},
): void {
  const channel = parentPort === null ? processChannel<Calls>(blocking) : threadChannel<Calls>();
  const cancellations = new Map<number, AbortController>();
  let last: Promise<void> = Promise.resolve();
  channel.onMessage((message) => {
    if (message.kind === "cancel") {
      cancellations.get(message.id)?.abort(new RuntimeFailure("run", "cancelled"));
      return;
    }
    const call = message as CallMessage<Calls>;
    const cancellation = new AbortController();
    cancellations.set(call.id, cancellation);
    const serve = async (): Promise<void> => {
      await serveCall(handlers, call, { channel, signal: cancellation.signal });
      cancellations.delete(call.id);
    };
    if (blocking) last = last.then(serve);
    else void serve();
  });
}

interface Channel<Calls extends CallTable<Calls>> {
  onMessage(react: (message: CallMessage<Calls> | CancelMessage) => void): void;
  /**
   * @param isLast nothing comes after it: the process or thread ends.
   * @throws when the message cannot be cloned.
   */
  answer(message: AnswerMessage<Calls>, isLast: boolean): void;
  /** Native work, so that a thread is not ended in the midst of it. */
  during<Result>(work: () => Promise<Result>): Promise<Result>;
}

async function serveCall<Calls extends CallTable<Calls>>(
  handlers: Handlers<Calls>,
  { id, kind, argument }: CallMessage<Calls>,
  { channel, signal }: { readonly channel: Channel<Calls>; readonly signal: AbortSignal },
): Promise<void> {
  const isLast = kind === "release";
  try {
    signal.throwIfAborted();
    channel.answer(
      { id, result: await channel.during(async () => handlers[kind](argument, signal)) },
      isLast,
    );
  } catch (error) {
    const stage = error instanceof RuntimeFailure ? error.stage : kind === "load" ? "model" : "run";
    channel.answer({ id, failure: { stage, message: messageOf(error).trim() } }, isLast);
  }
}

function processChannel<Calls extends CallTable<Calls>>(blocking: boolean): Channel<Calls> {
  process.on("disconnect", endAtOnce);
  // Ctrl-C reaches every process of a terminal: the parent decides what becomes of the work under way.
  process.on("SIGINT", () => undefined);
  dieFirst();
  if (blocking) watchParent();
  return {
    onMessage: (react) => void process.on("message", react),
    answer: (message, isLast) => void process.send?.(message, () => isLast && endAtOnce()),
    during: (work) => work(),
  };
}

function threadChannel<Calls extends CallTable<Calls>>(): Channel<Calls> {
  const port = parentPort as NonNullable<typeof parentPort>;
  const cells = workerData as Int32Array;
  return {
    onMessage: (react) => void port.on("message", react),
    answer: (message, isLast) => {
      port.postMessage(message, "result" in message ? buffersOf(message.result) : []);
      if (isLast) port.close();
    },
    during: (work) => inNativeSection(cells, work),
  };
}

/** Buffers of a result's arrays that nothing else is in: they move to the other thread without a copy. */
function buffersOf(result: unknown): ArrayBuffer[] {
  const values: unknown[] = typeof result === "object" && result !== null ? Object.values(result) : [];
  const buffers = new Set<ArrayBuffer>();
  for (const value of values) {
    const isOwn = ArrayBuffer.isView(value) && value.buffer.byteLength === value.byteLength;
    if (isOwn && value.buffer instanceof ArrayBuffer) buffers.add(value.buffer);
  }
  return [...buffers];
}

/** Where memory runs out, Linux ends one process: this one and not its parent. */
function dieFirst(): void {
  if (process.platform !== "linux") return;
  try {
    writeFileSync("/proc/self/oom_score_adj", "800");
  } catch {
    // Without /proc the system chooses by itself.
  }
}

/** Without what a library does at the end of a process: some crash there while threads of theirs still run. */
function endAtOnce(): void {
  process.kill(process.pid, "SIGKILL");
}

/** A process whose parent is gone gets another one. Windows says nothing of it; there the end of the channel is seen later. */
function watchParent(): void {
  if (!isMainThread || process.platform === "win32") return;
  const program = `
    const parent = process.ppid;
    setInterval(() => process.ppid === parent || process.kill(process.pid, "SIGKILL"), 1000);
  `;
  const watcher = new Worker(program, {
    eval: true,
    execArgv: [],
    resourceLimits: { maxOldGenerationSizeMb: 8 },
  });
  watcher.unref();
}
