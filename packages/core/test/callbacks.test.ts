import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Goldens, verify } from "../src/entries/verify.js";
import {
  type Backend,
  BackendRunError,
  createFallbackReranker,
  createReranker,
  DisposedError,
  loadModel,
  type Reranker,
} from "../src/index.js";
import { documents, fixture, gate, query, rejection } from "./fallback-scene.js";
import { toyBackend } from "./toy-backend.js";

const unhandled: unknown[] = [];
const warnings: Error[] = [];
const noteRejection = (error: unknown): void => void unhandled.push(error);
const noteWarning = (warning: Error): void => void warnings.push(warning);

beforeAll(() => {
  process.on("unhandledRejection", noteRejection);
  process.on("warning", noteWarning);
});

afterAll(async () => {
  // Node reports both a turn later.
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.off("unhandledRejection", noteRejection);
  process.off("warning", noteWarning);
  expect(unhandled).toEqual([]);
  expect(warnings).toEqual([]);
});

const model = fixture("bert-logit");
const options = { query, documents };
const pairs = documents.map((document) => ({ query, document }));
const later = (milliseconds: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, milliseconds));

function thenable(then: (resolve: () => void, reject: (reason: unknown) => void) => void): object {
  // biome-ignore lint/suspicious/noThenProperty: a promise of another make is what is tried
  return Object.defineProperty({}, "then", { value: then });
}

/** Every way in which a callback fails. `error` is what the call must fail with. */
const failures: readonly [string, (error: unknown) => unknown][] = [
  [
    "throws",
    (error) => {
      throw error;
    },
  ],
  ["rejects at once", async (error) => Promise.reject(error)],
  [
    "rejects later",
    async (error) => {
      await later(15);
      throw error;
    },
  ],
  [
    "answers a foreign promise that rejects",
    (error) => thenable((_, reject) => setTimeout(() => reject(error), 1)),
  ],
  [
    "answers a foreign promise whose then throws",
    (error) =>
      thenable(() => {
        throw error;
      }),
  ],
];

type Callback = (event?: unknown) => void;

/** A backend that tells of progress while it loads, and takes no notice of what that does. */
function talking(end: () => Promise<void> = async () => undefined): Backend & ReturnType<typeof toyBackend> {
  const inner = toyBackend();
  return {
    ...inner,
    load: async (request) => {
      for (let loaded = 1; loaded <= 3; loaded += 1) {
        request.onProgress?.({ path: "toy.onnx", loaded, total: 3 });
        await later(1);
      }
      await end();
      return inner.load(request);
    },
  };
}

const goldens: Goldens = {
  specificationVersion: "1",
  reference: { name: "none", dtype: "float32" },
  cases: [{ name: "one", query, document: "a", expected: { "document-only": { logit: 0 } } }],
};

const methods: readonly [string, (callback: Callback) => Promise<unknown>][] = [
  ["rerank", async (onProgress) => (await open()).rerank({ ...options, onProgress })],
  ["score", async (onProgress) => (await open()).score(pairs, { onProgress })],
  [
    "rerank with a time budget",
    async (onProgress) =>
      (await open()).rerank({
        ...options,
        onProgress,
        timeBudget: { milliseconds: 60_000, whenExceeded: "partial" },
      }),
  ],
  [
    "rerank with a signal",
    async (onProgress) =>
      (await open()).rerank({
        ...options,
        onProgress,
        signal: new AbortController().signal,
        whenAborted: "partial",
      }),
  ],
  [
    "rerank of a list",
    async (onProgress) => {
      const reranker = await createReranker({
        model: fixture("qwen3-listwise"),
        backend: toyBackend(),
        probe: false,
      });
      return reranker.rerank({ ...options, onProgress });
    },
  ],
  [
    "embed",
    async (onProgress) => {
      const embedder = await createReranker({
        model: fixture("bert-cosine-cls"),
        backend: toyBackend(),
        probe: false,
      });
      return embedder.embed(documents, { as: "document", onProgress });
    },
  ],
  ["createReranker", (onProgress) => createReranker({ model, backend: talking(), onProgress })],
  ["loadModel", (onProgress) => loadModel({ model, backend: talking(), onProgress })],
  ["verify, while it loads", (onProgress) => verify({ model, backend: talking(), goldens, onProgress })],
  ["verify, while it scores", (onScored) => verify({ model, backend: talking(), goldens, onScored })],
  [
    "a chain's rerank",
    (onProgress) =>
      createFallbackReranker({
        variants: [
          { name: "first", model, backend: toyBackend(), probe: false },
          { name: "second", model, backend: toyBackend(), probe: false },
        ],
      }).rerank({ ...options, onProgress }),
  ],
  [
    "a chain's rerank, in the progress of its variant's load",
    (onProgress) =>
      createFallbackReranker({
        variants: [
          { name: "first", model, backend: talking(), onProgress, probe: false },
          { name: "second", model, backend: toyBackend(), probe: false },
        ],
      }).rerank(options),
  ],
  [
    "a chain's load, in the progress of its variant's load",
    (onProgress) =>
      createFallbackReranker({
        variants: [{ name: "first", model, backend: talking(), onProgress, probe: false }],
      }).load(),
  ],
  [
    "a chain's load, in onFallback",
    (onFallback) =>
      createFallbackReranker({
        variants: [
          { name: "first", model, backend: broken, probe: false },
          { name: "second", model, backend: toyBackend(), probe: false },
        ],
        onFallback,
      }).load(),
  ],
  [
    "a chain's score, in onFallback",
    (onFallback) =>
      createFallbackReranker({
        variants: [
          {
            name: "first",
            model,
            backend: toyBackend({
              run: () => {
                throw new BackendRunError({ backend: "toy", problem: "the device was lost" });
              },
            }),
            probe: false,
          },
          { name: "second", model, backend: toyBackend(), probe: false },
        ],
        onFallback,
      }).score(pairs),
  ],
];

const broken: Backend = { ...toyBackend(), load: () => Promise.reject(new Error("no memory")) };

function open(): Promise<Reranker> {
  return createReranker({ model, backend: toyBackend(), probe: false });
}

describe.each(methods)("%s", (_, method) => {
  it.each(failures)("fails with what its callback fails with: it %s", async (_, fail) => {
    for (const error of [new Error("mine"), new DisposedError(), undefined, "text"]) {
      const outcome = await method((() => fail(error)) as Callback).then(
        () => ({ resolved: true }),
        (reason: unknown) => ({ reason }),
      );
      expect(outcome).toEqual({ reason: error });
      if (error instanceof Error) expect((outcome as { reason: unknown }).reason).toBe(error);
    }
  });

  it("waits for a promise of its callback before it answers", async () => {
    let ended = 0;
    let begun = 0;
    await method(async () => {
      begun += 1;
      await later(10);
      ended += 1;
    });
    expect(begun).toBeGreaterThan(0);
    expect(ended).toBe(begun);
  });
});

describe("a callback that fails", () => {
  it("leaves the reranker as it was", async () => {
    const reranker = await open();
    for (const [, fail] of failures) {
      await rejection(reranker.rerank({ ...options, onProgress: () => fail(new Error("mine")) as never }));
    }
    expect((await reranker.rerank(options)).status).toBe("reranked");
    await reranker.dispose();
  });

  it("stops a load, and frees what was loaded", async () => {
    const backend = talking();
    for (const [, fail] of failures) {
      await rejection(createReranker({ model, backend, onProgress: () => fail(new Error("mine")) as never }));
    }
    expect(backend.counts.open).toBe(0);
  });

  it("is no reason for a chain to step down, and the next call loads again", async () => {
    let fails = true;
    const onProgress = (): void => {
      if (fails) throw new Error("mine");
    };
    const chain = createFallbackReranker({
      variants: [
        { name: "first", model, backend: talking(), onProgress, probe: false },
        { name: "second", model, backend: toyBackend(), probe: false },
      ],
    });
    expect((await rejection(chain.load())).message).toBe("mine");
    fails = false;
    expect(await chain.load()).toBe("first");
    expect(chain.fallbacks).toEqual([]);
    await chain.dispose();
  });

  it("after the answer is dropped", async () => {
    const held = gate();
    const backend = toyBackend({
      capabilities: { batchSize: { max: 1 } },
      run: async (_, sound) => {
        if (backend.counts.runs > 2) await held.opened;
        return sound;
      },
    });
    const reranker = await createReranker({ model, backend, probe: false });
    const result = await reranker.rerank({
      ...options,
      timeBudget: { milliseconds: 60, whenExceeded: "partial" },
      onProgress: async () => {
        await later(120);
        throw new Error("mine");
      },
    });
    expect(result.status).toBe("partial");
    held.open();
    await later(150);
    await reranker.dispose();
  });

  it("that never ends holds neither a time budget, an abort nor a dispose", async () => {
    const reranker = await open();
    const onProgress = (): Promise<void> => new Promise(() => undefined);
    const budget = { milliseconds: 300, whenExceeded: "throw" } as const;
    const { status, results } = await reranker.rerank({ ...options, onProgress, timeBudget: budget });
    expect([status, results.every(({ logit }) => logit !== null)]).toEqual(["reranked", true]);
    const controller = new AbortController();
    const call = reranker.rerank({ ...options, onProgress, signal: controller.signal });
    setTimeout(() => controller.abort(new Error("enough")), 300);
    expect((await call).status).toBe("reranked");
    const hanging = reranker.rerank({ ...options, onProgress });
    hanging.catch(() => undefined);
    await later(50);
    await reranker.dispose();
  });
});

describe("a signal", () => {
  it("that 100 calls share at once gives no warning, and keeps no listener", async () => {
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, "addEventListener");
    const removed = vi.spyOn(signal, "removeEventListener");
    const backend = toyBackend({
      capabilities: { concurrentRuns: 16 },
      run: async (_, sound) => {
        await later(2);
        return sound;
      },
    });
    // What a runtime does with the signal of a run: it listens, and may forget to stop.
    const listening: Backend = {
      ...backend,
      load: async (request) => {
        const session = await backend.load(request);
        return {
          ...session,
          run: (batch, runOptions) => {
            runOptions?.signal?.addEventListener("abort", () => undefined);
            return session.run(batch);
          },
        };
      },
    };
    const reranker = await createReranker({ model, backend: listening, signal });
    const chain = createFallbackReranker({
      variants: [{ name: "toy", model, backend: listening, probe: false }],
    });
    await Promise.all(
      Array.from({ length: 100 }, (_, index) =>
        (index % 2 === 0 ? reranker : chain).rerank({
          ...options,
          signal,
          ...(index % 3 === 0
            ? { timeBudget: { milliseconds: 60_000, whenExceeded: "throw" } as const }
            : {}),
        }),
      ),
    );
    await later(20);
    expect(warnings).toEqual([]);
    expect(added.mock.calls.length).toBeLessThan(20);
    expect(removed.mock.calls.length).toBe(added.mock.calls.length);
    await Promise.all([reranker.dispose(), chain.dispose()]);
  });

  it("that aborts ends every call that waits for it, with its reason", async () => {
    const controller = new AbortController();
    const held = gate();
    const backend = toyBackend({
      run: async (_, sound) => {
        await held.opened;
        return sound;
      },
    });
    const reranker = await createReranker({ model, backend, probe: false });
    const calls = Array.from({ length: 30 }, () =>
      rejection(reranker.rerank({ ...options, signal: controller.signal })),
    );
    const reason = new Error("enough");
    await later(20);
    controller.abort(reason);
    held.open();
    for (const error of await Promise.all(calls)) expect(error).toBe(reason);
    expect(await rejection(reranker.rerank({ ...options, signal: controller.signal }))).toBe(reason);
    await reranker.dispose();
  });
});

describe("dispose", () => {
  const never = (): Promise<never> => new Promise(() => undefined);

  it("twice, at once and later, frees the model once", async () => {
    const backend = toyBackend();
    const reranker = await createReranker({ model, backend });
    await Promise.all([reranker.dispose(), reranker.dispose()]);
    await reranker.dispose();
    expect(backend.counts).toMatchObject({ loads: 1, open: 0 });
  });

  it("after a call that failed", async () => {
    const backend = toyBackend({
      run: () => {
        throw new BackendRunError({ backend: "toy", problem: "the device was lost" });
      },
    });
    const reranker = await createReranker({ model, backend, probe: false });
    await rejection(reranker.rerank(options));
    await reranker.dispose();
    expect(backend.counts.open).toBe(0);
  });

  it("fails with what the session fails with, each time", async () => {
    const reason = new Error("the device was lost");
    const backend = toyBackend({ session: { dispose: () => Promise.reject(reason) } });
    const reranker = await createReranker({ model, backend, probe: false });
    expect(await rejection(reranker.dispose())).toBe(reason);
    expect(await rejection(reranker.dispose())).toBe(reason);
    const chain = createFallbackReranker({ variants: [{ name: "toy", model, backend, probe: false }] });
    await chain.load();
    await chain.dispose();
    await chain.dispose();
  });

  it.each(["createReranker", "verify"])(
    "of a load that failed leaves the failure as it is: %s",
    async (method) => {
      const backend = toyBackend({
        capabilities: { concurrentRuns: 0 },
        session: { dispose: () => Promise.reject(new Error("the device was lost")) },
      });
      const error = await rejection(
        method === "verify" ? verify({ model, backend, goldens }) : createReranker({ model, backend }),
      );
      expect(error.message).toContain("concurrentRuns");
    },
  );

  describe("with a clock of its own", () => {
    const passing = async (begin: () => Promise<unknown>, minutes: number): Promise<unknown> => {
      vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
      try {
        const outcome = begin().then(
          () => "resolved",
          (error: unknown) => error,
        );
        for (let second = 0; second < minutes * 60; second += 1) await vi.advanceTimersByTimeAsync(1000);
        return await outcome;
      } finally {
        vi.useRealTimers();
      }
    };

    it("ends although a batch never does, and lets the session end it", async () => {
      const backend = toyBackend({ run: never });
      const reranker = await createReranker({ model, backend, probe: false });
      reranker.rerank(options).catch(() => undefined);
      await later(30);
      expect(await passing(() => reranker.dispose(), 1)).toBe("resolved");
      expect(backend.counts.open).toBe(0);
    });

    it("ends although the session never does, with an error that says so", async () => {
      const reranker = await createReranker({
        model,
        backend: toyBackend({ session: { dispose: never } }),
        probe: false,
      });
      const error = await passing(() => reranker.dispose(), 2);
      expect(BackendRunError.isInstance(error)).toBe(true);
    });

    it("ends although a variant's load never does", async () => {
      const chain = createFallbackReranker({
        variants: [{ name: "toy", model, backend: talking(never), probe: false }],
      });
      const call = rejection(chain.load());
      await later(30);
      expect(await passing(() => chain.dispose(), 2)).toBe("resolved");
      expect(DisposedError.isInstance(await call)).toBe(true);
    });
  });
});
