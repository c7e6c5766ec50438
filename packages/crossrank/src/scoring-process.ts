import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { FileProgress, LongDocuments, ScoringProgress, TruncationStrategy } from "@crossrank/core";
import type { Scorer, ScorerDescription } from "@crossrank/eval";
import type { Timing, TimingRequest } from "./bench/cell.js";
import type { Turn, TurnRequest } from "./bench/turn.js";
import { CommandError, UsageError } from "./failure.js";
import type { ModelOptions } from "./model.js";

/** Name of the hidden command that a scoring process runs. */
export const scoringCommand = "scoring-process";

/** What a scoring process loads. */
export interface ScoringTarget {
  readonly model: string;
  readonly modelOptions: ModelOptions;
  /** Path of a crossrank.json. */
  readonly profile: string | undefined;
  readonly backend: string;
  readonly dtype: string | undefined;
  readonly maxLength: number | undefined;
  readonly truncation: TruncationStrategy | undefined;
  readonly longDocuments?: LongDocuments | undefined;
  readonly instruction: string | undefined;
  readonly threads: number | undefined;
  readonly workers: number | undefined;
  /** A small model before it, and how many documents go on. */
  readonly cascade?: { readonly first: ScoringTarget; readonly keep: number } | undefined;
}

/** What is asked of a scoring process, one at a time. */
export type ScoringRequest =
  | { readonly ask: "open"; readonly target: ScoringTarget }
  | { readonly ask: "score"; readonly pairs: Parameters<Scorer["score"]>[0] }
  | { readonly ask: "embed"; readonly texts: readonly string[]; readonly as: "query" | "document" }
  | { readonly ask: "time"; readonly request: TimingRequest }
  | { readonly ask: "turn"; readonly request: TurnRequest }
  | { readonly ask: "diagnose"; readonly backend: string }
  | { readonly ask: "convert"; readonly target: ScoringTarget }
  | { readonly ask: "memory" }
  | { readonly ask: "close" };

export type ScoringReply =
  | { readonly reply: "done"; readonly value: unknown }
  | { readonly reply: "failed"; readonly error: SentError }
  | { readonly reply: "scoring"; readonly progress: ScoringProgress }
  | { readonly reply: "download"; readonly progress: FileProgress };

/** An error on its way between processes. */
export interface SentError {
  readonly kind: "usage" | "command" | "other";
  readonly name: string;
  readonly message: string;
  readonly stack: string | undefined;
  /** Its own fields, and the mark by which core knows its errors. */
  readonly fields: Readonly<Record<string, unknown>>;
  readonly lineage: unknown;
}

const errorMark = Symbol.for("crossrank.error");

/**
 * Loads a model in a process of its own, so that its peak memory can be told from that of the task and of other
 * systems, and that what a runtime leaves behind is gone with it. An abort kills the process: it holds nothing that
 * anyone misses.
 */
export async function openScoringProcess(
  target: ScoringTarget,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((progress: FileProgress) => void) | undefined;
  },
): Promise<Scorer> {
  const child = new ScoringProcess(options.signal);
  try {
    const request = { ask: "open", target } as const;
    const description = await child.ask<ScorerDescription>(request, { download: options.onProgress });
    return {
      description,
      score: (pairs, { onProgress }) => child.ask({ ask: "score", pairs }, { scoring: onProgress }),
      embed: (texts, { as, onProgress }) => child.ask({ ask: "embed", texts, as }, { scoring: onProgress }),
      memory: () => child.ask({ ask: "memory" }),
      close: () => child.close(),
    };
  } catch (error) {
    await child.close();
    throw error;
  }
}

/** A model in a process of its own whose calls are timed there. */
export interface BenchProcess extends Pick<Scorer, "description" | "memory" | "close"> {
  time(request: TimingRequest): Promise<Timing>;
}

/** The same, which also takes turns with others on pairs that it is given. */
export interface TurnProcess extends BenchProcess {
  turn(request: TurnRequest): Promise<Turn>;
}

/** The process ended by itself, or the system ended it. */
export class ScoringProcessEndedError extends CommandError {
  /** The signal, or `"exit code 3"`. */
  readonly how: string;
  constructor(how: string) {
    super(
      `the process that runs the model ended (${how}) in the middle of its work` +
        `${how === "SIGKILL" ? "; the system kills what uses too much memory" : ""}. What was scored is kept`,
    );
    this.how = how;
  }
}

/**
 * Asks one thing of a process that has no model, and ends it: what native code does there takes nobody else with it.
 *
 * @throws {ScoringProcessEndedError} where it did not live to answer.
 */
export async function askOnce<Answer>(
  request: Extract<ScoringRequest, { readonly ask: "diagnose" | "convert" }>,
  signal?: AbortSignal,
): Promise<Answer> {
  const child = new ScoringProcess(signal);
  try {
    return await child.ask<Answer>(request);
  } finally {
    await child.close();
  }
}

/** As {@link openScoringProcess}, for `bench`. */
export async function openBenchProcess(
  target: ScoringTarget,
  options: Parameters<typeof openScoringProcess>[1],
): Promise<TurnProcess> {
  const child = new ScoringProcess(options.signal);
  try {
    const request = { ask: "open", target } as const;
    const description = await child.ask<ScorerDescription>(request, { download: options.onProgress });
    return {
      description,
      time: (request) => child.ask({ ask: "time", request }),
      turn: (request) => child.ask({ ask: "turn", request }),
      memory: () => child.ask({ ask: "memory" }),
      close: () => child.close(),
    };
  } catch (error) {
    await child.close();
    throw error;
  }
}

/** The command, also where a library call starts the process: from `src` and `dist` alike. */
const program = fileURLToPath(new URL("../bin/crossrank.js", import.meta.url));

interface Listeners {
  readonly scoring?: ((progress: ScoringProgress) => void) | undefined;
  readonly download?: ((progress: FileProgress) => void) | undefined;
}

class ScoringProcess {
  readonly #child: ChildProcess;
  readonly #signal: AbortSignal | undefined;
  readonly #ended: Promise<string>;
  readonly #kill: () => void;

  constructor(signal: AbortSignal | undefined) {
    signal?.throwIfAborted();
    this.#signal = signal;
    this.#child = fork(program, [scoringCommand], {
      serialization: "advanced",
      // Standard output is the report's; what a runtime prints there would be in the middle of it.
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.#kill = () => this.#child.kill("SIGKILL");
    signal?.addEventListener("abort", this.#kill, { once: true });
    this.#ended = new Promise((resolve) => {
      this.#child.once("error", ({ message }) => resolve(message));
      this.#child.once("exit", (code, by) => resolve(by === null ? `exit code ${code}` : by));
    });
  }

  ask<Answer>(request: ScoringRequest, listeners: Listeners = {}): Promise<Answer> {
    return new Promise<Answer>((resolve, reject) => {
      const stop = (): void => {
        this.#child.off("message", take);
      };
      const take = (message: ScoringReply): void => {
        try {
          if (message.reply === "scoring") listeners.scoring?.(message.progress);
          if (message.reply === "download") listeners.download?.(message.progress);
        } catch (error) {
          stop();
          reject(error);
          return;
        }
        if (message.reply === "scoring" || message.reply === "download") return;
        stop();
        if (message.reply === "done") resolve(message.value as Answer);
        else reject(receiveError(message.error));
      };
      this.#child.on("message", take);
      void this.#ended.then((how) => {
        stop();
        reject(this.#signal?.aborted ? this.#signal.reason : new ScoringProcessEndedError(how));
      });
      this.#child.send(request, (error) => {
        // When the process has ended, that it has says more.
        if (error !== null && this.#child.exitCode === null && this.#child.signalCode === null) {
          stop();
          reject(error);
        }
      });
    });
  }

  async close(): Promise<void> {
    this.#signal?.removeEventListener("abort", this.#kill);
    if (this.#child.connected && !this.#signal?.aborted) {
      await this.ask({ ask: "close" }).catch(() => undefined);
    } else this.#kill();
    if (this.#child.connected) this.#child.disconnect();
    await this.#ended;
  }
}

export function sendError(error: unknown): SentError {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error));
  const kind = error instanceof UsageError ? "usage" : error instanceof CommandError ? "command" : "other";
  const plain = Object.entries(error instanceof Error ? error : {}).filter(
    ([, value]) => ["string", "number", "boolean"].includes(typeof value) || Array.isArray(value),
  );
  const lineage = error instanceof Error ? Reflect.get(error, errorMark) : undefined;
  return { kind, name, message, stack, fields: Object.fromEntries(plain), lineage };
}

export function receiveError({ kind, name, message, stack, fields, lineage }: SentError): Error {
  if (kind === "usage") return new UsageError(message);
  if (kind === "command") return new CommandError(message);
  const error = Object.assign(new Error(message), fields, { name });
  if (stack !== undefined) error.stack = stack;
  if (lineage !== undefined) Object.defineProperty(error, errorMark, { value: lineage });
  return error;
}
