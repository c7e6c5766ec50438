import {
  createReranker,
  type ModelFiles,
  type ModelProfile,
  type PairScore,
  type Reranker,
  readProfile,
  type ScoringProgress,
} from "@crossrank/core";
import {
  createLateEncoder,
  createListEncoder,
  createPairEncoder,
  createTextTokenizer,
  type EncodedSequence,
  type TextTokenizer,
} from "@crossrank/core/encoding";
import type { GoldenCase, GoldenList, GoldenScore, Goldens } from "@crossrank/core/verify";
import { sourceBackend } from "./source-backend.js";

/** A pair to be scored by the source. `name` is unique. */
export interface GoldenPair {
  readonly name: string;
  readonly query: string;
  readonly document: string;
}

export interface SourceGoldensOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: ScoringProgress) => void) | undefined;
}

/** Models up to this length see a pair that fills it; of longer ones only core's truncation would be tried. */
const filledAtMost = 512;

/**
 * What the model gives for a few texts when computed from its own weights ({@link sourceBackend}), in the form that
 * core's `verify` holds an artifact against: token ids and logits of every pair, in the profile's truncation.
 *
 * @param profile as `readProfile` gave it; `verify` must read the same, overrides included.
 * @param pairs default: {@link defaultPairs}. For a listwise model, the documents of one query are one list.
 * @throws what `createReranker` and `score` throw for `sourceBackend`: the model is not described here, a weight is
 * damaged.
 * @throws the signal's reason, once aborted.
 */
export async function sourceGoldens(
  files: ModelFiles,
  profile: ModelProfile,
  pairs: readonly GoldenPair[] = defaultPairs(profile.maxLength),
  options: SourceGoldensOptions = {},
): Promise<Goldens> {
  const { signal, onProgress } = options;
  const { tokenizerJson } = await readProfile(files, profile, signal);
  const tokenizer = createTextTokenizer(tokenizerJson, files.id);
  const reranker = await createReranker({
    model: files,
    backend: sourceBackend(),
    profile,
    dtype: "fp32",
    // Its pairs would be computed as slowly as these, and a model that fails it is to be seen as it is.
    probe: false,
    signal,
  });
  try {
    const isList = profile.family === "listwise";
    return {
      specificationVersion: "1",
      reference: {
        name: `${profile.architecture} computed from ${reranker.session.artifact.files[0]?.path ?? "its weights"} by crossrank`,
        dtype: "float64",
      },
      cases: isList ? [] : await scorePairs(reranker, tokenizer, pairs, { signal, onProgress }),
      ...(isList ? { lists: await scoreLists(reranker, tokenizer, pairs, { signal, onProgress }) } : {}),
    };
  } finally {
    await reranker.dispose();
  }
}

async function scorePairs(
  reranker: Reranker,
  tokenizer: TextTokenizer,
  pairs: readonly GoldenPair[],
  options: SourceGoldensOptions,
): Promise<GoldenCase[]> {
  const { profile } = reranker;
  const encode = goldenEncoder(profile, tokenizer);
  const { scores } = await reranker.score(
    pairs.map(({ query, document }) => ({ query, document })),
    options,
  );
  return pairs.map((pair, index) => ({
    ...pair,
    expected: { [profile.truncation]: { ...encode(pair), ...numbersOf(scores[index] as PairScore) } },
  }));
}

function numbersOf({ logit, score }: PairScore): Pick<GoldenScore, "logit" | "score"> {
  return { logit, score };
}

type GoldenTokens = Omit<GoldenScore, "logit" | "score">;

/** The tokens of a pair, cut to the profile's length. */
export function goldenEncoder(
  profile: ModelProfile,
  tokenizer: TextTokenizer,
): (pair: Pick<GoldenCase, "query" | "document" | "instruction">) => GoldenTokens {
  const encoder = createPairEncoder(tokenizer, profile);
  const { lateTemplate, maxLength } = profile;
  const late = lateTemplate && createLateEncoder(tokenizer, lateTemplate, maxLength);
  const { family, queryPrefix, documentPrefix, instruction: own } = profile;
  return ({ query, document, instruction = own }) => {
    if (late !== undefined) {
      const ofQuery = late.encodeQuery(queryPrefix + query);
      return { ...tokensOf(late.encodeDocument(documentPrefix + document)), queryIds: [...ofQuery.ids] };
    }
    if (family === "bi-encoder") {
      const ofQuery = encoder.encodeSingle(queryPrefix + query);
      return { ...tokensOf(encoder.encodeSingle(documentPrefix + document)), queryIds: [...ofQuery.ids] };
    }
    return tokensOf(
      encoder.encodePair(encoder.encodeQuery(queryPrefix + query, instruction), documentPrefix + document),
    );
  };
}

function tokensOf({ ids, segmentIds, truncatedTokens, queryOverflow }: EncodedSequence): GoldenTokens {
  if (queryOverflow) return { ids: [...ids], queryOverflow, truncatedTokens };
  return {
    ids: [...ids],
    ...(segmentIds.some((segment) => segment !== 0) ? { segmentIds: [...segmentIds] } : {}),
    truncatedTokens,
  };
}

async function scoreLists(
  reranker: Reranker,
  tokenizer: TextTokenizer,
  pairs: readonly GoldenPair[],
  { signal, onProgress }: SourceGoldensOptions,
): Promise<GoldenList[]> {
  const { listTemplate, maxLength, queryPrefix, documentPrefix } = reranker.profile;
  if (listTemplate === undefined) throw new TypeError("a listwise model has a list template");
  const encoder = createListEncoder(tokenizer, listTemplate, maxLength);
  const lists: GoldenList[] = [];
  let completed = 0;
  for (const query of new Set(pairs.map((pair) => pair.query))) {
    const ofQuery = pairs.filter((pair) => pair.query === query);
    const documents = ofQuery.map(({ document }) => document);
    const { results } = await reranker.rerank({ query, documents, signal });
    const inOrder = results.toSorted((a, b) => a.index - b.index);
    const isOverflow = encoder.measureQuery(queryPrefix + query) === undefined;
    const cut = isOverflow ? [] : documents.map((document) => encoder.cutDocument(documentPrefix + document));
    lists.push({
      name: ofQuery[0]?.name ?? query,
      query,
      documents,
      sequences: [...encoder.encodeList(queryPrefix + query, cut)].map((list) => ({
        ids: [...list.sequence.ids],
        documents: [...list.documents],
      })),
      truncatedTokens: inOrder.map(({ truncatedTokens }) => truncatedTokens),
      logits: inOrder.map(({ logit }) => logit),
      scores: inOrder.map(({ score }) => score),
    });
    completed += documents.length;
    onProgress?.({ completed, total: pairs.length });
  }
  return lists;
}

/**
 * A dozen pairs of our own: relevant and not, short and long, other scripts, numbers, next to no text, and one that fills
 * the model's length where that is at most 512 tokens, otherwise one of some 200.
 */
export function defaultPairs(maxLength: number): GoldenPair[] {
  const repair = "how do I stop a kitchen tap from dripping";
  const harbour = "which pier received the most crates of oranges";
  // An entry has more than ten tokens in any vocabulary.
  const entries = maxLength <= filledAtMost ? Math.ceil(maxLength / 10) : 9;
  const pair = (name: string, query: string, document: string): GoldenPair => ({ name, query, document });
  return [
    pair(
      "relevant",
      repair,
      "A dripping tap usually needs a new washer: shut off the water, unscrew the handle, replace it.",
    ),
    pair("related", repair, "The kitchen was fitted with a brass tap and a stone sink in the spring."),
    pair("irrelevant", repair, "The comet will be visible low in the west for about a week after sunset."),
    pair("same-text", repair, repair),
    pair("one-word", repair, "Washer"),
    pair("next-to-nothing", repair, "."),
    pair("short-query", "comet", "It returns every 76 years."),
    pair("numbers", "population of the town in 1961", "1951: 10,482; 1961: 11,937; 1971: 9,004 (−24.6 %)."),
    pair("chinese", "水龙头漏水怎么办", "更换水龙头里的垫圈通常就能止住漏水。"),
    pair("cyrillic-arabic", "как починить кран", "استبدل الحلقة المطاطية — замените прокладку 🔧."),
    pair("long", harbour, log(entries)),
  ];
}

function log(entries: number): string {
  const goods = ["oranges", "copper wire", "tea", "window glass", "salted fish"];
  return Array.from({ length: entries }, (_, index) => {
    const crates = (37 * (index + 3)) % 101;
    return `On day ${index + 1} pier ${(index % 7) + 1} took in ${crates} crates of ${goods[index % goods.length]}.`;
  }).join(" ");
}
