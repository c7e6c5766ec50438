import { ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import { type MnnOptions, mnn } from "@crossrank/backend-mnn";
import { BackendRunError, type BackendSession, DisposedError, ModelLoadError } from "@crossrank/core";
import { expect, onTestFinished, test, vi } from "vitest";
import { expectNoGrowth } from "../../../test/leaks.js";
import { batchOf, describeNative, fixtureFolder, load, rejection } from "./fixtures.js";

const reason = new Error("enough");
const script = (name: string): string => fileURLToPath(new URL(`../scripts/${name}`, import.meta.url));

async function loadSession(options: MnnOptions = {}): Promise<BackendSession> {
  const session = await load(mnn({ sessions: 1, threads: 1, ...options }), fixtureFolder("bert-logit"));
  onTestFinished(() => session.dispose());
  return session;
}

describeNative.each([{ isolation: "thread" }, { isolation: "process" }] as const)("with %j", (isolation) => {
  test("every input is filled for every run: the same batch gives the same numbers, whatever ran between", async () => {
    const session = await loadSession(isolation);
    const first = await session.run(batchOf(2, 12));
    await session.run(batchOf(5, 33, 400));
    await session.run(batchOf(2, 12, 77));
    expect([...(await session.run(batchOf(2, 12))).data]).toEqual([...first.data]);
    expect(first.data[0]).not.toBe(first.data[1]);
  });

  test("abort before a run rejects with the reason; during one too", async () => {
    const session = await loadSession(isolation);
    const early = session.run(batchOf(1, 8), { signal: AbortSignal.abort(reason) });
    expect(await rejection(early)).toBe(reason);
    const controller = new AbortController();
    const running = rejection(session.run(batchOf(200, 64), { signal: controller.signal }));
    controller.abort(reason);
    expect(await running).toBe(reason);
  });

  test("abort before and during a load rejects with the reason", async () => {
    const backend = mnn({ ...isolation, sessions: 1, threads: 1 });
    const folder = fixtureFolder("bert-logit");
    expect(await rejection(load(backend, folder, { signal: AbortSignal.abort(reason) }))).toBe(reason);
    const controller = new AbortController();
    const loading = load(backend, folder, { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 5);
    const outcome = await loading.catch((error: unknown) => error);
    if (outcome === reason) return;
    // Loaded within five milliseconds after all.
    await (outcome as BackendSession).dispose();
  });

  test("dispose waits for the batches under way, and later ones are refused", async () => {
    const session = await loadSession(isolation);
    const finished: string[] = [];
    const runs = Array.from({ length: 4 }, async () => {
      const { shape } = await session.run(batchOf(150, 64));
      finished.push("run");
      return shape[0];
    });
    const disposing = session.dispose().then(() => finished.push("dispose"));
    expect(await rejection(session.run(batchOf(1, 8)))).toBeInstanceOf(DisposedError);
    await Promise.all([disposing, session.dispose(), session[Symbol.asyncDispose]()]);
    expect(await Promise.all(runs)).toEqual([150, 150, 150, 150]);
    expect(finished).toEqual(["run", "run", "run", "run", "dispose"]);
  });

  test("the event loop keeps turning while batches run", async () => {
    const session = await loadSession(isolation);
    const delay = monitorEventLoopDelay({ resolution: 5 });
    delay.enable();
    const begin = performance.now();
    await session.run(batchOf(1500, 64));
    const took = performance.now() - begin;
    delay.disable();
    expect(took).toBeGreaterThan(100);
    expect(delay.max / 1e6).toBeLessThan(took / 2);
  });
});

describeNative("threads", () => {
  test("give the numbers that one thread gives", async () => {
    const one = await loadSession({ isolation: "process" });
    const two = await loadSession({ isolation: "process", threads: 2 });
    const [first, second] = [await one.run(batchOf(4, 40)), await two.run(batchOf(4, 40))];
    for (const [index, value] of first.data.entries()) expect(second.data[index]).toBeCloseTo(value, 4);
  });

  test("more than the process's pool has are an error, and fewer are not", async () => {
    // The pool is this process's for good, so no other test of this file may make it.
    await loadSession({ isolation: "thread", threads: 2 });
    await loadSession({ isolation: "thread", threads: 1 });
    const error = await rejection(
      load(mnn({ isolation: "thread", sessions: 1, threads: 3 }), fixtureFolder("bert-logit")),
    );
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(/pool has 2 threads.*Ask for no more `threads`/);
    // A process of its own has a pool of its own.
    await loadSession({ isolation: "process", threads: 3 });
  });
});

describeNative("the child process", () => {
  test("when it dies, its runs fail with the cause, and the next one starts another", async () => {
    const spy = vi.spyOn(ChildProcess.prototype, "unref");
    const session = await loadSession({ isolation: "process" });
    const child = spy.mock.contexts.at(-1) as ChildProcess;
    vi.restoreAllMocks();
    const alone = [...(await session.run(batchOf(2, 8))).data];
    const running = rejection(session.run(batchOf(1500, 64)));
    child.kill("SIGKILL");
    expect(await running).toBeInstanceOf(BackendRunError);
    expect((await running).message).toMatch(/MNN's process was ended by SIGKILL/);
    expect([...(await session.run(batchOf(2, 8))).data]).toEqual(alone);
  });

  test("an abort rejects with its reason at once, and the session lives on", async () => {
    const session = await loadSession({ isolation: "process" });
    const controller = new AbortController();
    const running = rejection(session.run(batchOf(1500, 64), { signal: controller.signal }));
    controller.abort(reason);
    expect(await running).toBe(reason);
    expect((await session.run(batchOf(2, 8))).shape).toEqual([2, 1]);
  });
});

describeNative("memory", () => {
  test("does not grow with runs, loads and refused loads", () => {
    expectNoGrowth(script("measure-leaks.mjs"), join(fixtureFolder("bert-logit"), "mnn/model.mnn"));
  });
});

describeNative("a program", () => {
  const program = (ending: string, isolation: string): string => `
    import { createRequire } from "node:module";
    import { mnn } from ${JSON.stringify(new URL("../dist/index.js", import.meta.url).href)};
    import { openFixtureFolder } from ${JSON.stringify(new URL("../../conformance/dist/index.js", import.meta.url).href)};
    const { files } = openFixtureFolder(${JSON.stringify(fixtureFolder("bert-logit"))});
    const session = await mnn({ isolation: "${isolation}", sessions: 2, threads: 1 }).load({
      files, profile: { head: { kind: "logit" } }, output: { kinds: ["class-logits"] },
    });
    const batch = (rows, columns) => ({
      rows, columns, inputIds: new Int32Array(rows * columns).fill(9),
      attentionMask: new Int32Array(rows * columns).fill(1), segmentIds: new Int32Array(rows * columns),
      lengths: new Int32Array(rows).fill(columns),
    });
    await session.run(batch(1, 8));
    console.log("scored");
    if ("${ending}" !== "idle") {
      for (let run = 0; run < 4; run += 1) session.run(batch(1500, 60)).catch(() => undefined);
      setTimeout(() => {
        if ("${ending}" === "exit") process.exit(7);
        throw new Error("a mistake of the program");
      }, 30);
    }
  `;

  test.each([
    ["idle", "thread", 0],
    ["idle", "process", 0],
    ["exit", "thread", 7],
    ["exit", "process", 7],
    ["throw", "thread", 1],
  ])("that ends by %s, isolation %s, ends so", async (ending, isolation, code) => {
    const child = spawn(process.execPath, ["--input-type=module", "-e", program(ending, isolation)], {
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    child.stdout.on("data", (text) => {
      output += text;
    });
    const timer = setTimeout(() => child.kill("SIGKILL"), 60_000);
    const [status, signal] = await once(child, "close");
    clearTimeout(timer);
    expect(output).toBe("scored\n");
    expect({ status, signal }).toEqual({ status: code, signal: null });
  });
});
