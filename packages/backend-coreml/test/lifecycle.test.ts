import { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, cpSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import { BackendRunError, createReranker, DisposedError } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import { coreml } from "../src/coreml.js";
import {
  batchOf,
  load,
  modelFolder,
  type RoundedGolden,
  readFixture,
  reference,
  rejection,
  temporaryFolder,
  usual,
} from "./reference-fixtures.js";

const folder = modelFolder("xlm-roberta-logit", { [usual]: "xlm-roberta-logit_seed-port" });
const goldens = (readFixture("rounded-weights.json") as Record<string, readonly RoundedGolden[]>)[
  "xlm-roberta-logit"
] as readonly RoundedGolden[];
const shape = { rows: 20, columns: 64, padding: 1 };

describe("a reference whose process died", () => {
  const scores = async (session: Awaited<ReturnType<typeof load>>): Promise<number[]> =>
    [...(await session.run(batchOf(goldens, shape))).data].slice(0, goldens.length);

  /** Does the work, and gives the process that was started meanwhile. */
  async function started<T>(work: () => Promise<T>): Promise<{ done: T; child: ChildProcess }> {
    const spy = vi.spyOn(ChildProcess.prototype, "unref");
    try {
      const done = await work();
      return { done, child: spy.mock.contexts.at(-1) as ChildProcess };
    } finally {
      spy.mockRestore();
    }
  }

  async function kill(child: ChildProcess): Promise<void> {
    const closed = once(child, "close");
    child.kill("SIGKILL");
    await closed;
  }

  test("is started anew by the next call, whether it died between calls or in one", async () => {
    const backend = coreml({
      reference: { backend: onnx({ workers: 1, threads: 1, isolation: "process" }) },
    });
    let { done: session, child } = await started(() => load(backend, folder));
    onTestFinished(() => session.dispose());
    const expected = await scores(session);
    for (let death = 0; death < 2; death += 1) {
      await kill(child);
      const next = await started(() => scores(session));
      expect(next.done).toEqual(expected);
      expect(next.child).not.toBe(child);
      child = next.child;
    }
    const dying = rejection(scores(session));
    child.kill("SIGKILL");
    expect(await dying).toBeInstanceOf(BackendRunError);
    expect(await scores(session)).toEqual(expected);
  });

  test("of several processes each is started anew", async () => {
    const backend = coreml({
      reference: { backend: onnx({ workers: 2, threads: 1, isolation: "process" }) },
    });
    const spy = vi.spyOn(ChildProcess.prototype, "unref");
    const session = await load(backend, folder);
    const children = [...new Set(spy.mock.contexts as ChildProcess[])];
    spy.mockRestore();
    onTestFinished(() => session.dispose());
    const expected = await scores(session);
    await Promise.all(children.map(kill));
    const found = await Promise.all([1, 2, 3, 4].map(() => scores(session)));
    expect(found).toEqual([expected, expected, expected, expected]);
  });

  test("is not started from a package that was exchanged meanwhile", async () => {
    const copy = join(temporaryFolder(), "copy");
    cpSync(folder, copy, { recursive: true });
    const backend = coreml({
      reference: { backend: onnx({ workers: 1, threads: 1, isolation: "process" }) },
    });
    const { done: session, child } = await started(() => load(backend, copy));
    onTestFinished(() => session.dispose());
    appendFileSync(join(copy, usual, "Data/com.apple.CoreML/weights/weight.bin"), "x");
    await kill(child);
    expect((await rejection(scores(session))).message).toMatch(/weight.bin has changed since it was loaded/);
  });
});

describe("the translated file", () => {
  const before = process.env["TMPDIR"];
  let scratch = "";
  // The test runner has things of its own there.
  const translated = (): readonly string[] =>
    readdirSync(scratch).filter((name) => name.startsWith("crossrank-coreml-"));
  beforeEach(() => {
    scratch = temporaryFolder();
    process.env["TMPDIR"] = scratch;
  });
  afterEach(() => {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
  });

  test("is gone once it is loaded, and the session lives on", async () => {
    let size = 0;
    const inner = onnx({ workers: 2, threads: 1 });
    const backend = coreml({
      reference: {
        backend: {
          ...inner,
          load: async (request) => {
            size = (await request.files.list()).reduce((sum, file) => sum + file.size, 0);
            expect(translated().length).toBe(1);
            return inner.load(request);
          },
        },
      },
    });
    const session = await load(backend, folder);
    expect(size).toBeGreaterThan(130_000);
    expect(translated()).toEqual([]);
    await Promise.all([1, 2, 3].map(() => session.run(batchOf(goldens, shape))));
    await Promise.all([session.dispose(), session.dispose()]);
    expect(translated()).toEqual([]);
    expect(DisposedError.isInstance(await rejection(session.run(batchOf(goldens, shape))))).toBe(true);
  });

  test("goes when loading fails, or is aborted", async () => {
    const backend = coreml({ reference: { backend: onnx({ file: "another.onnx" }) } });
    await rejection(load(backend, folder));
    expect(translated()).toEqual([]);

    const reason = new Error("enough");
    const early = load(reference(), folder, { signal: AbortSignal.abort(reason) });
    expect(await rejection(early)).toBe(reason);
    const controller = new AbortController();
    const inner = onnx({ workers: 1, threads: 1 });
    // Aborts once the translated file is there, as the backend that runs it begins to load.
    const late = coreml({
      reference: {
        backend: {
          ...inner,
          load: (request) => {
            expect(translated().length).toBe(1);
            controller.abort(reason);
            return inner.load(request);
          },
        },
      },
    });
    expect(await rejection(load(late, folder, { signal: controller.signal }))).toBe(reason);
    expect(translated()).toEqual([]);
  });
});

describe("batches", () => {
  test("more pairs than rows are several batches, and each score is its pair's own", async () => {
    const reranker = await createReranker({ model: await openModel(folder), backend: reference() });
    onTestFinished(() => reranker.dispose());
    const query = "how long do beans simmer";
    const pairs = Array.from({ length: 45 }, (_, index) => ({
      query,
      document: `${"Soaked beans ".repeat(1 + (index % 4))} ${index}`,
    }));
    const together = await reranker.score(pairs);
    // 45 rows of one length or two are at least three batches of 20.
    expect(together.usage.batches).toBeGreaterThanOrEqual(3);
    expect(together.usage.sequences).toBe(45);
    expect(together.backend.name).toBe("coreml:reference");
    expect(together.model.artifact.format).toBe("mlpackage");
    const backwards = await reranker.score([...pairs].reverse());
    for (const [index, pair] of pairs.entries()) {
      const [alone] = (await reranker.score([pair])).scores;
      const logit = alone?.logit ?? Number.NaN;
      expect(together.scores[index]?.logit).toBeCloseTo(logit, 5);
      expect(backwards.scores[44 - index]?.logit).toBeCloseTo(logit, 5);
    }
  });

  test("a row's number does not depend on the others, bit by bit", async () => {
    const session = await load(reference("half"), folder);
    onTestFinished(() => session.dispose());
    const [first] = goldens as readonly [RoundedGolden];
    const crowded = await session.run(batchOf(goldens, shape));
    const alone = await session.run(batchOf([first], shape));
    expect(alone.data[0]).toBe(crowded.data[0]);
  });

  test("of another shape are refused, and so are ids that the table does not have", async () => {
    const session = await load(reference(), folder);
    onTestFinished(() => session.dispose());
    const wrong = [
      batchOf(goldens.slice(0, 3), { ...shape, rows: 3 }),
      batchOf(goldens, { ...shape, columns: 100 }),
      { ...batchOf(goldens, shape), attentionMask: new Int32Array(3) },
      batchOf([{ ids: [0, 1400, 2], segmentIds: [] }], shape),
    ];
    for (const batch of wrong) {
      const error = await rejection(session.run(batch));
      expect(BackendRunError.isInstance(error), error.message).toBe(true);
    }
    expect((await session.run(batchOf(goldens, shape))).shape).toEqual([20, 1]);
  });

  test("as many may be under way as the reference's own backend takes", async () => {
    const session = await load(coreml({ reference: { backend: onnx({ workers: 2, threads: 1 }) } }), folder);
    onTestFinished(() => session.dispose());
    expect(session.capabilities.concurrentRuns).toBe(4);
    const outputs = await Promise.all(Array.from({ length: 8 }, () => session.run(batchOf(goldens, shape))));
    for (const { data } of outputs) expect([...data]).toEqual([...(outputs[0]?.data ?? [])]);
  });
});
