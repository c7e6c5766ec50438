import { writeFileSync } from "node:fs";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { answerCalls, buffersOf, type Channel } from "./answer-calls.js";
import type { CallTable, Handlers, ReadyMessage } from "./calls.js";
import { inNativeSection, type ThreadData } from "./native-section.js";

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
  answerCalls(channel, handlers, { blocking });
}

function processChannel<Calls extends CallTable<Calls>>(blocking: boolean): Channel<Calls> {
  process.on("disconnect", endAtOnce);
  // Ctrl-C reaches every process of a terminal: the parent decides what becomes of the work under way.
  process.on("SIGINT", () => undefined);
  dieFirst();
  if (blocking) watchParent();
  process.send?.({ ready: true } satisfies ReadyMessage);
  return {
    onMessage: (react) => void process.on("message", react),
    answer: (message, isLast) => void process.send?.(message, () => isLast && endAtOnce()),
    during: (work) => work(),
  };
}

function threadChannel<Calls extends CallTable<Calls>>(): Channel<Calls> {
  const port = parentPort as NonNullable<typeof parentPort>;
  const { cells } = workerData as ThreadData;
  port.postMessage({ ready: true } satisfies ReadyMessage);
  return {
    onMessage: (react) => void port.on("message", react),
    answer: (message, isLast) => {
      port.postMessage(message, "result" in message ? buffersOf(message.result) : []);
      if (isLast) endThread();
    },
    during: (work) => inNativeSection(cells, work),
  };
}

/** Deno's port cannot be closed. */
function endThread(): void {
  if (typeof parentPort?.close === "function") parentPort.close();
  else process.exit(0);
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
