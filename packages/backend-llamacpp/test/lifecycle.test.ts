import { ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type LlamaCppOptions, llamacpp } from "@crossrank/backend-llamacpp";
import { BackendRunError, DisposedError, InvalidInputError, ModelLoadError } from "@crossrank/core";
import { readGgufHeader } from "@crossrank/formats/gguf";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { choosePlacement, choosesFlashAttention, estimateContextBytes } from "../src/defaults.js";
import { convertedFolder, goldenSequences, load, makeBatch, rejection, temporaryFolder } from "./fixtures.js";

const folder = await convertedFolder("bert-logit");
const goldens = await goldenSequences(folder);
const longest = goldens.reduce((most, golden) => (golden.ids.length > most.ids.length ? golden : most));

afterEach(() => {
  vi.restoreAllMocks();
});

type Session = Awaited<ReturnType<typeof load>>;

async function loadSession(options: LlamaCppOptions = {}, from = folder): Promise<Session> {
  const session = await load(llamacpp(options), from);
  onTestFinished(() => session.dispose());
  return session;
}

/** Of 100 rows, some hundred milliseconds of work. */
function longBatch(rows: number): ReturnType<typeof makeBatch> {
  return makeBatch(new Array(rows).fill(longest));
}

describe.each(["process", "thread"] as const)("isolation %s", (isolation) => {
  /** For the tests that leave it as it was. */
  let session: Session;
  beforeAll(async () => {
    session = await load(llamacpp({ isolation, contexts: 2, threads: 1 }), folder);
  });
  afterAll(() => session.dispose());

  test("many runs at once give what they give alone", async () => {
    const alone: number[] = [];
    for (const golden of goldens) alone.push((await session.run(makeBatch([golden]))).data[0] as number);
    const together = await Promise.all(goldens.map(async (golden) => session.run(makeBatch([golden]))));
    expect(together.map(({ data }) => data[0])).toEqual(alone);
    expect([...(await session.run(makeBatch(goldens))).data]).toEqual(alone);
  });

  test("an abort during a run rejects at once with its reason, and stops between sequences", async () => {
    const session = await loadSession({ isolation, contexts: 1, threads: 1 });
    const started = performance.now();
    await session.run(longBatch(150));
    const whole = performance.now() - started;
    const reason = new Error("enough");
    const controller = new AbortController();
    const running = session.run(longBatch(1500), { signal: controller.signal });
    controller.abort(reason);
    expect(await rejection(running)).toBe(reason);
    const since = performance.now();
    await session.run(makeBatch(goldens.slice(0, 1)));
    // The rest of 1,500 rows would have taken ten times as long as the 150.
    expect(performance.now() - since).toBeLessThan(5 * whole + 500);
  });

  test("dispose waits for the runs under way; a run afterwards is refused", async () => {
    const session = await loadSession({ isolation });
    const finished: string[] = [];
    const runs = Array.from({ length: 3 }, async () => {
      const { shape } = await session.run(longBatch(50));
      finished.push("run");
      return shape;
    });
    const disposing = session.dispose();
    expect(await rejection(session.run(makeBatch(goldens)))).toBeInstanceOf(DisposedError);
    await disposing;
    await session.dispose();
    await new Promise(setImmediate);
    finished.push("dispose");
    expect(await Promise.all(runs)).toEqual([
      [50, 1],
      [50, 1],
      [50, 1],
    ]);
    expect(finished).toEqual(["run", "run", "run", "dispose"]);
  });

  test("ids and lengths that the file has no place for are refused, not fed", async () => {
    const beyond = session.run(makeBatch([{ ids: [5, 1400, 6], segmentIds: [0, 0, 1] }]));
    expect(await rejection(beyond)).toBeInstanceOf(BackendRunError);
    const long = session.run(makeBatch([{ ids: new Array(65).fill(9) }]));
    expect((await rejection(long)).message).toMatch(/65 tokens/);
    const withoutEnd = await rejection(session.run(makeBatch([{ ids: [5, 9, 9] }])));
    expect(withoutEnd.message).toMatch(/at the end of a sequence/);
  });

  test("padding rows give zeros", async () => {
    const batch = makeBatch(goldens.slice(0, 2));
    batch.lengths[1] = 0;
    const { data, shape } = await session.run(batch);
    expect(shape).toEqual([2, 1]);
    expect(data[0]).not.toBe(0);
    expect(data[1]).toBe(0);
  });
});

test("decoders: a batch gives the same numbers whatever ran before it", async () => {
  const decoder = await convertedFolder("qwen3-yes-no");
  const session = await loadSession({ isolation: "thread", contexts: 1 }, decoder);
  const [first, ...others] = await goldenSequences(decoder);
  const wanted = [...(await session.run(makeBatch([first as { ids: readonly number[] }]))).data];
  for (const other of others.slice(0, 5)) {
    await session.run(makeBatch([other]));
    expect([...(await session.run(makeBatch([first as { ids: readonly number[] }]))).data]).toEqual(wanted);
  }
});

describe("the child process", () => {
  /** The process that a session was started with. */
  async function loadWithChild(): Promise<{ session: Session; child: ChildProcess }> {
    const spy = vi.spyOn(ChildProcess.prototype, "unref");
    const session = await loadSession();
    const [child] = spy.mock.contexts as ChildProcess[];
    if (child === undefined) throw new Error("no child was started");
    return { session, child };
  }

  test("when it dies, its runs fail with the cause, and the next one starts another", async () => {
    const { session, child } = await loadWithChild();
    const alone = [...(await session.run(makeBatch(goldens))).data];
    const running = rejection(session.run(longBatch(2000)));
    child.kill("SIGKILL");
    expect(await running).toBeInstanceOf(BackendRunError);
    expect((await running).message).toMatch(/process was ended by SIGKILL/);
    expect([...(await session.run(makeBatch(goldens))).data]).toEqual(alone);
  });

  test("when it is stopped, dispose ends all the same", async () => {
    const { session, child } = await loadWithChild();
    child.kill("SIGSTOP");
    await session.dispose();
    expect(child.signalCode).toBe("SIGKILL");
  });

  test("ends with an aborted load", async () => {
    const spy = vi.spyOn(ChildProcess.prototype, "unref");
    const controller = new AbortController();
    const loading = load(llamacpp(), folder, { signal: controller.signal });
    await vi.waitUntil(() => spy.mock.contexts.length > 0, { interval: 1, timeout: 60_000 });
    const reason = new Error("enough");
    controller.abort(reason);
    expect(await rejection(loading)).toBe(reason);
    const [child] = spy.mock.contexts as ChildProcess[];
    await vi.waitUntil(() => child?.signalCode === "SIGKILL", { timeout: 60_000 });
  });

  test("a program that forgets to dispose ends, and its child with it", async () => {
    const program = join(await temporaryFolder(), "program.mjs");
    await writeFile(
      program,
      `
      import { llamacpp } from ${JSON.stringify(new URL("../dist/index.js", import.meta.url).href)};
      import { openModel } from ${JSON.stringify(import.meta.resolve("@crossrank/hub"))};
      import { createReranker } from ${JSON.stringify(import.meta.resolve("@crossrank/core"))};
      const model = await openModel(${JSON.stringify(folder)});
      const reranker = await createReranker({ model, backend: llamacpp({ contexts: 1 }) });
      const { results } = await reranker.rerank({ query: "tea", documents: ["a cup", "a car"] });
      console.log(results.length);
      `,
    );
    const started = join(dirname(program), "started.txt");
    const listed = `require("node:fs").appendFileSync(${JSON.stringify(started)}, require("node:path").basename(process.argv[1]) + "\\n")`;
    await writeFile(join(dirname(program), "list.cjs"), listed);
    const running = spawn(process.execPath, [program], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NODE_OPTIONS: `--require "${join(dirname(program), "list.cjs")}"` },
    });
    let [output, errors] = ["", ""];
    running.stdout.on("data", (text) => {
      output += text;
    });
    running.stderr.on("data", (text) => {
      errors += text;
    });
    const [code] = await once(running, "close");
    expect(errors).toBe("");
    expect([output.trim(), code]).toEqual(["2", 0]);
    // node-llama-cpp tries its binary in a process of its own: in one that has the binary alone.
    expect((await readFile(started, "utf8")).trim().split("\n")).toEqual([
      "program.mjs",
      "worker.js",
      "binary-test.js",
    ]);
  });
});

test("without node-llama-cpp: diagnose says what to install, and so does a load", async () => {
  const root = await temporaryFolder();
  const scope = join(root, "node_modules/@crossrank");
  const own = fileURLToPath(new URL("..", import.meta.url));
  await cp(join(own, "dist"), join(scope, "backend-llamacpp/dist"), { recursive: true });
  await cp(join(own, "package.json"), join(scope, "backend-llamacpp/package.json"));
  for (const name of ["core", "backend-kit", "formats"])
    await symlink(join(own, "..", name), join(scope, name));
  const copy = (await import(join(scope, "backend-llamacpp/dist/index.js"))) as { llamacpp: typeof llamacpp };

  for (const isolation of ["process", "thread"] as const) {
    const error = await rejection(load(copy.llamacpp({ isolation }), folder));
    expect(error).toMatchObject({ code: "model-load" });
    expect(error.message).toMatch(/node-llama-cpp does not start.*npm install node-llama-cpp/);
  }
  const diagnosis = await copy.llamacpp().diagnose();
  expect(diagnosis.available).toBe(false);
  expect(diagnosis.detail).toMatch(/Cannot find package 'node-llama-cpp'.*npm install node-llama-cpp/);
});

test("a device that is not here is an error, not the processor", async () => {
  // Vulkan binaries are not installed beside these tests, or there is no such device; where there is, it loads.
  const backend = llamacpp({ gpu: "vulkan" });
  const outcome = await load(backend, folder).then(
    (session) => session.dispose(),
    (error: unknown) => error,
  );
  if (outcome === undefined) return;
  expect(outcome).toBeInstanceOf(ModelLoadError);
  expect((outcome as Error).message).toMatch(/Leave the option `gpu` out/);
});

test.each<[LlamaCppOptions, string]>([
  [{ contexts: 0 }, "contexts"],
  [{ contexts: 10_000 }, "contexts"],
  [{ deadlines: { run: -1 } }, "deadlines.run"],
  [{ threads: 1.5 }, "threads"],
  [{ gpu: "tpu" as "auto" }, "gpu"],
  [{ isolation: "none" as "thread" }, "isolation"],
  [{ flashAttention: 1 as unknown as boolean }, "flashAttention"],
  [{ file: "" }, "file"],
])("the option in %j is refused at once", (options, path) => {
  let error: unknown;
  try {
    llamacpp(options);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(InvalidInputError);
  expect(error).toMatchObject({ path });
});

describe("defaults", () => {
  const machine = { cores: 16, freeBytes: 16e9 };
  const contextsOf = (options: LlamaCppOptions, context: number, here = machine, weights = 0) =>
    choosePlacement(options, { weights, context }, here);

  test("contexts and threads share the processor and half of the memory", () => {
    expect(contextsOf({}, 50e6, machine)).toEqual({ contexts: 8, threads: 2 });
    expect(contextsOf({}, 50e6, { cores: 2, freeBytes: 1e9 })).toEqual({ contexts: 2, threads: 1 });
    expect(contextsOf({}, 3e9, machine)).toEqual({ contexts: 2, threads: 8 });
    expect(contextsOf({}, 30e9, machine)).toEqual({ contexts: 1, threads: 16 });
    expect(contextsOf({ threads: 8 }, 50e6, machine)).toEqual({ contexts: 2, threads: 8 });
    expect(contextsOf({ contexts: 3 }, 50e6, machine)).toEqual({ contexts: 3, threads: 5 });
    expect(contextsOf({ gpu: "auto" }, 50e6, machine)).toEqual({ contexts: 1, threads: 16 });
    // The weights take their part, which all contexts share; of a file that makes no sense one context is tried.
    expect(contextsOf({}, 1e9, machine, 5e9)).toEqual({ contexts: 3, threads: 5 });
    expect(contextsOf({}, 50e6, machine, 30e9)).toEqual({ contexts: 1, threads: 16 });
    expect(contextsOf({}, Number.NaN)).toEqual({ contexts: 1, threads: 16 });
  });

  test("a decoder's context counts its cache and its logits", async () => {
    const plan = {
      output: { kind: "token-logits", tokens: [1] },
      architecture: "qwen3",
      vocabulary: 1312,
      segmentVocabulary: undefined,
      maxSequenceLength: 1024,
      causal: true,
    } as const;
    const header = await readGgufHeader(join(await convertedFolder("qwen3-yes-no"), "gguf/model-F32.gguf"));
    const cache = 2 * 2 * 2 * 16 * 512;
    const others = 1312 * 512 + 4 * 512 * 512 + (4 * 32 + 2 * 64) * 512;
    expect(estimateContextBytes(header, plan)).toBe(4 * (cache + others));
    expect(choosesFlashAttention({}, "Q8_0", plan)).toBe(false);
    expect(choosesFlashAttention({}, "Q8_0", { ...plan, causal: false })).toBe(true);
    expect(choosesFlashAttention({}, "F16", { ...plan, causal: false })).toBe(true);
    expect(choosesFlashAttention({}, "F32", { ...plan, causal: false })).toBe(false);
    expect(choosesFlashAttention({ flashAttention: true }, "F32", plan)).toBe(true);
  });
});
