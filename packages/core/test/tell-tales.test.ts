import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import {
  type Backend,
  loadModel,
  ModelFileNotFoundError,
  ModelProfileError,
  readProfile,
} from "../src/index.js";
import { recogniseFiles } from "../src/profile/recognise.js";
import { memoryFiles } from "./memory-files.js";
import { f32, safetensors } from "./write-safetensors.js";

const fixtures = new URL("../../conformance/fixtures/", import.meta.url);
const json = (path: string): Record<string, unknown> =>
  JSON.parse(readFileSync(new URL(path, fixtures), "utf8")) as Record<string, unknown>;

type Files = Readonly<Record<string, unknown>>;

/** A sound BERT reranker without weights, with entries of config.json changed. */
function bert(config: Files, more: Files = {}): Files {
  return {
    "config.json": { ...json("bert-logit/config.json"), ...config },
    "tokenizer.json": json("bert-logit/tokenizer.json"),
    ...more,
  };
}

function languageModel(config: Files, more: Files = {}): Files {
  return {
    "config.json": { ...json("qwen3-yes-no/config.json"), ...config },
    "tokenizer.json": json("qwen3-yes-no/tokenizer.json"),
    ...more,
  };
}

function modules(...types: readonly string[]): readonly Files[] {
  return types.map((type, idx) => ({ idx, name: String(idx), path: idx === 0 ? "" : `${idx}_M`, type }));
}

const bytes = (...parts: readonly (string | number)[]): Uint8Array =>
  Uint8Array.from(
    parts.flatMap((part) =>
      typeof part === "number" ? [part] : [...part].map((character) => character.charCodeAt(0)),
    ),
  );

const card = (yaml: string): Files => ({ "README.md": `---\nlicense: mit\n${yaml}\n---\n# Model\n` });
const pooling = { pooling_mode_mean_tokens: true };
const st = "sentence_transformers.models";
const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${"0".repeat(64)}\nsize 1234\n`;

async function refusal(files: Files, profile?: Files): Promise<Error> {
  const error = await readProfile(memoryFiles(files), profile as never).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof Error)) throw new Error("it was read");
  return error;
}

describe("a kind of model that is not read is named", () => {
  test.each<[string, Files, RegExp]>([
    [
      "MonoT5",
      bert({ architectures: ["T5ForConditionalGeneration"], model_type: "t5", is_encoder_decoder: true }),
      /encoder-decoder \(T5ForConditionalGeneration\)/,
    ],
    ["mT5 by its type alone", bert({ architectures: null, model_type: "mt5" }), /encoder-decoder \(mt5\)/],
    [
      "BART by its flag",
      bert({ architectures: ["OwnGenerator"], model_type: "own", is_encoder_decoder: true }),
      /encoder-decoder \(OwnGenerator\)/,
    ],
    [
      "MonoT5 with SentencePiece alone",
      {
        "config.json": { model_type: "t5", architectures: ["T5ForConditionalGeneration"] },
        "spiece.model": "x",
      },
      /encoder-decoder/,
    ],
    [
      "T5Gemma",
      languageModel({ model_type: "t5gemma2", architectures: ["T5Gemma2ForConditionalGeneration"] }),
      /encoder-decoder/,
    ],
    [
      "Qwen3-VL",
      languageModel({ architectures: ["Qwen3VLForConditionalGeneration"], model_type: "qwen3_vl" }),
      /images and text \(Qwen3VLForConditionalGeneration\)/,
    ],
    [
      "a vision model by vision_config",
      languageModel({ architectures: ["OwnForConditionalGeneration"], vision_config: { depth: 2 } }),
      /images and text/,
    ],
    [
      "a vision model by its image processor",
      languageModel(
        { architectures: ["OwnForRanking"] },
        { "preprocessor_config.json": { image_processor_type: "X" } },
      ),
      /preprocessor_config\.json.*images and text/,
    ],
    [
      "jina m0",
      languageModel({
        architectures: ["JinaVLForRanking"],
        model_type: "qwen2_vl",
        auto_map: { AutoModel: "m.JinaVLForRanking" },
      }),
      /images and text/,
    ],
    ["CLIP", { "modules.json": modules(`${st}.CLIPModel`) }, /images and text/],
    ["ColBERT by its architecture", bert({ architectures: ["HF_ColBERT"] }), /late interaction/],
    [
      "ColBERT by artifact.metadata",
      bert({ architectures: ["BertModel"] }, { "artifact.metadata": "{}" }),
      /artifact\.metadata.*late interaction/,
    ],
    [
      "ColBERT by pylate, without a projection",
      bert(
        { architectures: ["BertModel"] },
        { "modules.json": modules(`${st}.Transformer`, "pylate.models.Pooling") },
      ),
      /modules\.json.*late interaction/,
    ],
    [
      "ColBERT by pylate, with another's tokenizer",
      bert(
        { architectures: ["BertModel"] },
        {
          "modules.json": modules(`${st}.Transformer`, "pylate.models.Dense.Dense"),
          "1_M/config.json": {
            in_features: 32,
            out_features: 8,
            bias: false,
            activation_function: "torch.nn.modules.linear.Identity",
          },
        },
      ),
      /query_prefix "\[Q\] " is no token.*late interaction/,
    ],
    [
      "ColPali",
      languageModel({ architectures: ["ColPaliForRetrieval"], model_type: "colpali" }),
      /late interaction/,
    ],
    [
      "SPLADE by its modules",
      bert(
        { architectures: ["BertForMaskedLM"] },
        {
          "modules.json": modules(
            "sentence_transformers.sparse_encoder.models.MLMTransformer",
            "sentence_transformers.sparse_encoder.models.SpladePooling",
          ),
        },
      ),
      /sparse encoder/,
    ],
    [
      "SPLADE without modules",
      bert({ architectures: ["DistilBertForMaskedLM"], model_type: "distilbert" }),
      /fills gaps in a text, or is a sparse encoder/,
    ],
    [
      "bge layerwise",
      languageModel({
        architectures: ["LayerWiseMiniCPMForCausalLM"],
        model_type: "minicpm",
        auto_map: { AutoModelForCausalLM: "m.LayerWiseMiniCPMForCausalLM" },
      }),
      /LayerWiseMiniCPMForCausalLM, which scores after any of several layers/,
    ],
    [
      "bge lightweight",
      languageModel({ architectures: ["CostWiseGemmaForCausalLM"], model_type: "gemma2" }),
      /CostWiseGemmaForCausalLM/,
    ],
    [
      "code of its own for lists",
      languageModel({
        architectures: ["OwnListwiseRanker"],
        auto_map: { AutoConfig: "c.C", AutoModel: "m.OwnListwiseRanker" },
      }),
      /Python code of its repository decides .*auto_map AutoModel, architectures OwnListwiseRanker/,
    ],
    [
      "an adapter alone",
      {
        "adapter_config.json": { base_model_name_or_path: "meta-llama/Llama-2-7b-hf", peft_type: "LORA" },
        "adapter_model.safetensors": "x",
        "tokenizer.json": json("bert-logit/tokenizer.json"),
      },
      /adapter \(LORA\).*meta-llama\/Llama-2-7b-hf \(by adapter_config\.json\)/,
    ],
    [
      "an adapter whose base is a folder of somebody's",
      { "adapter_config.json": { base_model_name_or_path: "/home/me/model" }, "adapter_model.bin": "x" },
      /adapter: .*Merge it into the model that adapter_config\.json names/,
    ],
    [
      "MNN-LLM",
      {
        "config.json": { llm_model: "llm.mnn", llm_weight: "llm.mnn.weight" },
        "llm_config.json": {},
        "llm.mnn": "x",
        "tokenizer.txt": "x",
      },
      /MNN-LLM/,
    ],
    [
      "MNN-LLM by its config",
      { "config.json": { llm_model: "a.mnn", llm_weight: "b" }, "a.mnn": "x" },
      /MNN-LLM/,
    ],
  ])("%s", async (_, files, message) => {
    const error = await refusal(files);
    expect(error).toBeInstanceOf(ModelProfileError);
    expect(error.message).toMatch(message);
  });

  test("also where its files could be read as another kind", async () => {
    const chain = {
      "modules.json": modules(`${st}.Transformer`, `${st}.Pooling`),
      "1_M/config.json": pooling,
    };
    const encoder = bert({ architectures: ["BertModel"] }, chain);
    expect((await readProfile(memoryFiles(encoder))).profile.family).toBe("bi-encoder");
    for (const settings of [
      { similarity_fn_name: "MaxSim" },
      { do_query_expansion: true, query_length: 32 },
    ]) {
      const files = { ...encoder, "config_sentence_transformers.json": settings };
      expect((await refusal(files)).message).toMatch(/late interaction/);
    }
    const sparse = { ...encoder, "config_sentence_transformers.json": { model_type: "SparseEncoder" } };
    expect((await refusal(sparse)).message).toMatch(/sparse encoder/);
  });

  test("and not where somebody says what it is", async () => {
    const files = bert({
      architectures: ["T5ForConditionalGeneration"],
      model_type: "t5",
      is_encoder_decoder: true,
    });
    const stated = { family: "cross-encoder", head: { kind: "logit" }, activation: "identity" };
    expect((await readProfile(memoryFiles({ ...files, "crossrank.json": stated }))).profile.head).toEqual({
      kind: "logit",
    });
    expect((await readProfile(memoryFiles(files), stated as never)).profile.family).toBe("cross-encoder");
  });

  test.each<[string, Files, string]>([
    [
      "a classifier on an encoder-decoder",
      bert({ model_type: "bart", is_encoder_decoder: true }),
      "cross-encoder",
    ],
    [
      "an encoder with code of its own",
      bert({ auto_map: { AutoModelForSequenceClassification: "m.M" }, model_type: "new" }),
      "cross-encoder",
    ],
    [
      "a model beside an adapter",
      bert({}, { "adapter_config.json": {}, "adapter_model.safetensors": "x", "model.safetensors": "x" }),
      "cross-encoder",
    ],
    [
      "an encoder of T5",
      bert(
        { architectures: ["T5EncoderModel"], model_type: "t5", is_encoder_decoder: true },
        { "modules.json": modules(`${st}.Transformer`, `${st}.Pooling`), "1_M/config.json": pooling },
      ),
      "bi-encoder",
    ],
    [
      "an encoder with weights for ColBERT beside it",
      bert(
        { architectures: ["BertModel"] },
        {
          "modules.json": modules(`${st}.Transformer`, `${st}.Pooling`),
          "1_M/config.json": pooling,
          "colbert_linear.pt": "x",
          "sparse_linear.pt": "x",
        },
      ),
      "bi-encoder",
    ],
    [
      "files named after OpenVINO beside others",
      bert({}, { "openvino/openvino_model.xml": "<net/>", "onnx/model.onnx": "x" }),
      "cross-encoder",
    ],
  ])("and not %s", async (_, files, family) => {
    expect((await readProfile(memoryFiles(files))).profile.family).toBe(family);
  });

  test("but a fault that is no kind's is told as it is", async () => {
    expect((await refusal(bert({ id2label: { 0: "a", 1: "b", 2: "c", 3: "d" } }))).message).toMatch(
      /4 labels/,
    );
    expect((await refusal(languageModel({}))).message).toMatch(/which prompt/);
    expect(
      (await refusal({ ...bert({}), "tokenizer.json": undefined, "model.safetensors": "x" })).message,
    ).toMatch(/tokenizer\.json/);
  });
});

describe("hostile files are refused soon, and with a typed error", () => {
  const odd = { toString: "x", valueOf: 1 };
  const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
  test.each<[string, Files]>([
    ["a model_type that is an object", bert({ model_type: odd })],
    ["architectures of objects", bert({ architectures: [odd, 1, null], is_encoder_decoder: odd })],
    [
      "settings that are odd",
      bert(
        {
          architectures: ["X"],
          vision_config: [],
          auto_map: { AutoModel: odd },
          quantization: { bits: odd },
          quantization_config: { quant_method: odd },
        },
        { "model.safetensors": "x" },
      ),
    ],
    [
      "an adapter that is odd",
      { "adapter_config.json": { peft_type: odd, base_model_name_or_path: odd }, "adapter_model.bin": "x" },
    ],
    ["modules that are odd", { "modules.json": [odd, 3, { type: odd }], "config.json": "[]" }],
    [
      "nested deep",
      { "config.json": deep, "modules.json": deep, "adapter_config.json": deep, "adapter_model.bin": "x" },
    ],
    ["comments without an end", { "m.xml": `${"<!---->".repeat(60)}<no`, "m.bin": "x" }],
    [
      "a card of white space",
      { ...card(`base_model: ${" ".repeat(60_000)}x`), "openvino_model.xml": "<net/>" },
    ],
    [
      "a card that never ends",
      { "README.md": `---\nbase_model:\n${"- a\n".repeat(200_000)}`, "openvino_model.xml": "<net/>" },
    ],
    ["a long name", bert({ architectures: [`${"VL".repeat(500_000)}X`], model_type: "_vl".repeat(300_000) })],
    [
      "ten thousand files",
      Object.fromEntries(Array.from({ length: 10_000 }, (_, at) => [`w/${at}.bin`, "x"])),
    ],
  ])("%s", async (_, files) => {
    const start = performance.now();
    const error = await refusal(files);
    expect(ModelProfileError.isInstance(error) || ModelFileNotFoundError.isInstance(error)).toBe(true);
    expect(error.message.length).toBeLessThan(3000);
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

describe("a head whose tensors are not in its file", () => {
  const weights = (...names: readonly string[]): Uint8Array =>
    safetensors(Object.fromEntries(names.map((name) => [name, f32([2, 2], [0, 0, 0, 0])])));
  const listwise: Files = {
    "config.json": json("qwen3-listwise/config.json"),
    "tokenizer.json": json("qwen3-listwise/tokenizer.json"),
  };
  const both = ["projector.0.weight", "projector.2.weight"];

  test("is refused at reading, by the tensor's name", async () => {
    const elsewhere = {
      ...listwise,
      "model.safetensors": weights("model.norm.weight"),
      "projector.safetensors": weights(...both),
    };
    expect((await refusal(elsewhere)).message).toMatch(
      /model\.safetensors: has no tensor projector\.0\.weight.*head\.modules/,
    );
    expect(
      (await refusal({ ...listwise, "model.safetensors": weights("projector.0.weight") })).message,
    ).toMatch(/projector\.2\.weight/);
  });

  test("and not where they are there, or the file is not", async () => {
    expect(
      (await readProfile(memoryFiles({ ...listwise, "model.safetensors": weights(...both) }))).profile.family,
    ).toBe("listwise");
    expect((await readProfile(memoryFiles(listwise))).profile.family).toBe("listwise");
  });
});

describe("a repository of several models", () => {
  test("says which folder has what is missing", async () => {
    const files = { "README.md": "#", "a/tokenizer.json": {}, "b/tokenizer.json": {}, "b/config.json": {} };
    const error = await refusal(files);
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error.message).toMatch(
      /a\/tokenizer\.json, b\/tokenizer\.json.*Name the folder .* memory\/model\/a or memory\/model\/b/,
    );
  });
});

/** Runs files that end in .toy, and says as every backend does what it looked for. */
const toys: Backend = {
  specificationVersion: "v1",
  name: "toys",
  families: ["cross-encoder", "bi-encoder", "causal-lm", "listwise"],
  diagnose: async () => ({ available: true, detail: "looks for files" }),
  load: async ({ files }) => {
    const found = (await files.list()).map(({ path }) => path).filter((path) => path.endsWith(".toy"));
    throw new ModelFileNotFoundError({ model: files.id, expected: ["model.toy"], found, fix: "Make it." });
  },
};

async function missing(files: Files): Promise<ModelFileNotFoundError> {
  const error = await loadModel({ model: memoryFiles(files), backend: toys }).catch(
    (reason: unknown) => reason,
  );
  if (!ModelFileNotFoundError.isInstance(error)) throw error;
  return error;
}

describe("weights of a format that no backend reads are named where a backend finds nothing", () => {
  const hdf = bytes(0x89, "HDF\r\n", 0x1a, "\n");
  const ctranslate2 = bytes(6, 0, 0, 0, 8, 0, "BertSpec", 0, 0);
  const zip = bytes("PK", 3, 4, 0, 0);

  test.each<[string, Files, RegExp, readonly string[]]>([
    [
      "OpenVINO",
      {
        "openvino_model.xml": '<?xml version="1.0"?>\n<net name="m" version="11">',
        "openvino_model.bin": bytes(0, 1),
        ...card("base_model: BAAI/bge-reranker-base"),
      },
      /OpenVINO.*BAAI\/bge-reranker-base \(by its card\)/,
      ["openvino_model.xml", "openvino_model.bin"],
    ],
    [
      "OpenVINO in a folder, by its content",
      { "ov/m.xml": "<net/>", "ov/m.bin": bytes(0) },
      /OpenVINO/,
      ["ov/m.xml", "ov/m.bin"],
    ],
    [
      "CTranslate2",
      { "model.bin": ctranslate2, "vocabulary.json": [], ...card("base_model:\n  - zeroentropy/zerank-2") },
      /CTranslate2.*zeroentropy\/zerank-2/,
      ["model.bin"],
    ],
    [
      "CTranslate2 under another name",
      { "weights.dat2": bytes(5, 0, 0, 0, 16, 0, "TransformerSpec", 0) },
      /CTranslate2/,
      ["weights.dat2"],
    ],
    ["a pickle", { "pytorch_model.bin": zip }, /pickle.*refs\/pr\/N/, ["pytorch_model.bin"]],
    ["an old pickle", { "model.pt": bytes(0x80, 2, "}q") }, /pickle/, ["model.pt"]],
    [
      "a pickle called as CTranslate2 calls its file",
      { "model.bin": zip, "vocabulary.json": [] },
      /pickle/,
      ["model.bin"],
    ],
    [
      "an empty pickle",
      { "pytorch_model-00001-of-00002.bin": "" },
      /pickle/,
      ["pytorch_model-00001-of-00002.bin"],
    ],
    ["TensorFlow", { "tf_model.h5": hdf }, /TensorFlow files.*from_tf/, ["tf_model.h5"]],
    ["TensorFlow's saved model", { "saved_model.pb": bytes(8, 1) }, /TensorFlow files/, ["saved_model.pb"]],
    ["Flax", { "flax_model.msgpack": bytes(0x82) }, /Flax/, ["flax_model.msgpack"]],
    [
      "several, the first that helps",
      {
        "tf_model.h5": hdf,
        "flax_model.msgpack": bytes(0x82),
        "pytorch_model.bin": zip,
        "rust_model.ot": zip,
      },
      /pickle/,
      ["pytorch_model.bin"],
    ],
    ["TensorRT", { "model.engine": bytes("ftrt") }, /TensorRT/, ["model.engine"]],
    ["TFLite", { "model.tflite": bytes(0, 0, 0, 0, "TFL3") }, /TensorFlow Lite/, ["model.tflite"]],
    ["an older Core ML model", { "Reranker.mlmodel": bytes(8, 4) }, /Core ML/, ["Reranker.mlmodel"]],
    [
      "a compiled Core ML model",
      { "m.mlmodelc/coremldata.bin": bytes(0), "m.mlmodelc/model.mil": "x" },
      /Core ML/,
      ["m.mlmodelc"],
    ],
    [
      "GGML",
      { "ggml-model-q4_0.bin": bytes("tjgg", 3, 0) },
      /GGML.*crossrank convert --to gguf/,
      ["ggml-model-q4_0.bin"],
    ],
    ["GGUF by another name", { "model.bin": bytes("GGUF", 3, 0) }, /GGUF.*ends in \.gguf/, ["model.bin"]],
    [
      "a Git LFS pointer",
      { "model.safetensors": pointer },
      /Git LFS pointer.*git lfs pull/,
      ["model.safetensors"],
    ],
    [
      "an adapter beside its base's config",
      { "adapter_config.json": { base_model_name_or_path: "a/b" }, "adapter_model.safetensors": "x" },
      /adapter.*a\/b/,
      ["adapter_config.json", "adapter_model.safetensors"],
    ],
    ["an archive", { "onnx.zip": zip }, /archive/, ["onnx.zip"]],
  ])("%s", async (_, weights, message, found) => {
    const error = await missing(bert({}, weights));
    expect(error.message).toMatch(message);
    expect(error.found).toEqual(found);
    expect(error.expected).toEqual(["model.toy"]);
  });

  test.each<[string, Files, RegExp]>([
    [
      "MLX",
      { quantization: { bits: 4, group_size: 64 }, quantization_config: { bits: 4, group_size: 64 } },
      /MLX, to 4 bits \(run them as they are with the backend mlx\), and/,
    ],
    ["MLX in a mode of its own", { quantization: { bits: 4, mode: "mxfp4" } }, /MLX, to 4 bits, and/],
    ["bitsandbytes", { quantization_config: { quant_method: "bitsandbytes" } }, /by bitsandbytes/],
    ["GPTQ", { quantization_config: { quant_method: "gptq", bits: 4 } }, /by GPTQ/],
    ["AWQ", { quantization_config: { quant_method: "awq" } }, /by AWQ/],
    ["FP8", { compression_config: { quant_method: "compressed-tensors" } }, /FP8/],
    ["nobody known", { quantization_config: { quant_method: "evil\n\u001b[31m" } }, /by evil\?+\[31m/],
    ["nobody named", { quantization_config: {} }, /another program/],
  ])("safetensors that are quantised by %s", async (_, config, message) => {
    const weights = { "model.safetensors": "x", ...card('base_model: ["Qwen/Qwen3-Reranker-0.6B"]') };
    const error = await missing(bert(config, weights));
    expect(error.message).toMatch(message);
    expect(error.message).toContain(
      "Use the model that it was made from: Qwen/Qwen3-Reranker-0.6B (by its card)",
    );
    // Also where the prompt is not known: no prompt would help.
    expect((await refusal(languageModel(config, weights))).message).toMatch(message);
  });

  test.each<[string, string, string, RegExp]>([
    ["encoder.0.query.weight.absmax", "F32", "bitsandbytes", /by bitsandbytes \(tensor encoder\.0/],
    ["encoder.0.query.SCB", "F32", "bitsandbytes", /by bitsandbytes/],
    ["encoder.0.query.weight_scale_inv", "F32", "FP8", /by FP8/],
    ["encoder.0.query.weight_packed", "I32", "compressed-tensors", /by compressed-tensors/],
    ["encoder.0.query.g_idx", "I32", "GPTQ", /by GPTQ/],
    ["encoder.0.query.qweight", "I32", "GPTQ or AWQ", /by GPTQ or AWQ/],
    ["encoder.0.query.W_q", "U8", "HQQ", /by HQQ/],
    ["encoder.0.query.weight", "F8_E4M3", "nobody named", /to 8-bit floats by another program/],
    ["encoder.0.query.weight", "I8", "nobody named", /to 8-bit integers by another program/],
  ])("safetensors whose tensor %s of type %s is of %s", async (name, dtype, _, message) => {
    const weights = safetensors({ [name]: { ...f32([1], [1]), dtype: dtype as "F32" } });
    const error = await missing(bert({}, { "model.safetensors": weights }));
    expect(error.message).toMatch(message);
    const files = memoryFiles(bert({}, { "model.safetensors": weights }));
    expect((await recogniseFiles(files))?.what).toMatch(message);
    const sound = safetensors({
      "encoder.0.query.weight": f32([1], [1]),
      "embeddings.position_ids": f32([1], [1]),
    });
    expect(await recogniseFiles(memoryFiles(bert({}, { "model.safetensors": sound })))).toBeUndefined();
  });

  test.each<[string, Files]>([
    [
      "there are weights to convert",
      { "model.safetensors": "x", "pytorch_model.bin": zip, "openvino_model.xml": "<net/>" },
    ],
    ["another backend's file is there", { "model.gguf": bytes("GGUF"), "pytorch_model.bin": zip }],
    ["a file of a format that nobody knows is there", { "model.xyz": "x", "pytorch_model.bin": zip }],
    ["there is nothing at all", {}],
    ["what is called OpenVINO's is something else", { "openvino_model.xml": "<html/>" }],
  ])("and the backend's own words stand where %s", async (_, weights) => {
    expect((await missing(bert({}, weights))).message).toMatch(/Make it\.$/);
  });

  test("and where it has a file of its own", async () => {
    const error = await missing(bert({}, { "other.toy": "x", "pytorch_model.bin": zip }));
    expect(error.found).toEqual(["other.toy"]);
  });

  test("without config.json or tokenizer.json", async () => {
    const config = { "config.json": json("bert-logit/config.json") };
    expect((await refusal({ ...config, "model.bin": ctranslate2, "vocabulary.json": [] })).message).toMatch(
      /CTranslate2/,
    );
    expect((await refusal({ ...config, "openvino_model.xml": "<net/>" })).message).toMatch(/OpenVINO/);
    expect((await refusal({ "m.tflite": "x" })).message).toMatch(/TensorFlow Lite/);
  });
});

describe("a Git LFS pointer in place of", () => {
  let files: Files;
  beforeAll(() => {
    files = bert({}, { "modules.json": modules(`${st}.Transformer`) });
  });
  test.each(["config.json", "tokenizer.json", "modules.json", "tokenizer_config.json"])(
    "%s is named",
    async (path) => {
      const error = await refusal({ ...files, [path]: pointer });
      expect(error.message).toMatch(new RegExp(`${path}: is a Git LFS pointer.*git lfs pull`));
    },
  );
});
