import { randomUUID } from "node:crypto";
import { Hono } from "hono";
import { readBody } from "./body/read-body.js";
import { readJson } from "./body/read-json.js";
import { answerHeaders, rerankBody, scoreBody } from "./dialects/answers.js";
import { type Dialect, dialectOfBody, dialectOfPath, prefixPattern } from "./dialects/dialect.js";
import {
  type CommonRequest,
  longDocumentsOf,
  readRerankRequest,
  readScoreRequest,
} from "./dialects/read-request.js";
import { refusalBody, refusalHeaders } from "./dialects/refusals.js";
import { estimateTokens } from "./estimate.js";
import { checkKey, digestKey } from "./keys.js";
import { createMetrics } from "./metrics.js";
import { codeOf, ServedModel } from "./models/served-model.js";
import { describeApi } from "./openapi.js";
import { readOptions, type ServerOptions } from "./options.js";
import { refuseOrigin } from "./origin.js";
import { page, pageHeaders } from "./page/page.js";
import { RequestRefusedError } from "./refusal.js";
import { type Outcome, type RunContext, runRerank, runScore } from "./run-request.js";
import { type RequestSpan, startSpan } from "./telemetry.js";

/** A rerank server: a fetch handler, which `listen` puts on a port and any other server can mount. */
export interface RerankServer {
  /** Answers one request. @param environment of @hono/node-server, by which clients are told apart; or nothing. */
  readonly fetch: (request: Request, environment?: unknown) => Response | Promise<Response>;
  /** Whether a key is needed. */
  readonly hasKeys: boolean;
  /**
   * Loads a model now, or all of them one after the other, instead of at the first request.
   *
   * @throws what the model's `open` throws.
   */
  load(name?: string): Promise<void>;
  /**
   * Refuses new requests with 503 and says 503 to /health, finishes what is under way, then frees the models. Safe to
   * call twice.
   *
   * @param deadline milliseconds after which requests under way are ended too. Default 30,000.
   */
  close(deadline?: number): Promise<void>;
}

/** What is known of a request so far, for its log line, its metrics and its span. */
interface Exchange {
  readonly id: string;
  readonly began: number;
  readonly span: RequestSpan;
  dialect: Dialect;
  model?: string;
  documents?: number;
  outcome?: Outcome;
  cause?: unknown;
}

/** As nginx has it: the client had gone before the answer. */
const clientHasGone = 499;

/**
 * A server for models that the caller opens. Loads nothing yet.
 *
 * @throws {InvalidInputError} for a wrong option.
 */
export function createServer(options: ServerOptions): RerankServer {
  const settings = readOptions(options);
  const { limits, log } = settings;
  const digests = settings.keys.map(digestKey);
  const models = settings.models.map(
    (one) => new ServedModel(one, { ...settings, queueTokens: limits.queueTokens }),
  );
  const [firstModel] = models as [ServedModel, ...ServedModel[]];
  const byName = new Map(models.map((model) => [model.name, model]));
  const metrics = createMetrics(models);
  const underWay = new Map<string, AbortController>();
  let closing: Promise<void> | undefined;
  let allDone: (() => void) | undefined;

  const findModel = (name: string | undefined): ServedModel => {
    if (name === undefined || name === "default" || models.length === 1) return firstModel;
    const model = byName.get(name);
    if (model !== undefined) return model;
    throw new RequestRefusedError(
      404,
      `there is no model ${JSON.stringify(name.slice(0, 80))}. There is: ${[...byName.keys()].join(", ")}`,
      { type: "model_not_found" },
    );
  };

  const context = (
    model: ServedModel,
    pairs: readonly { readonly query: string; readonly document: string }[],
    asked: Pick<CommonRequest, "timeBudget" | "longDocuments" | "passages">,
    client: string,
    signal: AbortSignal,
  ): RunContext => {
    const long = longDocumentsOf(asked, model.longDocuments);
    const tokens = estimateTokens(pairs, model.maxLength, typeof long === "object" ? long : undefined);
    const most = Math.min(limits.requestTokens, limits.queueTokens);
    if (tokens > most) {
      throw new RequestRefusedError(
        422,
        `the texts have about ${tokens} tokens, and a request may have ${most}. Send them in several requests`,
      );
    }
    const budget = Math.min(asked.timeBudget ?? limits.requestMilliseconds, limits.requestMilliseconds);
    return { model, client, tokens, budget, cosine: settings.cosine, signal };
  };

  /** Everything about one request for scores, from its headers to its answer. */
  const handle = async (
    request: Request,
    environment: unknown,
    answer: (exchange: Exchange, client: string, signal: AbortSignal) => Promise<Response>,
  ): Promise<Response> => {
    const exchange: Exchange = {
      id: randomUUID(),
      began: performance.now(),
      span: startSpan(request.headers),
      dialect: dialectOfPath(new URL(request.url).pathname, request.headers) ?? "superset",
    };
    const abort = new AbortController();
    const gone = (): void => abort.abort(new ClientGoneError());
    let response: Response;
    let refusal: RequestRefusedError | undefined;
    try {
      refuseOrigin(request.headers, settings.origins, digests.length > 0);
      const key = checkKey(request.headers, digests);
      if (closing !== undefined) {
        throw new RequestRefusedError(503, "the server is closing. Come again", { type: "closing" });
      }
      if (underWay.size >= limits.requests) {
        throw new RequestRefusedError(429, `${limits.requests} requests are open already. Come again`);
      }
      underWay.set(exchange.id, abort);
      if (request.signal.aborted) gone();
      request.signal.addEventListener("abort", gone, { once: true });
      response = await answer(exchange, clientOf(key, environment), abort.signal);
    } catch (error) {
      exchange.cause = error;
      refusal = toRefusal(error);
      response = refuse(exchange.dialect, refusal);
    } finally {
      request.signal.removeEventListener("abort", gone);
      underWay.delete(exchange.id);
      if (underWay.size === 0) allDone?.();
    }
    const isGone = exchange.cause instanceof ClientGoneError;
    report(exchange, isGone ? clientHasGone : response.status, isGone ? undefined : refusal);
    response.headers.set("x-request-id", exchange.id);
    if (closing !== undefined) response.headers.set("connection", "close");
    return response;
  };

  const report = (exchange: Exchange, status: number, refusal: RequestRefusedError | undefined): void => {
    const { dialect, model = "none", documents, outcome } = exchange;
    const elapsed = performance.now() - exchange.began;
    exchange.span.end(status, refusal?.type);
    metrics.record({
      dialect,
      model,
      status,
      documents,
      seconds: elapsed / 1000,
      queueSeconds: outcome === undefined ? undefined : outcome.milliseconds.queue / 1000,
      tokens: outcome?.tokens,
    });
    const hidden = refusal?.cause;
    log({
      level: status === 500 ? "error" : status >= 400 ? "warning" : "info",
      event: "request",
      id: exchange.id,
      status,
      dialect,
      model,
      documents,
      tokens: outcome?.tokens,
      milliseconds: Math.round(elapsed),
      queueMilliseconds: outcome === undefined ? undefined : Math.round(outcome.milliseconds.queue),
      refusal: refusal?.type,
      code: hidden === undefined ? undefined : codeOf(hidden),
    });
  };

  const bodyOf = async (request: Request): Promise<Record<string, unknown>> =>
    readJson(await readBody(request, limits.bodyBytes, limits.bodyMilliseconds));

  const answerRerank = (request: Request, environment: unknown): Promise<Response> =>
    handle(request, environment, async (exchange, client, signal) => {
      const body = await bodyOf(request);
      const { pathname } = new URL(request.url);
      const dialect = dialectOfPath(pathname, request.headers) ?? dialectOfBody(body);
      exchange.dialect = dialect;
      const { longDocuments } = settings;
      const asked = readRerankRequest(body, dialect, { most: limits.documents, longDocuments });
      const model = findModel(asked.model);
      exchange.model = model.name;
      exchange.documents = asked.texts.length;
      exchange.span.request({
        model: model.name,
        dialect,
        documents: asked.texts.length,
        topN: asked.topN,
        texts: settings.traceTexts ? { query: asked.query, documents: asked.texts } : undefined,
      });
      const pairs = asked.texts.map((document) => ({ query: asked.query, document }));
      const outcome = await runRerank(asked, context(model, pairs, asked, client, signal));
      note(exchange, outcome);
      const version = pathname.includes("/v2/") ? "2" : "1";
      return json(
        200,
        rerankBody(dialect, asked, outcome, { model: model.name, version }),
        answerHeaders(dialect, outcome, asked.query.length + sum(asked.texts)),
      );
    });

  const answerScore = (request: Request, environment: unknown): Promise<Response> =>
    handle(request, environment, async (exchange, client, signal) => {
      const { longDocuments } = settings;
      const asked = readScoreRequest(await bodyOf(request), { most: limits.documents, longDocuments });
      const model = findModel(asked.model);
      exchange.model = model.name;
      exchange.documents = asked.pairs.length;
      exchange.span.request({
        model: model.name,
        dialect: exchange.dialect,
        documents: asked.pairs.length,
        topN: undefined,
        texts: settings.traceTexts
          ? { query: asked.pairs[0]?.query ?? "", documents: asked.pairs.map(({ document }) => document) }
          : undefined,
      });
      const outcome = await runScore(asked, context(model, asked.pairs, asked, client, signal));
      note(exchange, outcome);
      return json(200, scoreBody(outcome, model.name), answerHeaders("vllm", outcome, 0));
    });

  const health = async (): Promise<Response> => {
    const well = closing === undefined && (await Promise.all(models.map((model) => model.isWell())));
    const states = Object.fromEntries(models.map((model) => [model.name, model.state]));
    const isWell = Array.isArray(well) && well.every(Boolean);
    return isWell
      ? json(200, { status: "ok", models: states })
      : json(
          503,
          { status: closing === undefined ? "unwell" : "closing", models: states },
          { "retry-after": "1" },
        );
  };

  const app = new Hono();
  const protect = (
    request: Request,
    answer: () => Response | Promise<Response>,
  ): Response | Promise<Response> => {
    try {
      checkKey(request.headers, digests);
      return answer();
    } catch (error) {
      const dialect = dialectOfPath(new URL(request.url).pathname, request.headers) ?? "superset";
      return refuse(dialect, toRefusal(error));
    }
  };
  const description = describeApi(settings.version);
  for (const prefix of ["", `/${prefixPattern}`]) {
    for (const version of ["", "/v1", "/v2"]) {
      for (const name of ["rerank", "reranking"]) {
        app.post(`${prefix}${version}/${name}`, ({ req, env }) => answerRerank(req.raw, env));
      }
      app.post(`${prefix}${version}/score`, ({ req, env }) => answerScore(req.raw, env));
      app.get(`${prefix}${version}/models`, ({ req }) =>
        protect(req.raw, () => json(200, { object: "list", data: models.map(describeModel) })),
      );
      app.get(`${prefix}${version}/health`, health);
    }
    app.get(`${prefix}/info`, ({ req }) => protect(req.raw, () => json(200, teiInfo(firstModel, settings))));
    app.get(`${prefix}/metrics`, ({ req }) =>
      protect(
        req.raw,
        async () =>
          new Response(await metrics.render(), { headers: { "content-type": metrics.contentType } }),
      ),
    );
  }
  app.get("/ping", health);
  app.get("/openapi.json", () => json(200, description));
  app.get("/", () => new Response(page, { headers: pageHeaders }));
  const known = new Set(app.routes.map(({ path }) => path));
  for (const path of known) {
    app.all(path, ({ req }) => {
      const allowed = app.routes.some((route) => route.path === path && route.method === "POST")
        ? "POST"
        : "GET";
      return refuse(
        dialectOfPath(req.path, req.raw.headers) ?? "superset",
        new RequestRefusedError(405, `${req.method} is not for this address. Use ${allowed}`),
        { allow: allowed },
      );
    });
  }
  app.notFound(({ req }) =>
    refuse(
      dialectOfPath(req.path, req.raw.headers) ?? "superset",
      new RequestRefusedError(404, "there is nothing at this address. See /openapi.json"),
    ),
  );
  app.onError((error, { req }) => {
    log({ level: "error", event: "fault", code: codeOf(error) });
    return refuse(dialectOfPath(req.path, req.raw.headers) ?? "superset", toRefusal(error));
  });

  const end = async (deadline: number): Promise<void> => {
    log({ level: "info", event: "closing", requests: underWay.size });
    if (underWay.size > 0) {
      const timer = setTimeout(() => {
        for (const abort of underWay.values()) {
          abort.abort(new RequestRefusedError(503, "the server is closing. Come again", { type: "closing" }));
        }
      }, deadline);
      await new Promise<void>((resolve) => {
        allDone = resolve;
      });
      clearTimeout(timer);
    }
    await Promise.all(models.map((model) => model.close()));
    log({ level: "info", event: "closed" });
  };

  return {
    fetch: (request, environment) => app.fetch(request, environment as never),
    hasKeys: digests.length > 0,
    load: async (name) => {
      if (name !== undefined) return findModel(name).load();
      for (const model of models) await model.load();
    },
    close: (deadline = 30_000) => {
      closing ??= Promise.resolve().then(() => end(deadline));
      return closing;
    },
  };
}

class ClientGoneError extends Error {}

function note(exchange: Exchange, outcome: Outcome): void {
  exchange.outcome = outcome;
  exchange.span.answer({
    scale: outcome.scale,
    tokens: outcome.tokens,
    queueMilliseconds: outcome.milliseconds.queue,
    scores: outcome.scores,
  });
}

function describeModel(model: ServedModel): unknown {
  const { name, reference, state, facts } = model;
  return {
    id: name,
    object: "model",
    created: 0,
    owned_by: "crossrank",
    reference,
    state,
    backend: facts?.backend,
    runtime: facts?.runtime,
    dtype: facts?.dtype,
    family: facts?.family,
    max_length: facts?.maxLength,
    takes_instruction: facts?.takesInstruction,
  };
}

/** What TEI's /info says. */
function teiInfo(model: ServedModel, settings: ReturnType<typeof readOptions>): unknown {
  const { limits, version } = settings;
  return {
    model_id: model.name,
    model_sha: null,
    model_dtype: model.facts?.dtype ?? "unknown",
    model_type: { reranker: { id2label: { "0": "LABEL_0" }, label2id: { LABEL_0: 0 } } },
    max_concurrent_requests: limits.requests,
    max_input_length: model.maxLength,
    max_batch_tokens: limits.requestTokens,
    max_batch_requests: null,
    max_client_batch_size: limits.documents,
    auto_truncate: true,
    tokenization_workers: 1,
    version,
    sha: null,
    docker_label: null,
  };
}

/** Whose share of the queue a request takes: a key's, else an address's. */
function clientOf(key: number | undefined, environment: unknown): string {
  const { incoming } = (environment ?? {}) as {
    readonly incoming?: { readonly socket?: { readonly remoteAddress?: string } };
  };
  return `${key ?? ""} ${incoming?.socket?.remoteAddress ?? ""}`;
}

/** Of whatever was thrown. What is not ours says nothing of itself to the client. */
function toRefusal(error: unknown): RequestRefusedError {
  if (RequestRefusedError.isInstance(error)) return error;
  return new RequestRefusedError(500, "the server failed. Its log has the request's id", { cause: error });
}

function refuse(
  dialect: Dialect,
  refusal: RequestRefusedError,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return json(refusal.status, refusalBody(dialect, refusal), { ...refusalHeaders(refusal), ...headers });
}

function json(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(body), {
    status,
    headers: { "content-type": "application/json", "x-content-type-options": "nosniff", ...headers },
  });
}

function sum(texts: readonly string[]): number {
  return texts.reduce((total, text) => total + text.length, 0);
}
