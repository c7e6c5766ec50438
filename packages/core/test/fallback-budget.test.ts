import { getEventListeners } from "node:events";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import {
  BackendRunError,
  createFallbackReranker,
  createReranker,
  DisposedError,
  type FallbackReranker,
  type ModelFiles,
  NonFiniteScoreError,
  type Reranker,
  TimeBudgetExceededError,
} from "../src/index.js";
import {
  documents,
  fixture,
  type Gate,
  gate,
  poison,
  probeBatches,
  query,
  rejection,
  type Watched,
  watched,
} from "./fallback-scene.js";

/** Long enough for a few tiny batches on a busy machine. */
const enough = 1500;
/** Documents scored before a batch hangs. */
const scored = 5;
const inOrder = documents.map((_, index) => index);

interface Held {
  readonly reranker: Reranker;
  readonly runtime: Watched;
  readonly held: Gate;
}

/** A model whose runtime hangs in the batch after {@link scored}, until the gate opens. */
async function heldReranker(poisoned = false): Promise<Held> {
  const held = gate();
  const runtime = watched("held", { holdFrom: probeBatches + scored, gate: held, poisoned });
  const reranker = await createReranker({ model: fixture("bert-logit"), backend: runtime.backend });
  onTestFinished(async () => {
    held.open();
    await reranker.dispose();
  });
  return { reranker, runtime, held };
}

describe("a time budget that runs out in a batch that cannot be interrupted", () => {
  it("partial: what was scored comes first, in its order, and nothing changes afterwards", async () => {
    const { reranker, held, runtime } = await heldReranker();
    const progress: number[] = [];
    const result = await reranker.rerank({
      query,
      documents,
      timeBudget: { milliseconds: enough, whenExceeded: "partial" },
      onProgress: ({ completed }) => progress.push(completed),
    });
    expect(result.status).toBe("partial");
    const [first, rest] = [result.results.slice(0, scored), result.results.slice(scored)];
    const logits = first.map(({ logit }) => logit as number);
    expect(logits).toEqual(logits.toSorted((a, b) => b - a));
    expect(rest.map(({ index }) => index)).toEqual(rest.map(({ index }) => index).toSorted((a, b) => a - b));
    expect(rest.every((one) => one.logit === null && one.score === null && one.notScored)).toBe(true);
    expect(result.warnings).toMatchObject([
      { code: "time-budget-exceeded", milliseconds: enough, scored, count: documents.length },
    ]);
    expect(result.usage).toMatchObject({ sequences: scored, batches: scored });
    expect(result.usage.milliseconds.total).toBeGreaterThan(enough / 2);
    expect(result.usage.milliseconds.run).toBeGreaterThan(0);
    expect(result.model.id).toBe("bert-logit");
    // The batch ends in the background; its result is dropped, and nothing more is run.
    const before = JSON.stringify(result);
    held.open();
    const { results } = await reranker.rerank({ query, documents });
    expect(JSON.stringify(result)).toBe(before);
    expect(progress).toEqual([1, 2, 3, 4, 5]);
    expect(runtime.batches()).toBe(probeBatches + scored + 1 + documents.length);
    for (const { index, logit } of first)
      expect(results.find((one) => one.index === index)?.logit).toBe(logit);
  });

  it("passthrough: the caller's order, all without scores, also those that were scored", async () => {
    const { reranker } = await heldReranker();
    const result = await reranker.rerank({
      query,
      documents,
      topN: 12,
      timeBudget: { milliseconds: enough, whenExceeded: "passthrough" },
    });
    expect(result.status).toBe("passthrough");
    expect(result.results.map(({ index }) => index)).toEqual(inOrder.slice(0, 12));
    expect(
      result.results.every(({ logit, score, notScored }) => logit === null && score === null && notScored),
    ).toBe(true);
    expect(result.warnings).toMatchObject([{ code: "time-budget-exceeded", scored: 0 }]);
    expect(result.usage.sequences).toBe(scored);
  });

  it("throw: rejects with the budget", async () => {
    const { reranker } = await heldReranker();
    const timeBudget = { milliseconds: 30, whenExceeded: "throw" } as const;
    const pairs = documents.map((document) => ({ query, document }));
    const error = await rejection(reranker.score(pairs, { timeBudget }));
    expect(TimeBudgetExceededError.isInstance(error) && error.milliseconds).toBe(30);
  });

  it("dispose waits for that batch", async () => {
    const { reranker, runtime, held } = await heldReranker();
    const timeBudget = { milliseconds: enough, whenExceeded: "passthrough" } as const;
    await reranker.rerank({ query, documents, timeBudget });
    const disposing = reranker.dispose();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(runtime.events).toEqual(["held: load", "held: loaded"]);
    held.open();
    await disposing;
    expect(runtime.events.at(-1)).toBe("held: disposed");
  });

  it("dispose before it runs out rejects the call, as without a budget", async () => {
    const { reranker, runtime, held } = await heldReranker();
    const timeBudget = { milliseconds: 60_000, whenExceeded: "passthrough" } as const;
    const call = rejection(reranker.rerank({ query, documents, timeBudget }));
    await runtime.atGate;
    const disposing = reranker.dispose();
    held.open();
    expect(DisposedError.isInstance(await call)).toBe(true);
    await disposing;
  });

  it("a call that waits for the runtime behind another answers in time as well", async () => {
    const { reranker, runtime, held } = await heldReranker();
    const endless = reranker.rerank({ query, documents });
    await runtime.atGate;
    const timeBudget = { milliseconds: 20, whenExceeded: "partial" } as const;
    const result = await reranker.rerank({ query, documents, timeBudget });
    expect(result).toMatchObject({ status: "partial", usage: { sequences: 0 } });
    held.open();
    expect((await endless).status).toBe("reranked");
  });

  it("the caller's abort that came first decides what is answered", async () => {
    const { reranker, runtime } = await heldReranker();
    const controller = new AbortController();
    const options = {
      query,
      documents,
      signal: controller.signal,
      timeBudget: { milliseconds: enough, whenExceeded: "passthrough" },
    } as const;
    const reason = new Error("enough");
    const throwing = rejection(reranker.rerank(options));
    const partial = reranker.rerank({ ...options, whenAborted: "partial" });
    await runtime.atGate;
    controller.abort(reason);
    expect(await throwing).toBe(reason);
    const { status, warnings } = await partial;
    expect([status, warnings]).toEqual(["partial", []]);
    expect(getEventListeners(controller.signal, "abort")).toEqual([]);
  });
});

it("a signal that was aborted before rejects at once, and nothing is run", async () => {
  const runtime = watched("idle");
  await using reranker = await createReranker({ model: fixture("bert-logit"), backend: runtime.backend });
  const reason = new Error("enough");
  const timeBudget = { milliseconds: 60_000, whenExceeded: "partial" } as const;
  const call = reranker.rerank({ query, documents, signal: AbortSignal.abort(reason), timeBudget });
  expect(await rejection(call)).toBe(reason);
  expect(runtime.batches()).toBe(probeBatches);
});

it("scores that hold NaN are not handed out as a part", async () => {
  const held = gate();
  // Three lanes: the first batch is the longest document, which holds the word, and the two others hang.
  const faults = { holdFrom: probeBatches + 1, gate: held, poisoned: true, concurrentRuns: 3 };
  const { backend } = watched("held", faults);
  await using reranker = await createReranker({ model: fixture("bert-logit"), backend });
  const timeBudget = { milliseconds: enough, whenExceeded: "partial" } as const;
  const call = reranker.rerank({ query, documents: [...documents, `${poison} `.repeat(30)], timeBudget });
  call.then(held.open, held.open);
  expect(NonFiniteScoreError.isInstance(await rejection(call))).toBe(true);
});

it("within the budget nothing is different, and no timer or listener is left", async () => {
  const timers = (): number => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;
  const { backend } = watched("quick");
  await using reranker = await createReranker({ model: fixture("bert-logit"), backend });
  const { signal } = new AbortController();
  const timeBudget = { milliseconds: 600_000, whenExceeded: "throw" } as const;
  const within = await reranker.rerank({ query, documents, signal, timeBudget });
  expect(within.status).toBe("reranked");
  expect(within.results).toEqual((await reranker.rerank({ query, documents })).results);
  const before = timers();
  for (let call = 0; call < 20; call += 1) {
    await reranker.rerank({ query, documents: documents.slice(0, 1), signal, timeBudget });
  }
  // The test runner has timers of its own, which come and go.
  expect(timers()).toBeLessThan(before + 10);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

describe("a chain of variants", () => {
  /** Cannot be opened before the gate. */
  function opening(): { open: () => void; model: () => Promise<ModelFiles> } {
    const { opened, open } = gate();
    return { open, model: async () => opened.then(() => fixture("bert-logit")) };
  }

  it.each(["partial", "passthrough"] as const)(
    "answers %s while the model is loading, and goes on loading for the calls after",
    async (whenExceeded) => {
      const { open, model } = opening();
      const { backend, events } = watched("slow");
      await using reranker = createFallbackReranker({ variants: [{ name: "slow", model, backend }] });
      const timeBudget = { milliseconds: 10, whenExceeded };
      const early = await reranker.rerank({ query, documents, topN: 4, timeBudget });
      expect(early).toMatchObject({ status: whenExceeded, variant: null, model: null, fallbacks: [] });
      expect(early.results.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
      expect(early.warnings).toMatchObject([
        { code: "time-budget-exceeded", milliseconds: 10, scored: 0, count: documents.length },
      ]);
      const throwing = reranker.rerank({
        query,
        documents,
        timeBudget: { ...timeBudget, whenExceeded: "throw" },
      });
      expect(TimeBudgetExceededError.isInstance(await rejection(throwing))).toBe(true);
      open();
      expect(await reranker.rerank({ query, documents })).toMatchObject({
        status: "reranked",
        variant: "slow",
      });
      expect(events).toEqual(["slow: load", "slow: loaded"]);
    },
  );

  it("keeps to the budget of the whole call when a variant fails half way", async () => {
    const { open, model } = opening();
    const first = watched("first", { poisoned: true });
    await using reranker = createFallbackReranker({
      variants: [
        { name: "first", model: fixture("bert-logit"), backend: first.backend },
        { name: "second", model, backend: watched("second").backend },
      ],
    });
    await reranker.load();
    const result = await reranker.rerank({
      query,
      documents: [...documents, poison],
      timeBudget: { milliseconds: enough, whenExceeded: "partial" },
    });
    // What the first had scored is not worth more for being there.
    expect(result).toMatchObject({ status: "partial", variant: null, usage: { sequences: 0 } });
    expect(result.results.every(({ logit }) => logit === null)).toBe(true);
    expect(result.warnings.map(({ code }) => code)).toEqual(["time-budget-exceeded", "variant-fallback"]);
    open();
    expect((await reranker.rerank({ query, documents })).variant).toBe("second");
  });

  it("a budget is no reason to step down", async () => {
    const held = gate();
    const runtime = watched("held", { holdFrom: probeBatches + scored, gate: held });
    await using reranker = createFallbackReranker({
      variants: [{ name: "held", model: fixture("bert-logit"), backend: runtime.backend }],
    });
    await reranker.load();
    const timeBudget = { milliseconds: enough, whenExceeded: "partial" } as const;
    const result = await reranker.rerank({ query, documents, timeBudget });
    expect(result).toMatchObject({ status: "partial", variant: "held", fallbacks: [] });
    expect(result.results.filter(({ logit }) => logit !== null)).toHaveLength(scored);
    held.open();
    // Also once the work has noticed, which the next call has waited for.
    const after = await reranker.rerank({ query, documents });
    expect(after).toMatchObject({ status: "reranked", variant: "held", fallbacks: [] });
  });
});

describe("a variant that fails after the budget has answered the call", () => {
  /** The batch that is under way then. */
  const underWay = probeBatches + 1;
  const poisoned = documents.slice(0, 3).map((document) => `${document} ${poison}`);
  const budget = (whenExceeded: "partial" | "passthrough" | "throw") => ({
    query,
    documents: poisoned,
    timeBudget: { milliseconds: enough, whenExceeded },
  });

  interface LateScene {
    readonly reranker: FallbackReranker;
    readonly runtime: Watched;
    readonly held: Gate;
    readonly events: string[];
    readonly unhandled: unknown[];
  }

  /** Its first variant hangs in its first batch, and fails when the gate opens. */
  async function lateScene(faults: Parameters<typeof watched>[1], thrown?: Error): Promise<LateScene> {
    const unhandled: unknown[] = [];
    const note = (reason: unknown): void => {
      unhandled.push(reason);
    };
    process.on("unhandledRejection", note);
    const held = gate();
    const runtime = watched("first", { holdFrom: probeBatches, gate: held, ...faults });
    const events: string[] = [];
    const reranker = createFallbackReranker({
      variants: [
        { name: "first", model: fixture("bert-logit"), backend: runtime.backend },
        { name: "second", model: fixture("roberta-logit"), backend: watched("second").backend },
      ],
      onFallback: ({ variant, during, reason, next }) => {
        events.push(`${variant} ${during} ${reason} ${next}`);
        if (thrown !== undefined) throw thrown;
      },
    });
    onTestFinished(async () => {
      held.open();
      await reranker.dispose();
      process.off("unhandledRejection", note);
    });
    await reranker.load();
    return { reranker, runtime, held, events, unhandled };
  }

  const soon = { timeout: 60_000 };
  /** Until a rejection that nobody handles would have been reported. */
  const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

  it.each([
    ["backend-run", "partial", { breaksAt: underWay }],
    ["backend-run", "passthrough", { breaksAt: underWay }],
    ["backend-run", "throw", { breaksAt: underWay }],
    ["non-finite-score", "passthrough", { poisoned: true }],
    // The first lane ends well and then hears the abort, which must not stand for both.
    ["backend-run", "passthrough", { breaksAt: underWay + 1, concurrentRuns: 2 }],
  ] as const)("falls out: %s, %s, %o", async (reason, whenExceeded, faults) => {
    const { reranker, held, events, unhandled } = await lateScene(faults);
    const call = reranker.rerank(budget(whenExceeded));
    if (whenExceeded === "throw")
      expect(TimeBudgetExceededError.isInstance(await rejection(call))).toBe(true);
    else expect(await call).toMatchObject({ status: whenExceeded, variant: "first", fallbacks: [] });
    expect([reranker.variant, reranker.fallbacks, events]).toEqual(["first", [], []]);
    held.open();
    await vi.waitFor(() => expect(reranker.fallbacks).toHaveLength(1), soon);
    expect(reranker.variant).toBeNull();
    const next = await reranker.rerank({ query, documents });
    expect(next).toMatchObject({
      status: "reranked",
      variant: "second",
      fallbacks: [{ variant: "first", during: "run", reason }],
    });
    expect(events).toEqual([`first run ${reason} second`]);
    expect(unhandled).toEqual([]);
  });

  it("falls out once, however many calls it had answered", async () => {
    const { reranker, runtime, held, events } = await lateScene({ poisoned: true, concurrentRuns: 3 });
    const calls = poisoned.map((document) =>
      reranker.rerank({ ...budget("passthrough"), documents: [document] }),
    );
    for (const { variant } of await Promise.all(calls)) expect(variant).toBe("first");
    held.open();
    await vi.waitFor(() => expect(runtime.events.at(-1)).toBe("first: disposed"), soon);
    expect(events).toEqual(["first run non-finite-score second"]);
    expect((await reranker.rerank({ query, documents: poisoned })).variant).toBe("second");
  });

  it("an error that onFallback throws is dropped, and the next variant is used", async () => {
    const { reranker, held, events, unhandled } = await lateScene({ breaksAt: underWay }, new Error("mine"));
    await reranker.rerank(budget("passthrough"));
    held.open();
    await vi.waitFor(() => expect(events).toEqual(["first run backend-run second"]), soon);
    await settled();
    expect(unhandled).toEqual([]);
    expect((await reranker.rerank({ query, documents })).variant).toBe("second");
  });

  it("the caller's own reason is no failure, whatever it is", async () => {
    const { reranker, runtime, held, events } = await lateScene({});
    const reason = new BackendRunError({ backend: "caller's", problem: "another request failed" });
    const controller = new AbortController();
    const call = rejection(reranker.rerank({ ...budget("passthrough"), signal: controller.signal }));
    await runtime.atGate;
    controller.abort(reason);
    // The budget ends the wait for the batch, and the abort came first.
    expect(await call).toBe(reason);
    held.open();
    expect((await reranker.rerank({ query, documents })).variant).toBe("first");
    expect(events).toEqual([]);
  });

  it("dispose waits for it, and nothing falls out any more", async () => {
    const { reranker, runtime, held, events, unhandled } = await lateScene({ breaksAt: underWay });
    await reranker.rerank(budget("passthrough"));
    const disposing = reranker.dispose();
    await settled();
    expect(runtime.events).toEqual(["first: load", "first: loaded"]);
    held.open();
    await disposing;
    expect(runtime.events.at(-1)).toBe("first: disposed");
    await settled();
    expect([reranker.fallbacks, events, unhandled]).toEqual([[], [], []]);
  });
});
