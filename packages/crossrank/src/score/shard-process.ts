import { type ChildProcess, fork } from "node:child_process";
import type { ScorerChoices } from "../commands/score/scorer-options.js";
import { CommandError } from "../failure.js";
import { receiveError } from "../scoring-process.js";
import type { ShardCounts } from "./score-shard.js";
import {
  type NumberedShardRequest,
  type OpenedShardModel,
  type ShardReply,
  type ShardRequest,
  shardCommand,
} from "./shard-protocol.js";

/** Which shard of which job, as the queue names it. */
export interface ShardPlace {
  readonly output: string;
  readonly shard: number;
  readonly id: string;
}

/**
 * A model in a process of its own: whatever its runtime does there, the event loop of who asks stays free to keep its
 * lock, and a runtime that ends its process ends no worker. It starts anew with the next shard.
 */
export interface ShardProcess {
  readonly model: OpenedShardModel;
  /** @throws what the scoring throws; {CommandError} where the process ended. */
  score(reference: ShardPlace, signal: AbortSignal): Promise<ShardCounts>;
  close(): Promise<void>;
}

/** Milliseconds that a process has to end by itself. */
const patience = 10_000;

export async function openShardProcess(
  choices: ScorerChoices,
  files: readonly string[],
  signal: AbortSignal,
): Promise<ShardProcess> {
  let child: Child | undefined;
  const start = async (): Promise<OpenedShardModel> => {
    const started = new Child();
    child = started;
    const kill = (): void => started.kill();
    signal.addEventListener("abort", kill, { once: true });
    try {
      return await started.ask<OpenedShardModel>({ ask: "open", choices, files });
    } catch (error) {
      started.kill();
      throw signal.aborted ? signal.reason : error;
    } finally {
      // Once the model is open, an interruption is the worker's to answer.
      signal.removeEventListener("abort", kill);
    }
  };
  const model = await start();
  return {
    model,
    async score({ output, shard, id }, stopping) {
      if (child === undefined || child.hasEnded) {
        const again = await start();
        if (again.fingerprint !== model.fingerprint) {
          throw new CommandError("the model has changed since this worker began. Start it anew");
        }
      }
      const own = child as Child;
      const stop = (): void => {
        own.send({ ask: "stop" });
      };
      stopping.addEventListener("abort", stop, { once: true });
      try {
        return await own.ask<ShardCounts>({ ask: "shard", output, shard, id });
      } finally {
        stopping.removeEventListener("abort", stop);
      }
    },
    close: async () => child?.close(),
  };
}

class Child {
  readonly #process: ChildProcess;
  readonly #ended: Promise<string>;
  #asked = 0;
  hasEnded = false;

  constructor() {
    this.#process = fork(process.argv[1] ?? "", [shardCommand], {
      serialization: "advanced",
      // Standard output is the worker's.
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.#ended = new Promise((resolve) => {
      const end = (how: string): void => {
        this.hasEnded = true;
        resolve(how);
      };
      this.#process.once("error", ({ message }) => end(message));
      this.#process.once("exit", (code, by) => end(by === null ? `exit code ${code}` : by));
    });
  }

  /** @returns the request's number. */
  send(request: ShardRequest): number {
    this.#asked += 1;
    const numbered: NumberedShardRequest = { ...request, number: this.#asked };
    // Where the process has ended, that it has says more.
    this.#process.send(numbered, () => undefined);
    return numbered.number;
  }

  async ask<Answer>(request: ShardRequest): Promise<Answer> {
    const number = this.send(request);
    let take: ((message: ShardReply) => void) | undefined;
    const answered = new Promise<Answer>((resolve, reject) => {
      take = (message) => {
        if (message.number !== number) return;
        if (message.reply === "done") resolve(message.value as Answer);
        else reject(receiveError(message.error));
      };
      this.#process.on("message", take);
    });
    const ended = this.#ended.then((how): never => {
      const memory = how === "SIGKILL" ? "; the system kills what uses too much memory" : "";
      throw new CommandError(`the process that runs the model ended (${how})${memory}`);
    });
    try {
      return await Promise.race([answered, ended]);
    } finally {
      if (take !== undefined) this.#process.off("message", take);
    }
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }

  async close(): Promise<void> {
    if (!this.hasEnded) {
      const timer = setTimeout(() => this.kill(), patience);
      await this.ask({ ask: "close" }).catch(() => undefined);
      if (this.#process.connected) this.#process.disconnect();
      await this.#ended;
      clearTimeout(timer);
    }
  }
}
