import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import { web } from "@crossrank/backend-web";
import { createReranker, type ModelFile } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import type { Page } from "playwright-core";
import { afterAll, describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { profile } from "../../backend-onnx/test/fixtures.js";
import { crossEncoder, folderOf } from "../../backend-onnx/test/graphs.js";
import { isLong } from "../../conformance/test/sampled-runner.js";
import { fixtureFolder, gpuArguments, listFolder, modelFolder, openScene } from "./browser/scene.js";

const scene = await openScene();
const page = await scene.open(scene.isolated);
afterAll(() => scene.close());

const bert = await listFolder(fixtureFolder("bert-logit"));
const nano = await listFolder(modelFolder);
const pairs = [
  { query: "tea", document: "green tea" },
  { query: "how tall is the tower", document: "The tower is 330 metres high, with its antenna." },
];

interface Asked {
  readonly path: string;
  readonly files: readonly ModelFile[];
  readonly options: NonNullable<Parameters<typeof web>[0]>;
  readonly pairs: readonly { readonly query: string; readonly document: string }[];
}

/** Loads a model in a page, scores, and lets go of it. */
function score(where: Page, asked: Asked) {
  return where.evaluate(async ({ path, files, options, pairs: texts }) => {
    const { createReranker: create, fetchModel, web: backend, alive } = globalThis.crossrank;
    try {
      const model = await fetchModel(path, { files, keep: false });
      const reranker = await create({ model, backend: backend(options) });
      const { scores, warnings } = await reranker.score(texts);
      await reranker.dispose();
      await reranker.dispose();
      const logits = scores.map(({ logit }) => logit as number);
      return { logits, warnings, session: reranker.session, alive: alive.size, error: undefined };
    } catch (error) {
      const { code, message } = error as { code: string; message: string };
      return { logits: [], warnings: [], session: undefined, alive: alive.size, error: { code, message } };
    }
  }, asked);
}

const largest = (found: readonly number[], wanted: readonly number[]): number =>
  Math.max(...wanted.map((logit, index) => Math.abs(logit - (found[index] as number))));

async function onNode(folder: string, texts: Asked["pairs"]): Promise<number[]> {
  const backend = onnx({ workers: 1, threads: 1, isolation: "thread" });
  const reranker = await createReranker({ model: await openModel(folder), backend });
  const { scores } = await reranker.score(texts);
  await reranker.dispose();
  return scores.map(({ logit }) => logit as number);
}

describe("numbers", () => {
  test("of nano are those of onnxruntime-node but for the rounding of int8", async () => {
    const goldens = JSON.parse(await readFile(join(modelFolder, "golden.json"), "utf8")) as {
      readonly cases: Asked["pairs"];
    };
    const texts = goldens.cases
      .filter(({ query }) => query.trim() !== "")
      .map(({ query, document }) => ({ query, document }));
    expect(texts.length).toBeGreaterThan(20);
    const tried = sampleOf(texts, { name: "nano", every: 3 });
    const wanted = await onNode(modelFolder, tried);
    const found = await score(page, { path: "/nano/", files: nano, options: { threads: 1 }, pairs: tried });
    expect(found.error).toBeUndefined();
    // Measured: 0.034. Logits of nano spread over 15.
    expect(largest(found.logits, wanted)).toBeLessThan(0.1);
    expect(found.session?.settings).toEqual({
      executionProvider: "wasm",
      graphOptimizationLevel: "basic",
      threads: "1",
      simd: "fixed",
      batch: '{"rows":1}',
    });
    expect(found.session?.artifact.dtype).toBe("int8");
  });

  test("of fp32 are those of onnxruntime-node, whatever the threads", async () => {
    const wanted = await onNode(fixtureFolder("bert-logit"), pairs);
    for (const threads of [1, 2]) {
      const asked = { path: "/fixtures/bert-logit/", files: bert, options: { threads }, pairs };
      const { logits, session, warnings, alive, error } = await score(page, asked);
      expect(error).toBeUndefined();
      expect(largest(logits, wanted)).toBeLessThan(1e-4);
      expect(session?.settings).toMatchObject({ threads: String(threads), executionProvider: "wasm" });
      expect(warnings).toEqual([]);
      expect(alive).toBe(0);
    }
  });

  test("of one thread where the page is not isolated, and it says so", async () => {
    const plain = await scene.open(scene.plain);
    const asked = { path: "/fixtures/bert-logit/", files: bert, options: { threads: 4 }, pairs };
    const { session, warnings, logits } = await score(plain, asked);
    expect(session?.settings).toMatchObject({ threads: "1" });
    expect(warnings.map(({ message }) => message).join()).toMatch(/one thread computes and not 4/);
    expect(largest(logits, await onNode(fixtureFolder("bert-logit"), pairs))).toBeLessThan(1e-4);
    const detail = await plain.evaluate(async () => (await globalThis.crossrank.web().diagnose()).detail);
    expect(detail).toBe("wasm, 1 thread; the page is not cross-origin isolated");
    await plain.close();
  });

  // A browser of its own, in which the processor plays a graphics card: half a minute of it.
  if (isLong)
    test("of WebGPU, on an adapter that computes on the processor", { timeout: 600_000 }, async () => {
      const gpu = await openScene(...gpuArguments);
      try {
        const there = await gpu.open(gpu.isolated);
        const options = { executionProvider: "webgpu", threads: 1 } as const;
        const asked = { path: "/fixtures/bert-logit/", files: bert, options, pairs };
        const found = await score(there, asked);
        expect(found.error).toBeUndefined();
        expect(found.session?.settings).toMatchObject({ executionProvider: "webgpu" });
        expect(largest(found.logits, await onNode(fixtureFolder("bert-logit"), pairs))).toBeLessThan(1e-3);
        const own = await score(there, { ...asked, path: "/nano/", files: nano });
        // Measured over nano's goldens: 0.124.
        expect(largest(own.logits, await onNode(modelFolder, pairs))).toBeLessThan(0.25);
      } finally {
        await gpu.close();
      }
    });
});

describe("what cannot be is refused", () => {
  const asked = { path: "/fixtures/bert-logit/", files: bert, pairs };

  test("WebGPU where there is none", async () => {
    const { error, alive } = await score(page, { ...asked, options: { executionProvider: "webgpu" } });
    expect(error?.code).toBe("model-load");
    expect(error?.message).toMatch(/WebGPU is not there.*leave `executionProvider` out/);
    expect(alive).toBe(0);
  });

  test("a runtime that is not where it was said to be", async () => {
    for (const wasmPaths of ["/nowhere/", { wasm: "/nowhere/ort.wasm" }]) {
      const { error, alive } = await score(page, { ...asked, options: { threads: 1, wasmPaths } });
      expect(error?.code, error?.message).toBe("runtime-start");
      expect(error?.message).toMatch(/ONNX Runtime does not start: .*wasmPaths/);
      expect(alive).toBe(0);
    }
  });

  test("a worker whose script is not there", async () => {
    const found = await page.evaluate(async (files) => {
      const { createReranker: create, fetchModel, web: backend, alive } = globalThis.crossrank;
      const missing = backend({ worker: () => new Worker("/no-worker.js", { type: "module" }) });
      const model = await fetchModel("/fixtures/bert-logit/", { files, keep: false });
      const error = await create({ model, backend: missing }).catch((reason: unknown) => reason);
      return { ...(error as { code: string }), detail: (await missing.diagnose()).detail, alive: alive.size };
    }, bert);
    expect(found).toMatchObject({ code: "runtime-start", alive: 0 });
    expect(found.detail).toMatch(/does not load: .*its worker does not start/);
  });

  test("a graph whose output is a score", async () => {
    const graph = crossEncoder();
    const nodes = graph.nodes.map((node) => ({
      ...node,
      outputs: node.outputs.map((name) => (name === "logits" ? "z" : name)),
    }));
    const activated = {
      ...graph,
      nodes: [...nodes, { operator: "Sigmoid", inputs: ["z"], outputs: ["logits"] }],
    };
    for (const [name, model, code] of [
      ["sound", graph, undefined],
      ["activated", activated, "model-load"],
      ["garbage", new Uint8Array(5000).fill(7), "model-load"],
    ] as const) {
      const folder = await folderOf(model);
      scene.folders.set(name, folder);
      const found = await page.evaluate(
        async ([path, files, facts]) => {
          const { fetchModel, web: backend } = globalThis.crossrank;
          const model = await fetchModel(path, { files, keep: false });
          const output = { kinds: ["class-logits"] as const };
          return backend({ threads: 1 })
            .load({ files: model, profile: facts, output })
            .then(
              async (session) => void (await session.dispose()),
              ({ code, message }: { code: string; message: string }) => ({ code, message }),
            );
        },
        [`/${name}/`, await listFolder(folder), { ...profile, activation: "sigmoid" as const }] as const,
      );
      expect(found?.code, found?.message).toBe(code);
      if (name === "activated") expect(found?.message).toMatch(/sigmoid/);
    }
  });

  test("options out of range, before anything is started", () => {
    for (const [options, path] of [
      [{ threads: 0 }, "threads"],
      [{ threads: 65 }, "threads"],
      [{ executionProvider: "cpu" }, "executionProvider"],
      [{ graphOptimizationLevel: "most" }, "graphOptimizationLevel"],
      [{ deadlines: { run: 0 } }, "deadlines.run"],
      [{ wasmPaths: 7 }, "wasmPaths"],
      [{ wasmPaths: { wasm: 7 } }, "wasmPaths"],
      [{ worker: "worker.js" }, "worker"],
      [{ batch: { rows: 0 } }, "batch.rows"],
    ] as const) {
      const make = (): unknown => web(options as object);
      expect(make, path).toThrow(expect.objectContaining({ code: "invalid-input", path }));
    }
  });

  test("a place that is no browser", async () => {
    const { available, detail } = await web().diagnose();
    expect(available).toBe(false);
    expect(detail).toMatch(/no web workers here/);
  });
});

describe("a worker", () => {
  test("that hangs is ended at the deadline, and the next call starts a new one", async () => {
    // A worker that computes for ever in its first batch.
    scene.answers.set("/hangs.js", (_, response) => {
      response.setHeader("Content-Type", "text/javascript");
      response.end(
        'import "/worker.js"; const answer = onmessage;' +
          'onmessage = (event) => { if (event.data.kind === "run") for (;;); answer(event); };',
      );
    });
    const found = await page.evaluate(async (files) => {
      const { createReranker: create, fetchModel, web: backend, alive } = globalThis.crossrank;
      let started = 0;
      const worker = (): Worker =>
        new Worker(started++ === 0 ? "/hangs.js" : "/worker.js", { type: "module" });
      const model = await fetchModel("/fixtures/bert-logit/", { files, keep: false });
      const own = backend({ threads: 1, worker, deadlines: { run: 4000 } });
      const reranker = await create({ model, backend: own, probe: false });
      const texts = [{ query: "tea", document: "green tea" }];
      const first = await reranker.score(texts).catch((reason: { code: string; message: string }) => reason);
      const again = (await reranker.score(texts)).scores[0]?.logit;
      const running = alive.size;
      await reranker.dispose();
      const { code, message } = first as { code: string; message: string };
      return { code, message, again, started, running, left: alive.size };
    }, bert);
    expect(found).toMatchObject({ code: "backend-run", started: 2, running: 1, left: 0 });
    expect(found.message).toMatch(/did not answer within 4 s, so its worker was ended/);
    expect(found.again).toBeCloseTo((await onNode(fixtureFolder("bert-logit"), pairs))[0] as number, 3);
  });

  test("that holds the library itself has threads too", async () => {
    const found = await page.evaluate(async (files) => {
      const { createReranker: create, fetchModel, web: backend, alive } = globalThis.crossrank;
      const worker = (): Worker => new Worker("/single/worker.js", { type: "module" });
      const model = await fetchModel("/fixtures/bert-logit/", { files, keep: false });
      const reranker = await create({
        model,
        backend: backend({ threads: 2, worker, deadlines: { load: 60_000 } }),
      });
      const { scores } = await reranker.score([{ query: "tea", document: "green tea" }]);
      await reranker.dispose();
      return [scores[0]?.logit, reranker.session.settings["threads"], alive.size] as const;
    }, bert);
    expect(found[0]).toBeCloseTo((await onNode(fixtureFolder("bert-logit"), pairs))[0] as number, 3);
    expect(found.slice(1)).toEqual(["2", 0]);
  });

  test("is ended when the load is aborted", async () => {
    const found = await page.evaluate(async (files) => {
      const { createReranker: create, fetchModel, web: backend, alive } = globalThis.crossrank;
      const model = await fetchModel("/fixtures/bert-logit/", { files, keep: false });
      const abort = new AbortController();
      const loading = create({ model, backend: backend({ threads: 1 }), signal: abort.signal });
      while (alive.size === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      abort.abort("enough");
      return [await loading.catch((reason: unknown) => reason), alive.size];
    }, bert);
    expect(found).toEqual(["enough", 0]);
  });
});
