import { InvalidInputError, type LongDocumentSettings, readLongDocuments } from "@crossrank/core";
import type { z } from "@hono/zod-openapi";
import type { ReadLongDocuments } from "../options.js";
import { RequestRefusedError } from "../refusal.js";
import type { Dialect } from "./dialect.js";
import { documentText } from "./document-text.js";
import { rerankSchema, scoreSchema } from "./schemas.js";

/** What every dialect asks for, in one form. */
export interface CommonRequest {
  readonly model: string | undefined;
  readonly instruction: string | undefined;
  readonly rawScores: boolean;
  /** Refuse what the model cannot read in whole. */
  readonly refuseTruncation: boolean;
  /** Most tokens of a document that the client wants to be read; the model's own limit holds instead. */
  readonly tokenLimit: number | undefined;
  readonly timeBudget: number | undefined;
  /** What is done with long documents; undefined leaves it to the server's model. */
  readonly longDocuments: ReadLongDocuments;
  /** Of documents that are scored by passages: what the request limits, whoever has the settings. */
  readonly passages: {
    /** Of a document. */
    readonly most: number | undefined;
    /** Spans of a document, where the request asks for some; it asks for passages by that. */
    readonly spans: number | undefined;
  };
}

export interface RerankRequest extends CommonRequest {
  readonly query: string;
  readonly texts: readonly string[];
  readonly topN: number | undefined;
  readonly returnDocuments: boolean;
  readonly returnDetails: boolean;
  readonly whenExceeded: "error" | "partial" | "passthrough";
  /** Least score of a passage that the answer names; undefined where it names none. */
  readonly spansFrom: number | undefined;
}

export interface ScoreRequest extends CommonRequest {
  readonly pairs: readonly { readonly query: string; readonly document: string }[];
}

type Body = Readonly<Record<string, unknown>>;

/**
 * @param body as it was sent. @param most documents that a request may have. @param longDocuments what is done with
 * them where the request does not say.
 * @throws {RequestRefusedError} 400 where something is missing, 413 and 422 where it has a wrong value.
 */
export function readRerankRequest(
  body: Body,
  dialect: Dialect,
  { most, longDocuments }: { readonly most: number; readonly longDocuments: ReadLongDocuments },
): RerankRequest {
  const given = withoutNulls(body);
  const listName = Object.hasOwn(given, "documents") ? "documents" : "texts";
  // Before the schema walks through it.
  const list = requireList(
    given[listName],
    Object.hasOwn(given, "texts") || dialect === "tei" ? listName : "documents",
    most,
  );
  const fields = check(rerankSchema, { ...given, documents: undefined, texts: undefined }) as Fields & {
    readonly query?: string | { readonly text: string };
    readonly top_n?: number;
    readonly top_k?: number;
    readonly rank_fields?: readonly string[];
    readonly return_documents?: boolean;
    readonly return_text?: boolean;
    readonly return_details?: boolean;
    readonly when_exceeded?: RerankRequest["whenExceeded"];
    readonly relevant_spans?: SpanFields;
  };
  const query = typeof fields.query === "object" ? fields.query.text : fields.query;
  if (query === undefined) throw missing('"query" is missing. Send what to look for');
  if (query.trim() === "") throw missing('"query" is empty. Send what to look for');
  const whenExceeded = fields.when_exceeded ?? "error";
  if (whenExceeded !== "error" && dialect !== "superset" && dialect !== "vllm") {
    throw new RequestRefusedError(
      422,
      `when_exceeded "${whenExceeded}" gives null scores, and clients of this dialect sort by them. Leave it out`,
    );
  }
  const limit = fields.top_n ?? fields.top_k;
  const { relevant_spans: spans } = fields;
  const wantsSpans = spans !== undefined && spans.mode !== "disabled";
  const common = readCommon(
    fields,
    longDocuments,
    wantsSpans ? Math.min(spans.max_spans ?? usualSpans, mostSpans) : undefined,
  );
  if (wantsSpans && common.longDocuments === "truncate") {
    throw new RequestRefusedError(
      422,
      'relevant_spans: are of documents that are scored by passages, and these are cut. Send long_documents "chunk"',
    );
  }
  return {
    ...common,
    spansFrom: wantsSpans ? (spans.threshold ?? leastSpanScore) : undefined,
    query,
    texts: list.map((value, index) => documentText(value, `${listName}[${index}]`, fields.rank_fields)),
    topN: limit === 0 ? undefined : limit,
    returnDocuments: (fields.return_documents ?? fields.return_text ?? false) || dialect === "vllm",
    returnDetails: fields.return_details ?? false,
    whenExceeded,
  };
}

/** vLLM's: 1 : n, or n : n. @throws {RequestRefusedError} as `readRerankRequest`. */
export function readScoreRequest(
  body: Body,
  { most, longDocuments }: { readonly most: number; readonly longDocuments: ReadLongDocuments },
): ScoreRequest {
  const given = withoutNulls(body);
  const names = [
    ["text_1", "text_2"],
    ["data_1", "data_2"],
    ["queries", "documents"],
    ["queries", "items"],
  ].find(([first = "", second = ""]) => Object.hasOwn(given, first) && Object.hasOwn(given, second));
  if (names === undefined) {
    throw missing('"text_1" and "text_2" are missing. Send a text or a list of texts in each');
  }
  const [first = "", second = ""] = names;
  const left = sideTexts(given[first], first, most);
  const right = sideTexts(given[second], second, most);
  if (left.length !== 1 && left.length !== right.length) {
    throw new RequestRefusedError(
      422,
      `${first} has ${left.length} texts and ${second} ${right.length}. Send one and many, or as many of each`,
    );
  }
  for (const [index, text] of left.entries()) {
    if (text.trim() === "")
      throw new RequestRefusedError(422, `${first}[${index}] is empty. Send what to look for`);
  }
  const fields = check(
    scoreSchema,
    without(given, ["text_1", "text_2", "data_1", "data_2", "queries", "documents", "items"]),
  ) as Fields;
  return {
    ...readCommon(fields, longDocuments),
    pairs: right.map((document, index) => ({
      query: left[left.length === 1 ? 0 : index] as string,
      document,
    })),
  };
}

interface Fields {
  readonly model?: string;
  readonly instruction?: string;
  readonly raw_scores?: boolean;
  readonly use_activation?: boolean;
  readonly time_budget_ms?: number;
  readonly max_tokens_per_doc?: number;
  readonly truncate_prompt_tokens?: number;
  readonly truncation?: boolean;
  readonly truncate?: boolean;
  readonly truncation_direction?: string;
  readonly max_chunks_per_doc?: number;
  readonly long_documents?:
    | "truncate"
    | "chunk"
    | {
        readonly aggregate?: "max" | "mean-of-top" | "first";
        readonly top?: number;
        readonly passage_tokens?: number;
        readonly overlap_tokens?: number;
        readonly max_passages?: number;
      };
}

/** Cohere's. */
interface SpanFields {
  readonly mode?: "enabled" | "disabled";
  readonly threshold?: number;
  readonly max_spans?: number;
}

/** Cohere's default for the least score of a span. */
const leastSpanScore = 0.1;

/** Most spans of a document where the request does not say. */
const usualSpans = 256;

/** Most spans that a document can have. */
const mostSpans = 65_536;

/**
 * @param otherwise what is done where the request does not say.
 * @throws {RequestRefusedError} 422.
 */
function readLong({ long_documents: asked }: Fields, otherwise: ReadLongDocuments): ReadLongDocuments {
  try {
    const given =
      typeof asked === "object"
        ? {
            aggregate: asked.aggregate,
            top: asked.top,
            passageTokens: asked.passage_tokens,
            overlapTokens: asked.overlap_tokens,
            maxPassages: asked.max_passages,
          }
        : (asked ?? otherwise);
    return readLongDocuments(given, "long_documents");
  } catch (error) {
    if (!InvalidInputError.isInstance(error)) throw error;
    // In the names of the request.
    const message = error.message.replace(/[A-Z]/g, (letter, at: number) =>
      /[a-z]/.test(error.message.charAt(at - 1)) ? `_${letter.toLowerCase()}` : letter,
    );
    throw new RequestRefusedError(422, message, { cause: error });
  }
}

/**
 * How the documents of a request are scored: as it says, else as the server does, else as the model's reranker does, and
 * by passages where it asks for their places.
 *
 * @param own what the model's reranker does with calls that say nothing.
 */
export function longDocumentsOf(
  { longDocuments, passages: { most, spans } }: Pick<CommonRequest, "longDocuments" | "passages">,
  own: LongDocumentSettings | undefined,
): ReadLongDocuments {
  const read = longDocuments ?? readLongDocuments(own ?? (spans === undefined ? undefined : "chunk"));
  if (read === undefined || read === "truncate") return read;
  return {
    ...read,
    ...(most === undefined ? {} : { maxPassages: Math.min(read.maxPassages, most) }),
    ...(spans === undefined ? {} : { spans }),
  };
}

function readCommon(fields: Fields, longDocuments: ReadLongDocuments, spans?: number): CommonRequest {
  if (fields.truncation_direction?.toLowerCase() === "left") {
    throw new RequestRefusedError(
      422,
      'truncation_direction is "Left", and documents are cut from the right. Leave it out',
    );
  }
  const prompt = fields.truncate_prompt_tokens ?? -1;
  return {
    model: fields.model,
    instruction: fields.instruction,
    rawScores: (fields.raw_scores ?? false) || fields.use_activation === false,
    refuseTruncation: fields.truncation === false || fields.truncate === false,
    tokenLimit: fields.max_tokens_per_doc ?? (prompt < 0 ? undefined : prompt),
    timeBudget: fields.time_budget_ms,
    longDocuments: readLong(fields, longDocuments),
    passages: { most: fields.max_chunks_per_doc || undefined, spans },
  };
}

function sideTexts(value: unknown, name: string, most: number): readonly string[] {
  if (typeof value === "string") return [value];
  return requireList(value, name, most).map((one, index) => documentText(one, `${name}[${index}]`));
}

function requireList(value: unknown, name: string, most: number): readonly unknown[] {
  if (value === undefined) throw missing(`"${name}" is missing. Send a list of texts`);
  if (!Array.isArray(value)) throw new RequestRefusedError(422, `${name} must be a list`);
  if (value.length === 0) throw missing(`"${name}" is empty. Send at least one text`);
  if (value.length > most) {
    throw new RequestRefusedError(
      422,
      `${name} has ${value.length} texts, and a request may have ${most}. Send them in several requests`,
    );
  }
  return value;
}

function withoutNulls(body: Body): Body {
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

function without(body: Body, names: readonly string[]): Body {
  return Object.fromEntries(Object.entries(body).filter(([name]) => !names.includes(name)));
}

/** @throws {RequestRefusedError} 422 with the first field that is wrong. */
function check(schema: z.ZodObject, body: Body): Record<string, unknown> {
  const read = schema.safeParse(body);
  if (read.success) return read.data;
  const [issue] = read.error.issues;
  const path = (issue?.path ?? [])
    .map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`))
    .join("");
  throw new RequestRefusedError(422, `${path.replace(/^\./, "")}: ${issue?.message ?? "wrong value"}`);
}

/** What TEI calls an empty request. */
function missing(message: string): RequestRefusedError {
  return new RequestRefusedError(400, message, { type: "empty" });
}
