import { type ChildProcess, fork } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { onAbort, untilAborted } from "@crossrank/core";
import {
  type AnswerMessage,
  type CallMessage,
  type CallOptions,
  type CallTable,
  type CancelMessage,
  type MortalClient,
  type ReadyMessage,
  RuntimeFailure,
} from "./calls.js";
import { endWithThisProcess, requireRoomForChild } from "./child-processes.js";
import { endsWithin, startClock } from "./clock.js";
import { releaseDeadline } from "./deadlines.js";
import { messageOf, shortageOf } from "./failure-text.js";
import { PendingCalls } from "./pending-calls.js";
import { type ProgramFacts, ProgramStart } from "./program-start.js";

/** Characters kept of what the child wrote to its standard error. */
const keptText = 4000;

export interface ChildFacts extends ProgramFacts {
  /** Variables of the child beside those of this process. */
  readonly environment?: Readonly<Record<string, string>> | undefined;
  readonly deadlines: { readonly start: number; readonly load: number; readonly run: number };
}

/**
 * A runtime in a child process: whatever a native library does to it, this process lives on. The child keeps this
 * process alive only while a call is under way, so a program that forgets to dispose still ends; and it ends with it.
 * When it ends early, calls fail with stage `crash`; when it does not answer in time it is killed, and they fail with
 * stage `deadline`.
 */
export class ChildClient<Calls extends CallTable<Calls>> implements MortalClient<Calls> {
  readonly #child: ChildProcess;
  readonly #facts: ChildFacts;
  readonly #exited: Promise<void>;
  readonly #pending: PendingCalls<Calls> = new PendingCalls();
  /** Calls whose answer somebody waits for. */
  #waited = 0;
  #stopClock: (() => void) | undefined;
  #lastWords = "";

  /** @throws {RuntimeFailure} stage `limit`, when no more processes can be started. */
  constructor(facts: ChildFacts) {
    this.#facts = facts;
    this.#child = startChild(facts);
    const start = new ProgramStart(facts, "process", (error) => this.#kill(error));
    endWithThisProcess(this.#child);
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-keptText);
    });
    this.#child.on("message", (message: AnswerMessage<Calls> | ReadyMessage) => {
      if ("ready" in message) return start.succeeded();
      this.#pending.settle(
        "result" in message ? { ...message, result: withOwnBuffers(message.result) } : message,
      );
      if (this.#pending.size === 0) this.#watch(false);
    });
    this.#exited = new Promise((resolve) => {
      const gone = (how: string): void => {
        const words = how + this.#quote();
        const failure = new RuntimeFailure("crash", `${facts.runtime}'s process ${words}`);
        this.#pending.end(start.failure(words) ?? failure);
        start.stop();
        this.#watch(false);
        resolve();
      };
      this.#child.on("error", (error) => {
        // Other errors, of sending or killing, come from a process that is gone already.
        if (this.#child.pid === undefined) gone(`did not start (${messageOf(error)})`);
      });
      this.#child.on("exit", (code, signal) => {
        const how = signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
        // By "close" all that it wrote has come; but a process of its own may hold the pipe open.
        this.#child.once("close", () => gone(how));
        setTimeout(gone, 1000, how).unref();
      });
    });
    this.#hold(false);
  }

  get death(): Error | undefined {
    return this.#pending.death;
  }

  async call<Kind extends keyof Calls>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    { signal, transfer = [] }: CallOptions = {},
  ): Promise<Calls[Kind]["result"]> {
    signal?.throwIfAborted();
    if (this.#pending.death !== undefined) throw this.#pending.death;
    const { load, run } = this.#facts.deadlines;
    const limit = kind === "load" ? load : run;
    const { id, answer } = this.#pending.add<Kind>((next) => {
      this.#send({ id: next, kind, argument } as CallMessage<Calls>);
    }, limit);
    // Written to the channel by now. They are gone here as they would be with a thread, so that no caller relies on one.
    if (transfer.length > 0) structuredClone(undefined, { transfer: [...transfer] });
    this.#watch(true);
    this.#waited += 1;
    this.#hold(true);
    const stopWaiting = signal && onAbort(signal, () => this.#send({ id, kind: "cancel" }));
    try {
      return await untilAborted(answer, signal);
    } finally {
      stopWaiting?.();
      this.#waited -= 1;
      if (this.#waited === 0) this.#hold(false);
    }
  }

  async close(): Promise<void> {
    if (this.#pending.death === undefined) {
      // A child that dies meanwhile has freed its memory too.
      await this.call("release", undefined).catch(() => undefined);
      if (this.#child.exitCode === null && this.#child.signalCode === null) this.#hold(true);
    }
    await this.#exited;
  }

  /** Kills the process, whatever it is at, also one that is stopped. */
  async abandon(): Promise<void> {
    this.#kill(
      new RuntimeFailure("crash", `${this.#facts.runtime}'s process was ended, because it was not needed`),
    );
    await endsWithin(this.#exited, releaseDeadline);
  }

  #kill(reason: Error): void {
    this.#child.kill("SIGKILL");
    this.#pending.end(reason);
  }

  #send(message: CallMessage<Calls> | CancelMessage): void {
    if (this.#child.connected) this.#child.send(message as CancelMessage, () => undefined);
  }

  #hold(alive: boolean): void {
    const handles = [this.#child, this.#child.channel, this.#child.stderr as Socket | null];
    for (const handle of handles) {
      // Bun's handles lack them here and there.
      if (alive) handle?.ref?.();
      else handle?.unref?.();
    }
  }

  #watch(pending: boolean): void {
    if (!pending) {
      this.#stopClock?.();
      this.#stopClock = undefined;
      return;
    }
    this.#stopClock ??= startClock((passed) => {
      const limit = this.#pending.age(passed);
      if (limit === undefined) return;
      const { runtime } = this.#facts;
      const late = `${runtime} did not answer within ${limit / 1000} s, so its process was ended`;
      this.#kill(new RuntimeFailure("deadline", `${late}${this.#quote()}`));
    });
  }

  #quote(): string {
    const lines = this.#lastWords.split("\n").filter((line) => line.trim() !== "");
    // A program in JavaScript says what was wrong, and then at length where.
    const error = lines.findLast((line) => /^(Uncaught )?\w*(Error|Exception)\b/.test(line));
    const words = error === undefined ? lines.slice(-4) : [error];
    return words.length === 0 ? "" : `; its last words: ${words.join("; ")}`;
  }
}

/** Up to this many bytes a copy costs less than what a view of a message or of Node's pool keeps in memory. */
const smallBytes = 1 << 20;

/** The arrays of a result in buffers of their own, but for large ones, which fill their message but for a few bytes. */
function withOwnBuffers<Result>(result: Result): Result {
  if (typeof result !== "object" || result === null || Array.isArray(result)) return result;
  const own = (value: unknown): unknown =>
    ArrayBuffer.isView(value) && "slice" in value && value.byteLength <= smallBytes
      ? (value as Float32Array).slice()
      : value;
  return Object.fromEntries(Object.entries(result).map(([name, value]) => [name, own(value)])) as Result;
}

/**
 * The weights of a model lie in memory of malloc's, and are read through again and again: in pages of 2 MB instead of
 * 4 kB the processor finds them sooner. glibc 2.35 and later asks for them; what does not know the variable, ignores it.
 */
function largePages({ GLIBC_TUNABLES: set }: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  if (process.platform !== "linux" || set?.includes("glibc.malloc.hugetlb") === true) return {};
  const own = "glibc.malloc.hugetlb=1";
  return { GLIBC_TUNABLES: set === undefined || set === "" ? own : `${set}:${own}` };
}

function startChild({ entry, runtime, environment }: ChildFacts): ChildProcess {
  requireRoomForChild();
  // Up to Node 20 each process reads these certificates as it starts, for 50 ms, and this one asks no server.
  const { NODE_EXTRA_CA_CERTS: _certificates, ...inherited } = process.env;
  try {
    return fork(fileURLToPath(entry), {
      serialization: "advanced",
      // Without the parent's flags: a loader or debugger given to the program is not meant for this process.
      execArgv: [],
      env: { ...inherited, ...largePages(inherited), ...environment },
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
  } catch (cause) {
    // Node's permission model, for one, may forbid it.
    throw new RuntimeFailure(
      "limit",
      `${runtime}'s process does not start: ${shortageOf(cause) ?? messageOf(cause)}`,
      { cause },
    );
  }
}
