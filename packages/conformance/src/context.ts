import {
  type Backend,
  type BackendSession,
  type Capabilities,
  type LoadedModel,
  type LoadRequest,
  loadModel,
  type ModelProfile,
  type Pair,
  type PairScore,
  type RawOutput,
  type Reranker,
  readProfile,
  type TruncationStrategy,
} from "@crossrank/core";
import { type GoldenScore, type Goldens, readGoldens } from "@crossrank/core/verify";
import type { Fixture } from "./fixture.js";
import type { Platform } from "./platform.js";
import { batchOf, type Recorder, type Row, record, rowsOf } from "./recorder.js";

export const truncations: readonly TruncationStrategy[] = ["document-only", "longest-first"];

/** One golden case, or one golden list: what is scored in one call. */
export interface Item {
  readonly name: string;
  readonly pairs: readonly Pair[];
  readonly instruction: string | undefined;
  readonly expected: { readonly [Truncation in TruncationStrategy]?: Expected | undefined };
}

export interface Expected {
  /** The sequences, in no particular order; undefined where the reference published scores alone. */
  readonly rows: readonly Row[] | undefined;
  /** One a pair. */
  readonly scores: readonly GoldenScore[];
}

/** What scoring one item by itself came to. */
export interface Outcome {
  /** The sequences that the session received. */
  readonly rows: readonly Row[];
  /** Undefined where scoring failed. */
  readonly scores?: readonly PairScore[];
  /** Why. */
  readonly error?: unknown;
}

interface Loaded {
  readonly model: LoadedModel;
  readonly recorder: Recorder;
}

interface Opened {
  readonly reranker: Reranker;
  readonly recorder: Recorder;
  /** The reranker's own, which shows only facts about it. */
  readonly session: BackendSession;
}

/** What the checks of one fixture share. Models are loaded when first asked for, and closed together. */
export class FixtureContext {
  readonly fixture: Fixture;
  readonly backend: Backend;
  readonly dtype: string | undefined;
  readonly platform: Platform;
  /** As the model's files say it. */
  readonly profile: ModelProfile;
  readonly tokenizerJson: unknown;
  readonly goldens: Goldens;
  readonly items: readonly Item[];
  #loaded: Promise<Loaded> | undefined;
  readonly #opened = new Map<TruncationStrategy, Promise<Opened>>();
  readonly #alone = new Map<TruncationStrategy, Promise<ReadonlyMap<Item, Outcome>>>();

  /** @throws {TypeError} when the fixture has no golden.json, or none of its cases has text. */
  static async open(
    fixture: Fixture,
    facts: Pick<FixtureContext, "backend" | "dtype" | "platform">,
  ): Promise<FixtureContext> {
    const { profile, tokenizerJson } = await readProfile(fixture.files);
    const goldens = await readGoldens(fixture.files);
    if (goldens === undefined) throw new TypeError(`fixture ${fixture.name} has no golden.json`);
    const items = itemsOf(goldens, profile);
    if (items.length === 0) throw new TypeError(`fixture ${fixture.name} has no case to score`);
    return new FixtureContext({ ...facts, fixture, profile, tokenizerJson, goldens, items });
  }

  private constructor(
    facts: Pick<
      FixtureContext,
      "fixture" | "backend" | "dtype" | "platform" | "profile" | "tokenizerJson" | "goldens" | "items"
    >,
  ) {
    this.fixture = facts.fixture;
    this.backend = facts.backend;
    this.dtype = facts.dtype;
    this.platform = facts.platform;
    this.profile = facts.profile;
    this.tokenizerJson = facts.tokenizerJson;
    this.goldens = facts.goldens;
    this.items = facts.items;
  }

  /** The fixture as a user loads it, on a backend that records: one model, and one reranker of it a truncation. */
  opened(truncation: TruncationStrategy = "document-only"): Promise<Opened> {
    const known = this.#opened.get(truncation);
    if (known !== undefined) return known;
    const isProbed = this.#opened.size > 0;
    const opening = (async () => {
      const { model, recorder } = await this.#load();
      const reranker = await model.createReranker(isProbed ? { truncation, probe: false } : { truncation });
      recorder.take();
      return { reranker, recorder, session: recorder.sessions[0] as BackendSession };
    })();
    this.#opened.set(truncation, opening);
    return opening;
  }

  #load(): Promise<Loaded> {
    this.#loaded ??= (async () => {
      const recorder = record(this.backend);
      const { dtype, fixture } = this;
      const model = await loadModel({ model: fixture.files, backend: recorder.backend, dtype });
      return { model, recorder };
    })();
    return this.#loaded;
  }

  /** Every item scored by itself, once. */
  alone(truncation: TruncationStrategy): Promise<ReadonlyMap<Item, Outcome>> {
    const known = this.#alone.get(truncation);
    if (known !== undefined) return known;
    const scoring = (async () => {
      const { reranker, recorder } = await this.opened(truncation);
      const outcomes = new Map<Item, Outcome>();
      for (const item of this.items) {
        recorder.take();
        try {
          // What neither truncation cuts is the same batch for both.
          const { scores } = await recorder.replaying(() => reranker.score(item.pairs, optionsOf(item)));
          outcomes.set(item, { rows: recorder.take().flatMap(rowsOf), scores });
        } catch (error) {
          outcomes.set(item, { rows: recorder.take().flatMap(rowsOf), error });
        }
      }
      return outcomes;
    })();
    this.#alone.set(truncation, scoring);
    return scoring;
  }

  /** A session of its own, loaded as core loads it. The caller disposes of it. */
  async load(changes: Partial<LoadRequest> = {}): Promise<BackendSession> {
    const { recorder } = await this.opened();
    return this.backend.load({ ...(recorder.requests[0] as LoadRequest), ...changes });
  }

  /** A few different sequences of the goldens, from the shortest to the longest. */
  async sequences(): Promise<Row[]> {
    const outcomes = [...(await this.alone("document-only")).values()];
    const rows = outcomes.flatMap((outcome) => (outcome.scores === undefined ? [] : outcome.rows));
    const byIds = new Map(rows.map((row) => [row.ids.join(" "), row]));
    const sorted = [...byIds.values()].sort((a, b) => a.ids.length - b.ids.length);
    const last = sorted.length - 1;
    const places = new Set([0, Math.floor(last / 3), Math.floor((2 * last) / 3), last]);
    const chosen = [...places].flatMap((place) => sorted[place] ?? []);
    if (chosen.length < 2) throw new Error(`only ${chosen.length} sequences could be run to try things with`);
    return chosen;
  }

  /**
   * Numbers of each sequence, run together in one batch.
   * @param shape.columns default: the fewest that are declared.
   * @param shape.marks tokens that the session was loaded for. Default: the profile's.
   */
  async run(
    session: BackendSession,
    rows: readonly (Row | undefined)[],
    shape: {
      readonly columns?: number;
      readonly signal?: AbortSignal;
      readonly marks?: readonly number[];
    } = {},
  ): Promise<number[][]> {
    const { batchSize } = session.capabilities;
    const longest = Math.max(...rows.map((row) => row?.ids.length ?? 0));
    const columns = shape.columns ?? columnsFor(session.capabilities, longest);
    const slots = "exactly" in batchSize ? [...rows, ...new Array(batchSize.exactly - rows.length)] : rows;
    const batch = batchOf(slots, columns, this.profile.paddingId);
    const output = await session.run(batch, shape.signal === undefined ? {} : { signal: shape.signal });
    const marks = shape.marks ?? (await this.opened()).recorder.requests[0]?.output.tokens ?? [];
    return rows.map((row, slot) => (row === undefined ? [] : numbersOf(output, slot, row, marks)));
  }

  async close(): Promise<void> {
    await Promise.allSettled(this.#opened.values());
    const loaded = await this.#loaded?.catch(() => undefined);
    await loaded?.model.dispose();
  }
}

/** Whether core refuses the item before anything is run: a query without text. */
export function isRefused(item: Item): boolean {
  return item.pairs.some(({ query }) => query.trim() === "");
}

export function optionsOf(item: Item): { instruction?: string } {
  return item.instruction === undefined ? {} : { instruction: item.instruction };
}

/** Rows that one batch may have at most. */
export function mostRows({ batchSize }: Capabilities): number {
  return "exactly" in batchSize ? batchSize.exactly : batchSize.max;
}

/** Whether core may put several rows into one batch whose numbers then depend on each other, as the session says. */
export function isMovedByCompany(capabilities: Capabilities): boolean {
  const { rowsAffectScores, batchPreference } = capabilities;
  return rowsAffectScores && Math.min(mostRows(capabilities), batchPreference.rows) > 1;
}

/** The fewest columns allowed that hold so many tokens. */
export function columnsFor({ sequenceLengths }: Capabilities, length: number): number {
  return sequenceLengths === "any"
    ? length
    : (sequenceLengths.find((allowed) => allowed >= length) ?? Number.NaN);
}

/** What a raw output holds for one sequence, whatever the padding. */
function numbersOf(output: RawOutput, slot: number, row: Row, marks: readonly number[]): number[] {
  const perRow = output.shape.slice(1).reduce((product, size) => product * size, 1);
  const width = output.shape.at(-1) as number;
  const vectors =
    output.kind === "hidden-states"
      ? row.ids.length
      : output.kind === "marked-states"
        ? row.ids.filter((id) => marks.includes(id)).length
        : 1;
  return [...output.data.subarray(slot * perRow, slot * perRow + vectors * width)];
}

function itemsOf(goldens: Goldens, { family }: ModelProfile): Item[] {
  const row = (ids: readonly number[], segmentIds?: readonly number[]): Row => ({
    ids,
    segmentIds: segmentIds ?? new Array<number>(ids.length).fill(0),
  });
  const rows = ({ ids, segmentIds, queryIds, queryOverflow }: GoldenScore): Row[] | undefined => {
    if (queryOverflow) return [];
    if (ids === undefined) return undefined;
    if (family !== "bi-encoder" && family !== "late-interaction") return [row(ids, segmentIds)];
    return queryIds === undefined ? undefined : [row(queryIds), row(ids, segmentIds)];
  };
  const expected = (golden: GoldenScore | undefined): Expected | undefined =>
    golden && { rows: rows(golden), scores: [golden] };
  const cases = goldens.cases.map(
    ({ name, query, document, instruction, expected: both }): Item => ({
      name,
      pairs: [{ query, document }],
      instruction,
      expected: {
        "document-only": expected(both["document-only"]),
        "longest-first": expected(both["longest-first"]),
      },
    }),
  );
  const lists = (goldens.lists ?? []).map((list): Item => {
    const both: Expected = {
      rows: list.sequences.map(({ ids }) => row(ids)),
      scores: list.documents.map((_, index) => ({
        truncatedTokens: list.truncatedTokens[index],
        queryOverflow: list.sequences.length === 0,
        logit: list.logits[index],
        score: list.scores[index],
      })),
    };
    return {
      name: list.name,
      pairs: list.documents.map((document) => ({ query: list.query, document })),
      instruction: undefined,
      expected: { "document-only": both, "longest-first": both },
    };
  });
  return [...cases, ...lists];
}
