import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isRead } from "@crossrank/backend-kit";
import { onnx } from "@crossrank/backend-onnx";
import { type Head, ModelLoadError } from "@crossrank/core";
import { readNodes } from "@crossrank/formats/onnx";
import { describe, expect, onTestFinished, test } from "vitest";
import { OutputTrace } from "../src/activated-outputs.js";
import { fixture, load, profile, rejection } from "./fixtures.js";
import { crossEncoder, encodeModel, folderOf, type Graph, type Node } from "./graphs.js";

const node = (operator: string, inputs: string, output: string, others: Partial<Node> = {}): Node => ({
  operator,
  inputs: inputs.split(" "),
  outputs: output.split(" "),
  ...others,
});

/** From `z`, which a product makes, to `out`. */
const graphOf = (nodes: readonly Node[]): Graph => ({
  inputs: [{ name: "x", shape: ["n", 4] }],
  nodes: [node("MatMul", "x w", "z"), ...nodes],
  outputs: [{ name: "out", shape: ["n", 1] }],
});

async function traceOf(bytes: Uint8Array): Promise<OutputTrace> {
  const read = await readNodes({
    size: bytes.length,
    read: async (start, end) => bytes.subarray(start, end),
  });
  if (read === undefined) throw new Error("the graph is not read");
  return new OutputTrace(read);
}

const field = (number: number, content: Uint8Array | string): Buffer => {
  const body = Buffer.from(content);
  const tag = (number << 3) | 2;
  const head = tag < 128 ? [tag] : [(tag & 127) | 128, tag >> 7];
  return Buffer.concat([Buffer.from([...head, body.length]), body]);
};

describe("an output that is made of logits", () => {
  const microsoft = { domain: "com.microsoft" };
  test.each<[string, readonly Node[], string, boolean?]>([
    ["Sigmoid", [node("Sigmoid", "z", "out")], "sigmoid"],
    ["HardSigmoid", [node("HardSigmoid", "z", "out")], "hard sigmoid"],
    ["Tanh", [node("Tanh", "z", "out")], "tanh"],
    ["Softmax", [node("Softmax", "z", "out")], "softmax"],
    ["LogSoftmax", [node("LogSoftmax", "z", "out")], "log-softmax"],
    ["the logarithm of a Softmax", [node("Softmax", "z", "p"), node("Log", "p", "out")], "log-softmax"],
    ["Identity behind it", [node("Sigmoid", "z", "p"), node("Identity", "p", "out")], "sigmoid"],
    [
      "forms behind it",
      [
        node("Sigmoid", "z", "p"),
        node("Cast", "p", "a"),
        node("Squeeze", "a axis", "b"),
        node("Reshape", "b shape", "c"),
        node("Unsqueeze", "c axis", "d"),
        node("Flatten", "d", "e"),
        node("Transpose", "e", "out"),
      ],
      "sigmoid",
    ],
    ["one of two classes", [node("Softmax", "z", "p"), node("Gather", "p one", "out")], "softmax"],
    [
      "a slice of two classes",
      [node("Softmax", "z", "p"), node("Slice", "p from to axis", "s"), node("Squeeze", "s axis", "out")],
      "softmax",
    ],
    ["a part of two classes", [node("Softmax", "z", "p"), node("Split", "p", "no out")], "softmax"],
    [
      "both probabilities",
      [node("Sigmoid", "z", "p"), node("Sub", "one p", "q"), node("Concat", "q p", "out")],
      "sigmoid",
    ],
    ["bounds behind it", [node("Sigmoid", "z", "p"), node("Clip", "p low high", "out")], "sigmoid"],
    ["a scale behind it", [node("Sigmoid", "z", "p"), node("Mul", "p five", "out")], "sigmoid", true],
    [
      "a constant scale",
      [node("Constant", "", "five"), node("Sigmoid", "z", "p"), node("Mul", "five p", "out")],
      "sigmoid",
      true,
    ],
    [
      "written out",
      [
        node("Neg", "z", "a"),
        node("Exp", "a", "b"),
        node("Add", "b one", "c"),
        node("Reciprocal", "c", "out"),
      ],
      "sigmoid",
    ],
    [
      "written out as a quotient",
      [node("Neg", "z", "a"), node("Exp", "a", "b"), node("Add", "one b", "c"), node("Div", "one c", "out")],
      "sigmoid",
    ],
    [
      "a written-out softmax",
      [node("Exp", "z", "a"), node("ReduceSum", "a", "b"), node("Div", "a b", "out")],
      "softmax",
    ],
    [
      "a written-out log-softmax",
      [node("ReduceLogSumExp", "z", "a"), node("Sub", "z a", "out")],
      "log-softmax",
    ],
    [
      "a sigmoid by its tanh",
      [
        node("Mul", "z half", "a"),
        node("Tanh", "a", "t"),
        node("Mul", "t half", "c"),
        node("Add", "c half", "out"),
      ],
      "tanh",
      true,
    ],
    [
      "written out from above",
      [node("Exp", "z", "e"), node("Add", "e one", "c"), node("Div", "e c", "out")],
      "sigmoid",
    ],
    [
      "a softmax that cannot overflow",
      [
        node("ReduceMax", "z", "m"),
        node("Sub", "z m", "d"),
        node("Exp", "d", "e"),
        node("ReduceSum", "e", "s"),
        node("Div", "e s", "out"),
      ],
      "softmax",
    ],
    [
      "a log-softmax that cannot overflow",
      [
        node("ReduceMax", "z", "m"),
        node("Sub", "z m", "d"),
        node("Exp", "d", "e"),
        node("ReduceSum", "e", "s"),
        node("Log", "s", "l"),
        node("Sub", "d l", "out"),
      ],
      "log-softmax",
    ],
    [
      "the logarithm of a sigmoid",
      [node("Neg", "z", "a"), node("Softplus", "a", "s"), node("Neg", "s", "out")],
      "softplus",
      true,
    ],
    [
      "the logarithm of a sigmoid, written out",
      [node("Exp", "z", "e"), node("Add", "e one", "c"), node("Log", "c", "s"), node("Neg", "s", "out")],
      "softplus",
      true,
    ],
    [
      "in 8 bits",
      [
        node("QuantizeLinear", "z s zp", "q"),
        node("QLinearSigmoid", "q s zp s zp", "p", microsoft),
        node("DequantizeLinear", "p s zp", "out"),
      ],
      "sigmoid",
    ],
    [
      "half precision",
      [node("Cast", "z", "h"), node("Sigmoid", "h", "p"), node("Cast", "p", "out")],
      "sigmoid",
    ],
  ])("is told: %s", async (_, nodes, by, scaled = false) => {
    const found = (await traceOf(encodeModel(graphOf(nodes)))).activationOf("out");
    expect(found).toMatchObject({ by, scaled });
    const origin = found === undefined ? "" : found.logits;
    expect(["z", "h", "q", "a"]).toContain(origin);
  });

  test.each<[string, readonly Node[]]>([
    ["logits", [node("Identity", "z", "out")]],
    ["a pooler's Tanh before the classifier", [node("Tanh", "z", "p"), node("Gemm", "p w b", "out")]],
    [
      "attention's Softmax",
      [node("Softmax", "z", "p"), node("MatMul", "p v", "q"), node("Add", "q b", "out")],
    ],
    [
      "logits that are capped",
      [node("Div", "z cap", "a"), node("Tanh", "a", "b"), node("Mul", "b cap", "out")],
    ],
    ["an activation that multiplies", [node("Sigmoid", "z", "p"), node("Mul", "z p", "out")]],
    [
      "an activation that multiplies, written out",
      [node("Neg", "z", "a"), node("Exp", "a", "e"), node("Add", "e one", "c"), node("Div", "z c", "out")],
    ],
    [
      "a mean that is divided",
      [node("ReduceSum", "z", "s"), node("Add", "s one", "t"), node("Div", "z t", "out")],
    ],
    ["nodes in a circle", [node("Identity", "a", "out"), node("Concat", "out a", "a")]],
    ["nothing that makes it", []],
  ])("is not seen in %s", async (_, nodes) => {
    expect((await traceOf(encodeModel(graphOf(nodes)))).activationOf("out")).toBeUndefined();
  });

  test("is told within a function of the model, and one in another", async () => {
    const called = (name: string, operator: string, domain = ""): Buffer =>
      field(
        25,
        Buffer.concat([
          field(1, name),
          field(4, "a"),
          field(5, "b"),
          field(7, Buffer.concat([field(1, "a"), field(2, "b"), field(4, operator), field(7, domain)])),
          field(10, "torch"),
        ]),
      );
    const graph = encodeModel(graphOf([node("outer", "z", "out", { domain: "torch" })]));
    const inner = [called("outer", "inner", "torch"), called("inner", "Sigmoid")];
    const trace = await traceOf(Buffer.concat([graph, ...inner]));
    expect(trace.activationOf("out")).toEqual({ by: "sigmoid", logits: "z", scaled: false });
    const endless = await traceOf(Buffer.concat([graph, called("outer", "outer", "torch")]));
    expect(endless.activationOf("out")).toBeUndefined();
  });
});

test.each<[string, Head, boolean, boolean]>([
  ["log-softmax", { kind: "two-class", positive: 1 }, false, true],
  ["softmax", { kind: "two-class", positive: 1 }, true, false],
  ["log-softmax", { kind: "class", positive: 1, classes: 3 }, false, true],
  ["log-softmax", { kind: "answer-tokens", positive: 1, negative: 2 }, false, true],
  ["log-softmax", { kind: "answer-tokens", positive: 1 }, false, false],
  ["sigmoid", { kind: "logit" }, false, false],
  ["sigmoid", { kind: "logit" }, true, true],
  ["sigmoid", { kind: "pooled-chain", pooling: "mean", modules: [] }, false, false],
  [
    "tanh",
    {
      kind: "pooled-chain",
      pooling: "mean",
      modules: [{ kind: "dense", file: "model.safetensors", weight: "w", activation: "tanh" }],
    },
    false,
    true,
  ],
])("%s and head %j, its score stated: %s, is read: %s", (by, head, stated, read) => {
  expect(isRead({ by: by as "sigmoid", logits: "z", scaled: false }, head, stated)).toBe(read);
});

/** A cross-encoder whose `logits` are `nodes` of `z`. */
function ending(nodes: readonly Node[], outputs: readonly string[] = ["logits"]): Graph {
  const graph = crossEncoder();
  const renamed = graph.nodes.map((one) => ({
    ...one,
    outputs: one.outputs.map((name) => (name === "logits" ? "z" : name)),
  }));
  return {
    ...graph,
    nodes: [...renamed, ...nodes],
    outputs: outputs.map((name) => ({ name, shape: ["batch", 1] })),
  };
}

const sigmoid = { ...profile, activation: "sigmoid" as const };

describe("a graph with its sigmoid inside", () => {
  test.each(["logits", "scores"])("is refused: %s", async (name) => {
    const folder = await folderOf(ending([node("Sigmoid", "z", name)], [name]));
    for (const one of [sigmoid]) {
      const error = await rejection(load(onnx({ isolation: "thread" }), folder, { profile: one }));
      expect(error).toBeInstanceOf(ModelLoadError);
      expect(String(error)).toMatch(
        new RegExp(`"${name}" is the sigmoid of the logits.*"z".*crossrank.json`),
      );
    }
  });

  test("runs where its own logits are an output too, whatever its name", async () => {
    for (const outputs of [
      ["scores", "z"],
      ["z", "logits"],
    ]) {
      const name = outputs.find((one) => one !== "z") as string;
      const folder = await folderOf(ending([node("Sigmoid", "z", name)], outputs));
      const session = await load(onnx({ isolation: "thread", workers: 1, threads: 1 }), folder, {
        profile: sigmoid,
      });
      onTestFinished(() => session.dispose());
      const batch = {
        rows: 1,
        columns: 2,
        inputIds: Int32Array.of(5, 7),
        attentionMask: Int32Array.of(1, 1),
        segmentIds: Int32Array.of(0, 0),
        lengths: Int32Array.of(2),
      };
      expect([...(await session.run(batch)).data]).toEqual([6]);
    }
  });

  test("is refused where its other output is a sigmoid too", async () => {
    const folder = await folderOf(
      ending([node("Sigmoid", "z", "p"), node("Sigmoid", "p", "logits")], ["logits", "p"]),
    );
    expect(await rejection(load(onnx({ isolation: "thread" }), folder, { profile: sigmoid }))).toBeInstanceOf(
      ModelLoadError,
    );
  });

  test("runs where its crossrank.json says that the output is the score; not where sentence-transformers says so", async () => {
    const folder = await folderOf(ending([node("Sigmoid", "z", "logits")]));
    const config = { sentence_transformers: { activation_fn: "torch.nn.modules.linear.Identity" } };
    await writeFile(join(folder, "config.json"), JSON.stringify(config));
    expect(await rejection(load(onnx({ isolation: "thread" }), folder, { profile }))).toBeInstanceOf(
      ModelLoadError,
    );
    await writeFile(join(folder, "crossrank.json"), '{ "activation": "identity" }');
    const session = await load(onnx({ isolation: "thread", workers: 1, threads: 1 }), folder, { profile });
    await session.dispose();
    expect(await rejection(load(onnx({ isolation: "thread" }), folder, { profile: sigmoid }))).toBeInstanceOf(
      ModelLoadError,
    );
  });

  test("is none of the fixtures", async () => {
    const session = await load(
      onnx({ isolation: "thread", workers: 1, threads: 1 }),
      fixture("cross-encoder"),
      {
        profile: sigmoid,
      },
    );
    await session.dispose();
  });
});
