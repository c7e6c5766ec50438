import {
  type FallbackReranker,
  InvalidInputError,
  type LongDocuments,
  type Reranker,
  readLongDocuments,
} from "@crossrank/core";

/** What a model's `open` gives: one reranker, or a chain of variants. */
export type ServedReranker = Reranker | FallbackReranker;

/** A model under the name that clients ask for. */
export interface ServedModelOptions {
  /** 1 to 256 characters, each name once. */
  readonly name: string;
  /**
   * Opens the model, at its first request or at `server.load`. Called again after an idle time or a failure. The server
   * disposes what it gives.
   */
  readonly open: (options: { readonly signal: AbortSignal }) => Promise<ServedReranker>;
  /** Where the model comes from, for people: shown by /v1/models and the page. Default: the name. */
  readonly reference?: string | undefined;
}

/** What one request, and all of them together, may take. Each is named in the refusal that it causes. */
export interface ServerLimits {
  /** Bytes of a body. Default 8,388,608. */
  readonly bodyBytes: number;
  /** Milliseconds that a body may take to arrive. Default 30,000. */
  readonly bodyMilliseconds: number;
  /** Documents of a request. Default 1,000. */
  readonly documents: number;
  /** Tokens of a request, counted as {@link estimateTokens} does. Default 262,144. */
  readonly requestTokens: number;
  /** Tokens of all requests of a model that wait or run, counted alike. Default 262,144. */
  readonly queueTokens: number;
  /** Requests that are open at once, their bodies included. Default 512. */
  readonly requests: number;
  /** Milliseconds from a request's body to its answer, waiting included. Default 60,000. */
  readonly requestMilliseconds: number;
}

export const defaultLimits: ServerLimits = {
  bodyBytes: 8 * 1024 * 1024,
  bodyMilliseconds: 30_000,
  documents: 1000,
  requestTokens: 262_144,
  queueTokens: 262_144,
  requests: 512,
  requestMilliseconds: 60_000,
};

/** One line of the log. It never holds a text of a request. */
export interface LogEntry {
  readonly level: "info" | "warning" | "error";
  /** `request`, `load`, `loaded`, `unloaded`, `load-failed`, `fault`, `closing` or `closed`. */
  readonly event: string;
  readonly [field: string]: string | number | boolean | undefined;
}

export interface ServerOptions {
  /** At least one. The first is that of requests which name none, or `"default"`. */
  readonly models: readonly ServedModelOptions[];
  /** Any of them opens the server, as `Authorization: Bearer KEY`. Default: none, so that everybody may call. */
  readonly keys?: readonly string[] | undefined;
  readonly limits?: Partial<ServerLimits> | undefined;
  /** Milliseconds without a request after which a model is freed; 0 keeps it. Default 0. */
  readonly idleMilliseconds?: number | undefined;
  /** Milliseconds that a request waits for its model to load before it is told to come again. Default 0. */
  readonly loadWaitMilliseconds?: number | undefined;
  /**
   * What a model whose scores are cosines answers: `map` gives (1 + cosine) / 2 with a warning, `refuse` an error unless
   * the request has `raw_scores`. Default `map`.
   */
  readonly cosine?: "map" | "refuse" | undefined;
  /**
   * What requests that say nothing of it do with documents that are longer than the model. Default: what the model's
   * reranker does.
   */
  readonly longDocuments?: LongDocuments | undefined;
  /** Pages of other origins that may call, e.g. `"https://notes.example"`. Default: the server's own page alone. */
  readonly origins?: readonly string[] | undefined;
  /** Put queries and documents into OpenTelemetry spans. Default false. */
  readonly traceTexts?: boolean | undefined;
  /** Called for each line of the log. What it throws is dropped. */
  readonly log?: ((entry: LogEntry) => void) | undefined;
  /** Version shown by /info and /openapi.json. Default `"0.0.0"`. */
  readonly version?: string | undefined;
}

/** Options with every default in place. */
export type ServerSettings = {
  readonly [Name in keyof Omit<ServerOptions, "limits" | "longDocuments">]-?: NonNullable<
    ServerOptions[Name]
  >;
} & { readonly limits: ServerLimits; readonly longDocuments: ReadLongDocuments };

/** What `readLongDocuments` gives: the settings with their defaults, `"truncate"`, or nothing where nothing is said. */
export type ReadLongDocuments = ReturnType<typeof readLongDocuments>;

/** @throws {InvalidInputError} */
export function readOptions(options: ServerOptions): ServerSettings {
  const { models, keys = [], idleMilliseconds = 0, loadWaitMilliseconds = 0 } = options;
  if (!Array.isArray(models) || models.length === 0) {
    throw new InvalidInputError("models", "is empty. Give at least one model");
  }
  const names = new Set<string>();
  for (const [index, { name, open }] of models.entries()) {
    if (typeof name !== "string" || name.length < 1 || name.length > 256) {
      throw new InvalidInputError(`models[${index}].name`, "must have 1 to 256 characters");
    }
    if (names.has(name)) throw new InvalidInputError(`models[${index}].name`, `is ${name}, as another's is`);
    if (typeof open !== "function")
      throw new InvalidInputError(`models[${index}].open`, "must be a function");
    names.add(name);
  }
  if (keys.some((key) => typeof key !== "string" || !/^[\x21-\x7e]+$/.test(key))) {
    throw new InvalidInputError("keys", "must be of printable ASCII characters without spaces, at least one");
  }
  const limits = { ...defaultLimits, ...defined(options.limits ?? {}) };
  for (const [name, value] of Object.entries(limits)) requireWhole(`limits.${name}`, value, 1);
  requireWhole("idleMilliseconds", idleMilliseconds, 0);
  requireWhole("loadWaitMilliseconds", loadWaitMilliseconds, 0);
  const longDocuments = readLongDocuments(options.longDocuments);
  const { log } = options;
  return {
    models,
    keys,
    limits,
    idleMilliseconds,
    loadWaitMilliseconds,
    longDocuments,
    cosine: options.cosine ?? "map",
    origins: options.origins ?? [],
    traceTexts: options.traceTexts ?? false,
    version: options.version ?? "0.0.0",
    log: (entry) => {
      try {
        log?.(entry);
      } catch {
        // A log that fails must not fail a request.
      }
    },
  };
}

/** Most that a timer takes. */
const longest = 2 ** 31 - 1;

function requireWhole(path: string, value: unknown, least: number): void {
  if (!Number.isInteger(value) || (value as number) < least || (value as number) > longest) {
    throw new InvalidInputError(path, `must be a whole number from ${least} to ${longest}`);
  }
}

function defined<Part extends object>(part: Part): Part {
  return Object.fromEntries(Object.entries(part).filter(([, value]) => value !== undefined)) as Part;
}
