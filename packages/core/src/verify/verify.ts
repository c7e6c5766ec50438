import { readCallback, readSignal } from "../call/input.js";
import { Listener, unwrapped } from "../call/listener.js";
import { type OptionNames, requireKnownOptions } from "../call/option-names.js";
import type { BatchPreference } from "../contract/backend.js";
import { InvalidInputError, NonFiniteScoreError } from "../contract/errors.js";
import type { LoadedModel, LoadModelOptions } from "../contract/loaded-model.js";
import type { ModelProfile, TruncationStrategy } from "../contract/model-profile.js";
import type { Pair, Reranker, ScoringProgress } from "../contract/reranker.js";
import type { PairScore, Provenance } from "../contract/result.js";
import type { EncodedList, ListEncoder } from "../encoding/list-encoder.js";
import type { EncodedSequence } from "../encoding/pair-encoder.js";
import { loadModelNames, SessionModel } from "../load/loaded-model.js";
import type { Encoders } from "../load/session-reranker.js";
import { readBatchPreference } from "../run/limits.js";
import { scaleOf } from "../score/head.js";
import {
  checkedGoldens,
  type GoldenCase,
  type GoldenList,
  type GoldenScore,
  type Goldens,
} from "./goldens.js";
import {
  type Bound,
  boundFor,
  type Judgement,
  judge,
  type TokenDifference,
  type VerifiedCase,
} from "./judge.js";

/** What a loaded model is held against. */
export interface VerifyLoadedOptions {
  /** What the reference gives, e.g. from {@link readGoldens}. */
  readonly goldens: Goldens;
  /**
   * Largest |Δ| allowed, in the goldens' unit (logits, or scores where they give only these). Default: by the
   * precision that was loaded, and never less than the goldens' own.
   */
  readonly tolerance?: number | undefined;
  /** Batches of this form, one at a time, instead of those that the session prefers. */
  readonly batches?: BatchPreference | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called as cases are scored. */
  readonly onScored?: ((progress: ScoringProgress) => void) | undefined;
}

const names: OptionNames<VerifyLoadedOptions> = {
  goldens: true,
  tolerance: true,
  batches: true,
  signal: true,
  onScored: true,
};

/** Which model is loaded, as for `loadModel`, and what it is held against. */
export type VerifyOptions = LoadModelOptions & VerifyLoadedOptions;

/** A model on a backend, held against what its reference implementation gives. */
export interface Verification extends Judgement, Omit<Provenance, "scoring" | "cacheKey"> {
  readonly reference: Goldens["reference"];
  readonly bound: Bound;
  readonly cases: readonly VerifiedCase[];
}

/**
 * Loads a model without a probe, holds it against its goldens as {@link verifyLoaded} does, and frees it.
 *
 * @throws {InvalidInputError} the goldens hold nothing for a model of this family, or `tolerance` is no positive number.
 * @throws what `loadModel` throws when the model cannot be read or loaded, and `score` when the runtime fails.
 * @throws the signal's reason, once aborted.
 */
export async function verify(options: VerifyOptions): Promise<Verification> {
  requireKnownOptions(
    options,
    { ...loadModelNames, ...names },
    "verify",
    undefined,
    "verify({ model, backend, goldens })",
  );
  const request = readRequest(options);
  const { model, backend, dtype, profile, onProgress } = options;
  const { signal } = request;
  return unwrapped(
    SessionModel.load({ model, backend, dtype, profile, signal, onProgress }).then(async (loaded) => {
      try {
        return await holdAgainst(loaded, request);
      } finally {
        await loaded.dispose();
      }
    }),
  );
}

/**
 * Encodes and scores every golden and compares: token ids, segments, truncation and overflow exactly, numbers within
 * a bound. A model whose numbers are wrong is a result that did not pass, and no error. The model stays loaded, for
 * other goldens or batches.
 *
 * @throws {InvalidInputError} the goldens hold nothing for a model of this family, or `tolerance` is no positive number.
 * @throws what `score` throws when the runtime fails.
 * @throws the signal's reason, once aborted.
 */
export async function verifyLoaded(model: LoadedModel, options: VerifyLoadedOptions): Promise<Verification> {
  requireKnownOptions(options, names, "verifyLoaded", undefined, "verifyLoaded(model, { goldens })");
  const request = readRequest(options);
  if (!(model instanceof SessionModel)) {
    throw new InvalidInputError("model", "must be one that `loadModel` of this copy of @crossrank/core gave");
  }
  return unwrapped(holdAgainst(model, request));
}

/** As given, each property read once. @throws {InvalidInputError} */
function readRequest(given: VerifyLoadedOptions): VerifyLoadedOptions {
  const { goldens, tolerance, batches, signal, onScored } = given;
  if (tolerance !== undefined && !(typeof tolerance === "number" && tolerance > 0)) {
    throw new InvalidInputError("tolerance", `must be a number above 0, not ${String(tolerance)}`);
  }
  return {
    goldens: checkedGoldens(goldens),
    tolerance,
    batches: batches && readBatchPreference(batches, "batches"),
    signal: readSignal(signal),
    onScored: readCallback(onScored, "onScored"),
  };
}

async function holdAgainst(model: SessionModel, request: VerifyLoadedOptions): Promise<Verification> {
  const { goldens, tolerance, batches, signal } = request;
  const scored = new Listener(request.onScored);
  const { id, revision, profile, session } = model;
  requireFit(profile, goldens, id);
  const modes = (["document-only", "longest-first"] as const).filter((mode) =>
    goldens.cases.some(({ expected }) => expected[mode] !== undefined),
  );
  const lists = goldens.lists ?? [];
  const total =
    modes.reduce((sum, mode) => sum + goldens.cases.filter((one) => one.expected[mode]).length, 0) +
    lists.reduce((sum, { documents }) => sum + documents.length, 0);

  let { settings } = session;
  const cases: VerifiedCase[] = [];
  const known = new Map<GoldenCase, KnownScore>();
  for (const truncation of modes.length === 0 ? [profile.truncation] : modes) {
    // No probe: what it would refuse is to be shown here, case by case.
    const reranker = await model.createReranker({ truncation, batches, probe: false });
    try {
      settings = reranker.session.settings;
      const subject: Subject = { reranker, encoders: model.encoders(reranker.profile), signal, known };
      if (modes.length > 0) {
        cases.push(...(await verifyPairs(subject, goldens.cases, truncation)));
        scored.tell({ completed: cases.length, total });
        scored.check();
      }
      if (truncation !== (modes[0] ?? truncation)) continue;
      for (const list of lists) {
        cases.push(...(await verifyList(subject, list)));
        scored.tell({ completed: cases.length, total });
        scored.check();
      }
    } finally {
      await reranker.dispose();
    }
  }
  await scored.settled(signal);
  const scale = scaleOf(profile);
  const bound =
    tolerance === undefined
      ? boundFor({
          dtype: session.artifact.dtype,
          own: session.bounds,
          summed: profile.lateTemplate?.maxQueryTokens,
          scale,
          measure: cases.every(({ measure }) => measure === "score") ? "score" : "logit",
          reference: goldens.tolerance,
        })
      : { name: "the tolerance asked for", maximum: tolerance };
  const judgement = judge(cases, bound, scale);
  const [taken, own] = [profile.maxLength, model.declaredMaxLength];
  const shorter = !judgement.passed && taken < own;
  return {
    ...judgement,
    ...(shorter
      ? { reason: `${judgement.reason}; the artifact takes ${taken} tokens where the model takes ${own}` }
      : {}),
    model: { id, revision, artifact: session.artifact },
    backend: session.info,
    settings,
    scale,
    reference: goldens.reference,
    bound,
    cases,
  };
}

/** A reranker of the model that is verified, and the encoders that it uses. */
interface Subject {
  readonly reranker: Reranker;
  readonly encoders: Encoders;
  readonly signal: AbortSignal | undefined;
  /** Of another truncation: what neither cuts is the same sequence, and is scored once. */
  readonly known: Map<GoldenCase, KnownScore>;
}

interface KnownScore {
  /** The ids of the sequence or sequences, as text. */
  readonly sequences: string;
  readonly measured: Measured;
}

function requireFit({ family }: ModelProfile, goldens: Goldens, model: string): void {
  const lists = goldens.lists ?? [];
  const fitting = family === "listwise" ? lists.length : goldens.cases.length;
  const unfit = family === "listwise" ? goldens.cases.length : lists.length;
  if (fitting > 0 && unfit === 0) return;
  throw new InvalidInputError(
    "goldens",
    `${fitting === 0 ? "hold nothing" : "hold something else as well"}: ${model} is a ${family} model, whose goldens are ` +
      `${family === "listwise" ? "`lists`, and `cases` is empty" : "`cases`, and there are no `lists`"}`,
  );
}

async function verifyPairs(
  { reranker, encoders, signal, known }: Subject,
  goldens: readonly GoldenCase[],
  truncation: TruncationStrategy,
): Promise<VerifiedCase[]> {
  const given = goldens.flatMap((golden) => {
    const expected = golden.expected[truncation];
    return expected === undefined ? [] : [{ golden, expected }];
  });
  const encode = pairEncoding(reranker.profile, encoders);
  const encoded = new Map(given.map(({ golden }) => [golden, encode(golden)]));
  const sequencesOf = (golden: GoldenCase): string => textOf(encoded.get(golden) as EncodedCase);
  for (const instruction of new Set(given.map(({ golden }) => golden.instruction))) {
    const group = given.map(({ golden }) => golden).filter((golden) => golden.instruction === instruction);
    const scorable = group.filter(
      (golden) => golden.query.trim() !== "" && known.get(golden)?.sequences !== sequencesOf(golden),
    );
    const measured = await scoreEach(reranker, scorable, { instruction, signal });
    for (const [index, golden] of scorable.entries())
      known.set(golden, { sequences: sequencesOf(golden), measured: measured[index] as Measured });
  }
  return given.map(({ golden, expected }): VerifiedCase => {
    const difference = expected.ids && differenceOf(expected, encoded.get(golden) as EncodedCase);
    return {
      name: golden.name,
      truncation,
      tokens: expected.ids === undefined ? "unknown" : difference === undefined ? "same" : "different",
      ...(difference === undefined ? {} : { difference }),
      ...compare(expected, known.get(golden)?.measured),
    };
  });
}

function textOf({ sequence, query }: EncodedCase): string {
  const { queryOverflow, ids, segmentIds } = sequence;
  return [queryOverflow, ids, segmentIds, query?.ids].join(";");
}

/** What a pair and two texts that are read apart have in common. */
interface EncodedCase {
  readonly sequence: EncodedSequence;
  /** Bi-encoder and late interaction only. */
  readonly query: EncodedSequence | undefined;
}

function pairEncoding(
  profile: ModelProfile,
  { pair: encoder, late }: Encoders,
): (golden: GoldenCase) => EncodedCase {
  const { family, queryPrefix, documentPrefix, instruction: own } = profile;
  if (late !== undefined) {
    return ({ query, document }) => ({
      sequence: late.encodeDocument(documentPrefix + document),
      query: late.encodeQuery(queryPrefix + query),
    });
  }
  return ({ query, document, instruction = own }) =>
    family === "bi-encoder"
      ? {
          sequence: encoder.encodeSingle(documentPrefix + document),
          query: encoder.encodeSingle(queryPrefix + query),
        }
      : {
          sequence: encoder.encodePair(
            encoder.encodeQuery(queryPrefix + query, instruction),
            documentPrefix + document,
          ),
          query: undefined,
        };
}

function differenceOf(expected: GoldenScore, { sequence, query }: EncodedCase): TokenDifference | undefined {
  const { ids = [], segmentIds, queryIds } = expected;
  const overflow = expected.queryOverflow ?? false;
  if (overflow !== sequence.queryOverflow) {
    return { what: "queryOverflow", expected: overflow, actual: sequence.queryOverflow };
  }
  return (
    firstDifference("ids", ids, sequence.ids) ??
    firstDifference("segmentIds", segmentIds ?? ids.map(() => 0), sequence.segmentIds) ??
    (queryIds && query && firstDifference("queryIds", queryIds, query.ids)) ??
    truncationDifference(expected.truncatedTokens, sequence)
  );
}

/** What was cut of a text. Of one that was not read to its end, at least that much. */
type Cut = Pick<EncodedSequence, "truncatedTokens" | "truncatedTokensIsMinimum">;

function truncationDifference(
  expected: number | undefined,
  actual: Cut | undefined,
): TokenDifference | undefined {
  if (expected === undefined || actual === undefined) return undefined;
  const { truncatedTokens, truncatedTokensIsMinimum } = actual;
  if (truncatedTokensIsMinimum ? truncatedTokens <= expected : truncatedTokens === expected) return undefined;
  return { what: "truncatedTokens", expected, actual: truncatedTokens };
}

function firstDifference(
  what: TokenDifference["what"],
  expected: readonly number[],
  actual: ArrayLike<number>,
): TokenDifference | undefined {
  for (let position = 0; position < Math.max(expected.length, actual.length); position += 1) {
    if (expected[position] === actual[position]) continue;
    return { what, position, expected: expected[position], actual: actual[position] };
  }
  return undefined;
}

async function verifyList(
  { reranker, encoders, signal }: Subject,
  golden: GoldenList,
): Promise<VerifiedCase[]> {
  const { query, documents } = golden;
  const { differences, cut } = compareList(reranker.profile, encoders.list, golden);
  const pairs = documents.map((document) => ({ query, document }));
  const measured = query.trim() === "" ? [] : await scoreEach(reranker, pairs, { signal });
  return documents.map((_, document): VerifiedCase => {
    const difference =
      differences.get(document) ?? truncationDifference(golden.truncatedTokens[document], cut?.[document]);
    const [logit, score] = [golden.logits[document], golden.scores[document]];
    return {
      name: golden.name,
      document,
      tokens: difference === undefined ? "same" : "different",
      ...(difference === undefined ? {} : { difference }),
      ...compare({ logit, score }, measured[document]),
    };
  });
}

/** @returns the first difference that concerns each document; `cut` is undefined for a query overflow. */
function compareList(
  { queryPrefix, documentPrefix }: ModelProfile,
  encoder: ListEncoder | undefined,
  { query, documents, sequences }: GoldenList,
): {
  readonly differences: ReadonlyMap<number, TokenDifference>;
  readonly cut: readonly Cut[] | undefined;
} {
  if (encoder === undefined) throw new TypeError("a listwise model has a list encoder");
  const overflow = encoder.measureQuery(queryPrefix + query) === undefined;
  const cut = overflow
    ? undefined
    : documents.map((document) => encoder.cutDocument(documentPrefix + document));
  const actual: EncodedList[] = cut === undefined ? [] : [...encoder.encodeList(queryPrefix + query, cut)];
  const differences = new Map<number, TokenDifference>();
  const note = (concerned: readonly number[], difference: TokenDifference | undefined): void => {
    if (difference === undefined) return;
    for (const document of concerned) if (!differences.has(document)) differences.set(document, difference);
  };
  for (const [index, expected] of sequences.entries()) {
    const found = actual[index];
    const concerned = expected.documents;
    note(concerned, firstDifference("documents", expected.documents, found?.documents ?? []));
    note(concerned, firstDifference("ids", expected.ids, found?.sequence.ids ?? []));
  }
  if (sequences.length !== actual.length) {
    note([...documents.keys()], { what: "sequences", expected: sequences.length, actual: actual.length });
  }
  return { differences, cut };
}

/** NaN where the model gave something that is not finite. */
type Measured = Pick<PairScore, "logit" | "score">;

function compare(
  { logit, score }: GoldenScore,
  actual: Measured | undefined,
): Pick<VerifiedCase, "measure" | "expected" | "actual" | "delta" | "scoreDelta" | "refused"> {
  const measure = logit === undefined ? "score" : "logit";
  const expected = (measure === "logit" ? logit : score) ?? null;
  // Only a query that is empty is not even tried.
  if (actual === undefined) return { measure, expected, actual: null, delta: null, refused: true };
  const found = actual[measure];
  const delta = (a: number | null | undefined, b: number | null): number | null =>
    typeof a === "number" && b !== null ? Math.abs(b - a) : null;
  const scoreDelta = measure === "logit" ? delta(score, actual.score) : null;
  return {
    measure,
    expected,
    actual: found,
    delta: delta(expected, found),
    ...(scoreDelta === null ? {} : { scoreDelta }),
  };
}

/** Scores of pairs; where one is not finite, which fails a whole call, one pair at a time, to find out which. */
async function scoreEach(
  reranker: Reranker,
  pairs: readonly Pair[],
  options: { readonly instruction?: string | undefined; readonly signal: AbortSignal | undefined },
): Promise<Measured[]> {
  if (pairs.length === 0) return [];
  try {
    return [...(await reranker.score(pairs, options)).scores];
  } catch (error) {
    if (!NonFiniteScoreError.isInstance(error)) throw error;
  }
  const notFinite: Measured = { logit: Number.NaN, score: Number.NaN };
  // Documents of a list cannot be told apart that way: alone, they would be another list.
  if (reranker.profile.family === "listwise") return pairs.map(() => notFinite);
  const measured: Measured[] = [];
  for (const pair of pairs) {
    measured.push(
      await reranker.score([pair], options).then(
        ({ scores }) => scores[0] as PairScore,
        (error: unknown) => {
          if (NonFiniteScoreError.isInstance(error)) return notFinite;
          throw error;
        },
      ),
    );
  }
  return measured;
}
