import type { Backend, BackendSession, Batch, Head, ModelFiles, ModelProfile } from "@crossrank/core";
import goldens from "./fixtures/tiny-models.json" with { type: "json" };
import { floatTensor, type StoredTensor, serialize } from "./source-files.js";

/** A tiny model of lab/convert/tiny_goldens.py, and what transformers gives for its sequences. */
export interface TinyModel {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** Of a language model: the tokens whose logits behind each sequence are known. */
  readonly tokens?: readonly number[];
  readonly sequences: readonly (readonly number[])[];
  /** A row of classes a sequence, or of a language model's answers. */
  readonly logits: readonly (readonly number[])[];
}

/** The numbers of a weight of this name: those of `numbers` of the script. */
function numbersOfName(name: string, count: number): Float32Array {
  let state = 2_166_136_261;
  for (const byte of new TextEncoder().encode(name)) state = Math.imul(state ^ byte, 16_777_619) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (state ^ (state << 13)) >>> 0;
    state = (state ^ (state >>> 17)) >>> 0;
    state = (state ^ (state << 5)) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

const all: readonly TinyModel[] = Object.entries(goldens.cases).map(([name, given]) => ({
  ...given,
  name,
  tensors: new Map(
    Object.entries(given.tensors).map(([tensor, shape]: [string, readonly number[]]) => {
      const numbers = numbersOfName(
        tensor,
        shape.reduce((product, size) => product * size, 1),
      );
      const isNorm =
        shape.length === 1 && tensor.endsWith("weight") && !given.config.model_type.startsWith("gemma");
      return [tensor, floatTensor(shape, isNorm ? numbers.map((value) => value * 0.5 + 1) : numbers)];
    }),
  ),
}));

/** Every classifier of the script. */
export const tinyModels: readonly TinyModel[] = all.filter(({ tokens }) => tokens === undefined);

/** Every language model of the script. */
export const tinyLanguageModels: readonly TinyModel[] = all.filter(({ tokens }) => tokens !== undefined);

/** @throws {Error} for a name that the script does not have. */
export function tinyModel(name: string): TinyModel {
  const found = all.find((model) => model.name === name);
  if (found === undefined) throw new Error(`no tiny model ${name}`);
  return found;
}

/** @param more settings of config.json in place of the model's; undefined takes one away. */
export function filesOfTiny(
  { name, config, tensors }: TinyModel,
  more: Readonly<Record<string, unknown>> = {},
): ModelFiles {
  const contents = new Map<string, Uint8Array>([
    ["config.json", new TextEncoder().encode(JSON.stringify({ ...config, ...more }))],
    ["model.safetensors", serialize(tensors)],
  ]);
  const find = (path: string): Uint8Array => {
    const content = contents.get(path);
    if (content === undefined) throw new Error(`no ${path}`);
    return content;
  };
  return {
    id: name,
    revision: undefined,
    list: async () => [...contents].map(([path, { length }]) => ({ path, size: length })),
    readText: async (path) => new TextDecoder().decode(find(path)),
    readBytes: async (path, range) => find(path).subarray(range.start, range.end),
    localPath: async (path) => {
      throw new Error(`${path} lies in memory`);
    },
  };
}

export function profileOfTiny({ config, tokens }: TinyModel): ModelProfile {
  const classes = Number(config["num_labels"]);
  const head: Head =
    tokens !== undefined
      ? { kind: "answer-tokens", positive: tokens[0] as number, negative: tokens[1] as number }
      : classes === 1
        ? { kind: "logit" }
        : classes === 2
          ? { kind: "two-class", positive: 1 }
          : { kind: "class", positive: 0, classes };
  return {
    specificationVersion: "1",
    family: tokens === undefined ? "cross-encoder" : "causal-lm",
    architecture: String(config["model_type"]),
    pairTemplate: [
      { text: "query", segment: 0 },
      { text: "document", segment: 0 },
    ],
    singleTemplate: [],
    readsSegments: false,
    maxLength: 512,
    truncation: "document-only",
    paddingId: Number(config["pad_token_id"] ?? 0),
    head,
    activation: "identity",
    queryPrefix: "",
    documentPrefix: "",
  };
}

/** A batch of these sequences, padded on the right. */
function batchOf(sequences: readonly (readonly number[])[], padding: number): Batch {
  const columns = Math.max(...sequences.map(({ length }) => length));
  const fill = (of: (ids: readonly number[], column: number) => number): Int32Array =>
    Int32Array.from(
      sequences.flatMap((ids) => Array.from({ length: columns }, (_, column) => of(ids, column))),
    );
  return {
    rows: sequences.length,
    columns,
    inputIds: fill((ids, column) => ids[column] ?? padding),
    attentionMask: fill((ids, column) => Number(column < ids.length)),
    segmentIds: fill(() => 0),
    lengths: Int32Array.from(sequences, ({ length }) => length),
  };
}

/** The largest difference from transformers' logits, of sequences alone and of all in one batch. */
export async function worstOf(
  { sequences, logits, ...model }: TinyModel,
  backend: Backend,
  files: ModelFiles,
): Promise<number> {
  const profile = profileOfTiny({ sequences, logits, ...model });
  const { tokens } = model;
  const output = tokens === undefined ? { kinds: ["class-logits"] } : { kinds: ["token-logits"], tokens };
  const session = await backend.load({ files, profile, output } as never);
  try {
    const together = await run(session, batchOf(sequences, profile.paddingId));
    let worst = 0;
    for (const [row, expected] of logits.entries()) {
      const alone = await run(session, batchOf([sequences[row] as readonly number[]], profile.paddingId));
      for (const [column, logit] of expected.entries()) {
        const company = together[row * expected.length + column] as number;
        const difference = Math.max(Math.abs(company - logit), Math.abs((alone[column] as number) - logit));
        // NaN stays, and is no small difference.
        worst = Math.max(worst, difference);
      }
    }
    return worst;
  } finally {
    await session.dispose();
  }
}

async function run(session: BackendSession, batch: Batch): Promise<ArrayLike<number>> {
  return (await session.run(batch)).data as ArrayLike<number>;
}
