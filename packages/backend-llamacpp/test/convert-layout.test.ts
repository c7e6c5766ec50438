import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openFixtureFolder, openFixtures, referenceBackend } from "@crossrank/conformance";
import { type ModelFiles, type ModelProfile, readProfile } from "@crossrank/core";
import { expect, test } from "vitest";
import { isLong } from "../../../test/sample.js";
import type { ModelDescription } from "../../convert/src/source/description.js";
import { convert, createLogits, feed, loadModel, temporaryFolder } from "./convert-llama.js";

// What the usual GGUF of a BERT reranker loses: the pooler, and the second segment. A BERT as wide as MiniLM, with
// random weights of a fixed seed; the reference is the conformance package's own forward pass over the same files.

const hidden = 384;
const layers = 3;
const pairs = isLong ? 8 : 3;

test("both cures make a BERT reranker exact; without them it is another model", async () => {
  const files = await randomBert();
  const { profile } = await readProfile(files);
  const sequences = randomSequences();
  const reference = await referenceLogits(files, profile, sequences);
  const unsegmented = await referenceLogits(
    files,
    profile,
    sequences.map(({ ids }) => ({ ids, segmentIds: ids.map(() => 0) })),
  );
  const withoutSegments: ModelProfile = { ...profile, readsSegments: false };

  const usual = await llamaLogits(files, withoutSegments, "F32", sequences, withoutPooler);
  const poolerOnly = await llamaLogits(files, withoutSegments, "F32", sequences);
  const cured = {
    F32: await llamaLogits(files, profile, "F32", sequences),
    F16: await llamaLogits(files, profile, "F16", sequences),
    Q8_0: await llamaLogits(files, profile, "Q8_0", sequences),
  };

  expect(farthest(usual, reference)).toBeGreaterThan(1);
  expect(farthest(poolerOnly, reference)).toBeGreaterThan(0.5);
  // Alike but for the segments: nothing else is wrong with it.
  expect(farthest(poolerOnly, unsegmented)).toBeLessThan(5e-3);
  expect(farthest(cured.F32, reference)).toBeLessThan(5e-3);
  expect(farthest(cured.F16, reference)).toBeLessThan(1e-2);
  expect(farthest(cured.Q8_0, reference)).toBeLessThan(0.2);
});

interface Sequence {
  readonly ids: readonly number[];
  readonly segmentIds: readonly number[];
}

/** The usual converter leaves `bert.pooler.dense` out and puts the classifier behind the first token's state. */
function withoutPooler(description: ModelDescription): ModelDescription {
  const { head } = description;
  if (head.kind !== "classifier") throw new Error("no classifier");
  return { ...description, head: { ...head, steps: head.steps.slice(-1) } };
}

async function llamaLogits(
  files: ModelFiles,
  profile: ModelProfile,
  dtype: string,
  sequences: readonly Sequence[],
  change?: (description: ModelDescription) => ModelDescription,
): Promise<number[]> {
  const model = await loadModel(await convert(files, profile, dtype, change));
  const logitOf = await createLogits(model, Math.max(...sequences.map(({ ids }) => ids.length)));
  const logits: number[] = [];
  for (const { ids, segmentIds } of sequences) logits.push(await logitOf(feed(model, ids, segmentIds)));
  return logits;
}

async function referenceLogits(
  files: ModelFiles,
  profile: ModelProfile,
  sequences: readonly Sequence[],
): Promise<number[]> {
  const session = await referenceBackend().load({ files, profile, output: { kinds: ["class-logits"] } });
  const logits: number[] = [];
  for (const { ids, segmentIds } of sequences) {
    const { data } = await session.run({
      rows: 1,
      columns: ids.length,
      inputIds: Int32Array.from(ids),
      attentionMask: new Int32Array(ids.length).fill(1),
      segmentIds: Int32Array.from(segmentIds),
      lengths: Int32Array.of(ids.length),
    });
    logits.push(data[0] ?? Number.NaN);
  }
  await session.dispose();
  return logits;
}

/** bert-logit's tokenizer and settings, with MiniLM's width. */
async function randomBert(): Promise<ModelFiles> {
  const [fixture] = openFixtures(["bert-logit"]);
  if (fixture === undefined) throw new Error("no fixture bert-logit");
  const folder = await temporaryFolder();
  for (const name of ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"])
    await copyFile(await fixture.files.localPath(name), join(folder, name));
  const config = JSON.parse(await readFile(await fixture.files.localPath("config.json"), "utf8"));
  const sizes = {
    hidden_size: hidden,
    intermediate_size: 4 * hidden,
    num_hidden_layers: layers,
    num_attention_heads: 12,
  };
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, ...sizes }));

  const tensors: Record<string, { shape: number[]; scale: number; offset?: number }> = {
    "bert.embeddings.word_embeddings.weight": { shape: [config.vocab_size, hidden], scale: 0.05 },
    "bert.embeddings.position_embeddings.weight": {
      shape: [config.max_position_embeddings, hidden],
      scale: 0.02,
    },
    "bert.embeddings.token_type_embeddings.weight": { shape: [2, hidden], scale: 0.05 },
  };
  const linear = (name: string, outputs: number, inputs: number, scale: number): void => {
    tensors[`${name}.weight`] = { shape: [outputs, inputs], scale };
    tensors[`${name}.bias`] = { shape: [outputs], scale: 0.02 };
  };
  const norm = (name: string): void => {
    tensors[`${name}.weight`] = { shape: [hidden], scale: 0.05, offset: 1 };
    tensors[`${name}.bias`] = { shape: [hidden], scale: 0.05 };
  };
  norm("bert.embeddings.LayerNorm");
  for (let layer = 0; layer < layers; layer++) {
    const at = `bert.encoder.layer.${layer}`;
    for (const part of ["query", "key", "value"])
      linear(`${at}.attention.self.${part}`, hidden, hidden, 0.04);
    linear(`${at}.attention.output.dense`, hidden, hidden, 0.04);
    norm(`${at}.attention.output.LayerNorm`);
    linear(`${at}.intermediate.dense`, 4 * hidden, hidden, 0.04);
    linear(`${at}.output.dense`, hidden, 4 * hidden, 0.04);
    norm(`${at}.output.LayerNorm`);
  }
  linear("bert.pooler.dense", hidden, hidden, 0.04);
  linear("classifier", 1, hidden, 0.2);

  const normal = normalNumbers(11);
  const header: Record<string, unknown> = {};
  const parts: Uint8Array[] = [];
  let end = 0;
  for (const [name, { shape, scale, offset = 0 }] of Object.entries(tensors)) {
    const numbers = Float32Array.from(
      { length: shape.reduce((a, b) => a * b, 1) },
      () => offset + scale * normal(),
    );
    parts.push(new Uint8Array(numbers.buffer));
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + numbers.byteLength] };
    end += numbers.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(json.length), true);
  await writeFile(join(folder, "model.safetensors"), Buffer.concat([length, json, ...parts]));
  return openFixtureFolder(folder).files;
}

/** `[CLS] query [SEP] document [SEP]`, of the fixture's ordinary tokens. */
function randomSequences(): Sequence[] {
  const next = randomNumbers(5);
  const words = (count: number): number[] =>
    Array.from({ length: count }, () => 8 + Math.floor(next() * 1390));
  return Array.from({ length: pairs }, (_, index) => {
    const first = [5, ...words(4 + (index % 3)), 6];
    const second = [...words(8 + 2 * index), 6];
    return {
      ids: [...first, ...second],
      segmentIds: [...first.map(() => 0), ...second.map(() => 1)],
    };
  });
}

function farthest(found: readonly number[], wanted: readonly number[]): number {
  expect(found).toHaveLength(wanted.length);
  return Math.max(...found.map((number, index) => Math.abs(number - (wanted[index] ?? Number.NaN))));
}

/** Uniform from 0 to 1, Park and Miller's generator. */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 48271) % 2147483647;
    return state / 2147483647;
  };
}

/** Of mean 0 and variance 1, by Box and Muller. */
function normalNumbers(seed: number): () => number {
  const next = randomNumbers(seed);
  return () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next());
}
