import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFixtures } from "@crossrank/conformance";
import { floatTensor, Graph, readNodes, withLocalFile, writeModelFile } from "@crossrank/formats/onnx";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { judgeDefaults, requireDefaults } from "../src/judge-defaults.js";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-onnx-defaults-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Options = NonNullable<Parameters<Graph["node"]>[3]>;

/** x → nodes in a row → y, each of the operator, or of it and what feeds from it. */
async function judged(
  nodes: readonly (readonly [kind: string, options?: Options, inputs?: readonly string[]])[],
  config: unknown,
  opset = 20,
) {
  const graph = new Graph();
  graph.inputs.push({ name: "x", type: "float32", shape: ["n", 4] });
  let value = "x";
  for (const [index, [kind, options, inputs]] of nodes.entries()) {
    value = graph.node(kind, inputs ?? [value], index === nodes.length - 1 ? "y" : `v${index}`, options);
  }
  graph.outputs.push({ name: "y", type: "float32", shape: ["n", 4] });
  const path = join(folder, "model.onnx");
  await writeModelFile({
    path,
    graph,
    name: "g",
    opset,
    metadata: {},
    externalFrom: 1 << 20,
    signal: undefined,
    onProgress: undefined,
  });
  const read = await withLocalFile(path, readNodes);
  if (read === undefined) throw new Error("the graph is not read");
  expect(read.opset).toBe(opset);
  expect(read.nodes).toHaveLength(nodes.length);
  return judgeDefaults(read, config);
}

const microsoft = { domain: "com.microsoft" };
const float = (value: number) => ({ float: value });

describe("an attribute that a node leaves out", () => {
  test.each<[string, Parameters<typeof judged>[0], unknown, RegExp, number?]>([
    [
      "a norm's epsilon",
      [["LayerNormalization"]],
      { layer_norm_eps: 1e-12 },
      /no epsilon, for which.* 0.00001, .* 1e-12/,
    ],
    ["of DeBERTa", [["LayerNormalization"]], { layer_norm_eps: 1e-7 }, /1e-7/],
    ["of a root-mean-square norm", [["RMSNormalization"]], { rms_norm_eps: 1e-6 }, /0.000001/],
    [
      "of ONNX Runtime's own",
      [["SkipLayerNormalization", microsoft]],
      { layer_norm_eps: 1e-5 },
      /takes 1e-12/,
    ],
    ["of the embeddings", [["EmbedLayerNormalization", microsoft]], { norm_eps: 1e-5 }, /takes 1e-12/],
    [
      "of a model within a larger one",
      [["RMSNormalization"]],
      { text_config: { rms_norm_eps: 1e-6 } },
      /epsilon/,
    ],
    ["GELU's approximation", [["Gelu"]], { hidden_act: "gelu_new" }, /no approximate.*"none".*gelu_new/],
    ["of ModernBERT's name", [["Gelu"]], { hidden_activation: "gelu_pytorch_tanh" }, /approximate/],
    ["of Gemma's GELU", [["Gelu"]], { model_type: "gemma", hidden_act: "gelu" }, /approximate/],
    [
      "the axis of attention before operator set 13",
      [["Softmax"], ["Dropout"], ["MatMul", {}, ["v1", "x"]]],
      undefined,
      /Softmax.*no axis.*takes 1.*set 11/,
      11,
    ],
    [
      "attention's scale",
      [["Attention", { ...microsoft, attributes: { num_heads: { integer: 2 } } }]],
      { head_dim: 128, query_pre_attn_scalar: 168 },
      /no scale.*1\/√128.*168/,
    ],
    ["attention's cap", [["GroupQueryAttention", microsoft]], { attn_logit_softcapping: 50 }, /no softcap/],
    [
      "what attention may see",
      [["Attention", microsoft]],
      { architectures: ["Qwen3ForCausalLM"] },
      /no unidirectional/,
    ],
    [
      "what ONNX's attention may see",
      [["Attention"]],
      { architectures: ["LlamaForCausalLM"] },
      /no is_causal/,
    ],
  ])(
    "is the runtime's default, and refused where the model's is another: %s",
    async (_, nodes, config, reason, opset) => {
      const problem = await judged(nodes, config, opset);
      expect(problem?.problem).toMatch(reason);
      expect(problem?.fix).toMatch(/crossrank convert --to onnx/);
    },
  );

  test.each<[string, Parameters<typeof judged>[0], unknown, number?]>([
    ["the default is the model's", [["LayerNormalization"]], { layer_norm_eps: 1e-5 }],
    ["both are too small to matter", [["SkipLayerNormalization", microsoft]], { layer_norm_eps: 1e-7 }],
    [
      "the node states it",
      [["LayerNormalization", { attributes: { epsilon: float(1e-12) } }]],
      { layer_norm_eps: 1e-12 },
    ],
    [
      "the node states 0, which a file writes as nothing",
      [["LayerNormalization", { attributes: { epsilon: float(0) } }]],
      { layer_norm_eps: 1e-12 },
    ],
    ["nothing says what is right", [["LayerNormalization"], ["Gelu"]], undefined],
    ["config.json says nothing of it", [["LayerNormalization"], ["Gelu"]], { hidden_size: 4 }],
    ["GELU is exact", [["Gelu"]], { hidden_act: "gelu" }],
    [
      "GELU states it",
      [["Gelu", { attributes: { approximate: { text: "tanh" } } }]],
      { hidden_act: "gelu_new" },
    ],
    ["the axis is the last by the operator set", [["Softmax"], ["MatMul", {}, ["v0", "x"]]], undefined, 13],
    [
      "the axis is stated",
      [
        ["Softmax", { attributes: { axis: { integer: -1 } } }],
        ["MatMul", {}, ["v0", "x"]],
      ],
      undefined,
      11,
    ],
    ["the softmax is the last step", [["Softmax"]], undefined, 11],
    [
      "attention's scale is the usual",
      [["Attention", microsoft]],
      { head_dim: 128, query_pre_attn_scalar: 128 },
    ],
    [
      "an encoder's attention sees both ways",
      [["Attention", microsoft]],
      { architectures: ["BertForSequenceClassification"] },
    ],
  ])("is right where %s", async (_, nodes, config, opset) => {
    expect(await judged(nodes, config, opset)).toBeUndefined();
  });
});

describe("a rotary base that is written into the graph", () => {
  const frequencies = (base: number, count: number): number[] =>
    Array.from({ length: count }, (_, index) => Math.fround(base ** (-index / count)));
  const judge = (numbers: readonly number[], config: unknown) =>
    judgeDefaults({ nodes: [], opset: 20, tables: [{ name: "inv_freq", numbers }] }, config);

  test.each<[number, number, unknown]>([
    [10_000, 64, { rope_theta: 1_000_000 }],
    [1_000_000, 32, { rope_theta: 10_000 }],
    [10_000, 8, { rope_parameters: { rope_theta: 500_000 } }],
    [500_000, 16, { global_rope_theta: 160_000, local_rope_theta: 10_000 }],
    [1_000_000, 64, { text_config: { rope_theta: 10_000 } }],
  ])("%d of %d numbers is refused beside another", (base, count, config) => {
    const problem = judge(frequencies(base, count), config);
    expect(problem?.problem).toMatch(new RegExp(`rotary base ${base}\\b`));
  });

  test.each<[readonly number[], unknown]>([
    [frequencies(10_000, 64), { rope_theta: 10_000 }],
    [
      frequencies(160_000, 8),
      {
        rope_parameters: {
          full_attention: { rope_theta: 160_000 },
          sliding_attention: { rope_theta: 10_000 },
        },
      },
    ],
    [frequencies(10_000, 64), { hidden_size: 4 }],
    [[1, 0.5, 0.25, 0.125], { rope_theta: 10_000 }],
    [[1, 1, 1, 1], { rope_theta: 10_000 }],
    [[1, 0.1, 0.02, 0.001], { rope_theta: 10_000 }],
    [[0, 0, 0, 0], { rope_theta: 10_000 }],
  ])("is right, or none: %#", (numbers, config) => {
    expect(judge(numbers, config)).toBeUndefined();
  });

  test("is read out of a file", async () => {
    const graph = new Graph();
    graph.inputs.push({ name: "x", type: "float32", shape: ["n", 8] });
    const numbers = Float32Array.from(frequencies(10_000, 8));
    graph.tensor(floatTensor("inv_freq", numbers, [8]));
    graph.node("Mul", ["x", "inv_freq"], "y");
    graph.outputs.push({ name: "y", type: "float32", shape: ["n", 8] });
    const path = join(folder, "rotary.onnx");
    await writeModelFile({
      path,
      graph,
      name: "g",
      opset: 20,
      metadata: {},
      externalFrom: 1 << 20,
      signal: undefined,
      onProgress: undefined,
    });
    const read = await withLocalFile(path, readNodes);
    expect(read?.tables).toEqual([{ name: "inv_freq", numbers: [...numbers] }]);
    expect(read === undefined ? undefined : judgeDefaults(read, { rope_theta: 1e6 })?.problem).toMatch(
      /10000/,
    );
  });
});

test("the fixtures' graphs leave nothing out", async () => {
  for (const { files } of openFixtures()) {
    const listed = await files.list();
    const config: unknown = JSON.parse(await files.readText("config.json"));
    for (const { path } of listed.filter(({ path }) => path.endsWith(".onnx"))) {
      const read = await withLocalFile(await files.localPath(path), readNodes);
      await requireDefaults(await files.localPath(path), path, { files });
      expect(read?.nodes.length, `${files.id} ${path}`).toBeGreaterThan(10);
      expect(
        read === undefined ? undefined : judgeDefaults(read, config),
        `${files.id} ${path}`,
      ).toBeUndefined();
    }
  }
});

test("a file that is cut off has no nodes to judge", async () => {
  const source = { size: 10, read: async () => Uint8Array.from([0x3a, 0x7f, 1, 2, 3, 4, 5, 6, 7, 8]) };
  expect(await readNodes(source)).toBeUndefined();
});
