import { type ChildProcess, fork } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import {
  type AnswerMessage,
  type CallKind,
  type CallMessage,
  type Calls,
  type RuntimeClient,
  RuntimeFailure,
} from "./protocol.js";

/** Characters kept of what the child wrote to its standard error. */
const keptText = 4000;

interface Pending {
  readonly resolve: (result: Calls[CallKind]["result"]) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A runtime in a child process: whatever MNN does to it, this process lives on. The child keeps this process alive only
 * while a call is under way, so a program that forgets to dispose still ends; and it ends with it.
 */
export class ChildClient implements RuntimeClient {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  readonly #pending = new Map<number, Pending>();
  #lastWords = "";
  #nextId = 0;
  #death: Error | undefined;

  constructor() {
    this.#child = fork(fileURLToPath(new URL("./worker.js", import.meta.url)), {
      serialization: "advanced",
      // Without the parent's flags: a loader or debugger given to the program is not meant for this process.
      execArgv: [],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
    });
    this.#child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#lastWords = (this.#lastWords + text).slice(-keptText);
    });
    this.#child.on("message", (message: AnswerMessage) => this.#answer(message));
    this.#child.on("error", (error) => this.#die(error));
    this.#exited = new Promise((resolve) => {
      // "close" and not "exit": by then all that it wrote has come.
      this.#child.on("close", (code, signal) => {
        const how = signal === null ? `ended with code ${code}` : `was ended by ${signal}`;
        this.#die(new RuntimeFailure("crash", `MNN's process ${how}${this.#quote()}`));
        resolve();
      });
    });
    this.#hold(false);
  }

  call<Kind extends CallKind>(kind: Kind, argument: Calls[Kind]["argument"]): Promise<Calls[Kind]["result"]> {
    if (this.#death !== undefined) return Promise.reject(this.#death);
    const id = this.#nextId++;
    return new Promise<Calls[CallKind]["result"]>((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#hold(true);
      const message = { id, kind, argument } as CallMessage;
      if (this.#child.connected) this.#child.send(message, () => undefined);
    }) as Promise<Calls[Kind]["result"]>;
  }

  async close(): Promise<void> {
    if (this.#death === undefined) {
      // A child that dies meanwhile has freed its memory too.
      await this.call("release", undefined).catch(() => undefined);
      this.#hold(true);
    }
    await this.#exited;
  }

  /** Ends the process at once, whatever it is at. */
  kill(): void {
    this.#child.kill("SIGKILL");
  }

  #answer(message: AnswerMessage): void {
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (this.#pending.size === 0) this.#hold(false);
    if ("failure" in message) {
      pending?.reject(new RuntimeFailure(message.failure.stage, message.failure.message));
    } else {
      pending?.resolve(message.result);
    }
  }

  #hold(alive: boolean): void {
    const handles = [this.#child, this.#child.channel, this.#child.stderr as Socket | null];
    for (const handle of handles) {
      if (alive) handle?.ref();
      else handle?.unref();
    }
  }

  #die(error: Error): void {
    this.#death ??= error;
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { reject } of pending) reject(this.#death);
  }

  #quote(): string {
    const lines = this.#lastWords.split("\n").filter((line) => line.trim() !== "");
    return lines.length === 0 ? "" : `; its last words: ${lines.slice(-4).join("; ")}`;
  }
}
