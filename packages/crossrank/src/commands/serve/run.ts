import { InvalidInputError, type LongDocuments, type ScoreCache } from "@crossrank/core";
import { createServer, type LogEntry, listen, type ServedReranker } from "@crossrank/server";
import { type CascadeChoices, firstStageOf } from "../../cascade-options.js";
import { type Context, print } from "../../context.js";
import { readProfileFile } from "../../model.js";
import { openReranker } from "../../open-reranker.js";
import type { ProfiledModelOptions } from "../../options.js";
import { findBackend } from "../../registry.js";
import { openScoreCacheFile } from "../../score-options.js";
import type { ServedModelChoice } from "./model-option.js";

export interface ServeCommandOptions extends ProfiledModelOptions, CascadeChoices {
  readonly backend?: readonly string[];
  readonly file?: string;
  /** Folder of an adapter that MLX computes beside the model. */
  readonly adapter?: string;
  readonly instruction?: string;
  readonly maxLength?: number;
  readonly truncation?: "document-only" | "longest-first";
  readonly threads?: number;
  readonly workers?: number;
  readonly activation?: "model" | "probability";
  /** Path. */
  readonly scoreCache?: string;
  readonly host: string;
  readonly port: number;
  readonly apiKey?: readonly string[];
  readonly preload?: true;
  /** Milliseconds, as all times here. */
  readonly idleUnload: number;
  readonly loadWait: number;
  readonly longDocuments?: LongDocuments | undefined;
  readonly cosine: "map" | "refuse";
  readonly origin?: readonly string[];
  readonly limitBody?: number;
  readonly limitDocuments?: number;
  readonly limitTokens?: number;
  readonly limitQueue?: number;
  readonly limitRequests?: number;
  readonly limitTime?: number;
  readonly deadline: number;
  readonly traceTexts?: true;
  readonly log: "info" | "warning" | "error" | "none";
}

/** Milliseconds beyond the deadline for a runtime to end. */
const grace = 15_000;

const levels = ["info", "warning", "error", "none"] as const;

/** Serves until the program is told to end. */
export async function serve(
  options: ServeCommandOptions & { readonly models: readonly ServedModelChoice[] },
  { signal, endWithin }: Context,
  version: string,
): Promise<void> {
  endWithin(options.deadline + grace);
  const cache = options.scoreCache === undefined ? undefined : await openScoreCacheFile(options.scoreCache);
  try {
    await serveWith(cache, options, signal, version);
  } finally {
    await cache?.dispose();
  }
}

/** @param cache of the scores of all models. */
async function serveWith(
  cache: ScoreCache | undefined,
  options: Parameters<typeof serve>[0],
  signal: AbortSignal,
  version: string,
): Promise<void> {
  const { CROSSRANK_API_KEY: environmentKey = "" } = process.env;
  const log = createLog(options.log);
  const server = createServer({
    models: options.models.map((choice) => ({
      name: choice.name,
      reference: choice.reference,
      open: (request) => open(choice, options, cache, request.signal),
    })),
    keys: [...(options.apiKey ?? []), ...(environmentKey === "" ? [] : [environmentKey])],
    limits: {
      ...(options.limitBody === undefined ? {} : { bodyBytes: options.limitBody }),
      ...(options.limitDocuments === undefined ? {} : { documents: options.limitDocuments }),
      ...(options.limitTokens === undefined ? {} : { requestTokens: options.limitTokens }),
      ...(options.limitQueue === undefined ? {} : { queueTokens: options.limitQueue }),
      ...(options.limitRequests === undefined ? {} : { requests: options.limitRequests }),
      ...(options.limitTime === undefined ? {} : { requestMilliseconds: Math.max(1, options.limitTime) }),
    },
    idleMilliseconds: options.idleUnload,
    loadWaitMilliseconds: options.loadWait,
    longDocuments: options.longDocuments,
    cosine: options.cosine,
    origins: options.origin,
    traceTexts: options.traceTexts,
    version,
    log: log.write,
  });
  const listening = await listen(server, { host: options.host, port: options.port });
  const stopped = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
  try {
    if (options.preload || options.models.length === 1) {
      await Promise.race([server.load(), stopped]);
    }
    log.begin();
    if (!signal.aborted) await print(`${listening.url}\n`);
    await stopped;
  } finally {
    await listening.close(options.deadline);
  }
}

async function open(
  choice: ServedModelChoice,
  options: ServeCommandOptions,
  scoreCache: ScoreCache | undefined,
  signal: AbortSignal,
): Promise<ServedReranker> {
  const profile = await readProfileFile(choice.profile ?? options.profile);
  // Who names a precision for one model wants no file that was named for all.
  const file = choice.file ?? (choice.dtype === undefined ? options.file : undefined);
  const shared = {
    dtype: choice.dtype,
    file,
    convert: choice.convert ?? options.convert,
    revision: choice.revision ?? options.revision,
    offline: options.offline,
    base: choice.base ?? options.base,
    lock: choice.lock ?? options.lock,
    instruction: choice.instruction ?? options.instruction,
    truncation: choice.truncation ?? options.truncation,
    maxLength: choice.maxLength ?? options.maxLength,
    threads: choice.threads ?? options.threads,
    workers: choice.workers ?? options.workers,
    activation: options.activation,
    ...{ scoreCache, profile },
  };
  if (options.adapter !== undefined) {
    // Refuses in the usual words where MLX is not installed.
    await findBackend("mlx");
    const { mlx } = await import("@crossrank/backend-mlx");
    const backend = mlx({ adapter: options.adapter, threads: shared.threads });
    return openReranker(choice.reference, {
      ...shared,
      threads: undefined,
      workers: undefined,
      backend,
      signal,
    });
  }
  const backends = choice.backends.length > 0 ? choice.backends : (options.backend ?? []);
  if (backends.length < 2) {
    const cascade = await firstStageOf(options);
    return openReranker(choice.reference, { ...shared, backend: backends[0], cascade, signal });
  }
  if (choice.dtype !== undefined) {
    throw new InvalidInputError("dtype", "does not go with several backends. Write each as BACKEND:DTYPE");
  }
  if (file !== undefined) {
    throw new InvalidInputError("file", "does not go with several backends. Write each as BACKEND:FILE");
  }
  return openReranker(choice.reference, { ...shared, variants: backends.map((backend) => ({ backend })) });
}

/** One JSON object a line, from `begin` on: a start that fails is told in one line for people. */
function createLog(least: ServeCommandOptions["log"]): {
  readonly write: (entry: LogEntry) => void;
  readonly begin: () => void;
} {
  let held: string[] | undefined = [];
  return {
    write: (entry) => {
      if (levels.indexOf(entry.level) < levels.indexOf(least)) return;
      const line = `${JSON.stringify({ time: new Date().toISOString(), ...entry })}\n`;
      if (held === undefined) process.stderr.write(line);
      else held.push(line);
    },
    begin: () => {
      const lines = held ?? [];
      held = undefined;
      for (const line of lines) process.stderr.write(line);
    },
  };
}
