import { getEventListeners } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import {
  CrossrankError,
  createFallbackReranker,
  createReranker,
  DisposedError,
  type FallbackEvent,
  type FallbackOptions,
  type FallbackReranker,
  InvalidInputError,
  ModelFileNotFoundError,
  NonFiniteScoreError,
  ProbeFailedError,
  type RankedDocument,
  VariantsExhaustedError,
} from "../src/index.js";
import {
  documents,
  fixture,
  gate,
  headlessModel,
  poison,
  probeBatches,
  query,
  rejection,
  watched,
  withFiles,
} from "./fallback-scene.js";

function chain(options: FallbackOptions): FallbackReranker {
  const reranker = createFallbackReranker(options);
  onTestFinished(() => reranker.dispose());
  return reranker;
}

/** What a model gives by itself, best first. */
async function alone(name: string, texts = documents): Promise<readonly RankedDocument<string>[]> {
  await using reranker = await createReranker({ model: fixture(name), backend: watched(name).backend });
  return (await reranker.rerank({ query, documents: texts })).results;
}

const sound = "roberta-logit";
const modelWithoutWeights = withFiles(fixture("bert-logit"), { "model.safetensors": undefined });

describe("a variant that cannot be loaded", () => {
  it.each([
    ["a file is missing", "model-file-not-found", async () => modelWithoutWeights],
    [
      "the weights are cut",
      "model-load",
      async () => withFiles(fixture("bert-logit"), { "model.safetensors": "cut" }),
    ],
    [
      "its facts contradict",
      "model-profile",
      async () => withFiles(fixture("bert-logit"), { "config.json": "{" }),
    ],
    ["its probe fails", "probe-failed", headlessModel],
    ["it cannot be opened", "unexpected", async () => Promise.reject(new Error("connection refused"))],
    ["it is not even an error", "unexpected", async () => Promise.reject("no")],
    [
      "its folder is gone",
      "invalid-input",
      async () => Promise.reject(new InvalidInputError("source", "names a folder that does not exist")),
    ],
  ])("because %s, gives way to the next, on record", async (_, reason, model) => {
    const events: FallbackEvent[] = [];
    const broken = watched("broken");
    let others = 0;
    const reranker = chain({
      variants: [
        { name: "first", model, backend: broken.backend },
        { name: "second", model: fixture(sound), backend: async () => watched("second").backend },
        {
          name: "third",
          model: async () => {
            others += 1;
            return fixture(sound);
          },
          backend: watched("third").backend,
        },
      ],
      onFallback: (event) => events.push(event),
    });
    const result = await reranker.rerank({ query, documents, returnCacheKey: true });
    expect(result).toMatchObject({ status: "reranked", variant: "second", model: { id: sound } });
    expect(result.results).toEqual(await alone(sound));
    expect(result.fallbacks).toMatchObject([{ variant: "first", during: "load", reason }]);
    expect(result.fallbacks[0]?.error).toBeInstanceOf(Error);
    expect(result.warnings).toMatchObject([
      { code: "variant-fallback", variant: "second", failed: [{ variant: "first", reason }] },
    ]);
    expect(result.cacheKey).toBe(await reranker.cacheKey());
    expect(reranker.variant).toBe("second");
    // The second call says so too, and tries nothing again.
    expect((await reranker.score([{ query, document: "a" }])).fallbacks).toEqual(result.fallbacks);
    expect(events).toMatchObject([{ variant: "first", reason, next: "second" }]);
    expect(broken.events.filter((event) => event.endsWith(" load")).length).toBeLessThan(2);
    expect(broken.events.filter((event) => event.endsWith("loaded")).length).toBe(
      broken.events.filter((event) => event.endsWith("disposed")).length,
    );
    expect(others).toBe(0);
  });

  it("because its backend cannot be made, gives way as well", async () => {
    const wrong = new InvalidInputError("threads", "must be at most 8, not 9");
    const reranker = chain({
      variants: [
        { name: "rejects", model: fixture(sound), backend: async () => Promise.reject(wrong) },
        {
          name: "throws",
          model: fixture(sound),
          backend: () => {
            throw wrong;
          },
        },
      ],
      whenExhausted: "passthrough",
    });
    const result = await reranker.rerank({ query, documents });
    expect(result).toMatchObject({ status: "passthrough", variant: null });
    expect(result.fallbacks).toEqual(
      ["rejects", "throws"].map((variant) => ({
        variant,
        during: "load",
        reason: "invalid-input",
        error: wrong,
      })),
    );
  });

  it("is loaded by load() already, and by the first call otherwise", async () => {
    const { backend, events } = watched("only");
    const reranker = chain({ variants: [{ name: "only", model: fixture(sound), backend }] });
    expect([reranker.variant, await reranker.cacheKey(), events]).toEqual([null, null, []]);
    expect(await Promise.all([reranker.load(), reranker.load()])).toEqual(["only", "only"]);
    expect((await reranker.rerank({ query, documents: [] })).results).toEqual([]);
    expect(events).toEqual(["only: load", "only: loaded"]);
  });

  it("does not step down where the caller's options are wrong", async () => {
    const { backend, events } = watched("first");
    const reranker = chain({
      variants: [
        { name: "first", model: fixture(sound), backend, maxLength: 1 },
        { name: "second", model: fixture(sound), backend },
      ],
    });
    expect(await rejection(reranker.load())).toBeInstanceOf(InvalidInputError);
    expect(reranker.fallbacks).toEqual([]);
    expect(events.slice(-1)).toEqual(["first: disposed"]);
  });
});

describe("a variant that fails while it scores", () => {
  const poisoned = [...documents, `${poison} comes last`];
  // Long documents run first: these fail at once, and others are on their way.
  const failing = [...documents, `${poison} `.repeat(20)];

  it("leaves none of its scores behind, and is not used again", async () => {
    const events: string[] = [];
    const progress: number[] = [];
    const reranker = chain({
      variants: [
        {
          name: "nan",
          model: fixture("bert-logit"),
          backend: watched("nan", { events, poisoned: true }).backend,
        },
        { name: "sound", model: fixture(sound), backend: watched("sound", { events }).backend },
      ],
    });
    const before = await reranker.rerank({ returnCacheKey: true, query, documents });
    expect(before).toMatchObject({ variant: "nan", fallbacks: [], warnings: [] });

    const result = await reranker.rerank({
      query,
      documents: poisoned,
      onProgress: ({ completed }) => progress.push(completed),
    });
    expect(result).toMatchObject({ status: "reranked", variant: "sound" });
    expect(result.fallbacks).toMatchObject([{ variant: "nan", during: "run", reason: "non-finite-score" }]);
    expect(NonFiniteScoreError.isInstance(result.fallbacks[0]?.error)).toBe(true);
    // To the bit those of the second variant alone, although the first had scored some of them.
    expect(result.results).toEqual(await alone(sound, poisoned));
    expect(progress.filter((completed) => completed === 1).length).toBe(2);

    const after = await reranker.rerank({ query, documents, returnCacheKey: true });
    expect(after.variant).toBe("sound");
    expect(after.results).toEqual(await alone(sound));
    expect(after.cacheKey).not.toBe(before.cacheKey);
    // One model in memory at a time.
    expect(events).toEqual(["nan: load", "nan: loaded", "nan: disposed", "sound: load", "sound: loaded"]);
  });

  it("is gone from memory before the next is loaded", async () => {
    const disposeGate = gate();
    const first = watched("nan", { poisoned: true, disposeGate });
    const second = watched("sound");
    const reranker = chain({
      variants: [
        { name: "nan", model: fixture("bert-logit"), backend: first.backend },
        { name: "sound", model: fixture(sound), backend: second.backend },
      ],
    });
    onTestFinished(disposeGate.open);
    const call = reranker.rerank({ query, documents: failing });
    while (reranker.fallbacks.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(second.events).toEqual([]);
    disposeGate.open();
    expect((await call).variant).toBe("sound");
  });

  it("steps down once, however many calls notice, and each answers from one variant", async () => {
    const seen: string[] = [];
    const events: string[] = [];
    const reranker = chain({
      variants: [
        {
          name: "nan",
          model: fixture("bert-logit"),
          backend: watched("nan", { events, poisoned: true }).backend,
        },
        { name: "sound", model: fixture(sound), backend: watched("sound", { events }).backend },
      ],
      onFallback: ({ variant, next }) => seen.push(`${variant} to ${next}`),
    });
    await reranker.load();
    const calls = [poisoned, documents, failing.toReversed(), documents];
    const results = await Promise.all(calls.map((texts) => reranker.rerank({ query, documents: texts })));
    const whole: Record<string, (texts: readonly string[]) => Promise<unknown>> = {
      nan: (texts) => alone("bert-logit", [...texts]),
      sound: (texts) => alone(sound, [...texts]),
    };
    for (const [index, result] of results.entries()) {
      const texts = calls[index] as string[];
      expect(result.results).toEqual(await whole[result.variant ?? ""]?.(texts));
      if (texts.length > documents.length) expect(result.variant).toBe("sound");
    }
    // Those that had not failed themselves lost the model under them, and were made again.
    expect(results.map(({ variant }) => variant)).toEqual(["sound", "sound", "sound", "sound"]);
    expect(seen).toEqual(["nan to sound"]);
    expect(events.filter((event) => event === "sound: load")).toHaveLength(1);
  });

  it("does not step down for an abort, for input that is wrong, or for an error of the caller's own", async () => {
    const { backend, events } = watched("first");
    const second = watched("second");
    const reranker = chain({
      variants: [
        { name: "first", model: fixture(sound), backend },
        { name: "second", model: fixture(sound), backend: second.backend },
      ],
    });
    // Found before anything is loaded.
    for (const wrong of [
      { query: " ", documents },
      { query, documents: [1 as unknown as string] },
      { query, documents, topN: 0 },
      { query, documents, timeBudget: { milliseconds: 0, whenExceeded: "partial" } },
      { query, documents, timeBudget: { milliseconds: 2 ** 31, whenExceeded: "partial" } },
      { query, documents, timeBudget: { milliseconds: "5" as unknown as number, whenExceeded: "partial" } },
      { query, documents, timeBudget: { milliseconds: 5, whenExceeded: "reranked" as "partial" } },
    ] as const)
      expect(InvalidInputError.isInstance(await rejection(reranker.rerank(wrong)))).toBe(true);
    const reason = new Error("enough");
    const early = reranker.rerank({ query, documents, signal: AbortSignal.abort(reason) });
    expect(await rejection(early)).toBe(reason);
    expect(events).toEqual([]);
    // And while it runs.
    const controller = new AbortController();
    const onProgress = (): void => controller.abort(reason);
    const { signal } = controller;
    expect(await rejection(reranker.rerank({ query, documents, signal, onProgress }))).toBe(reason);
    const part = await reranker.rerank({ query, documents, signal, whenAborted: "partial" });
    expect(part).toMatchObject({ status: "partial", variant: null, model: null, warnings: [] });
    expect(part.results).toHaveLength(documents.length);
    expect(getEventListeners(signal, "abort")).toEqual([]);
    const own = new Error("mine");
    const throws = (): void => {
      throw own;
    };
    expect(await rejection(reranker.rerank({ query, documents, onProgress: throws }))).toBe(own);
    const instructed = reranker.rerank({ query, documents, instruction: "find it" });
    expect(InvalidInputError.isInstance(await rejection(instructed))).toBe(true);
    expect(reranker.fallbacks).toEqual([]);
    expect(second.events).toEqual([]);
    expect((await reranker.rerank({ query, documents })).variant).toBe("first");
  });
});

describe("when no variant is left", () => {
  const broken = async (): Promise<FallbackOptions["variants"]> => [
    { name: "missing", model: modelWithoutWeights, backend: watched("missing").backend },
    { name: "headless", model: headlessModel, backend: watched("headless").backend },
  ];

  it("passthrough gives the caller's order, without scores, and says why", async () => {
    const reranker = chain({ variants: await broken(), whenExhausted: "passthrough" });
    expect(await reranker.load()).toBeNull();
    const result = await reranker.rerank({ query, documents, topN: 3, returnDocuments: true });
    expect(result).toMatchObject({
      status: "passthrough",
      variant: null,
      model: null,
      backend: null,
      scale: null,
      scoring: null,
      settings: null,
      usage: { sequences: 0, batches: 0 },
    });
    expect(result.results).toEqual(
      documents.slice(0, 3).map((document, index) => ({
        index,
        logit: null,
        score: null,
        tokens: 0,
        truncatedTokens: 0,
        notScored: true,
        document,
      })),
    );
    expect(result.fallbacks.map(({ variant, reason }) => [variant, reason])).toEqual([
      ["missing", "model-file-not-found"],
      ["headless", "probe-failed"],
    ]);
    expect(ProbeFailedError.isInstance(result.fallbacks[1]?.error)).toBe(true);
    expect(result.warnings).toMatchObject([{ code: "variant-fallback", variant: null }]);
    const { scores, status } = await reranker.score(documents.map((document) => ({ query, document })));
    expect([status, scores.length, scores.every(({ logit }) => logit === null)]).toEqual([
      "passthrough",
      documents.length,
      true,
    ]);
    // A caller who sorts again by logit meets nulls, and with them the order that it was given.
    const again = result.results.toSorted((a, b) => (b.logit ?? 0) - (a.logit ?? 0));
    expect(again).toEqual(result.results);
    expect(() => JSON.stringify(result)).not.toThrow();
  });

  it("throw names every reason", async () => {
    const reranker = chain({ variants: await broken() });
    const error = await rejection(reranker.rerank({ query, documents }));
    expect(VariantsExhaustedError.isInstance(error) && CrossrankError.isInstance(error)).toBe(true);
    expect((error as VariantsExhaustedError).fallbacks).toHaveLength(2);
    expect(error.message).toContain("missing: bert-logit has no model.safetensors");
    expect(error.message).toContain("headless: bert-logit on reference");
    expect(ProbeFailedError.isInstance(error.cause)).toBe(true);
    expect(VariantsExhaustedError.isInstance(await rejection(reranker.load()))).toBe(true);
  });

  it("also after a failure while it ran", async () => {
    const variants = [
      { name: "nan", model: fixture("bert-logit"), backend: watched("nan", { poisoned: true }).backend },
    ];
    const reranker = chain({ variants, whenExhausted: "passthrough" });
    const result = await reranker.rerank({ query, documents: [...documents, poison] });
    expect(result).toMatchObject({ status: "passthrough", variant: null });
    expect(result.results.map(({ index }) => index)).toEqual([...documents, poison].map((_, index) => index));
  });

  it("an error of onFallback fails the call that noticed, and no other", async () => {
    const own = new Error("mine");
    const reranker = chain({
      variants: await broken(),
      whenExhausted: "passthrough",
      onFallback: ({ next }) => {
        if (next !== null) throw own;
      },
    });
    expect(await rejection(reranker.rerank({ query, documents }))).toBe(own);
    expect(await reranker.rerank({ query, documents })).toMatchObject({ status: "passthrough" });
  });
});

describe("dispose", () => {
  it("while a variant is opened or loaded: ends the loading and rejects the calls", async () => {
    const opening = gate();
    const { backend, events } = watched("slow");
    let signal: AbortSignal | undefined;
    const variants = [
      {
        name: "slow",
        model: async (request: { signal?: AbortSignal | undefined }) => {
          signal = request.signal;
          await opening.opened;
          return fixture(sound);
        },
        backend,
      },
      { name: "next", model: fixture(sound), backend },
    ];
    const reranker = createFallbackReranker({ variants });
    const call = rejection(reranker.rerank({ query, documents }));
    await new Promise<void>((resolve) => setTimeout(resolve, 5));
    const disposing = reranker.dispose();
    expect(DisposedError.isInstance(await call)).toBe(true);
    expect(signal?.aborted).toBe(true);
    opening.open();
    await disposing;
    await reranker.dispose();
    expect(events.filter((event) => event.endsWith("loaded"))).toHaveLength(
      events.filter((event) => event.endsWith("disposed")).length,
    );
    expect(DisposedError.isInstance(await rejection(reranker.rerank({ query, documents })))).toBe(true);
    expect(DisposedError.isInstance(await rejection(reranker.load()))).toBe(true);
    expect(reranker.fallbacks).toEqual([]);
  });

  it("frees a model that was loaded too late, by a runtime that does not hear its signal", async () => {
    const loadGate = gate();
    const { backend, events } = watched("deaf", { loadGate });
    const variants = [{ name: "deaf", model: fixture(sound), backend, probe: false }];
    const reranker = createFallbackReranker({ variants });
    const call = rejection(reranker.load());
    while (events.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    const disposing = reranker.dispose();
    expect(DisposedError.isInstance(await call)).toBe(true);
    loadGate.open();
    await disposing;
    expect(events).toEqual(["deaf: load", "deaf: loaded", "deaf: disposed"]);
    expect(reranker.variant).toBeNull();
  });

  it("while it scores: rejects after the batch, steps nowhere, and frees the model", async () => {
    const held = gate();
    const first = watched("first", { holdFrom: probeBatches + 2, gate: held });
    const second = watched("second");
    const reranker = createFallbackReranker({
      variants: [
        { name: "first", model: fixture(sound), backend: first.backend },
        { name: "second", model: fixture(sound), backend: second.backend },
      ],
    });
    const call = rejection(reranker.rerank({ query, documents }));
    await first.atGate;
    const disposing = reranker.dispose();
    held.open();
    expect(DisposedError.isInstance(await call)).toBe(true);
    await disposing;
    expect([first.events, second.events]).toEqual([["first: load", "first: loaded", "first: disposed"], []]);
  });

  it("before anything was loaded", async () => {
    const { backend, events } = watched("first");
    await createFallbackReranker({
      variants: [{ name: "first", model: fixture(sound), backend }],
    }).dispose();
    expect(events).toEqual([]);
  });
});

it.each([
  [{ variants: [] }, "variants"],
  [{ variants: [{ name: "" }] }, "variants[0].name"],
  [{ variants: [{ name: "a" }, { name: "a" }] }, "variants[1].name"],
  [{ variants: [{ name: "a" }], whenExhausted: "ignore" }, "whenExhausted"],
])("options that mean nothing are refused: %j", (options, path) => {
  try {
    createFallbackReranker(options as unknown as FallbackOptions);
  } catch (error) {
    expect(InvalidInputError.isInstance(error) && error.path).toBe(path);
    return;
  }
  throw new Error("was taken");
});

it("a missing file names itself in the error of the step down", async () => {
  const reranker = chain({
    variants: [{ name: "missing", model: modelWithoutWeights, backend: watched("missing").backend }],
    whenExhausted: "passthrough",
  });
  const { fallbacks } = await reranker.rerank({ query, documents });
  const error = fallbacks[0]?.error;
  expect(ModelFileNotFoundError.isInstance(error) && error.expected).toEqual(["model.safetensors"]);
});
