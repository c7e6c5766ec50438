import type { Batch, RawOutput } from "../src/index.js";
import type { ToyOptions } from "./toy-backend.js";

/** What a session says of itself, or a run returns, that cannot be. One change to a sound session each. */
export interface Hostile {
  readonly name: string;
  readonly options: ToyOptions;
  /** What of it is refused: loading, or the first call. */
  readonly at: "load" | "run";
}

const numbers: readonly [string, unknown][] = [
  ["0", 0],
  ["-1", -1],
  ["NaN", Number.NaN],
  ["Infinity", Number.POSITIVE_INFINITY],
  ["-Infinity", Number.NEGATIVE_INFINITY],
  ["1.5", 1.5],
  ["2^62", 2 ** 62],
  ["a string", "8"],
  ["null", null],
  ["a bigint", 8n],
];

function declares(name: string, capabilities: object): Hostile {
  return { name, options: { capabilities }, at: "load" };
}

function says(name: string, session: object): Hostile {
  return { name, options: { session }, at: "load" };
}

function returns(name: string, run: (batch: Batch, sound: RawOutput) => unknown): Hostile {
  return { name, options: { run }, at: "run" };
}

const preference = { rows: 4, tokens: 2048, padding: 1 };
const sizes: readonly Hostile[] = numbers.flatMap(([name, value]) => [
  declares(`batchSize.exactly ${name}`, { batchSize: { exactly: value } }),
  declares(`batchSize.max ${name}`, { batchSize: { max: value } }),
  declares(`batchPreference.rows ${name}`, { batchPreference: { ...preference, rows: value } }),
  declares(`batchPreference.tokens ${name}`, { batchPreference: { ...preference, tokens: value } }),
  declares(`concurrentRuns ${name}`, { concurrentRuns: value }),
  declares(`maxSequenceLength ${name}`, { maxSequenceLength: value }),
  declares(`sequenceLengths [${name}]`, { sequenceLengths: [value] }),
  declares(`sequenceLengths [64, ${name}]`, { sequenceLengths: [64, value] }),
]);

const paddings = [-0.1, 1.1, Number.NaN, Number.POSITIVE_INFINITY, "0", null, undefined].map((padding) =>
  declares(`batchPreference.padding ${String(padding)}`, { batchPreference: { ...preference, padding } }),
);

const others: readonly Hostile[] = [
  declares("batchSize.exactly 1e9", { batchSize: { exactly: 1e9 } }),
  declares("batchSize.exactly 65536 of 512 columns", {
    batchSize: { exactly: 65_536 },
    sequenceLengths: [512],
  }),
  declares("batchSize.exactly 8 of 4194304 columns", {
    batchSize: { exactly: 8 },
    sequenceLengths: [2 ** 22],
  }),
  declares("no batchSize", { batchSize: undefined }),
  declares("an empty batchSize", { batchSize: {} }),
  declares("batchSize 8", { batchSize: 8 }),
  declares("no batchPreference", { batchPreference: undefined }),
  declares("concurrentRuns 1e9", { concurrentRuns: 1e9 }),
  declares("concurrentRuns undefined", { concurrentRuns: undefined }),
  declares("sequenceLengths []", { sequenceLengths: [] }),
  declares("sequenceLengths [1e9]", { sequenceLengths: [1e9] }),
  declares("sequenceLengths descending", { sequenceLengths: [256, 128] }),
  declares("sequenceLengths repeated", { sequenceLengths: [128, 128] }),
  declares("sequenceLengths of 100,000", { sequenceLengths: Array.from({ length: 1e5 }, (_, at) => at + 1) }),
  declares("sequenceLengths a hole", { sequenceLengths: new Array(2) }),
  declares("sequenceLengths a string", { sequenceLengths: "512" }),
  declares("segmentIds undefined", { segmentIds: undefined }),
  declares("rowsAffectScores 0", { rowsAffectScores: 0 }),
  declares("cancelsWithinBatch null", { cancelsWithinBatch: null }),
  declares("output unknown", { output: "logits" }),
  declares("output not asked for", { output: "pooled" }),
  declares("output undefined", { output: undefined }),
  says("no capabilities", { capabilities: undefined }),
  says("no info", { info: undefined }),
  says("info.name a number", { info: { name: 7, runtime: { name: "toy", version: "1" } } }),
  says("no runtime", { info: { name: "toy" } }),
  says("no artifact", { artifact: undefined }),
  says("artifact.dtype a number", { artifact: { format: "onnx", dtype: 32, files: [] } }),
  says("artifact.files a string", { artifact: { format: "onnx", dtype: "fp32", files: "model.onnx" } }),
  says("artifact.files without a hash", {
    artifact: { format: "onnx", dtype: "fp32", files: [{ path: "model.onnx" }] },
  }),
  says("no settings", { settings: undefined }),
  says("a setting that is a number", { settings: { threads: 4 } }),
  says("bounds.logit NaN", { bounds: { logit: Number.NaN, cosine: 0, reason: "none" } }),
  says("bounds.cosine -1", { bounds: { logit: 0, cosine: -1, reason: "none" } }),
  says("bounds.logit Infinity", { bounds: { logit: Number.POSITIVE_INFINITY, cosine: 0, reason: "none" } }),
  says("bounds without a reason", { bounds: { logit: 0, cosine: 0 } }),
  says("no run", { run: undefined }),
];

const outputs: readonly Hostile[] = [
  returns("undefined", () => undefined),
  returns("null", () => null),
  returns("a number", () => 7),
  returns("an empty object", () => ({})),
  returns("no shape", (_, sound) => ({ ...sound, shape: undefined })),
  returns("a shape of one number", (batch, sound) => ({ ...sound, shape: [batch.rows] })),
  returns("a shape of three numbers", (batch, sound) => ({ ...sound, shape: [batch.rows, 1, 1] })),
  returns("a row too few", (batch, sound) => ({
    ...sound,
    shape: [batch.rows - 1, 1],
    data: sound.data.subarray(1),
  })),
  returns("a row too many", (batch, sound) => ({
    ...sound,
    shape: [batch.rows + 1, 1],
    data: new Float32Array(batch.rows + 1),
  })),
  returns("no rows", (_, sound) => ({ ...sound, shape: [0, 1], data: new Float32Array() })),
  returns("2^62 columns", (batch, sound) => ({ ...sound, shape: [batch.rows, 2 ** 62] })),
  returns("2^62 columns of no numbers", (batch, sound) => ({
    ...sound,
    shape: [batch.rows, 2 ** 62],
    data: new Float32Array(),
  })),
  returns("-1 columns", (batch, sound) => ({ ...sound, shape: [batch.rows, -1] })),
  returns("NaN columns", (batch, sound) => ({ ...sound, shape: [batch.rows, Number.NaN] })),
  returns("two classes", (batch, sound) => ({
    ...sound,
    shape: [batch.rows, 2],
    data: new Float32Array(2 * batch.rows),
  })),
  returns("numbers too few", (_, sound) => ({ ...sound, data: new Float32Array() })),
  returns("an array of numbers", (_, sound) => ({ ...sound, data: [...sound.data] })),
  returns("doubles", (_, sound) => ({ ...sound, data: Float64Array.from(sound.data) })),
  returns("bytes", (_, sound) => ({ ...sound, data: new Uint8Array(sound.data.length) })),
  returns("another kind", (_, sound) => ({ ...sound, kind: "pooled" })),
  returns("a kind that is none", (_, sound) => ({ ...sound, kind: "toString" })),
  returns("no kind", (_, sound) => ({ ...sound, kind: undefined })),
];

export const hostileValues: readonly Hostile[] = [...sizes, ...paddings, ...others, ...outputs];
