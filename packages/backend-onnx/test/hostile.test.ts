import { spawnSync } from "node:child_process";
import { copyFile, mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type OnnxOptions, onnx } from "@crossrank/backend-onnx";
import { BackendRunError, type BackendSession, ModelLoadError } from "@crossrank/core";
import { describe, expect, onTestFinished, test } from "vitest";
import { hashIfPackaged } from "../src/packaged-artifacts.js";
import { fixture, load, makeBatch, rejection, temporaryFolder } from "./fixtures.js";
import { crossEncoder, type Dimension, encodeGraph, folderOf, type Graph } from "./graphs.js";

const one = { workers: 1, threads: 1 } as const;
/** Where a refusal is this project's, and not the end of a process. */
const inThread = { ...one, isolation: "thread" } as const;
const pair = { inputIds: [5, 9, 6], segmentIds: [0, 0, 0] };

async function open(folder: string, options: OnnxOptions = {}): Promise<BackendSession> {
  const session = await load(onnx({ ...one, ...options }), folder);
  onTestFinished(() => session.dispose());
  return session;
}

test("the smallest graph runs: the hostile ones differ from it in one thing each", async () => {
  const session = await open(await folderOf(crossEncoder()));
  const { data } = await session.run(makeBatch([pair]));
  expect(data[0]).toBeCloseTo(20 / 3, 5);
});

describe("a size that the graph claims is refused where no batch can have it", () => {
  const big = 2n ** 62n;
  test.each<[string, readonly Dimension[], readonly Dimension[]]>([
    ["no rows", [0, "sequence"], [0, "sequence"]],
    ["no columns", ["batch", 0], ["batch", 0]],
    ["a billion rows", [1_000_000_000, "sequence"], [1_000_000_000, "sequence"]],
    ["2^53 rows", [2n ** 53n, "sequence"], [2n ** 53n, "sequence"]],
    ["2^62 columns", ["batch", big], ["batch", big]],
    ["2^63 - 1 columns", ["batch", 2n ** 63n - 1n], ["batch", 2n ** 63n - 1n]],
    ["rows and columns that are too many together", [4096, 1 << 20], [4096, 1 << 20]],
    ["2^31 columns", [1, 2n ** 31n], [1, 2n ** 31n]],
    ["rows of two sizes", [4, "sequence"], [8, "sequence"]],
    ["columns of two sizes", ["batch", 32], ["batch", 64]],
    ["none in one input only", ["batch", "sequence"], ["batch", 0]],
  ])("%s", async (_, ids, mask) => {
    const graph = crossEncoder({ inputShapes: { input_ids: ids, attention_mask: mask } });
    const error = await rejection(load(onnx(inThread), await folderOf(graph)));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message.length).toBeLessThan(1500);
  });

  test.each<[string, readonly Dimension[]]>([
    ["no heads", ["batch", 0, "past", 64]],
    ["2^40 heads", ["batch", 2n ** 40n, "past", 64]],
    ["2^62 numbers a head", ["batch", 4, "past", big]],
    ["a past of a billion", ["batch", 4, 1_000_000_000, 64]],
    ["rows of another size", [3, 4, "past", 64]],
  ])("a cache with %s", async (_, shape) => {
    const graph = crossEncoder({
      inputShapes: { input_ids: [2, "sequence"], attention_mask: [2, "sequence"] },
      extraInputs: [{ name: "past_key_values.0.key", shape }],
    });
    const error = await rejection(load(onnx(inThread), await folderOf(graph)));
    expect(error).toBeInstanceOf(ModelLoadError);
  });

  test("five thousand inputs, and names and shapes of any length, give a short message", async () => {
    const many = Array.from({ length: 5000 }, (_, index) => ({ name: `input_${index}`, shape: ["a"] }));
    const long = [{ name: "x".repeat(100_000), shape: new Array<Dimension>(2000).fill("dimension") }];
    for (const extraInputs of [many, long]) {
      const error = await rejection(load(onnx(inThread), await folderOf(crossEncoder({ extraInputs }))));
      expect(error).toBeInstanceOf(ModelLoadError);
      expect(error.message.length).toBeLessThan(3000);
    }
  });

  test("a negative size is a free one, as ONNX Runtime reads it", async () => {
    const inputShapes = { input_ids: [-7, -1], attention_mask: [-7, -1] };
    const session = await open(await folderOf(crossEncoder({ inputShapes })), inThread);
    expect((await session.run(makeBatch([pair, pair]))).shape).toEqual([2, 1]);
  });

  test("sizes that can be run are", async () => {
    const inputShapes = { input_ids: [2, 8], attention_mask: [2, 8] };
    const session = await open(await folderOf(crossEncoder({ inputShapes, outputShape: [2, 1] })), inThread);
    expect(session.capabilities).toMatchObject({ batchSize: { exactly: 2 }, sequenceLengths: [8] });
    const { shape } = await session.run(makeBatch([pair, pair], { rows: 2, columns: 8 }));
    expect(shape).toEqual([2, 1]);
  });
});

/** 2^62 rounds of nothing. */
function endless(): Graph {
  const body = encodeGraph({
    inputs: [],
    nodes: [
      { operator: "Identity", inputs: ["going"], outputs: ["goes on"] },
      { operator: "Sin", inputs: ["before"], outputs: ["after"] },
    ],
    outputs: [],
  });
  // Inputs and outputs of other types than the helper's: the round's number, a condition, what is carried on.
  const values: [field: number, name: string, type: number, dimensions: number][] = [
    [11, "round", 7, 0],
    [11, "going", 9, 0],
    [11, "before", 1, 2],
    [12, "goes on", 9, 0],
    [12, "after", 1, 2],
  ];
  const declared = values.map(([field, name, type, dimensions]) => {
    const shape = Buffer.concat(new Array(dimensions).fill(Buffer.from([0x0a, 0x00])));
    const tensor = Buffer.concat([Buffer.from([0x08, type, 0x12, shape.length]), shape]);
    const typed = Buffer.concat([Buffer.from([0x0a, tensor.length]), tensor]);
    const named = Buffer.concat([Buffer.from([0x0a, name.length]), Buffer.from(name)]);
    const whole = Buffer.concat([named, Buffer.from([0x12, typed.length]), typed]);
    return Buffer.concat([Buffer.from([(field << 3) | 2, whole.length]), whole]);
  });
  return crossEncoder({
    constants: [{ name: "rounds", dims: [], values: [2n ** 62n] }],
    between: [
      {
        operator: "Loop",
        inputs: ["rounds", "", "x"],
        outputs: ["y"],
        attributes: [{ name: "body", value: Buffer.concat([body, ...declared]) }],
      },
    ],
  });
}

describe("a graph without an end", () => {
  test("is killed at its deadline, and the session starts anew", async () => {
    const session = await open(await folderOf(endless()), { deadlines: { run: 1500 } });
    for (let round = 0; round < 2; round += 1) {
      const error = await rejection(session.run(makeBatch([pair])));
      expect(error).toBeInstanceOf(BackendRunError);
      expect(error.message).toMatch(/did not answer within 1\.5 s/);
    }
  });

  test("keeps neither an abort nor dispose from ending", async () => {
    const session = await open(await folderOf(endless()));
    const reason = new Error("enough");
    const controller = new AbortController();
    const running = rejection(session.run(makeBatch([pair]), { signal: controller.signal }));
    setTimeout(() => controller.abort(reason), 500);
    expect(await running).toBe(reason);
    await session.dispose();
  });
});

describe("a graph that ends its process", () => {
  // DFT of a scalar axis beyond the rank, OneHot of a negative depth, and their kin; onnxruntime 1.30.
  test("is an error, and the next one works", async () => {
    const graph = crossEncoder({
      between: [
        { operator: "Unsqueeze", inputs: ["x", "last"], outputs: ["complex"] },
        {
          operator: "DFT",
          inputs: ["complex", "length"],
          outputs: ["spectrum"],
          attributes: [
            { name: "axis", value: 2n ** 62n },
            { name: "onesided", value: 1n },
          ],
        },
        { operator: "ReduceSum", inputs: ["spectrum", "last"], outputs: ["y"] },
      ],
      constants: [
        { name: "last", dims: [1n], values: [2n] },
        { name: "length", dims: [], values: [-(2n ** 40n)] },
      ],
    });
    const outcome = await load(onnx(one), await folderOf(graph)).then(
      async (session) => {
        const error = await rejection(session.run(makeBatch([pair])));
        await session.dispose();
        return error;
      },
      (error: unknown) => error,
    );
    expect([ModelLoadError, BackendRunError].some((kind) => outcome instanceof kind)).toBe(true);
    expect((await (await open(fixture("cross-encoder"))).run(makeBatch([pair]))).shape).toEqual([1, 1]);
  });
});

describe("where a model runs", () => {
  const nano = fileURLToPath(new URL("../../model-nano/model/onnx/", import.meta.url));
  const artifact = async (path: string, bytes: number): Promise<Parameters<typeof hashIfPackaged>[0]> => ({
    paths: [path],
    bytes,
  });

  test("every artifact of this project's model packages is known by its content", async () => {
    const files = (await readdir(nano)).filter((name) => name.endsWith(".onnx"));
    expect(files.length).toBeGreaterThan(0);
    for (const file of files) {
      const { size } = await stat(join(nano, file));
      expect(await hashIfPackaged(await artifact(join(nano, file), size), undefined)).toMatch(
        /^[0-9a-f]{64}$/,
      );
    }
  });

  test("a stranger's file of its name and size is not", async () => {
    const folder = await temporaryFolder();
    const path = join(folder, "model_int8.onnx");
    const { size } = await stat(join(nano, "model_int8.onnx"));
    await writeFile(path, Buffer.alloc(size));
    expect(await hashIfPackaged(await artifact(path, size), undefined)).toBeUndefined();
    await copyFile(join(fixture("cross-encoder"), "onnx/model.onnx"), path);
    expect(await hashIfPackaged(await artifact(path, size), undefined)).toBeUndefined();
  });
});

/** Loads a model in a program with a home folder of its own, and says what the program wrote. */
async function program(
  options: string,
  environment: Record<string, string> = {},
): Promise<{ readonly home: readonly string[]; readonly output: string; readonly errors: string }> {
  const home = join(await temporaryFolder(), "home");
  await mkdir(home);
  const file = join(home, "..", "program.mjs");
  const at = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);
  await writeFile(
    file,
    `
    import { onnx } from ${at("../dist/index.js")};
    import { createReranker } from ${at("../../core/dist/index.js")};
    import { openModel } from ${at("../../hub/dist/index.js")};
    try {
      const model = await openModel(${JSON.stringify(fixture("cross-encoder"))});
      const reranker = await createReranker({ model, backend: onnx(${options}) });
      await reranker.rerank({ query: "a", documents: ["b"] });
      // Its threads report a moment later.
      await new Promise((resolve) => setTimeout(resolve, 500));
      await reranker.dispose();
      console.log("ranked");
    } catch (error) {
      console.log(error.code);
    }
    `,
  );
  const env = {
    PATH: process.env["PATH"] ?? "",
    HOME: home,
    USERPROFILE: home,
    XDG_CACHE_HOME: join(home, ".cache"),
  };
  const { stdout, stderr } = spawnSync(process.execPath, [file], {
    encoding: "utf8",
    env: { ...env, ...environment },
  });
  const names = await readdir(home, { recursive: true });
  return { home: names, output: stdout.trim(), errors: stderr };
}

describe("ONNX Runtime's telemetry", () => {
  test.each(['{ workers: 1, isolation: "process" }', '{ workers: 1, isolation: "thread" }'])(
    "is off, %s: it leaves no id in the home folder",
    async (options) => {
      expect(await program(options)).toEqual({ home: [], output: "ranked", errors: "" });
    },
  );

  test("is off for diagnose too", async () => {
    expect(homedir()).not.toBe("");
    const { home } = await program("{ workers: 1 }, await onnx().diagnose()");
    expect(home).toEqual([]);
  });
});

describe("a provider that does not work here", () => {
  test.each([
    '{ workers: 1, executionProviders: ["cuda"] }',
    '{ workers: 1, executionProviders: [{ name: "cuda" }, "cpu"] }',
    '{ workers: 1, executionProviders: ["cuda"], isolation: "thread" }',
    '{ workers: 1, executionProviders: ["webgpu"] }',
  ])("%s is an error, and the native library writes nothing", async (options) => {
    const { output, errors } = await program(options);
    // On a machine with such a device it works.
    expect(["model-load", "ranked"]).toContain(output);
    expect(errors).toBe("");
  });
});
