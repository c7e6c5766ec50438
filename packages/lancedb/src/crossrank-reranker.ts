import type { rerankers } from "@lancedb/lancedb";
import type { Data, DataType, Field, RecordBatch, Schema } from "apache-arrow";
import {
  InvalidInputError,
  type LazyReranker,
  type LazyRerankerOptions,
  lazyReranker,
  type RerankerSource,
  requireAdapterOptions,
  toUnitScore,
} from "crossrank";
import { checkFusion, type Fusion, firstStage, fuse, type Places } from "./fusion.js";
import { numbersLike, type RowOf, take } from "./take.js";

/** Those of `openReranker`, where the model is named, and: */
export type CrossrankRerankerOptions = LazyRerankerOptions & {
  /** The column of the texts, which the query must select. Default `"text"`. */
  readonly column?: string | undefined;
  /** How the model's ranking is mixed with those of the two searches. Default `"none"`: its score alone. */
  readonly fusion?: Fusion | undefined;
  /**
   * Give the best n rows only. Default: all, of which LanceDB keeps as many as the query's `limit`, which is also how
   * many candidates each of the two searches brings.
   */
  readonly topN?: number | undefined;
};

/** A row that one of the two searches, or both, have found. */
interface Candidate extends Places {
  /** Where the row is, in each batch that has it. */
  readonly rows: readonly RowOf[];
  readonly text: string | undefined;
}

/** Of a batch's columns, the names that LanceDB gives. */
const rowId = "_rowid";
const relevance = "_relevance_score";

/**
 * A reranker for LanceDB's hybrid search. Rows that both searches have found become one, by their row id. The column
 * `_relevance_score` has the model's score, or what `fusion` makes of it; null, and last, where there is none: a null
 * text, a query that fills the model, a time budget that ran out.
 */
export class CrossrankReranker implements rerankers.Reranker, AsyncDisposable {
  readonly #reranker: LazyReranker;
  readonly #column: string;
  readonly #fusion: Fusion;
  readonly #topN: number | undefined;

  /**
   * @param source a reranker, a promise of one, or a model's name as `openReranker` takes it.
   * @throws {InvalidInputError} when an option is wrong, or an option of opening stands beside a reranker.
   */
  constructor(source: RerankerSource, options: CrossrankRerankerOptions = {}) {
    requireAdapterOptions(options, {
      name: "CrossrankReranker",
      own: { column: true, fusion: true, topN: true },
    });
    const { column = "text", fusion = "none", topN, ...opening } = options;
    if (topN !== undefined && !(Number.isInteger(topN) && topN > 0)) {
      throw new InvalidInputError("topN", `must be a whole number above 0, not ${topN}`);
    }
    if (typeof column !== "string" || column === "") {
      throw new InvalidInputError("column", "must be a column's name: a string that is not empty");
    }
    this.#fusion = checkFusion(fusion);
    this.#reranker = lazyReranker(source, opening);
    this.#column = column;
    this.#topN = topN;
  }

  /**
   * What LanceDB calls.
   *
   * @throws {InvalidInputError} when a batch lacks the column of the texts, or it holds no texts.
   * @throws otherwise what `Reranker.rerank` throws, and `openReranker` in the first call.
   */
  async rerankHybrid(query: string, vecResults: RecordBatch, ftsResults: RecordBatch): Promise<RecordBatch> {
    const batches = [vecResults, ftsResults].filter((batch) => batch !== null);
    const candidates = candidatesOf(batches, this.#column, batches.indexOf(vecResults));
    const withText = candidates.filter(({ text }) => text !== undefined);
    const { results, scale } = await this.#reranker.rerank({
      query,
      documents: withText.map(({ text }) => text as string),
    });
    const ranked = results.map(({ index, score }) => ({ candidate: withText[index] as Candidate, score }));
    const scored = ranked.flatMap(({ candidate, score }, index) =>
      score === null
        ? []
        : { candidate, ...candidate, rank: index + 1, score, unit: toUnitScore(score, scale ?? "logit") },
    );
    const fused = fuse(this.#fusion, scored);
    // Sorted again by what was mixed alone: two scores may be equal where the logits behind them are not.
    const order = scored.map((_, index) => index);
    if (this.#fusion !== "none") {
      order.sort((left, right) => (fused[right] as number) - (fused[left] as number) || left - right);
    }
    const rows = [
      ...order.map((index) => ({
        ...(scored[index] as (typeof scored)[number]),
        relevance: fused[index] as number,
      })),
      ...ranked.filter(({ score }) => score === null).map((one) => ({ ...one, relevance: null })),
      ...candidates
        .filter(({ text }) => text === undefined)
        .map((candidate) => ({ candidate, relevance: null })),
    ].slice(0, this.#topN);
    return batchOf(
      batches,
      rows.map(({ candidate }) => candidate),
      rows.map((row) => row.relevance),
    );
  }

  /** Opens the model now instead of in the first call. */
  async load(): Promise<void> {
    await this.#reranker.load();
  }

  /** Frees the model that was opened here; a reranker that was given stays the caller's. */
  async dispose(): Promise<void> {
    await this.#reranker.dispose();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** Rows by their id, in the order of the two searches together. `vector`: which batch is the vector search's. */
function candidatesOf(batches: readonly RecordBatch[], column: string, vector: number): Candidate[] {
  const found = new Map<unknown, Candidate>();
  for (const [source, batch] of batches.entries()) {
    // Of a search that has found nothing LanceDB gives no columns but its own.
    if (batch.numRows === 0) continue;
    const ids = batch.getChild(rowId);
    const texts = batch.getChild(column);
    if (ids === null) throw new InvalidInputError(rowId, "is not among the columns of the search's results");
    if (texts === null) {
      const names = batch.schema.fields.map(({ name }) => name).filter((name) => !name.startsWith("_"));
      throw new InvalidInputError(
        "column",
        `is ${JSON.stringify(column)}, and the results have ${names.join(", ") || "none"}. Give another, or select it in the query`,
      );
    }
    for (let row = 0; row < batch.numRows; row += 1) {
      const id: unknown = ids.get(row);
      const text: unknown = texts.get(row);
      if (text !== null && typeof text !== "string") {
        throw new InvalidInputError("column", `${JSON.stringify(column)} holds no texts, but ${typeof text}`);
      }
      const earlier = found.get(id);
      found.set(id, {
        rows: [...(earlier?.rows ?? []), { source, row }],
        text: text ?? undefined,
        vector: source === vector ? row + 1 : earlier?.vector,
        fullText: source === vector ? earlier?.fullText : row + 1,
      });
    }
  }
  // A sort keeps the order of what is equal: the vector search's first.
  return [...found.values()].sort((left, right) => firstStage(right) - firstStage(left));
}

/** One batch with every column of either, and the relevance. */
function batchOf(
  batches: readonly RecordBatch[],
  candidates: readonly Candidate[],
  relevances: readonly (number | null)[],
): RecordBatch {
  const [first] = batches;
  const like = batches
    .flatMap((batch) => batch.schema.fields)
    .find(({ name }) => /^_(distance|score)$/.test(name));
  if (first === undefined || like === undefined) {
    throw new InvalidInputError("results", "have neither _distance nor _score: they are of no hybrid search");
  }
  const names = new Set(batches.flatMap(({ schema }) => schema.fields.map(({ name }) => name)));
  // A table may have been made of an earlier search's results.
  names.delete(relevance);
  const columns = [...names].map((name): { readonly field: Field; readonly data: Data } => {
    // Batches that have the column, by their position among those.
    const having = batches.flatMap((batch, source) => {
      const at = batch.schema.fields.findIndex((field) => field.name === name);
      return at < 0
        ? []
        : { source, field: batch.schema.fields[at] as Field, data: batch.data.children[at] as Data };
    });
    const [{ field }] = having as [(typeof having)[0]];
    if (having.some((one) => String(one.field.type) !== String(field.type))) {
      throw new InvalidInputError(name, "has two types in the results of the two searches");
    }
    const picks = candidates.map(({ rows }) => {
      for (const [source, one] of having.entries()) {
        const row = rows.find((each) => each.source === one.source);
        if (row !== undefined) return { source, row: row.row };
      }
      return undefined;
    });
    const data = take(
      having.map((one) => one.data),
      picks,
      name,
    );
    return {
      field: fieldOf(field, { name, type: data.type, isNullable: having.length < batches.length }),
      data,
    };
  });
  const all = [
    ...columns,
    {
      field: fieldOf(like, { name: relevance, type: like.type, isNullable: true }),
      data: numbersLike(columns.find(({ field }) => field.name === like.name)?.data as Data, relevances),
    },
  ];
  // The classes of LanceDB's own copy of apache-arrow: take.ts says why.
  const SchemaOf = first.schema.constructor as typeof Schema;
  const BatchOf = first.constructor as typeof RecordBatch;
  const StructOf = first.data.type.constructor as new (fields: Field[]) => DataType;
  const DataOf = first.data.constructor as typeof Data;
  const fields = all.map(({ field }) => field);
  const data = new DataOf(
    new StructOf(fields),
    0,
    candidates.length,
    0,
    [undefined, undefined, undefined, undefined] as never,
    all.map((one) => one.data),
  );
  return new BatchOf(new SchemaOf(fields, first.schema.metadata), data as never);
}

function fieldOf(
  like: Field,
  { name, type, isNullable }: { name: string; type: DataType; isNullable: boolean },
): Field {
  const FieldOf = like.constructor as typeof Field;
  return new FieldOf(name, type, like.nullable || isNullable, name === like.name ? like.metadata : undefined);
}
