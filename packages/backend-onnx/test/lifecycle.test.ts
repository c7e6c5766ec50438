import { ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { type OnnxOptions, onnx } from "@crossrank/backend-onnx";
import { BackendRunError, DisposedError } from "@crossrank/core";
import { afterEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { choosePlacement } from "../src/defaults.js";
import { LanePool } from "../src/lane-pool.js";
import { type Lane, openLane } from "../src/lanes.js";
import type { LoadArgument, RunArgument } from "../src/protocol.js";
import { OnnxSession } from "../src/session.js";
import { fixture, folderWith, type Golden, load, makeBatch, readGoldens, rejection } from "./fixtures.js";

const folder = fixture("cross-encoder");
const goldens = await readGoldens("cross-encoder");

afterEach(() => {
  vi.restoreAllMocks();
});

const one = { workers: 1, threads: 1 } as const;

async function loadSession(options: OnnxOptions = one): ReturnType<typeof load> {
  const session = await load(onnx(options), folder);
  onTestFinished(() => session.dispose());
  return session;
}

/** The threads that a session is started with. */
async function loadWithWorkers(
  options: OnnxOptions,
): Promise<{ session: Awaited<ReturnType<typeof load>>; workers: Worker[] }> {
  const spy = vi.spyOn(Worker.prototype, "postMessage");
  const session = await loadSession({ ...options, isolation: "thread" });
  const workers = [...new Set(spy.mock.contexts as Worker[])];
  vi.restoreAllMocks();
  return { session, workers };
}

/** The processes that a session is started with. */
async function loadWithChildren(
  options: OnnxOptions,
): Promise<{ session: Awaited<ReturnType<typeof load>>; children: ChildProcess[] }> {
  const spy = vi.spyOn(ChildProcess.prototype, "unref");
  const session = await loadSession(options);
  const children = [...new Set(spy.mock.contexts as ChildProcess[])];
  vi.restoreAllMocks();
  return { session, children };
}

/** Of 300 rows, some hundred milliseconds of work. */
function longBatch(rows = 300): ReturnType<typeof makeBatch> {
  const sequence: Golden = {
    inputIds: new Array<number>(128).fill(9),
    segmentIds: new Array<number>(128).fill(0),
  };
  return makeBatch(new Array<Golden>(rows).fill(sequence));
}

describe.each(["process", "thread"] as const)("abort, isolation %s", (isolation) => {
  const reason = new Error("enough");

  test("before a run: rejects with the reason, and takes nothing", async () => {
    const session = await loadSession({ ...one, isolation });
    const batch = makeBatch(goldens);
    expect(await rejection(session.run(batch, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    expect(batch.inputIds.length).toBeGreaterThan(0);
  });

  test("during a run: rejects with the reason, and the session lives on", async () => {
    const session = await loadSession({ ...one, isolation });
    const controller = new AbortController();
    const running = rejection(session.run(longBatch(), { signal: controller.signal }));
    controller.abort(reason);
    expect(await running).toBe(reason);
    expect((await session.run(makeBatch(goldens))).shape).toEqual([goldens.length, 1]);
    expect(session.capabilities.cancelsWithinBatch).toBe(false);
  });

  test("before a load: rejects with the reason", async () => {
    const early = load(onnx({ isolation }), folder, { signal: AbortSignal.abort(reason) });
    expect(await rejection(early)).toBe(reason);
  });
});

describe("abort during a load rejects with the reason", () => {
  const reason = new Error("enough");

  test("and every thread ends", async () => {
    const controller = new AbortController();
    const spy = vi.spyOn(Worker.prototype, "postMessage");
    const backend = onnx({ workers: 2, isolation: "thread" });
    const loading = load(backend, folder, { signal: controller.signal });
    await vi.waitUntil(() => spy.mock.contexts.length > 0, { interval: 1, timeout: 60_000 });
    controller.abort(reason);
    expect(await rejection(loading)).toBe(reason);
    const workers = spy.mock.contexts as Worker[];
    await vi.waitUntil(() => workers.every(({ threadId }) => threadId === -1), { timeout: 60_000 });
  });

  test("and every process is gone by then", async () => {
    const controller = new AbortController();
    const spy = vi.spyOn(ChildProcess.prototype, "unref");
    const loading = load(onnx({ workers: 2 }), folder, { signal: controller.signal });
    await vi.waitUntil(() => spy.mock.contexts.length > 0, { interval: 1, timeout: 60_000 });
    controller.abort(reason);
    expect(await rejection(loading)).toBe(reason);
    const children = new Set(spy.mock.contexts as ChildProcess[]);
    expect([...children].map(({ signalCode }) => signalCode)).toEqual(["SIGKILL", "SIGKILL"]);
  });
});

describe("dispose", () => {
  test("waits for the batches under way, which come back whole", async () => {
    const { session, workers } = await loadWithWorkers({ workers: 2, threads: 1 });
    const finished: string[] = [];
    const runs = Array.from({ length: 5 }, async () => {
      const output = await session.run(longBatch(100));
      finished.push("run");
      return output;
    });
    await session.dispose();
    finished.push("dispose");
    expect((await Promise.all(runs)).map(({ shape }) => shape[0])).toEqual([100, 100, 100, 100, 100]);
    expect(finished).toEqual(["run", "run", "run", "run", "run", "dispose"]);
    expect(workers.map(({ threadId }) => threadId)).toEqual([-1, -1]);
  });

  test("a run afterwards, or while it waits, is refused", async () => {
    const session = await loadSession();
    const running = session.run(longBatch());
    const disposing = session.dispose();
    expect(await rejection(session.run(makeBatch(goldens)))).toBeInstanceOf(DisposedError);
    await Promise.all([running, disposing]);
    expect(await rejection(session.run(makeBatch(goldens)))).toBeInstanceOf(DisposedError);
  });

  test("twice, at once, and through Symbol.asyncDispose", async () => {
    const session = await loadSession();
    await Promise.all([session.dispose(), session.dispose(), session[Symbol.asyncDispose]()]);
    await session.dispose();
  });
});

describe("what dies is started anew", () => {
  test("a thread: its runs fail, and later ones do not", async () => {
    const { session, workers } = await loadWithWorkers({ workers: 1, threads: 1 });
    // No message of ours: the thread's code throws.
    workers[0]?.postMessage(null);
    const error = await rejection(session.run(longBatch()));
    expect(error).toBeInstanceOf(BackendRunError);
    expect(error.cause).toBeInstanceOf(Error);
    const { data } = await session.run(makeBatch(goldens.slice(0, 1)));
    expect(data[0]).toBeCloseTo(goldens[0]?.logits?.[0] ?? Number.NaN, 4);
  });

  test("a process: its runs fail, and later ones do not", async () => {
    const { session, children } = await loadWithChildren(one);
    for (let round = 0; round < 2; round += 1) {
      const error = rejection(session.run(longBatch()));
      const spy = vi.spyOn(ChildProcess.prototype, "unref");
      children[0]?.kill("SIGKILL");
      expect(await error).toBeInstanceOf(BackendRunError);
      expect((await error).message).toMatch(/ONNX Runtime's process was ended by SIGKILL/);
      const { data } = await session.run(makeBatch(goldens.slice(0, 1)));
      expect(data[0]).toBeCloseTo(goldens[0]?.logits?.[0] ?? Number.NaN, 4);
      children[0] = spy.mock.contexts.at(-1) as ChildProcess;
      vi.restoreAllMocks();
    }
  });

  test("a process of several: the others go on meanwhile", async () => {
    const { session, children } = await loadWithChildren({ workers: 2, threads: 1 });
    children[0]?.kill("SIGKILL");
    await new Promise((resolve) => children[0]?.once("close", resolve));
    const outputs = await Promise.all(goldens.map((golden) => session.run(makeBatch([golden]))));
    outputs.forEach((output, index) => {
      expect(output.data[0]).toBeCloseTo(goldens[index]?.logits?.[0] ?? Number.NaN, 4);
    });
  });

  test("not from a file that was exchanged meanwhile", async () => {
    const copy = await folderWith(["onnx/model.onnx"]);
    const spy = vi.spyOn(ChildProcess.prototype, "unref");
    const session = await load(onnx(one), copy);
    onTestFinished(() => session.dispose());
    const child = spy.mock.contexts.at(-1) as ChildProcess;
    await cp(join(fixture("cross-encoder-two-class"), "onnx/model.onnx"), join(copy, "onnx/model.onnx"));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
    expect((await rejection(session.run(makeBatch(goldens)))).message).toMatch(
      /has changed since it was loaded/,
    );
  });

  test("a stopped process is killed at the deadline", async () => {
    const { session, children } = await loadWithChildren({ ...one, deadlines: { run: 1000 } });
    children[0]?.kill("SIGSTOP");
    const error = await rejection(session.run(makeBatch(goldens)));
    expect(error).toBeInstanceOf(BackendRunError);
    expect(error.message).toMatch(/did not answer within 1 s/);
    expect((await session.run(makeBatch(goldens))).shape).toEqual([goldens.length, 1]);
  });

  test("dispose ends where its process is stopped", async () => {
    const { session, children } = await loadWithChildren({ ...one, deadlines: { close: 500 } });
    children[0]?.kill("SIGSTOP");
    const running = rejection(session.run(makeBatch(goldens)));
    await session.dispose();
    expect(await running).toBeInstanceOf(BackendRunError);
    expect(children[0]?.signalCode).toBe("SIGKILL");
  });
});

test.each(["process", "thread"] as const)(
  "the event loop keeps turning while batches run, %s",
  async (isolation) => {
    const session = await loadSession({ workers: 2, threads: 1, isolation });
    const delay = monitorEventLoopDelay({ resolution: 1 });
    delay.enable();
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const start = performance.now();
    await Promise.all(Array.from({ length: 10 }, () => session.run(longBatch(75))));
    const milliseconds = performance.now() - start;
    clearInterval(timer);
    delay.disable();
    // A run that blocked would let it turn once a batch, 10 times. No bound on time: the machine may be busy, or fast.
    expect(turns).toBeGreaterThan(20);
    console.log(
      `${turns} turns in ${milliseconds.toFixed(0)} ms, delay p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms`,
    );
  },
);

test("many runs at once each get their own answer, over all workers", async () => {
  const { session, workers } = await loadWithWorkers({ workers: 3, threads: 1 });
  expect(session.capabilities.concurrentRuns).toBe(6);
  const spies = workers.map((worker) => vi.spyOn(worker, "postMessage"));
  const runs = Array.from({ length: 60 }, (_, index) => goldens[index % goldens.length] as Golden);
  const outputs = await Promise.all(runs.map((golden) => session.run(makeBatch([golden]))));
  outputs.forEach((output, index) => {
    expect(output.data[0]).toBeCloseTo(runs[index]?.logits?.[0] ?? Number.NaN, 4);
  });
  expect(spies.map((spy) => spy.mock.calls.length)).toEqual([20, 20, 20]);
});

describe("workers beyond the first", () => {
  /** A session whose further workers are loaded as its first one is; and those that were opened. */
  async function pooled(startTook: number, further?: Partial<LoadArgument>) {
    const spy = vi.spyOn(Worker.prototype, "postMessage");
    const whole = await loadSession({ ...one, isolation: "thread" });
    await whole.run(makeBatch(goldens.slice(0, 1)));
    const sent = spy.mock.calls.map(([message]) => message as { kind: string; argument: unknown });
    vi.restoreAllMocks();
    const argumentOf = (kind: string): unknown => sent.find((message) => message.kind === kind)?.argument;
    const argument = argumentOf("load") as LoadArgument;
    const { plan } = argumentOf("run") as RunArgument;
    const opened: Lane[] = [];
    const first = openLane("thread");
    await first.call("load", argument);
    const { lanes } = new LanePool({
      ...{ loaded: [first], most: 2, startTook },
      open: () => {
        const lane = openLane("thread");
        opened.push(lane);
        return lane;
      },
      load: (lane) => lane.call("load", { ...argument, ...further }),
    });
    const { info, artifact, capabilities, settings, bounds, notes } = whole;
    const session = new OnnxSession({ info, artifact, capabilities, settings, bounds, notes, lanes, plan });
    onTestFinished(() => session.dispose());
    const score = async (golden: Golden): Promise<void> => {
      const { data } = await session.run(makeBatch([golden]));
      expect(data[0]).toBeCloseTo(golden.logits?.[0] ?? Number.NaN, 4);
    };
    const many = async (): Promise<void> => {
      await Promise.all(
        Array.from({ length: 40 }, (_, index) => score(goldens[index % goldens.length] as Golden)),
      );
    };
    return { session, opened, lanes, score, many };
  }

  test("start once work has waited for as long as a start takes, and not before", async () => {
    const { opened, lanes, score, many } = await pooled(Number.MIN_VALUE);
    for (const golden of goldens) await score(golden);
    expect(opened.length).toBe(0);
    await many();
    expect(opened.length).toBe(1);
    await vi.waitUntil(() => lanes[1]?.isResting === false, { timeout: 60_000 });
    await many();
    expect(opened.length).toBe(1);
  });

  test("do not start for little work", async () => {
    const { opened, many } = await pooled(60_000);
    await many();
    expect(opened.length).toBe(0);
  });

  test("that do not start leave the work to the others, and are not tried again", async () => {
    const { opened, lanes, many } = await pooled(Number.MIN_VALUE, {
      modelPath: join(folder, "nowhere.onnx"),
    });
    await many();
    await vi.waitUntil(() => opened.length === 1, { timeout: 60_000 });
    await many();
    await many();
    expect(opened.length).toBe(1);
    expect(lanes[1]?.isResting).toBe(true);
  });

  test("that are on their way hold up no dispose", async () => {
    const { session, opened, many } = await pooled(Number.MIN_VALUE);
    const running = many();
    await vi.waitUntil(() => opened.length === 1, { interval: 1, timeout: 60_000 });
    await running;
    await session.dispose();
    await vi.waitUntil(
      async () => (await opened[0]?.call("diagnose", undefined).catch(() => "gone")) === "gone",
    );
  });
});

describe.each(["process", "thread"])("a program, isolation %s", (isolation) => {
  async function runProgram(
    ending: string,
  ): Promise<{ code: number | null; output: string; errors: string }> {
    const program = fileURLToPath(new URL("./programs/program.mjs", import.meta.url));
    const child = spawn(process.execPath, [program, ending, folder, isolation], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let errors = "";
    child.stdout.on("data", (chunk: Buffer) => {
      output += chunk;
    });
    child.stderr.on("data", (chunk: Buffer) => {
      errors += chunk;
    });
    const [code] = (await once(child, "close")) as [number | null];
    return { code, output, errors };
  }

  test("that forgets to dispose ends by itself", async () => {
    expect(await runProgram("idle")).toEqual({ code: 0, output: "scored\n", errors: "" });
  });

  test("that waits for runs gets them before it ends", async () => {
    expect(await runProgram("finish")).toEqual({ code: 0, output: "scored\n6\n", errors: "" });
  });

  test("that exits during runs exits with its own code, not with an abort of the native library", async () => {
    expect(await runProgram("exit")).toEqual({ code: 7, output: "scored\n", errors: "" });
  });

  test("that throws during runs shows its own error only", async () => {
    const { code, errors } = await runProgram("throw");
    expect(code).toBe(1);
    expect(errors).toContain("a mistake of the program");
    expect(errors).not.toContain("Napi");
  });

  test("that exits during a load exits cleanly", async () => {
    expect(await runProgram("exit-during-load")).toEqual({ code: 0, output: "", errors: "" });
  });
});

test("diagnose says what is here, and loads no model", async () => {
  const diagnosis = await onnx().diagnose();
  expect(diagnosis).toMatchObject({ available: true, runtime: { name: "onnxruntime-node" } });
  expect(diagnosis.runtime?.version).toMatch(/^\d+\.\d+\.\d+/);
  expect(diagnosis.detail).toMatch(/^execution providers cpu.*; \d+ processor threads$/);
});

test("the session says what runs where", async () => {
  const session = await loadSession();
  expect(session.info).toMatchObject({ name: "onnx", runtime: { name: "onnxruntime-node" } });
  expect(onnx()).toMatchObject({
    specificationVersion: "v1",
    name: "onnx",
    families: ["cross-encoder", "bi-encoder", "causal-lm", "listwise", "late-interaction"],
  });
});

test.each<[string, OnnxOptions, number, number, { workers: number; threads: number }]>([
  ["one core", {}, 50e6, 1, { workers: 1, threads: 1 }],
  ["two cores", {}, 50e6, 2, { workers: 2, threads: 1 }],
  ["sixteen cores", {}, 50e6, 16, { workers: 4, threads: 4 }],
  ["a large model", {}, 2e9, 16, { workers: 2, threads: 8 }],
  ["one that does not fit twice", {}, 3e9, 16, { workers: 1, threads: 16 }],
  ["one that does not fit, and workers given", { workers: 2 }, 9e9, 16, { workers: 2, threads: 8 }],
  ["threads given", { threads: 2 }, 50e6, 8, { workers: 4, threads: 2 }],
  ["more threads than cores", { threads: 8 }, 50e6, 2, { workers: 1, threads: 8 }],
  ["workers given", { workers: 3 }, 50e6, 8, { workers: 3, threads: 2 }],
  ["more workers than cores", { workers: 4 }, 50e6, 2, { workers: 4, threads: 1 }],
  ["not on the processor", { executionProviders: ["cuda", "cpu"] }, 50e6, 16, { workers: 1, threads: 16 }],
])("workers and threads for %s", (_, options, bytes, cores, expected) => {
  expect(choosePlacement(options, bytes, { cores, freeBytes: 16e9 })).toEqual(expected);
});
