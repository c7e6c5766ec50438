import { afterAll, beforeAll, expect, it } from "vitest";
import { isLong, placeOf } from "../../../test/sample.js";
import {
  cascade,
  createMemoryScoreCache,
  createReranker,
  type PairScore,
  type Reranker,
} from "../src/index.js";
import { fixture } from "./fallback-scene.js";
import { toyBackend } from "./toy-backend.js";

/** Lists that a search may hand over, and lists that break things. */
const lists = isLong ? 300 : 20;

let stages: readonly Reranker[];
/** The same models without a cache, by which a cascade is judged. */
let alone: readonly Reranker[];

beforeAll(async () => {
  const open = (model: string, cached: boolean): Promise<Reranker> =>
    createReranker({
      model: fixture(model),
      backend: { ...toyBackend(), families: ["cross-encoder", "bi-encoder", "causal-lm"] },
      probe: false,
      // A long query leaves no room.
      maxLength: model === "qwen3-yes-no" ? undefined : 40,
      scoreCache: cached ? createMemoryScoreCache() : undefined,
    });
  const models = ["bert-cosine-mean", "bert-logit", "qwen3-yes-no"];
  [stages, alone] = (await Promise.all(
    [true, false].map((cached) => Promise.all(models.map((model) => open(model, cached)))),
  )) as [Reranker[], Reranker[]];
});

afterAll(async () => {
  await Promise.all([...stages, ...alone].map((one) => one.dispose()));
});

/** Numbers from 0 to below `below`, by a seed. */
function drawing(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Empty texts, copies, texts that differ by white space, and long ones. */
function textsOf(draw: (below: number) => number): string[] {
  const texts: string[] = [];
  const words = "cat mouse eats sleeps river bank the of in 7 猫 🐈".split(" ");
  for (let count = draw(25); texts.length < count; ) {
    const copy = texts[draw(Math.max(1, texts.length))];
    const own = Array.from({ length: draw(12) }, () => words[draw(words.length)]).join(" ");
    const kinds = [own, own, own, "", "   ", copy ?? own, `${copy ?? own} `, `${own} `.repeat(20)];
    texts.push(kinds[draw(kinds.length)] ?? own);
  }
  return texts;
}

/** Best first by logit, ties and what has none by position: written out, as the judge. */
function bestFirst(positions: readonly number[], scores: readonly PairScore[]): number[] {
  return positions.toSorted((a, b) => {
    const [left, right] = [a, b].map((at) => scores[at]?.logit ?? Number.NEGATIVE_INFINITY) as [
      number,
      number,
    ];
    return left === right ? a - b : right > left ? 1 : -1;
  });
}

it.each(Array.from({ length: lists }, (_, index) => index))(
  "list %i is ranked as its models alone say",
  async (index) => {
    const draw = drawing(placeOf("cascade") + 7919 * index);
    const documents = textsOf(draw);
    const count = 2 + draw(2);
    const first = draw(4 - count);
    const chosen = stages.slice(first, first + count);
    const judges = alone.slice(first, first + count);
    const keep = count === 2 ? [1 + draw(27)] : [6 + draw(20), 1 + draw(5)];
    const query = draw(6) === 0 ? "what does the cat eat ".repeat(12) : `what does cat ${draw(9)} eat`;
    const longDocuments = draw(3) === 0 ? ("chunk" as const) : undefined;

    const scores: PairScore[][] = [];
    for (const judge of judges) {
      const { scores: own } = await judge.score(
        documents.map((document) => ({ query, document })),
        { longDocuments },
      );
      scores.push([...own]);
    }
    // Which documents each stage is asked about.
    let alive = [...documents.keys()];
    const asked = keep.map((most, stage) => {
      if (alive.length <= most) return new Set<number>();
      const own = alive;
      alive = bestFirst(alive, scores[stage] ?? []).slice(0, most);
      return new Set(own);
    });
    asked.push(new Set(alive));
    const stageOf = (at: number): number =>
      asked.findLastIndex((positions, stage) => positions.has(at) && scores[stage]?.[at]?.logit !== null);
    const blocks = [...asked.keys()].reverse().flatMap((stage) =>
      bestFirst(
        [...documents.keys()].filter((at) => stageOf(at) === stage),
        scores[stage] ?? [],
      ),
    );
    const order = [...blocks, ...[...documents.keys()].filter((at) => stageOf(at) < 0)];

    const both = cascade(chosen, { keep: keep.length === 1 ? (keep[0] ?? 1) : keep });
    for (const time of ["computed", "cached"]) {
      const { results, status, stages: told, usage } = await both.rerank({ query, documents, longDocuments });
      expect(status).toBe("reranked");
      expect(results.map((one) => one.index)).toEqual(order);
      expect(told.map(({ pairs }) => pairs)).toEqual(asked.map(({ size }) => size));
      for (const { index: at, stage, logit, score, stageScores, notScored } of results) {
        expect([at, stage]).toEqual([at, stageOf(at) < 0 ? null : stageOf(at)]);
        const last = asked[count - 1]?.has(at) ? scores[count - 1]?.[at] : undefined;
        expect([logit, score, notScored]).toEqual([last?.logit ?? null, last?.score ?? null, undefined]);
        expect(stageScores.map((one) => one?.logit)).toEqual(
          asked.map((positions, each) => (positions.has(at) ? scores[each]?.[at]?.logit : undefined)),
        );
      }
      if (time === "cached" && usage.cached !== undefined) expect(usage.sequences).toBe(0);
    }
  },
);
