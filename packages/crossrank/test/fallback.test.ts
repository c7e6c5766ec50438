import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { onnx } from "@crossrank/backend-onnx";
import {
  type Backend,
  createFallbackReranker,
  createReranker,
  type FallbackOptions,
  type FallbackReranker,
  type ModelFiles,
  type RankedDocument,
  type Variant,
} from "@crossrank/core";
import { HashMismatchError, openModel } from "@crossrank/hub";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import {
  gitFile,
  type HubServer,
  lfsFile,
  type RepositoryFile,
  startHub,
} from "../../hub/test/hub-server.js";

// The failure table that a client of a Core ML reranker has to handle, on real parts: the hub's protocol over HTTP,
// ONNX Runtime, and files that are damaged. The last row (operations that fall back to the processor) is the residency
// gate's and not a runtime's.

const fixtures = fileURLToPath(new URL("../../conformance/fixtures/", import.meta.url));
const bert = join(fixtures, "bert-logit");
const roberta = join(fixtures, "roberta-logit");
const commit = "0123456789abcdef0123456789abcdef01234567";
const query = "which tokens does the model read";
/** A word of bert-logit's vocabulary. */
const poison = "tokenizer";
const documents = Array.from({ length: 12 }, (_, index) => `the backend of document ${index}`);
const order = documents.map((_, index) => index);

const backend = (): Backend => onnx({ workers: 1, threads: 1 });
let folder: string;
let hub: HubServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-fallback-"));
  hub = await startHub({ id: "tests/bert", commit, revisions: ["main"], files: await repositoryFiles(bert) });
});

afterAll(async () => {
  await hub[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

async function repositoryFiles(root: string): Promise<Record<string, RepositoryFile>> {
  const files: Record<string, RepositoryFile> = {};
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const local = join(entry.parentPath, entry.name);
    const path = local.slice(root.length + 1).replaceAll("\\", "/");
    const content = await readFile(local);
    files[path] = path.endsWith(".onnx") ? lfsFile(content) : gitFile(content);
  }
  return files;
}

/** The model on the hub, with a cache of this call's own. */
async function fromHub(source = "tests/bert"): Promise<ModelFiles> {
  const cacheFolder = await mkdtemp(join(folder, "cache-"));
  return openModel(source, { endpoint: hub.endpoint, cacheFolder, retry: { delay: 1 } });
}

/** A copy of bert-logit whose onnx/model.onnx was changed. */
async function damaged(change: (bytes: Buffer) => Buffer | Promise<Buffer>): Promise<ModelFiles> {
  const root = await mkdtemp(join(folder, "model-"));
  await cp(bert, root, { recursive: true });
  const path = join(root, "onnx", "model.onnx");
  await writeFile(path, await change(await readFile(path)));
  return openModel(root);
}

/** Where a weight's numbers lie in the graph: the same bytes as in model.safetensors. */
async function placeOf(graph: Buffer, tensor: string): Promise<{ start: number; end: number }> {
  const bytes = await readFile(join(bert, "model.safetensors"));
  const data = 8 + Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString("utf8", 8, data));
  const [from, to] = header[tensor].data_offsets as [number, number];
  const start = graph.indexOf(bytes.subarray(data + from, data + to));
  if (start < 0) throw new Error(`${tensor} is not in the graph`);
  return { start, end: start + to - from };
}

/** Loads, passes the probe, and gives NaN for a text with the word. */
function nanForPoison(): Promise<ModelFiles> {
  return damaged(async (graph) => {
    const { start } = await placeOf(graph, "bert.embeddings.word_embeddings.weight");
    const { model } = JSON.parse(await readFile(join(bert, "tokenizer.json"), "utf8"));
    const row = start + model.vocab[poison] * 32 * 4;
    for (let offset = 0; offset < 32 * 4; offset += 4) graph.writeFloatLE(Number.NaN, row + offset);
    return graph;
  });
}

function chain(options: FallbackOptions): FallbackReranker {
  const reranker = createFallbackReranker(options);
  onTestFinished(() => reranker.dispose());
  return reranker;
}

const sound = (name = "sound"): Variant => ({ name, model: () => openModel(roberta), backend: backend() });

async function alone(root: string, texts: readonly string[]): Promise<readonly RankedDocument<string>[]> {
  await using reranker = await createReranker({ model: await openModel(root), backend: backend() });
  return (await reranker.rerank({ query, documents: texts })).results;
}

describe("a download that fails", () => {
  it.each([
    [
      "hash-mismatch",
      () => hub.faults.push({ server: "storage", path: "/", times: 1, corrupt: true }),
      "tests/bert",
    ],
    [
      "hub-network",
      () => hub.faults.push({ server: "hub", path: "/", times: 50, status: 503 }),
      "tests/bert",
    ],
    ["hub-not-found", () => 0, "tests/none"],
  ])("%s: the caller's order, and then the next variant", async (reason, fail, source) => {
    fail();
    onTestFinished(() => {
      hub.faults.length = 0;
    });
    const hubVariant: Variant = { name: "hub", model: () => fromHub(source), backend: backend() };
    const onlyOne = chain({ variants: [hubVariant], whenExhausted: "passthrough" });
    const bypassed = await onlyOne.rerank({ query, documents });
    expect(bypassed).toMatchObject({ status: "passthrough", variant: null });
    expect(bypassed.fallbacks).toMatchObject([{ variant: "hub", during: "load", reason }]);
    expect(bypassed.results.map(({ index }) => index)).toEqual(order);
    expect(bypassed.results.every(({ logit, score }) => logit === null && score === null)).toBe(true);
    fail();
    const both = await chain({ variants: [hubVariant, sound()] }).rerank({ query, documents });
    expect(both).toMatchObject({
      status: "reranked",
      variant: "sound",
      fallbacks: [{ variant: "hub", reason }],
    });
    expect(both.results).toEqual(await alone(roberta, documents));
  });

  it("is none when it succeeds: the artifact is the one that the hub lists", async () => {
    const reranker = chain({
      variants: [{ name: "hub", model: () => fromHub(), backend: backend() }, sound()],
    });
    const result = await reranker.rerank({ query, documents });
    expect(result).toMatchObject({
      variant: "hub",
      fallbacks: [],
      warnings: [],
      model: { revision: commit },
    });
    expect(result.results).toEqual(await alone(bert, documents));
  });

  it("the error in full says which file", async () => {
    hub.faults.push({ server: "storage", path: "/", times: 1, corrupt: true });
    const reranker = chain({
      variants: [{ name: "hub", model: () => fromHub(), backend: backend() }],
      whenExhausted: "passthrough",
    });
    const [step] = (await reranker.rerank({ query, documents })).fallbacks;
    expect(HashMismatchError.isInstance(step?.error) && step.error.path).toBe("onnx/model.onnx");
  });
});

describe("a model that does not load", () => {
  const cut = (): Promise<ModelFiles> => damaged((graph) => graph.subarray(0, graph.length / 2));
  const headless = (): Promise<ModelFiles> =>
    damaged(async (graph) => {
      const { start, end } = await placeOf(graph, "classifier.weight");
      return graph.fill(0, start, end);
    });

  it("gives way to the next; the caller's order when all fail", async () => {
    const variants: Variant[] = [
      { name: "cut", model: cut, backend: backend() },
      { name: "headless", model: headless, backend: backend() },
      { name: "precision", model: () => openModel(bert), backend: backend(), dtype: "fp16" },
    ];
    const events: string[] = [];
    const all = chain({
      variants,
      whenExhausted: "passthrough",
      onFallback: ({ variant, reason, next }) => events.push(`${variant} ${reason} ${next}`),
    });
    expect(await all.rerank({ query, documents, topN: 5 })).toMatchObject({
      status: "passthrough",
      results: [{ index: 0 }, { index: 1 }, { index: 2 }, { index: 3 }, { index: 4 }],
      warnings: [{ code: "variant-fallback", variant: null }],
    });
    expect(events).toEqual([
      "cut model-load headless",
      "headless probe-failed precision",
      "precision model-file-not-found null",
    ]);
    const saved = await chain({ variants: [...variants, sound()] }).rerank({ query, documents });
    expect(saved).toMatchObject({ status: "reranked", variant: "sound" });
    expect(saved.fallbacks.map(({ variant }) => variant)).toEqual(["cut", "headless", "precision"]);
  });
});

describe("a model that fails while it scores", () => {
  const texts = [...documents, `a ${poison} of words`];

  it("NaN for one document: every score of the call is the next variant's", async () => {
    const reranker = chain({ variants: [{ name: "nan", model: nanForPoison, backend: backend() }, sound()] });
    expect((await reranker.rerank({ query, documents })).variant).toBe("nan");
    const result = await reranker.rerank({ query, documents: texts });
    expect(result.fallbacks).toMatchObject([{ variant: "nan", during: "run", reason: "non-finite-score" }]);
    expect(result.results).toEqual(await alone(roberta, texts));
  });

  it("threads that die, and cannot begin anew: the same", async () => {
    const folder = await mkdtemp(join(tmpdir(), "crossrank-dying-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    await cp(bert, folder, { recursive: true });
    const dying = onnx({ workers: 1, threads: 1, isolation: "thread" });
    const reranker = chain({
      variants: [{ name: "dying", model: await openModel(folder), backend: dying }, sound()],
    });
    const spy = vi.spyOn(Worker.prototype, "postMessage");
    onTestFinished(() => {
      spy.mockRestore();
    });
    await reranker.load();
    await rm(join(folder, "onnx"), { recursive: true });
    await Promise.all([...new Set(spy.mock.contexts as Worker[])].map((worker) => worker.terminate()));
    const result = await reranker.rerank({ query, documents });
    expect(result).toMatchObject({
      status: "reranked",
      variant: "sound",
      fallbacks: [{ variant: "dying", during: "run", reason: "backend-run" }],
    });
    expect(result.results).toEqual(await alone(roberta, documents));
  });
});

describe("a budget that is too small", () => {
  // Far more than any machine scores in that time.
  const many = Array.from(
    { length: 150_000 },
    (_, index) => `${documents[index % 12]} ${"words ".repeat(8)}`,
  );

  it("passthrough: the caller's order within the call, and the model goes on working", async () => {
    const reranker = chain({
      variants: [{ name: "real", model: await openModel(bert), backend: backend() }],
    });
    await reranker.load();
    const timeBudget = { milliseconds: 800, whenExceeded: "passthrough" } as const;
    const result = await reranker.rerank({ query, documents: many, topN: 20, timeBudget });
    expect(result).toMatchObject({ status: "passthrough", variant: "real", fallbacks: [] });
    expect(result.results.map(({ index }) => index)).toEqual(Array.from({ length: 20 }, (_, index) => index));
    expect(
      result.results.every(({ logit, score, notScored }) => logit === null && score === null && notScored),
    ).toBe(true);
    expect(result.warnings).toMatchObject([
      { code: "time-budget-exceeded", milliseconds: 800, scored: 0, count: many.length },
    ]);
    expect((await reranker.rerank({ query, documents })).results).toEqual(await alone(bert, documents));
  });

  it("partial: what was scored has the scores that it always has", async () => {
    await using reranker = await createReranker({ model: await openModel(bert), backend: backend() });
    const timeBudget = { milliseconds: 3000, whenExceeded: "partial" } as const;
    const result = await reranker.rerank({ query, documents: many, timeBudget });
    expect(result.status).toBe("partial");
    const scored = result.results.findIndex(({ logit }) => logit === null);
    expect(scored).toBeGreaterThan(0);
    expect(result.warnings).toMatchObject([{ code: "time-budget-exceeded", scored, count: many.length }]);
    const rest = result.results.slice(scored);
    expect(rest.every(({ logit, notScored }) => logit === null && notScored)).toBe(true);
    expect(rest.every(({ index }, place) => place === 0 || index > (rest[place - 1]?.index ?? -1))).toBe(
      true,
    );
    const [best] = result.results;
    const again = await reranker.score([{ query, document: many[best?.index ?? 0] as string }]);
    expect(best?.logit).toBeCloseTo(again.scores[0]?.logit as number, 4);
  });

  it("partial of a listwise model: the sequences that came back", async () => {
    const inner = backend();
    let open = (): void => {};
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    let runs = 0;
    let most = Number.POSITIVE_INFINITY;
    const held: Backend = {
      ...inner,
      load: async (request) => {
        const session = await inner.load(request);
        return {
          info: session.info,
          artifact: session.artifact,
          settings: session.settings,
          bounds: session.bounds,
          capabilities: { ...session.capabilities, concurrentRuns: 1 },
          run: async (batch, options) => {
            runs += 1;
            if (runs > most) await opened;
            return session.run(batch, options);
          },
          dispose: () => session.dispose(),
          [Symbol.asyncDispose]: () => session.dispose(),
        };
      },
    };
    const model = await openModel(join(fixtures, "qwen3-listwise"));
    await using reranker = await createReranker({ model, backend: held });
    const whole = await reranker.rerank({ query, documents });
    expect(whole).toMatchObject({ scoring: "listwise", status: "reranked" });
    expect(whole.usage.batches).toBeGreaterThan(1);
    most = runs + 1;
    const timeBudget = { milliseconds: 1500, whenExceeded: "partial" } as const;
    const part = await reranker.rerank({ query, documents, timeBudget });
    open();
    const scored = part.results.filter(({ logit }) => logit !== null);
    expect(part.status).toBe("partial");
    expect(scored.length).toBeGreaterThan(0);
    expect(scored.length).toBeLessThan(documents.length);
    expect(part.warnings).toMatchObject([{ code: "time-budget-exceeded", scored: scored.length }]);
  });
});
