import { type ChildProcess, fork } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { abortable } from "./abortable.js";
import {
  type AnswerMessage,
  type CallMessage,
  type CallTable,
  type CancelMessage,
  type RuntimeClient,
  RuntimeFailure,
} from "./calls.js";
import { PendingCalls } from "./pending-calls.js";

/** Characters kept of what the child wrote to its standard error. */
const keptText = 4000;

export interface ChildFacts {
  /** The program that the child runs: one that calls `serveCalls`. */
  readonly entry: URL;
  /** The runtime's name, for messages. */
  readonly runtime: string;
  /** Variables of the child beside those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

/**
 * A runtime in a child process: whatever a native library does to it, this process lives on. The child keeps this
 * process alive only while a call is under way, so a program that forgets to dispose still ends; and it ends with it.
 * When it ends early, calls fail with stage `crash`.
 */
export class ChildClient<Calls extends CallTable<Calls>> implements RuntimeClient<Calls> {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #pending: PendingCalls<Calls> = new PendingCalls();
  #lastWords = "";

  constructor({ entry, runtime, environment }: ChildFacts) {
    this.#child = fork(fileURLToPath(entry), {
      serialization: "advanced",
      // Without the parent's flags: a loader or debugger given to the program is not meant for this process.
      execArgv: [],
      env: { ...process.env, ...environment },
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-keptText);
    });
    this.#child.on("message", (message: AnswerMessage<Calls>) => {
      this.#pending.settle(message);
      if (this.#pending.size === 0) this.#hold(false);
    });
    this.#child.on("error", (error) => this.#pending.end(error));
    this.#exited = new Promise((resolve) => {
      // "close" and not "exit": by then all that it wrote has come.
      this.#child.on("close", (code, signal) => {
        const how = signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
        this.#pending.end(new RuntimeFailure("crash", `${runtime}'s process ${how}${this.#quote()}`));
        resolve();
      });
    });
    this.#hold(false);
  }

  async call<Kind extends keyof Calls>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    signal?: AbortSignal | undefined,
  ): Promise<Calls[Kind]["result"]> {
    signal?.throwIfAborted();
    if (this.#pending.death !== undefined) throw this.#pending.death;
    const { id, answer } = this.#pending.add<Kind>((next) => {
      this.#send({ id: next, kind, argument } as CallMessage<Calls>);
      this.#hold(true);
    });
    const cancel = (): void => this.#send({ id, kind: "cancel" });
    signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await abortable(answer, signal);
    } finally {
      signal?.removeEventListener("abort", cancel);
    }
  }

  /** Never rejects. */
  async close(): Promise<void> {
    if (this.#pending.death === undefined) {
      // A child that dies meanwhile has freed its memory too.
      await this.call("release", undefined).catch(() => undefined);
      this.#hold(true);
    }
    await this.#exited;
  }

  /** Ends the process at once, whatever it is at. Never rejects. */
  async abandon(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.close();
  }

  #send(message: CallMessage<Calls> | CancelMessage): void {
    if (this.#child.connected) this.#child.send(message as CancelMessage, () => undefined);
  }

  #hold(alive: boolean): void {
    const handles = [this.#child, this.#child.channel, this.#child.stderr as Socket | null];
    for (const handle of handles) {
      if (alive) handle?.ref();
      else handle?.unref();
    }
  }

  #quote(): string {
    const lines = this.#lastWords.split("\n").filter((line) => line.trim() !== "");
    return lines.length === 0 ? "" : `; its last words: ${lines.slice(-4).join("; ")}`;
  }
}
