import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import { type Backend, type ModelProfile, ModelProfileError } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import type { ArtifactWriter } from "../src/artifact-writer.js";
import { UnsupportedConversionError } from "../src/errors.js";
import { ggufWriter } from "../src/gguf/write-gguf.js";
import { createMlpackageWriter } from "../src/mlpackage/write-mlpackage.js";
import { createMnnWriter } from "../src/mnn/write-mnn.js";
import { createOnnxWriter, type OnnxTarget } from "../src/onnx/write-onnx.js";
import { forward } from "../src/reference/forward.js";
import { sourceBackend } from "../src/reference/source-backend.js";
import { describeModel } from "../src/source/describe-model.js";
import { relativeBucket } from "../src/source/relative-bucket.js";
import { describeWithConverter, backend as mnnBackend } from "./mnn-scene.js";
import { zeros } from "./source-files.js";
import {
  filesOfTiny,
  profileOfTiny,
  type TinyModel,
  tinyLanguageModels,
  tinyModel,
  tinyModels,
  worstOf,
} from "./tiny-models.js";

const ofEachKind = [
  "qwen3-padding",
  "mistral-window",
  "modernbert-window",
  "gemma2-caps-and-window",
  "mpnet-one-label",
].map(tinyModel);

test.each([...tinyModels, ...tinyLanguageModels])(
  "$name: the reference gives transformers' logits",
  async (model) => {
    // Norms and softmax of the goldens are computed in float32.
    expect(await worstOf(model, sourceBackend(), filesOfTiny(model))).toBeLessThan(2e-6);
  },
);

describe.each<OnnxTarget>(["onnxruntime", "plain"])("an ONNX graph for %s", (target) => {
  const models = sampleOf(target === "plain" ? ofEachKind : tinyModels, { name: target, every: 2 });
  test.each(models)("$name", async (model) => {
    expect(
      await worstIn(createOnnxWriter({ target }), onnx({ isolation: "thread", threads: 1 }), model),
    ).toBeLessThan(1e-5);
  });
});

describeWithConverter("a .mnn file", () => {
  const models = [...ofEachKind, ...["gemma3-window", "gemma3-bidirectional"].map(tinyModel)];
  test.each(sampleOf(models, { name: "mnn", every: 3 }))("$name", async (model) => {
    expect(await worstIn(createMnnWriter(), mnnBackend(), model)).toBeLessThan(1e-5);
  });
});

async function worstIn(writer: ArtifactWriter, backend: Backend, model: TinyModel): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-tiny-"));
  try {
    const [files, profile, dtype] = [filesOfTiny(model), profileOfTiny(model), "fp32"];
    const description = await describeModel(files, profile);
    const path = join(folder, writer.path(dtype));
    await mkdir(dirname(path));
    await writer.write({ files, profile, description, dtype, path, metadata: {} });
    await writeFile(join(folder, "config.json"), await files.readText("config.json"));
    return await worstOf(model, backend, await openModel(folder));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe("Llama without a causal mask", () => {
  const model = tinyModel("llama-bidirectional");
  const describing = (more: Readonly<Record<string, unknown>>) =>
    describeModel(filesOfTiny(model, more), profileOfTiny(model));
  const code = (name: string) => ({
    architectures: [name],
    auto_map: { AutoModelForSequenceClassification: `llama_bidirectional_model.${name}` },
  });

  test("is what NVIDIA's code computes, and no other code of a repository", async () => {
    const own = code("LlamaBidirectionalForSequenceClassification");
    const { head, layers } = await describing({ ...own, is_causal: false });
    expect(head).toMatchObject({ pooling: "mean", classes: 1 });
    expect(layers.map(({ attention }) => attention.causal)).toEqual([false, false]);
    await expect(describing(code("LlamaBidirectionalModel"))).rejects.toThrow(/auto_map/);
  });

  test.each<[Readonly<Record<string, unknown>>, RegExp]>([
    [{ pooling: "last" }, /pooling "last"/],
    [{ pooling: "cls" }, /pooling "cls"/],
    [{ temperature: 0 }, /temperature/],
    [{ is_causal: true }, /is_causal true/],
    [{ sliding_window: 16 }, /sliding_window/],
  ])("refuses %j", async (more, message) => {
    await expect(describing(more)).rejects.toThrow(message);
  });
});

describe("scaled positions", () => {
  const model = tinyModel("llama-scaled-positions");
  const given = model.config["rope_scaling"] as Readonly<Record<string, unknown>>;
  const describing = (rope_scaling: unknown) =>
    describeModel(filesOfTiny(model, { rope_scaling }), profileOfTiny(model));

  test("are those of transformers 5's rope_parameters, too", async () => {
    const later = { rope_scaling: undefined, rope_parameters: { ...given, rope_theta: 10_000 } };
    const positionsOf = async (more: Readonly<Record<string, unknown>>) =>
      (await describeModel(filesOfTiny(model, more), profileOfTiny(model))).layers[0]?.attention.positions;
    expect(await positionsOf(later)).toEqual(await positionsOf({}));
    expect((await positionsOf({}))?.kind).toBe("scaled-rotary");
  });

  test.each<[string, unknown]>([
    ["yarn", { rope_type: "yarn", factor: 4 }],
    ["dynamic", { rope_type: "dynamic", factor: 4 }],
    ["longrope", { rope_type: "longrope", long_factor: [1], short_factor: [1] }],
    ["an entry that is not known", { ...given, attention_factor: 2 }],
    ["no factor", { ...given, factor: undefined }],
    ["a factor below 1", { ...given, factor: 0.5 }],
    ["bounds the wrong way round", { ...given, low_freq_factor: 4, high_freq_factor: 1 }],
  ])("%s is refused", async (_, scaling) => {
    await expect(describing(scaling)).rejects.toThrow(/rope_scaling/);
  });

  test("no other format leaves them out in silence", async () => {
    const profile = profileOfTiny(model);
    const description = await describeModel(filesOfTiny(model), profile);
    expect(() => ggufWriter.check(description, profile, "F32")).toThrow(UnsupportedConversionError);
    expect(() => createMlpackageWriter().check(description, profile, "fp16")).toThrow(
      UnsupportedConversionError,
    );
  });
});

test("the last token of a model without padding is the last one, whatever it is", async () => {
  const model = tinyModel("qwen3-padding");
  const { head } = await describeModel(filesOfTiny(model, { pad_token_id: null }), profileOfTiny(model));
  expect(head).toMatchObject({ pooling: "last" });
  expect(head).not.toHaveProperty("passedOver");
});

describe("what another runtime would compute otherwise is refused by name", () => {
  test.each<[string, RegExp, RegExp]>([
    ["mpnet-one-label", /llama\.cpp has no MPNet/, /bucketed positions/],
    ["qwen3-window-of-late-layers", /its attention sees a window/, /its tokens see earlier ones alone/],
    ["qwen2-one-label", /llama\.cpp's rank head of qwen2 the first/, /its tokens see earlier ones alone/],
    ["qwen2-window-by-layer-types", /its attention sees a window/, /its tokens see earlier ones alone/],
    ["gemma-default-padding", /rank head of gemma the first/, /its tokens see earlier ones alone/],
    ["llama-one-label", /does not write architecture llama as GGUF/, /its tokens see earlier ones alone/],
    ["mistral-window", /does not write architecture mistral as GGUF/, /its tokens see earlier ones alone/],
  ])("%s", async (name, gguf, mlpackage) => {
    const model = tinyModel(name);
    const profile = profileOfTiny(model);
    const description = await describeModel(filesOfTiny(model), profile);
    const checked = (writer: ArtifactWriter) => (): void => writer.check(description, profile);
    expect(checked(ggufWriter)).toThrow(UnsupportedConversionError);
    expect(checked(ggufWriter)).toThrow(gguf);
    expect(checked(createMlpackageWriter())).toThrow(UnsupportedConversionError);
    expect(checked(createMlpackageWriter())).toThrow(mlpackage);
  });
});

test("every distance has torch's bucket", () => {
  // transformers 5.24.0, MPNetEncoder.relative_position_bucket: the least key less query of each bucket that follows.
  const starts = [
    [-600, 15],
    [-90, 14],
    [-63, 13],
    [-45, 12],
    [-31, 11],
    [-22, 10],
    [-15, 9],
    [-11, 8],
    ...Array.from({ length: 8 }, (_, index): [number, number] => [index - 7, 7 - index]),
    ...Array.from({ length: 8 }, (_, index): [number, number] => [index + 1, 17 + index]),
    [12, 25],
    [16, 26],
    [23, 27],
    [32, 28],
    [46, 29],
    [64, 30],
    [91, 31],
  ] as const;
  for (let distance = -600; distance <= 600; distance += 1) {
    const expected = starts.findLast(([start]) => start <= distance)?.[1];
    expect(relativeBucket(distance, { buckets: 32, maxDistance: 128 }), String(distance)).toBe(expected);
  }
});

describe("an MPNet", () => {
  const model = tinyModel("mpnet-one-label");

  test("saved alone, as sentence-transformers' are, is the same encoder", async () => {
    const alone = new Map(
      [...model.tensors]
        .filter(([name]) => name.startsWith("mpnet."))
        .map(([name, tensor]) => [name.replace(/^mpnet\./, ""), tensor]),
    );
    alone.set("pooler.dense.weight", zeros(16, 16)).set("pooler.dense.bias", zeros(16));
    alone.set("embeddings.position_ids", {
      dtype: "I64",
      shape: [1, 2],
      bytes: new Uint8Array(16),
    });
    const profile: ModelProfile = {
      ...profileOfTiny(model),
      family: "bi-encoder",
      head: { kind: "cosine", pooling: "mean" },
    };
    const bare = await describeModel(filesOfTiny({ ...model, tensors: alone }), profile);
    expect(bare.head).toEqual({ kind: "none" });
    const whole = await describeModel(filesOfTiny(model), profileOfTiny(model));
    const ids = Int32Array.from(model.sequences[1] ?? []);
    const sequence = { ids, segments: new Int32Array(ids.length) };
    const states = await Promise.all([bare, whole].map((one) => forward(one, [sequence])));
    expect(states[0]?.states.data).toEqual(states[1]?.states.data);
  });

  test("counts 32 buckets, whatever config.json says, and has places for what is no padding", async () => {
    const describes = (settings: Readonly<Record<string, unknown>>): Promise<unknown> =>
      describeModel(filesOfTiny(model, settings), profileOfTiny(model));
    await expect(describes({ relative_attention_num_buckets: 16 })).rejects.toThrow(
      /relative_attention_num_buckets 16, and MPNet's code counts 32/,
    );
    await expect(describes({ relative_attention_num_buckets: 0 })).rejects.toThrow(ModelProfileError);
    await expect(describes({ max_position_embeddings: 2 })).rejects.toThrow(/places begin at 2/);
    // MPNet's code has its padding's id itself.
    await expect(describes({ pad_token_id: 0 })).resolves.toMatchObject({ maxPositions: 512 });
  });
});
