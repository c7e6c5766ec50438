import { context, propagation, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";

/**
 * Names of span attributes, all in this file. OpenTelemetry's conventions for generative AI have none for reranking yet:
 * the general ones are used where they fit, and those with `rerank` are as proposed there.
 */
export const attributes = {
  operation: "gen_ai.operation.name",
  provider: "gen_ai.provider.name",
  requestModel: "gen_ai.request.model",
  responseModel: "gen_ai.response.model",
  inputTokens: "gen_ai.usage.input_tokens",
  topN: "gen_ai.rerank.top_n",
  documentsCount: "gen_ai.rerank.documents.count",
  resultsCount: "gen_ai.rerank.results.count",
  scores: "gen_ai.rerank.results.scores",
  indexes: "gen_ai.rerank.results.indexes",
  /** Texts: only where they are asked for. */
  query: "gen_ai.rerank.query",
  documents: "gen_ai.rerank.documents",
  dialect: "crossrank.dialect",
  scale: "crossrank.scale",
  queueMilliseconds: "crossrank.queue.duration_ms",
  errorType: "error.type",
  httpStatus: "http.response.status_code",
} as const;

/** Results whose scores a span holds. */
const mostScores = 100;

/** The span of one request. Does nothing where the host has set up no OpenTelemetry. */
export interface RequestSpan {
  request(facts: {
    readonly model: string;
    readonly dialect: string;
    readonly documents: number;
    readonly topN: number | undefined;
    readonly texts: { readonly query: string; readonly documents: readonly string[] } | undefined;
  }): void;
  answer(facts: {
    readonly scale: string;
    readonly tokens: number;
    readonly queueMilliseconds: number;
    readonly scores: readonly { readonly index: number; readonly score: number | null }[];
  }): void;
  /** @param type of a refusal; undefined of an answer. */
  end(status: number, type: string | undefined): void;
}

/** @param headers of the request, in which the caller's span may be named. */
export function startSpan(headers: Headers): RequestSpan {
  const parent = propagation.extract(context.active(), Object.fromEntries(headers));
  const span: Span = trace.getTracer("@crossrank/server").startSpan(
    "rerank",
    {
      kind: SpanKind.SERVER,
      attributes: { [attributes.operation]: "rerank", [attributes.provider]: "crossrank" },
    },
    parent,
  );
  return {
    request: ({ model, dialect, documents, topN, texts }) => {
      span.updateName(`rerank ${model}`);
      span.setAttributes({
        [attributes.requestModel]: model,
        [attributes.dialect]: dialect,
        [attributes.documentsCount]: documents,
        ...(topN === undefined ? {} : { [attributes.topN]: topN }),
        ...(texts === undefined
          ? {}
          : { [attributes.query]: texts.query, [attributes.documents]: [...texts.documents] }),
      });
    },
    answer: ({ scale, tokens, queueMilliseconds, scores }) => {
      const shown = scores.slice(0, mostScores);
      span.setAttributes({
        [attributes.scale]: scale,
        [attributes.inputTokens]: tokens,
        [attributes.queueMilliseconds]: queueMilliseconds,
        [attributes.resultsCount]: scores.length,
        [attributes.indexes]: shown.map(({ index }) => index),
        [attributes.scores]: shown.map(({ score }) => score ?? Number.NaN),
      });
    },
    end: (status, type) => {
      span.setAttribute(attributes.httpStatus, status);
      if (type !== undefined) {
        span.setAttribute(attributes.errorType, type);
        if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
      }
      span.end();
    },
  };
}
