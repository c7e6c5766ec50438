import { randomUUID } from "node:crypto";
import type { Outcome } from "../run-request.js";
import type { Dialect } from "./dialect.js";
import type { RerankRequest } from "./read-request.js";

/** Documents that Cohere counts as one unit. */
const documentsOfUnit = 100;

/**
 * The body of a ranking.
 *
 * @param version of the path, `"1"` or `"2"`, as Cohere's answers say it.
 */
export function rerankBody(
  dialect: Dialect,
  request: RerankRequest,
  outcome: Outcome,
  { model, version }: { readonly model: string; readonly version: string },
): unknown {
  const { scores, tokens } = outcome;
  const text = (index: number): string => request.texts[index] as string;
  const usage = { prompt_tokens: tokens, total_tokens: tokens };
  const { returnDocuments: wantsText, spansFrom: from } = request;
  if (dialect === "tei") {
    return scores.map(({ index, score }) => ({ index, score, ...(wantsText ? { text: text(index) } : {}) }));
  }
  if (dialect === "voyage" || dialect === "infinity") {
    const items = scores.map(({ index, score }) => ({
      index,
      relevance_score: score,
      ...(wantsText ? { document: text(index) } : {}),
    }));
    return dialect === "voyage"
      ? { object: "list", data: items, model, usage: { total_tokens: tokens } }
      : { object: "rerank", results: items, model, usage, id: `infinity-${randomUUID()}`, created: now() };
  }
  return {
    id: randomUUID(),
    object: "list",
    model,
    results: scores.map(
      ({ index, score, logit, stage, tokens: own, truncatedTokens, truncatedTokensIsMinimum, spans }) => ({
        index,
        relevance_score: score,
        ...(wantsText
          ? { document: { text: text(index), ...(dialect === "vllm" ? { multi_modal: null } : {}) } }
          : {}),
        ...(from === undefined
          ? {}
          : { relevant_spans: spans.filter((span) => request.rawScores || span.score >= from) }),
        ...(request.returnDetails
          ? {
              logit,
              ...(stage === undefined ? {} : { stage }),
              tokens: own,
              truncated_tokens: truncatedTokens,
              ...(truncatedTokensIsMinimum ? { truncated_tokens_is_minimum: true } : {}),
            }
          : {}),
      }),
    ),
    usage,
    meta: {
      api_version: { version },
      billed_units: { search_units: Math.ceil(request.texts.length / documentsOfUnit) },
    },
    scale: outcome.scale,
    status: outcome.status,
    warnings: outcome.warnings,
  };
}

/** The body of vLLM's /score. */
export function scoreBody({ scores, tokens, scale, warnings }: Outcome, model: string): unknown {
  return {
    id: `score-${randomUUID()}`,
    object: "list",
    created: now(),
    model,
    data: scores.map(({ index, score }) => ({ index, object: "score", score })),
    usage: { prompt_tokens: tokens, total_tokens: tokens, completion_tokens: 0, prompt_tokens_details: null },
    scale,
    warnings,
  };
}

/**
 * Headers beside the body: TEI's own, and the codes of warnings, which some dialects have no place for.
 *
 * @param characters of query and documents.
 */
export function answerHeaders(
  dialect: Dialect,
  { milliseconds, tokens, warnings }: Outcome,
  characters: number,
): Record<string, string> {
  const codes = warnings.map(({ code }) => code).join(", ");
  const whole = (value: number): string => String(Math.round(value));
  return {
    ...(codes === "" ? {} : { "crossrank-warnings": codes }),
    ...(dialect === "tei"
      ? {
          "x-compute-type": "cpu",
          "x-compute-time": whole(milliseconds.total - milliseconds.queue),
          "x-compute-characters": String(characters),
          "x-compute-tokens": String(tokens),
          "x-total-time": whole(milliseconds.total),
          "x-tokenization-time": whole(milliseconds.encode),
          "x-queue-time": whole(milliseconds.queue),
          "x-inference-time": whole(milliseconds.run),
        }
      : {}),
  };
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}
