import { createHash } from "node:crypto";
import { cpSync, existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ctranslate2 } from "@crossrank/backend-ctranslate2";
import { type LoadRequest, type ModelFiles, type ModelProfile, readProfile } from "@crossrank/core";
import { readGoldens, verify } from "@crossrank/core/verify";
import { readCTranslate2Header } from "@crossrank/formats/ctranslate2";
import { openModel } from "@crossrank/hub";
import { afterAll, describe, expect, test } from "vitest";
import { randomOf } from "../../backend-kit/test/mutations.js";
import { ctranslate2Writer } from "../src/ctranslate2/write-ctranslate2.js";
import { UnsupportedConversionError } from "../src/errors.js";
import { convert } from "../src/index.js";
import { sourceBackend } from "../src/reference/source-backend.js";
import { describeModel } from "../src/source/describe-model.js";
import converter from "./fixtures/ctranslate2-converter.json" with { type: "json" };
import { floatTensor, type StoredTensor } from "./source-files.js";
import { filesOfTiny, profileOfTiny, type TinyModel, tinyModel, tinyModels, worstOf } from "./tiny-models.js";

const fixtures = fileURLToPath(new URL("../../conformance/fixtures/", import.meta.url));
const suffixes = { fp32: "", fp16: "_fp16", int8: "_int8" } as const;
type Dtype = keyof typeof suffixes;
const backend = ctranslate2({ isolation: "thread", sessions: 1, threads: 1 });

const { available, detail } = await backend.diagnose();
if (!available && process.env["CROSSRANK_REQUIRE_CTRANSLATE2"] === "1") throw new Error(detail);
if (!available) console.warn(`SKIPPED: every test that runs what was written for CTranslate2. ${detail}`);
const testNative: typeof test.skip = available ? test : test.skip;
const describeNative: typeof describe.skip = available ? describe : describe.skip;

const folders: string[] = [];
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true, force: true });
});

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-ctranslate2-"));
  folders.push(folder);
  return folder;
}

/**
 * Writes an artifact, and no more.
 *
 * @param isWhole false leaves the classifier and the pooler out.
 * @returns its folder.
 */
async function write(files: ModelFiles, given: ModelProfile, dtype: Dtype, isWhole = true): Promise<string> {
  const folder = await temporaryFolder();
  const path = join(folder, ctranslate2Writer.path(dtype));
  await mkdir(dirname(path), { recursive: true });
  const described = await describeModel(files, given);
  const description = isWhole ? described : { ...described, head: { kind: "none" } as const };
  const profile: ModelProfile = isWhole ? given : { ...given, head: { kind: "cosine", pooling: "cls" } };
  await ctranslate2Writer.write({ files, profile, description, dtype, path, metadata: {} });
  return path;
}

async function hashOf(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

/** Its own files of lab/ctranslate2/converter_facts.py. */
describe("files are those of CTranslate2's own converter, to the byte", () => {
  const cases = Object.entries(converter.models).flatMap(([name, precisions]) =>
    Object.entries(precisions).map(([dtype, hashes]) => [name, dtype as Dtype, hashes] as const),
  );
  test.each(cases)("%s in %s", async (name, dtype, hashes) => {
    const files = await openModel(join(fixtures, name));
    const { profile } = await readProfile(files);
    // It writes XLM-RoBERTa without a classifier, all of which is then read from the model's safetensors.
    const isWhole = name.startsWith("bert");
    const folder = await write(files, profile, dtype, isWhole);
    expect(await hashOf(join(folder, "model.bin"))).toBe(hashes["model.bin"]);
    expect(await hashOf(join(folder, "vocabulary.json"))).toBe(hashes["vocabulary.json"]);
    // Of the tokenizer's special tokens it has what transformers says, and CTranslate2's encoder reads none.
    expect(JSON.parse(await readFile(join(folder, "config.json"), "utf8"))).toMatchObject({
      multi_query_attention: false,
      layer_norm_epsilon: expect.any(Number),
    });
    if (isWhole) expect(await hashOf(join(folder, "config.json"))).toBe(hashes["config.json"]);
    expect(existsSync(join(folder, "classifier.safetensors"))).toBe(isWhole);
  });
});

describeNative(
  "files of CTranslate2's own converter are run with the classifier of the model's safetensors",
  () => {
    test.each(["bert-logit", "bert-two-class", "xlm-roberta-logit"] as const)("%s", async (name) => {
      const files = await openModel(join(fixtures, name));
      const { profile } = await readProfile(files);
      const artifact = await write(files, profile, "fp32", name.startsWith("bert"));
      const folder = await temporaryFolder();
      cpSync(join(fixtures, name), folder, { recursive: true, filter: (path) => !/[\\/]onnx$/.test(path) });
      cpSync(artifact, join(folder, "ct2"), {
        recursive: true,
        filter: (path) => !path.endsWith("classifier.safetensors"),
      });
      const model = await openModel(folder);
      const goldens = await readGoldens(model);
      if (goldens === undefined) throw new Error("no goldens");
      const { passed, reason, summary } = await verify({ model, backend, goldens });
      expect(passed, reason).toBe(true);
      expect(summary.maximum).toBeLessThan(1e-4);
    });
  },
);

describeNative("a classifier is not taken from weights that the artifact was not made of", () => {
  /** A number of a tensor, changed in the model's safetensors. */
  async function change(folder: string, tensor: string, by: number): Promise<void> {
    const path = join(folder, "model.safetensors");
    const bytes = await readFile(path);
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<
      string,
      { data_offsets: [number, number] }
    >;
    const name = Object.keys(header).find((one) => one.endsWith(tensor));
    const end = 8 + length + (header[name ?? ""]?.data_offsets[1] ?? Number.NaN);
    bytes.writeFloatLE(bytes.readFloatLE(end - 4) + by, end - 4);
    await writeFile(path, bytes);
  }

  const last = "layer.1.";
  const parts: readonly (readonly [tensor: string, by: number])[] = [
    ["embeddings.LayerNorm.weight", 9e-4],
    ["embeddings.LayerNorm.bias", 9e-4],
    [`${last}attention.self.query.weight`, 0.3],
    [`${last}attention.self.value.weight`, 0.3],
    [`${last}attention.self.key.bias`, 9e-4],
    [`${last}attention.output.dense.bias`, 9e-4],
    [`${last}attention.output.LayerNorm.weight`, -9e-4],
    [`${last}intermediate.dense.bias`, 9e-4],
    [`${last}output.dense.bias`, -9e-4],
    [`${last}output.LayerNorm.bias`, 9e-4],
  ];
  const cases = (["bert-logit", "xlm-roberta-logit"] as const).flatMap((name) =>
    (["fp32", "int8"] as const).map((dtype) => [name, dtype] as const),
  );
  test.each(cases)("%s in %s", async (name, dtype) => {
    const source = await openModel(join(fixtures, name));
    const { profile } = await readProfile(source);
    const artifact = await write(source, profile, dtype, name.startsWith("bert"));
    const folder = await temporaryFolder();
    const loading = async (): Promise<void> => {
      const files = await openModel(folder);
      const session = await backend.load({ files, profile, output: { kinds: ["class-logits"] } });
      await session.dispose();
    };
    for (const [tensor, by] of [undefined, ...parts].map((part) => part ?? ["", 0])) {
      cpSync(join(fixtures, name), folder, { recursive: true, filter: (path) => !/[\\/]onnx$/.test(path) });
      cpSync(artifact, join(folder, "ct2"), {
        recursive: true,
        filter: (path) => !path.endsWith("classifier.safetensors"),
      });
      if (tensor === "") await loading();
      else {
        await change(folder, tensor as string, by as number);
        await expect(loading(), tensor as string).rejects.toThrow(/weights of another model/);
      }
    }
  });
});

/** Of the goldens of transformers. */
const mpnets: readonly TinyModel[] = tinyModels.filter(({ config }) => config["model_type"] === "mpnet");

const [hidden, inner, rows] = [16, 24, 40];

/** Tensors of a layer, of an encoder of BERT's build: names behind the layer's, widths of each. */
const bertLayer: Readonly<Record<string, readonly number[]>> = {
  "attention.self.query": [hidden, hidden],
  "attention.self.key": [hidden, hidden],
  "attention.self.value": [hidden, hidden],
  "attention.output.dense": [hidden, hidden],
  "attention.output.LayerNorm": [hidden],
  "intermediate.dense": [inner, hidden],
  "output.dense": [hidden, inner],
  "output.LayerNorm": [hidden],
};
const distilLayer: Readonly<Record<string, readonly number[]>> = {
  "attention.q_lin": [hidden, hidden],
  "attention.k_lin": [hidden, hidden],
  "attention.v_lin": [hidden, hidden],
  "attention.out_lin": [hidden, hidden],
  sa_layer_norm: [hidden],
  "ffn.lin1": [inner, hidden],
  "ffn.lin2": [hidden, inner],
  output_layer_norm: [hidden],
};

/** One with seeded weights, as large as those of lab/convert/tiny_goldens.py. */
function tinyOf(
  name: string,
  {
    prefix,
    layers,
    layer,
    tables,
    head,
    config,
  }: {
    readonly prefix: string;
    readonly layers: string;
    readonly layer: Readonly<Record<string, readonly number[]>>;
    readonly tables: Readonly<Record<string, number>>;
    readonly head: Readonly<Record<string, readonly number[]>>;
    readonly config: Readonly<Record<string, unknown>>;
  },
): TinyModel {
  const tensors = new Map<string, StoredTensor>();
  const random = randomOf(name.length);
  const add = (tensor: string, shape: readonly number[], isNorm = false): void => {
    const length = shape.reduce((product, size) => product * size, 1);
    const numbers = Float32Array.from({ length }, () => random.below(2 ** 20) / 2 ** 20 - 0.5);
    tensors.set(tensor, floatTensor(shape, isNorm ? numbers.map((number) => number * 0.5 + 1) : numbers));
  };
  const linear = (tensor: string, shape: readonly number[]): void => {
    add(`${tensor}.weight`, shape, shape.length === 1);
    add(`${tensor}.bias`, shape.slice(0, 1));
  };
  for (const [table, count] of Object.entries(tables)) {
    add(`${prefix}embeddings.${table}_embeddings.weight`, [count, hidden]);
  }
  linear(`${prefix}embeddings.LayerNorm`, [hidden]);
  for (const index of [0, 1]) {
    for (const [part, shape] of Object.entries(layer)) linear(`${prefix}${layers}.${index}.${part}`, shape);
  }
  for (const [part, shape] of Object.entries(head)) linear(part, shape);
  const sequences = [
    [2, 7, 11, 3, 20, 21, 3],
    [2, 5, 3],
    [2, 30, 31, 32, 33, 34, 3, 9, 3],
  ];
  return {
    name,
    config: { num_labels: 1, pad_token_id: 0, vocab_size: rows, ...config },
    tensors,
    sequences,
    logits: [],
  };
}

const sizes = {
  hidden_size: hidden,
  intermediate_size: inner,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  max_position_embeddings: 20,
  type_vocab_size: 2,
};
const bertTables = { word: rows, position: 20, token_type: 2 };
const build = { layers: "encoder.layer", layer: bertLayer, tables: bertTables };
const twoLayers = { "classifier.dense": [hidden, hidden], "classifier.out_proj": [1, hidden] };

const built: readonly TinyModel[] = [
  tinyOf("bert", {
    ...build,
    prefix: "bert.",
    head: { "bert.pooler.dense": [hidden, hidden], classifier: [1, hidden] },
    config: { model_type: "bert", hidden_act: "gelu_new", ...sizes },
  }),
  tinyOf("electra", {
    ...build,
    prefix: "electra.",
    head: twoLayers,
    config: { model_type: "electra", embedding_size: hidden, ...sizes },
  }),
  tinyOf("camembert", {
    ...build,
    prefix: "roberta.",
    tables: { ...bertTables, token_type: 1 },
    head: twoLayers,
    config: {
      model_type: "camembert",
      hidden_act: "relu",
      ...sizes,
      type_vocab_size: 1,
      pad_token_id: 1,
      layer_norm_eps: 1e-5,
    },
  }),
  tinyOf("distilbert", {
    prefix: "distilbert.",
    layers: "transformer.layer",
    layer: distilLayer,
    tables: { word: rows, position: 20 },
    head: { pre_classifier: [hidden, hidden], classifier: [1, hidden] },
    config: {
      model_type: "distilbert",
      dim: hidden,
      hidden_dim: inner,
      n_layers: 2,
      n_heads: 4,
      max_position_embeddings: 20,
    },
  }),
];

/** A tiny model has no tokenizer, of which the file of spellings is made. */
function withTokenizer(files: ModelFiles): ModelFiles {
  const text = JSON.stringify({
    normalizer: null,
    pre_tokenizer: null,
    model: { type: "WordPiece", vocab: { "[UNK]": 0, é: 1 } },
  });
  const bytes = new TextEncoder().encode(text);
  return {
    ...files,
    list: async (options) => [...(await files.list(options)), { path: "tokenizer.json", size: bytes.length }],
    readBytes: async (path, range, options) =>
      path === "tokenizer.json"
        ? bytes.subarray(range.start, range.end)
        : files.readBytes(path, range, options),
  };
}

async function worstIn(model: TinyModel, dtype: Dtype): Promise<number> {
  const artifact = await write(withTokenizer(filesOfTiny(model)), profileOfTiny(model), dtype);
  const root = join(artifact, "../..");
  await writeFile(join(root, "config.json"), await filesOfTiny(model).readText("config.json"));
  return worstOf(model, backend, await openModel(root));
}

/** With the reference's logits, which other tests hold against transformers'. */
async function withLogits(model: TinyModel): Promise<TinyModel> {
  const request = {
    files: filesOfTiny(model),
    profile: profileOfTiny(model),
    output: { kinds: ["class-logits"] },
  };
  const session = await sourceBackend().load(request as unknown as LoadRequest);
  const logits: number[][] = [];
  for (const ids of model.sequences) {
    const columns = ids.length;
    const { data } = await session.run({
      rows: 1,
      columns,
      inputIds: Int32Array.from(ids),
      attentionMask: new Int32Array(columns).fill(1),
      segmentIds: new Int32Array(columns),
      lengths: Int32Array.of(columns),
    });
    logits.push([...data]);
  }
  await session.dispose();
  return { ...model, logits };
}

describeNative("the logits of", () => {
  test.each(mpnets)("$name are transformers'", async (model) => {
    expect(await worstIn(model, "fp32")).toBeLessThan(1e-5);
    expect(await worstIn(model, "int8")).toBeLessThan(0.5);
  });

  test.each(built)("$name are the reference's", async (model) => {
    const known = await withLogits(model);
    expect(await worstIn(known, "fp32")).toBeLessThan(1e-5);
    expect(await worstIn(known, "int8")).toBeLessThan(0.5);
  });
});

describeNative("with the classifier of its safetensors, the logits of", () => {
  const models = built.filter(({ name }) => name === "camembert" || name === "distilbert");
  test.each(models)("$name are the reference's", async (model) => {
    const known = await withLogits(model);
    const files = filesOfTiny(model);
    for (const [dtype, bound] of [
      ["fp32", 1e-5],
      ["fp16", 0.05],
      ["int8", 0.5],
    ] as const) {
      const artifact = await write(withTokenizer(files), profileOfTiny(model), dtype, false);
      const root = join(artifact, "../..");
      for (const { path, size = 0 } of await files.list())
        await writeFile(join(root, path), await files.readBytes(path, { start: 0, end: size }));
      expect(await worstOf(known, backend, await openModel(root)), dtype).toBeLessThan(bound);
    }
  });
});

describe("what CTranslate2's encoder does not compute is refused by name:", () => {
  test.each(tinyModels.filter((model) => !mpnets.includes(model)))("$name", async (model) => {
    const profile = profileOfTiny(model);
    const description = await describeModel(filesOfTiny(model), profile);
    expect(() => ctranslate2Writer.check(description, profile)).toThrow(UnsupportedConversionError);
  });

  test.each([
    ["deberta-v2-logit", /CTranslate2/],
    ["modernbert-cls", /a norm behind its layers/],
    ["qwen3-yes-no", /its family is causal-lm/],
    ["bert-late", /Take onnx or mnn, or run its own weights with mlx/],
    ["qwen3-listwise", /its family is listwise/],
  ] as const)("%s", async (name, message) => {
    const converting = convert({
      model: await openModel(join(fixtures, name)),
      to: "ctranslate2",
      output: join(await temporaryFolder(), "out"),
      verify: false,
    });
    await expect(converting).rejects.toThrow(message);
    await expect(converting).rejects.toBeInstanceOf(UnsupportedConversionError);
  });

  test("a projection behind the embeddings", async () => {
    const [, model] = built;
    const profile = profileOfTiny(model as TinyModel);
    const description = await describeModel(filesOfTiny(model as TinyModel), profile);
    const { embeddings, layers } = description;
    const projected = {
      ...description,
      embeddings: { ...embeddings, projection: layers[0]?.attention.query },
    };
    expect(() => ctranslate2Writer.check(projected, profile)).toThrow(/projected/);
  });
});

describe("a file", () => {
  test("has integers, and their scales, in int8", async () => {
    const files = await openModel(join(fixtures, "bert-logit"));
    const folder = await write(files, (await readProfile(files)).profile, "int8");
    const { variables } = await readCTranslate2Header(join(folder, "model.bin"));
    expect(variables.get("encoder/layer_0/ffn/linear_0/weight")).toMatchObject({
      type: "int8",
      shape: [64, 32],
    });
    expect(variables.get("encoder/layer_0/ffn/linear_0/weight_scale")).toMatchObject({
      type: "float32",
      shape: [64],
    });
    expect(variables.get("encoder/position_encodings/encodings")).toMatchObject({ type: "float32" });
  });

  test("beyond half precision is refused, with what to take", async () => {
    const model = tinyModel("mpnet-one-label");
    const profile = profileOfTiny(model);
    const description = await describeModel(filesOfTiny(model), profile);
    const { embeddings } = description;
    const huge = {
      ...description,
      embeddings: {
        ...embeddings,
        word: {
          ...embeddings.word,
          rows: async (from: number, to: number) => (await embeddings.word.rows(from, to)).fill(1e5),
        },
      },
    };
    const folder = await temporaryFolder();
    const writing = ctranslate2Writer.write({
      files: withTokenizer(filesOfTiny(model)),
      profile,
      description: huge,
      dtype: "fp16",
      path: join(folder, "half"),
      metadata: {},
    });
    await expect(writing).rejects.toThrow(/beyond the range of half precision.*Take dtype fp32/);
  });

  testNative("is converted, verified and kept as one folder, and replaced with `force`", async () => {
    const output = join(await temporaryFolder(), "out");
    const request = {
      model: await openModel(join(fixtures, "bert-logit")),
      to: "ctranslate2",
      output,
      backend,
    } as const;
    const { provenance } = await convert(request);
    expect(provenance.files.map(({ path }) => path)).toEqual([
      "ctranslate2/model.ctranslate2/model.bin",
      "ctranslate2/model.ctranslate2/config.json",
      "ctranslate2/model.ctranslate2/vocabulary.json",
      "ctranslate2/model.ctranslate2/classifier.safetensors",
    ]);
    await expect(convert(request)).rejects.toThrow(/there already|exists/);
    await convert({ ...request, force: true });
  });
});
