import { expect, test } from "vitest";
import { scaleBy } from "../../convert/src/gguf/derived-weight.js";
import { answer, classify, forward } from "../../convert/src/reference/forward.js";
import { describeModel } from "../../convert/src/source/describe-model.js";
import type { ModelDescription } from "../../convert/src/source/description.js";
import { openFixture } from "./convert-fixture.js";
import { convert, createLogits, createTokenLogits, feed, loadModel, metadataOf } from "./convert-llama.js";

// Settings that no fixture has, made by changing a fixture's description; judged by convert's own reference forward
// pass over the same description.

/** How much farther the unchanged model has to be, so that the change is known to matter. */
const matters = 10;
const bound = 1e-2;

const windows: [string, readonly (number | undefined)[], unknown][] = [
  ["no window at all", [undefined, undefined, undefined, undefined], undefined],
  ["windows in every second layer", [undefined, 3, undefined, 3], 2],
  ["windows in no order", [undefined, undefined, 2, undefined], [false, false, true, false]],
  ["windows in all layers but the first", [undefined, 4, 4, 4], 4],
];

test.each(windows)("ModernBERT with %s", async (_, reaches, pattern) => {
  const fixture = await openFixture("modernbert-mean");
  const change = (description: ModelDescription): ModelDescription => ({
    ...description,
    layers: description.layers.map((layer, index) => ({
      ...layer,
      attention: {
        ...layer.attention,
        reach: reaches[index],
        positions: { kind: "rotary", theta: reaches[index] === undefined ? 160000 : 10000 },
      },
    })),
  });
  const scored = fixture.scored.filter(({ ids }) => ids.length > 20).slice(0, 8);
  const description = change(await describeModel(fixture.files, fixture.profile));
  const wanted = await classLogits(description, scored);
  const model = await loadModel(await convert(fixture.files, fixture.profile, "F32", change));
  expect(metadataOf(model, "modern-bert", "attention", "sliding_window_pattern")).toEqual(pattern);
  const logitOf = await createLogits(model, fixture.longest);
  const found: number[] = [];
  for (const { ids, segmentIds } of scored) found.push(await logitOf(feed(model, ids, segmentIds)));
  expect(farthest(found, wanted)).toBeLessThan(bound);
  expect(
    farthest(
      scored.map(({ logit }) => logit),
      wanted,
    ),
  ).toBeGreaterThan(matters * bound);
});

const decoders: [string, string, (description: ModelDescription) => ModelDescription][] = [
  [
    "Gemma with a rounded scale of its embeddings",
    "gemma-yes",
    (d) => ({ ...d, embeddings: { ...d.embeddings, scale: 5.5 } }),
  ],
  [
    "Qwen3 with a projection of its own",
    "qwen3-yes-no",
    (d) => ({
      ...d,
      head: { kind: "vocabulary", projection: scaleBy(d.embeddings.word, -0.75), tied: false },
    }),
  ],
  [
    "Qwen2 with another rotary base",
    "qwen2-one-zero",
    (d) => ({
      ...d,
      layers: d.layers.map((layer) => ({
        ...layer,
        attention: { ...layer.attention, positions: { kind: "rotary", theta: 500 } },
      })),
    }),
  ],
];

test.each(decoders)("%s", async (_, name, change) => {
  const fixture = await openFixture(name);
  const { head } = fixture.profile;
  if (head.kind !== "answer-tokens") throw new Error(`a head of kind ${head.kind}`);
  const tokens = [head.positive, head.negative ?? head.positive + 1];
  const scored = fixture.scored.slice(0, 8);
  const before = await describeModel(fixture.files, fixture.profile);
  const wanted = await tokenLogits(change(before), tokens, scored);
  const model = await loadModel(await convert(fixture.files, fixture.profile, "F32", change));
  const logitsOf = await createTokenLogits(model, fixture.longest, tokens);
  const found: number[] = [];
  for (const { ids } of scored) found.push(...(await logitsOf(ids)));
  expect(farthest(found, wanted)).toBeLessThan(bound);
  expect(farthest(await tokenLogits(before, tokens, scored), wanted)).toBeGreaterThan(matters * bound);
});

interface Sequence {
  readonly ids: readonly number[];
}

function inputs(sequences: readonly Sequence[]): { ids: Int32Array; segments: Int32Array }[] {
  return sequences.map(({ ids }) => ({ ids: Int32Array.from(ids), segments: new Int32Array(ids.length) }));
}

async function classLogits(description: ModelDescription, sequences: readonly Sequence[]): Promise<number[]> {
  if (description.head.kind !== "classifier") throw new Error("no classifier");
  return [...(await classify(description.head, await forward(description, inputs(sequences)))).data];
}

async function tokenLogits(
  description: ModelDescription,
  tokens: readonly number[],
  sequences: readonly Sequence[],
): Promise<number[]> {
  if (description.head.kind !== "vocabulary") throw new Error("no vocabulary");
  const states = await forward(description, inputs(sequences));
  return [...(await answer(description.head, tokens, states)).data];
}

function farthest(found: readonly number[], wanted: readonly number[]): number {
  expect(found).toHaveLength(wanted.length);
  return Math.max(...found.map((number, index) => Math.abs(number - (wanted[index] ?? Number.NaN))));
}
