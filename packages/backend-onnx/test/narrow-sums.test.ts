import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { backends, onnx } from "@crossrank/backend-onnx";
import type { ModelFiles } from "@crossrank/core";
import {
  type Attribute,
  bytesOf,
  domains,
  findOverflow,
  Graph,
  type GraphSummary,
  readGraph,
  readNodes,
  type SignedProduct,
  type StoredTensor,
  signedProducts,
  withLocalFile,
  writeModelFile,
} from "@crossrank/formats/onnx";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { narrowSums, narrowSumsNote } from "../src/narrow-sums.js";
import { processorOf } from "../src/published-names.js";
import { thisProcessor } from "../src/this-processor.js";
import { fixturesFolder, load, makeBatch, temporaryFolder } from "./fixtures.js";
import { folderFiles } from "./folder-files.js";

const depth = 8;
const columns = 4;

/** What a weight's neighbours along its depth are: of 2k and of 2k + 1. */
type Pair = readonly [number, number];

interface Form {
  readonly name: string;
  /** Whether ONNX Runtime adds up pairs in 16 bits on a processor without VNNI. */
  readonly isNarrow: boolean;
  /** From x, of floats, to y. */
  readonly write: (graph: Graph, tools: Tools) => void;
}

interface Tools {
  weight(options?: { readonly transposed?: boolean; readonly dimensions?: readonly number[] }): string;
  float(name: string, values: readonly number[]): string;
  bytes(name: string, type: "int8" | "uint8", value: number): string;
  own(
    kind: string,
    inputs: readonly string[],
    output: string,
    attributes?: Readonly<Record<string, Attribute>>,
  ): string;
}

/** Of ones: 255 as unsigned bytes, the largest there is. */
const one = 1 / 255;

const dynamic = (graph: Graph): void => {
  graph.nodeOfMany("DynamicQuantizeLinear", ["x"], ["a", "a.scale", "a.zero"]);
};
const fixed = (
  graph: Graph,
  { float, bytes }: Tools,
  type: "int8" | "uint8" = "uint8",
): readonly string[] => {
  const scales = [float("a.scale", [one]), bytes("a.zero", type, type === "int8" ? -128 : 0)];
  return [graph.node("QuantizeLinear", ["x", ...scales], "a"), ...scales];
};

const forms: readonly Form[] = [
  {
    name: "MatMulInteger",
    isNarrow: true,
    write: (graph, { weight }) => {
      dynamic(graph);
      graph.node("MatMulInteger", ["a", weight(), "a.zero"], "sums");
      graph.node("Cast", ["sums"], "floats", { attributes: { to: { integer: 1 } } });
      graph.node("Mul", ["floats", "a.scale"], "y");
    },
  },
  {
    name: "DynamicQuantizeMatMul",
    isNarrow: true,
    write: (_, { weight, float, own }) => {
      own("DynamicQuantizeMatMul", ["x", weight(), float("w.scale", [1])], "y");
    },
  },
  {
    name: "MatMulIntegerToFloat",
    isNarrow: true,
    write: (graph, { weight, float, own }) => {
      dynamic(graph);
      own("MatMulIntegerToFloat", ["a", weight(), "a.scale", float("w.scale", [1]), "a.zero"], "y");
    },
  },
  {
    name: "QLinearMatMul",
    isNarrow: true,
    write: (graph, tools) => {
      const [a = "", ...scales] = fixed(graph, tools);
      const { float, bytes, weight } = tools;
      const end = [float("y.scale", [16]), bytes("y.zero", "uint8", 128)];
      graph.node(
        "QLinearMatMul",
        [a, ...scales, weight(), float("w.scale", [1]), bytes("w.zero", "int8", 0), ...end],
        "q",
      );
      graph.node("DequantizeLinear", ["q", ...end], "y");
    },
  },
  {
    name: "QLinearMatMul of signed activations",
    isNarrow: false,
    write: (graph, tools) => {
      const [a = "", ...scales] = fixed(graph, tools, "int8");
      const { float, bytes, weight } = tools;
      const end = [float("y.scale", [16]), bytes("y.zero", "int8", 0)];
      graph.node(
        "QLinearMatMul",
        [a, ...scales, weight(), float("w.scale", [1]), bytes("w.zero", "int8", 0), ...end],
        "q",
      );
      graph.node("DequantizeLinear", ["q", ...end], "y");
    },
  },
  ...[false, true].map(
    (transposed): Form => ({
      name: transposed ? "QGemm, transposed" : "QGemm",
      isNarrow: true,
      write: (graph, tools) => {
        const [a = "", ...scales] = fixed(graph, tools);
        const { float, bytes, weight, own } = tools;
        own(
          "QGemm",
          [a, ...scales, weight({ transposed }), float("w.scale", [1]), bytes("w.zero", "int8", 0)],
          "y",
          {
            transB: { integer: transposed ? 1 : 0 },
          },
        );
      },
    }),
  ),
  ...(["uint8", "int8"] as const).flatMap((type) => [
    ...[false, true].map(
      (ends): Form => ({
        name: `MatMul between DequantizeLinear of ${type}${ends ? " and QuantizeLinear" : ""}`,
        isNarrow: true,
        write: (graph, tools) => {
          const [a = "", ...scales] = fixed(graph, tools, type);
          const { float, bytes, weight } = tools;
          graph.node("DequantizeLinear", [a, ...scales], "x1");
          graph.node("DequantizeLinear", [weight(), float("w.scale", [1]), bytes("w.zero", "int8", 0)], "w1");
          graph.node("MatMul", ["x1", "w1"], ends ? "y1" : "y");
          if (!ends) return;
          const end = [float("y.scale", [16]), bytes("y.zero", type, type === "int8" ? 0 : 128)];
          graph.node("QuantizeLinear", ["y1", ...end], "q");
          graph.node("DequantizeLinear", ["q", ...end], "y");
        },
      }),
    ),
    ...(["Gemm", "Transpose"] as const).map(
      (kind): Form => ({
        name: `${kind === "Gemm" ? "Gemm" : "MatMul behind Transpose"} of ${type}`,
        isNarrow: true,
        write: (graph, tools) => {
          const [a = "", ...scales] = fixed(graph, tools, type);
          const { float, bytes, weight } = tools;
          graph.node("DequantizeLinear", [a, ...scales], "x1");
          graph.node(
            "DequantizeLinear",
            [weight({ transposed: true }), float("w.scale", [1]), bytes("w.zero", "int8", 0)],
            "w1",
          );
          if (kind === "Gemm") {
            graph.node("Gemm", ["x1", "w1"], "y1", { attributes: { transB: { integer: 1 } } });
          } else {
            graph.node("Transpose", ["w1"], "w2", { attributes: { perm: { integers: [1, 0] } } });
            graph.node("MatMul", ["x1", "w2"], "y1");
          }
          const end = [float("y.scale", [16]), bytes("y.zero", type, type === "int8" ? 0 : 128)];
          graph.node("QuantizeLinear", ["y1", ...end], "q");
          graph.node("DequantizeLinear", ["q", ...end], "y");
        },
      }),
    ),
  ]),
  {
    name: "weights alone",
    isNarrow: false,
    write: (graph, { float, bytes, weight }) => {
      graph.node("DequantizeLinear", [weight(), float("w.scale", [1]), bytes("w.zero", "int8", 0)], "w1");
      graph.node("MatMul", ["x", "w1"], "y");
    },
  },
  {
    name: "QLinearConv",
    isNarrow: true,
    write: (graph, tools) => {
      const [a = "", ...scales] = fixed(graph, tools);
      const { float, bytes, weight } = tools;
      graph.node("Reshape", [a, graph.integers([-1, depth, 1])], "a3");
      const end = [float("y.scale", [16]), bytes("y.zero", "uint8", 128)];
      const filter = weight({ transposed: true, dimensions: [columns, depth, 1] });
      graph.node(
        "QLinearConv",
        ["a3", ...scales, filter, float("w.scale", [1]), bytes("w.zero", "int8", 0), ...end],
        "q",
      );
      graph.node("DequantizeLinear", ["q", ...end], "y");
    },
  },
  {
    name: "ConvInteger",
    isNarrow: false,
    write: (graph, { weight }) => {
      dynamic(graph);
      graph.node("Reshape", ["a", graph.integers([-1, depth, 1])], "a3");
      graph.node(
        "ConvInteger",
        ["a3", weight({ transposed: true, dimensions: [columns, depth, 1] }), "a.zero"],
        "sums",
      );
      graph.node("Cast", ["sums"], "floats", { attributes: { to: { integer: 1 } } });
      graph.node("Mul", ["floats", "a.scale"], "y");
    },
  },
  {
    name: "QAttention",
    isNarrow: true,
    write: (graph, tools) => {
      const [a = "", scale = "", zero = ""] = fixed(graph, tools);
      const { float, bytes, weight, own } = tools;
      graph.node("Reshape", [a, graph.integers([1, -1, depth])], "a3");
      const bias = float("bias", new Array(3 * columns).fill(0));
      own(
        "QAttention",
        ["a3", weight(), bias, scale, float("w.scale", [1]), "", zero, bytes("w.zero", "int8", 0)],
        "y",
        {
          num_heads: { integer: 1 },
        },
      );
    },
  },
];

interface Options {
  readonly type?: "int8" | "uint8";
  readonly externalFrom?: number;
}

async function written(
  { name, write }: Form,
  [first, second]: Pair,
  { type = "int8", externalFrom = 1e9 }: Options = {},
): Promise<string> {
  const graph = new Graph();
  const wide = name === "QAttention" ? 3 * columns : columns;
  const integers = { int8: Int8Array, uint8: Uint8Array };
  const tensor = (
    called: string,
    of: StoredTensor["type"],
    values: ArrayBufferView,
    dimensions: readonly number[],
  ): string => {
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      yield bytesOf(values);
    };
    return graph.tensor({ name: called, type: of, dimensions, chunks });
  };
  graph.inputs.push({ name: "x", type: "float32", shape: ["rows", depth] });
  write(graph, {
    weight: ({ transposed = false, dimensions } = {}) => {
      const values = new integers[type](depth * wide).map((_, index) => {
        const along = transposed ? index % depth : Math.floor(index / wide);
        return along % 2 === 0 ? first : second;
      });
      return tensor("w", type, values, dimensions ?? (transposed ? [wide, depth] : [depth, wide]));
    },
    float: (called, values) =>
      tensor(called, "float32", Float32Array.from(values), values.length === 1 ? [] : [values.length]),
    bytes: (called, given, value) => {
      const own = called === "w.zero" ? type : given;
      return tensor(called, own, integers[own].of(value), []);
    },
    own: (kind, inputs, output, attributes = {}) =>
      graph.node(kind, inputs, output, { domain: domains.microsoft, attributes }),
  });
  graph.outputs.push({ name: "y", type: "float32", shape: ["one", "two"] });
  const path = join(await temporaryFolder(), "model.onnx");
  const request = { path, graph, name: "sums", opset: 17, metadata: {}, externalFrom };
  await writeModelFile({ ...request, signal: undefined, onProgress: undefined });
  return path;
}

/** What the file's weights are found to be, and how many bytes of them were read. */
async function look(
  path: string,
  most = 1e9,
): Promise<{ readonly found: string | undefined; readonly isWhole: boolean; readonly read: number }> {
  const summary = await withLocalFile(path, readGraph);
  const nodes = await withLocalFile(path, readNodes);
  if (summary === undefined || nodes === undefined) throw new Error("no graph");
  let read = 0;
  const { found, isWhole } = await findOverflow(
    signedProducts(nodes, summary),
    async (location, start, end) => {
      read += end - start;
      return (await readFile(location === undefined ? path : join(path, "..", location))).subarray(
        start,
        end,
      );
    },
    most,
  );
  return { found: found?.operator.replace(/^.*\./, ""), isWhole, read };
}

/** The first number of what ONNX Runtime makes of ones. */
async function computed(path: string, session: Readonly<Record<string, string>> = {}): Promise<number> {
  const options = { graphOptimizationLevel: "all", logSeverityLevel: 4, extra: { session } } as const;
  const opened = await InferenceSession.create(path, options);
  // Rows of which a matrix is made, and the one of a vector.
  const outputs = [];
  for (const rows of [3, 1]) {
    const x = new Tensor("float32", new Float32Array(rows * depth).fill(1), [rows, depth]);
    outputs.push(Number((await opened.run({ x }))["y"]?.data[0]));
  }
  await opened.release();
  expect(outputs[1]).toBeCloseTo(outputs[0] ?? Number.NaN, 2);
  return outputs[0] ?? Number.NaN;
}

const pairs: readonly Pair[] = [
  [127, 127],
  [-128, -128],
  [64, 64],
  [127, -127],
];
const isLarge = ([first, second]: Pair): boolean => Math.abs(first + second) > 128;

describe("int8 weights whose sums overflow, and those that ONNX Runtime adds up exactly", () => {
  const rows = forms.flatMap((form) => pairs.map((pair) => ({ form, pair })));
  test.each(
    sampleOf(rows, { name: "narrow sums", every: 5 }).map(
      ({ form, pair }) => [form.name, pair, form] as const,
    ),
  )("%s by %j", async (_, pair, form) => {
    const path = await written(form, pair);
    const { found, isWhole } = await look(path);
    expect(isWhole).toBe(true);
    expect(found !== undefined).toBe(form.isNarrow && isLarge(pair));
    // What is computed is held against it, where this processor can tell.
    const exact = (depth / 2) * (pair[0] + pair[1]);
    const isOff = Math.abs((await computed(path)) - exact) > 20;
    expect(isOff).toBe(found !== undefined && thisProcessor().sums === "16 bits");
    // And with what the note says. Signed activations by unsigned weights have no kernel.
    if (form.name.endsWith("signed activations")) return;
    expect(Math.abs((await computed(path, { x64quantprecision: "1" })) - exact)).toBeLessThan(20);
  });

  test("unsigned weights never do", async () => {
    for (const form of sampleOf(forms, { name: "unsigned", every: 6 })) {
      const path = await written(form, [255, 255], { type: "uint8" });
      expect((await look(path)).found).toBeUndefined();
      // Signed activations by unsigned weights have no kernel.
      if (/signed|Conv/.test(form.name)) continue;
      expect(Math.abs((await computed(path)) - depth * 255)).toBeLessThan(20);
    }
  });
});

const [product] = forms;

describe("the bound", () => {
  test.each([
    [[127, 1], false],
    [[127, 2], true],
    [[-128, 0], false],
    [[-128, -1], true],
  ] as const)("%j: %s", async (pair, expected) => {
    const path = await written(product as Form, pair);
    expect((await look(path)).found !== undefined).toBe(expected);
    const isOff = Math.abs((await computed(path)) - (depth / 2) * (pair[0] + pair[1])) > 0.3;
    expect(isOff).toBe(expected && thisProcessor().sums === "16 bits");
  });
});

/** Weights by their numbers, as a file of bytes. */
async function lookAt(
  values: readonly number[],
  shape: Partial<SignedProduct>,
  most = 1e9,
): Promise<{ readonly isFound: boolean; readonly isWhole: boolean; readonly reads: readonly number[] }> {
  const bytes = bytesOf(Int8Array.from(values));
  const reads: number[] = [];
  const whole = { matrices: 1, depth: values.length, stride: 1, isLoose: false, ...shape };
  const place = { location: undefined, start: 0, end: bytes.length };
  const { found, isWhole } = await findOverflow(
    [{ operator: "MatMulInteger", tensor: "w", place, ...whole }],
    async (_, start, end) => {
      reads.push(end - start);
      return bytes.subarray(start, end);
    },
    most,
  );
  return { isFound: found !== undefined, isWhole, reads };
}

test("the embedded model's weights are all read, and none overflows", async () => {
  const path = fileURLToPath(new URL("../../model-nano/model/onnx/model_int8.onnx", import.meta.url));
  const { found, isWhole, read } = await look(path);
  expect({ found, isWhole }).toEqual({ found: undefined, isWhole: true });
  expect(read).toBeGreaterThan(1e6);
});

describe("how weights are read", () => {
  test("neighbours are 2k and 2k + 1, of the same column and the same matrix", async () => {
    const found = async (values: readonly number[], shape: Partial<SignedProduct>): Promise<boolean> =>
      (await lookAt(values, shape)).isFound;
    expect(await found([0, 127, 127, 0], {})).toBe(false);
    expect(await found([0, 0, 127, 127], {})).toBe(true);
    // Two columns: neighbours are two apart.
    expect(await found([127, 127, 0, 0], { depth: 2, stride: 2 })).toBe(false);
    expect(await found([127, 0, 127, 0], { depth: 2, stride: 2 })).toBe(true);
    // Matrices of an odd depth begin anew; the last of each has no neighbour.
    expect(await found([0, 0, 127, 127, 0, 0], { matrices: 2, depth: 3 })).toBe(false);
    expect(await found([0, 0, 0, 127, 127, 0], { matrices: 2, depth: 3 })).toBe(true);
    // Of filters with an odd number of channels the neighbours are not known.
    expect(await found([0, 0, 65], { isLoose: true })).toBe(true);
    expect(await found([64, -64, 64], { isLoose: true })).toBe(false);
  });

  test("in parts, each of them once, and no more than is allowed", async () => {
    const size = (5 << 20) + 8;
    const values = new Array<number>(size).fill(64);
    for (const shape of [
      { depth: size },
      { matrices: size / 2, depth: 2 },
      { depth: 2, stride: size / 2 / 4, matrices: 4 },
      { depth: size / 2, stride: 2 },
    ]) {
      const { isFound, isWhole, reads } = await lookAt(values, shape);
      expect({ isFound, isWhole }).toEqual({ isFound: false, isWhole: true });
      expect(reads.reduce((sum, one) => sum + one, 0)).toBe(size);
      expect(Math.max(...reads)).toBeLessThanOrEqual(1 << 21);
    }
    values[size - 1] = 127;
    expect((await lookAt(values, {})).isFound).toBe(true);
    const cut = await lookAt(values, {}, 3 << 20);
    expect(cut).toMatchObject({ isFound: false, isWhole: false });
    expect(cut.reads.reduce((sum, one) => sum + one, 0)).toBeLessThanOrEqual(3 << 20);
    values[1] = 127;
    expect((await lookAt(values, {})).reads).toHaveLength(1);
  });

  test("of a file beside the graph, and of one that is shorter than the graph says", async () => {
    const path = await written(product as Form, [127, 127], { externalFrom: 0 });
    expect(await look(path)).toMatchObject({ found: "MatMulInteger", isWhole: true });
    const short = await findOverflow(
      [
        {
          operator: "QGemm",
          tensor: "w",
          place: { location: undefined, start: 0, end: 8 },
          matrices: 1,
          depth: 8,
          stride: 1,
          isLoose: false,
        },
      ],
      async () => new Uint8Array(3),
      1e6,
    );
    expect(short).toEqual({ found: undefined, isWhole: false });
  });
});

describe("what is said of it", () => {
  const forms = join(fixturesFolder, "forms");
  const silent = {
    workers: 1,
    threads: 1,
    isolation: "thread",
    sessionOptions: { extra: { session: { x64quantprecision: "1" } } },
  } as const;
  const { sums } = thisProcessor();

  // Whatever the file is called.
  test.each([
    ["qint8_arm64.onnx", true],
    ["static_qdq.onnx", true],
    ["qint8_avx512.onnx", false],
    ["quint8_avx2.onnx", false],
    ["static_qoperator.onnx", false],
    ["q8_blocks.onnx", false],
  ])("%s: %s", async (form, overflows) => {
    const goldens = JSON.parse(await readFile(join(forms, "forms.json"), "utf8")) as {
      readonly sequences: readonly (readonly number[])[];
      readonly logits: Readonly<Record<string, readonly number[]>>;
    };
    const folder = await temporaryFolder();
    await cp(join(forms, form), join(folder, "custom.onnx"));
    const description = await backends[0]?.describe?.(folderFiles(folder), "custom.onnx");
    expect(description?.facts["sums"]).toBe(overflows ? "overflow 16 bits on x64 without VNNI" : undefined);
    const isSaid = overflows && sums !== "32 bits";
    const note = expect.stringMatching(
      /^custom.onnx has signed weights of all 8 bits .*x64quantprecision: "1"/,
    );
    const said = isSaid ? [note] : [];
    expect(description?.notes).toEqual(said);
    for (const [options, expected, tolerance] of [
      [{ workers: 1, threads: 1, isolation: "thread" }, said, isSaid ? 6e-2 : 2e-2],
      // With what the note says it is silent, and right.
      ...(overflows ? [[silent, [], 2e-2] as const] : []),
    ] as const) {
      const session = await load(onnx(options), folder);
      expect(session.notes).toEqual(expected);
      for (const [index, inputIds] of goldens.sequences.entries()) {
        const { data } = await session.run(makeBatch([{ inputIds, segmentIds: inputIds.map(() => 0) }]));
        expect(
          Math.abs((data[0] ?? Number.NaN) - (goldens.logits[form]?.[index] ?? Number.NaN)),
        ).toBeLessThan(tolerance);
      }
      await session.dispose();
    }
  });

  test.each([
    ["x64", ["avx2"], "this machine's processor, x64 with avx2, adds up"],
    ["x64", ["avx2", "avx512f", "avx512bw"], "this machine's processor, x64 with avx512, adds up"],
    ["x64", [], "a processor without VNNI, as this one may be, adds up"],
    ["x64", ["avx2", "avx_vnni"], undefined],
    ["x64", ["avx2", "avx512f", "avx512bw", "avx512_vnni"], undefined],
    ["arm64", [], undefined],
  ])("on %s with %j: %s", (arch, flags, expected) => {
    const notes = narrowSumsNote(
      "a.onnx",
      { isCertain: true, clause: "has signed weights" },
      processorOf(arch, flags),
    );
    expect(notes).toEqual(expected === undefined ? [] : [expect.stringContaining(expected)]);
  });

  test("a mark spares the files that crossrank wrote, and none that were quantised since", async () => {
    const path = await written(product as Form, [127, 127]);
    const bytes = await readFile(path);
    const graph = (await withLocalFile(path, readGraph)) as GraphSummary;
    const nodes = await withLocalFile(path, readNodes);
    const look = (producer: string, readBytes: ModelFiles["readBytes"]) => {
      const metadata = new Map([["crossrank.graph", "final"]]);
      const facts = { path: "a.onnx", graph: { ...graph, producer, metadata }, nodes };
      return narrowSums({ readBytes } as ModelFiles, facts, {});
    };
    const read: ModelFiles["readBytes"] = async (_, { start, end }) => bytes.subarray(start, end);
    expect(await look("crossrank", read)).toBeUndefined();
    expect(await look("onnx.quantize 0.1.0", read)).toMatchObject({ isCertain: true });
    // A note is no reason for a load to fail.
    const gone = async (): Promise<never> => {
      throw new Error("ENOENT");
    };
    expect(await look("onnx.quantize 0.1.0", gone)).toMatchObject({ isCertain: false });
  });

  test("weights that no reader can follow are said to be so", async () => {
    const path = await written(product as Form, [127, 127]);
    const summary = await withLocalFile(path, readGraph);
    const nodes = await withLocalFile(path, readNodes);
    const [found] = signedProducts(nodes ?? { nodes: [] }, summary ?? { tensors: new Map() });
    const nowhere = { ...(found as SignedProduct), place: undefined };
    expect(await findOverflow([nowhere], async () => new Uint8Array(), 1)).toEqual({
      found: undefined,
      isWhole: false,
    });
  });
});
