import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { requireKnownOptions } from "../src/call/option-names.js";
import {
  type Backend,
  createFallbackReranker,
  createReranker,
  InvalidInputError,
  loadModel,
  type Reranker,
} from "../src/index.js";
import { fixture, query, rejection } from "./fallback-scene.js";
import { toyBackend } from "./toy-backend.js";

type Loose = Readonly<Record<string, unknown>>;

const documents = ["the model", "a backend"];
const pairs = [{ query, document: "the model" }];

/** A call by name, with options beside those that it needs. */
const calls: Readonly<Record<string, (extra: Loose, reranker: Reranker) => unknown>> = {
  rerank: (extra, reranker) => reranker.rerank({ query, documents, ...extra }),
  score: (extra, reranker) => reranker.score(pairs, extra),
  cacheKey: (extra, reranker) => reranker.cacheKey(extra),
  createReranker: (extra) =>
    createReranker({ model: fixture("bert-logit"), backend: toyBackend(), probe: false, ...extra }),
  loadModel: (extra) => loadModel({ model: fixture("bert-logit"), backend: toyBackend(), ...extra }),
  "a time budget": (extra, reranker) =>
    reranker.rerank({
      query,
      documents,
      timeBudget: { milliseconds: 1000, whenExceeded: "partial", ...extra },
    }),
  createFallbackReranker: async (extra) =>
    createFallbackReranker({
      variants: [{ name: "a", model: fixture("bert-logit"), backend: toyBackend() }],
      ...extra,
    }),
  "a variant": async (extra) =>
    createFallbackReranker({
      variants: [{ name: "a", model: fixture("bert-logit"), backend: toyBackend(), ...extra }],
    }),
};

/** Call, what somebody writes, and what the error says. */
const misspelt: readonly (readonly [call: string, name: string, right: RegExp])[] = [
  ...["topK", "top_k", "top_n", "topn", "TopN", "k", "n", "limit", "numResults", "max_results", "top"].map(
    (name) => ["rerank", name, /: write topN$/] as const,
  ),
  ...["returnDocument", "return_documents", "include_documents", "returnDocs", "returnText"].map(
    (name) => ["rerank", name, /: write returnDocuments$/] as const,
  ),
  ["rerank", "docs", /: write documents$/],
  ["rerank", "passages", /: write documents$/],
  ["rerank", "qeury", /: write query$/],
  ["rerank", "abortSignal", /: write signal$/],
  ["rerank", "timeout", /: write timeBudget$/],
  ["rerank", "maxLength", /: it is an option of createReranker and openReranker$/],
  ["rerank", "max_length", /: maxLength is an option of createReranker and openReranker$/],
  ["rerank", "model", /: it is an option of createReranker/],
  ["rerank", "workers", /of the backend, as in onnx/],
  ["rerank", "colour", /: there are query, documents, topN/],
  ["rerank", "x".repeat(100_000), /^x{40}… is not an option of rerank: there are/],
  ["rerank", "__proto__x", /: there are query/],
  ["rerank", "constructor", /: there are query/],
  ["rerank", "toString", /: there are query/],
  ["score", "topN", /: it is an option of rerank$/],
  ["score", "on_progress", /: write onProgress$/],
  ["score", "returnCachekey", /: write returnCacheKey$/],
  ["cacheKey", "instructions", /: write instruction$/],
  ["cacheKey", "topN", /: it is an option of rerank$/],
  ...["maxlength", "max_length", "MaxLength", "max-length", "maxTokens", "max_seq_length", "maxLenght"].map(
    (name) => ["createReranker", name, /: write maxLength$/] as const,
  ),
  ...["quantized", "quantization", "torch_dtype", "Dtype", "dtypes"].map(
    (name) => ["createReranker", name, /: write dtype, e\.g\. dtype: "int8"$/] as const,
  ),
  ["createReranker", "device", /: write backend$/],
  ["createReranker", "modelId", /: write model$/],
  ["createReranker", "worker", /: workers is an option of the backend/],
  ["createReranker", "num_threads", /: threads is an option of the backend/],
  ["createReranker", "topK", /: topN is an option of rerank$/],
  ["createReranker", "truncate", /: write truncation$/],
  ["createReranker", "prompt", /: write instruction$/],
  ["createReranker", "cacheDir", /: cacheFolder is an option of openModel/],
  ["loadModel", "maxLength", /: it is an option of createReranker/],
  ["loadModel", "precision", /: write dtype/],
  ["a time budget", "ms", /^timeBudget\.ms is not an option of a time budget: write milliseconds$/],
  ["a time budget", "onExceeded", /: write whenExceeded$/],
  ["createReranker", "quantised", /: write dtype/],
  ["createReranker", "files", /: write model$/],
  ["createReranker", "file", /: it is an option of the backend, as in onnx\(\{ file: … \}\)$/],
  ["createReranker", "gpu", /: it is an option of the backend, as in llamacpp\(\{ gpu: … \}\)$/],
  ["createReranker", "whenExhausted", /: it is an option of openReranker with variants$/],
  ["createFallbackReranker", "signal", /: it is an option of rerank and score$/],
  ["createFallbackReranker", "fallbacks", /: write variants$/],
  ["createFallbackReranker", "when_exhausted", /: write whenExhausted$/],
  ["a variant", "maxlength", /^variants\[0\]\.maxlength is not an option of a variant: write maxLength$/],
  ["a variant", "signal", /^variants\[0\]\.signal is not an option of a variant/],
];

it.each(misspelt)("%s refuses %s", async (call, name, right) => {
  const reranker = await createReranker({
    model: fixture("bert-logit"),
    backend: toyBackend(),
    probe: false,
  });
  const attempt = async (value: unknown): Promise<unknown> => calls[call]?.({ [name]: value }, reranker);
  const error = await rejection(attempt(3));
  expect(InvalidInputError.isInstance(error), String(error)).toBe(true);
  expect(error.message).toMatch(right);
  // What is undefined was not written.
  const given = await attempt(undefined);
  await (given as Partial<AsyncDisposable> | undefined)?.[Symbol.asyncDispose]?.();
  await reranker.dispose();
});

class Settings {
  readonly probe = false;
  readonly maxLength = 64;
}

const signal = new AbortController().signal;
const otherSignal = runInNewContext("({ aborted: false, addEventListener() {}, removeEventListener() {} })");

/** Call, option, what is refused of it, what is taken. */
const typed: readonly (readonly [
  call: string,
  name: string,
  refused: readonly unknown[],
  taken: readonly unknown[],
])[] = [
  ["rerank", "returnDocuments", ["false", "", 0, 1, null, [], {}], [true, false]],
  ["rerank", "returnCacheKey", ["no", 0, null, {}], [true, false]],
  ["rerank", "signal", [new AbortController(), true, {}, "x", 5], [signal, otherSignal, null]],
  ["rerank", "onProgress", [5, "log", {}, true], [() => undefined, null]],
  ["rerank", "timeBudget", [500, "500", [], new Map(), Promise.resolve({}), signal], [null]],
  ["score", "returnCacheKey", ["no", 0, null, {}], [true, false]],
  ["score", "signal", [new AbortController(), {}], [signal, otherSignal]],
  ["createReranker", "probe", ["no", 0, null, {}], [true, false]],
  ["createReranker", "dtype", [8, "", null, true, ["fp32"]], []],
  ["createReranker", "profile", ["x", null, [], new Map(), 5, Promise.resolve({})], [{}]],
  ["createReranker", "signal", [new AbortController(), true, {}], [signal, otherSignal, null]],
  ["createReranker", "onProgress", [5, "log"], [() => undefined, null]],
  ["loadModel", "dtype", [8, ""], []],
  ["loadModel", "profile", ["x", []], [{}]],
  ["a variant", "probe", ["no", null], [true, false]],
  ["a variant", "dtype", [8, ""], ["fp32"]],
  ["a variant", "profile", [[], "x", 5], [{}]],
];

it.each(typed)("%s looks at the type of %s", async (call, name, refused, taken) => {
  const model = fixture("bert-logit");
  const reranker = await createReranker({ model, backend: toyBackend(), probe: false });
  const attempt = async (value: unknown): Promise<unknown> => calls[call]?.({ [name]: value }, reranker);
  for (const value of refused) {
    const error = await rejection(attempt(value));
    expect(InvalidInputError.isInstance(error), `${name}: ${String(value)}: ${error}`).toBe(true);
    expect((error as InvalidInputError).path).toBe(call === "a variant" ? `variants[0].${name}` : name);
  }
  for (const value of taken) {
    const given = await attempt(value);
    await (given as Partial<AsyncDisposable> | undefined)?.[Symbol.asyncDispose]?.();
  }
  await reranker.dispose();
});

it("what holds no options is none", async () => {
  const model = fixture("bert-logit");
  const backend = toyBackend();
  const reranker = await createReranker(Object.assign(new Settings(), { model, backend }));
  const none = [[], new Map(), new Set(), Promise.resolve({}), signal, new Date(), new URL("file:///a")];
  const loose = (call: unknown): ((...given: unknown[]) => Promise<unknown>) => call as never;
  for (const options of [...none, null, 5, "x", model, backend]) {
    for (const call of [
      () => loose(createReranker)(options),
      () => loose(loadModel)(options),
      async () => loose(createFallbackReranker)(options),
      () => loose(reranker.rerank.bind(reranker))(options),
      () => loose(reranker.score.bind(reranker))(pairs, options),
      () => loose(reranker.cacheKey.bind(reranker))(options),
    ]) {
      const error = await rejection(call());
      expect(InvalidInputError.isInstance(error) && error.path, String(error)).toBe("options");
    }
  }
  const message = async (call: Promise<unknown>): Promise<string> => (await rejection(call)).message;
  expect(await message(loose(createReranker)(model, backend))).toMatch(
    /not the files of a model: write createReranker\(\{ model, backend \}\)$/,
  );
  expect(await message(loose(reranker.score.bind(reranker))(query, documents))).toMatch(
    /not an array: write score\(\[\{ query, document \}\]\)$/,
  );
  await reranker.score(pairs, Object.assign(Object.create(null), { signal }));
  await reranker.dispose();
});

it("embed refuses what it does not know", async () => {
  const model = fixture("bert-cosine-mean");
  const reranker = await createReranker({ model, backend: toyBackend(), probe: false });
  const embed = (extra: Loose): Promise<unknown> => reranker.embed(["a"], { as: "query", ...extra });
  expect((await rejection(embed({ inputType: "query" }))).message).toMatch(/write as$/);
  expect((await rejection(embed({ topN: 2 }))).message).toMatch(/it is an option of rerank$/);
  await embed({ signal: undefined, other: undefined });
  await reranker.dispose();
});

it("embed looks at the types of its options", async () => {
  const model = fixture("bert-cosine-mean");
  const reranker = await createReranker({ model, backend: toyBackend(), probe: false });
  const embed = (extra: Loose): Promise<unknown> => reranker.embed(["a"], { as: "query", ...extra });
  expect((await rejection(embed({ returnCacheKey: "no" }))).message).toMatch(
    /^returnCacheKey must be true or false, not "no"$/,
  );
  expect((await rejection(embed({ signal: new AbortController() }))).message).toMatch(
    /write controller.signal$/,
  );
  await embed({ returnCacheKey: true, signal });
  await reranker.dispose();
});

describe("in the place of files and backend", () => {
  const model = fixture("bert-logit");
  const backend = toyBackend();
  const onnx = (): Backend => backend;
  const cases: readonly (readonly [string, Loose, RegExp])[] = [
    [
      "the name nano",
      { model: "nano" },
      /^model must be the files of a model, not its name: call openReranker\("nano"\)/,
    ],
    ["a repository's name", { model: "a/b" }, /write model: await openModel\("a\/b"\)/],
    [
      "a promise of files",
      { model: Promise.resolve(model) },
      /^model is a promise: write model: await openModel/,
    ],
    ["openModel itself", { model: async () => model }, /^model is a function: call it/],
    ["no model", { model: undefined }, /^model is missing: write model: await openModel/],
    ["null", { model: null }, /^model must be the files of a model, not null/],
    ["an object", { model: {} }, /^model must be the files of a model, with `list`/],
    ["an array", { model: ["nano"] }, /^model must be the files of a model, with `list`/],
    [
      "a backend uncalled",
      { backend: onnx },
      /^backend is a function that makes one: call it, as in backend: onnx\(\)$/,
    ],
    ["no backend", { backend: undefined }, /^backend is missing: write backend: onnx\(\)/],
    [
      "a backend's name",
      { backend: "mnn:int8" },
      /^backend must be a backend, not its name: write backend: mnn\(\)/,
    ],
    [
      "the name of none",
      { backend: "cuda" },
      /write backend: onnx\(\), .*openReranker\(model, \{ backend: "onnx" \}\)/,
    ],
    ["a promise of a backend", { backend: Promise.resolve(backend) }, /^backend is a promise: await it/],
    ["a module", { backend: { onnx } }, /^backend must be a backend, with `families`/],
    ["a number", { backend: 3 }, /^backend must be a backend, not number/],
  ];

  it.each(cases)("%s", async (_, extra, message) => {
    const given = { model, backend, ...extra };
    for (const call of [createReranker, loadModel] as ((options: unknown) => Promise<unknown>)[]) {
      const error = await rejection(call(given));
      expect(InvalidInputError.isInstance(error), String(error)).toBe(true);
      expect(error.message).toMatch(message);
    }
    if (typeof given.model === "function" || typeof given.backend === "function") return;
    const chain = async (): Promise<unknown> =>
      createFallbackReranker({
        variants: [{ name: "a", ...(given as unknown as { model: typeof model; backend: Backend }) }],
      });
    expect((await rejection(chain())).message).toMatch(/^variants\[0\]\.(model|backend) /);
  });
});

it.each([
  [
    "rerank",
    ["query", ["a"]],
    /^options must be an object, not string: write rerank\(\{ query, documents \}\)$/,
  ],
  ["score", [[["query", "document"]]], /^pairs\[0\] is an array: write \{ query, document \}$/],
  ["score", [["query"]], /^pairs\[0\] must be an object, not string: write \{ query, document \}$/],
] as const)("%s by position", async (call, given, message) => {
  const reranker = await createReranker({
    model: fixture("bert-logit"),
    backend: toyBackend(),
    probe: false,
  });
  const error = await rejection((reranker[call] as (...all: unknown[]) => Promise<unknown>)(...given));
  expect(error.message).toMatch(message);
  await reranker.dispose();
});

it("an option's own name is never refused, and a name by chance has an end", () => {
  const known = { topN: true, query: true } as const;
  requireKnownOptions({ topN: 1, query: "q" }, known, "a call");
  let seed = 7;
  for (let round = 0; round < 2000; round += 1) {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    const name = String.fromCharCode(
      ...Array.from({ length: seed % 50 }, (_, index) => (seed >> (index % 16)) & 0xff),
    );
    const given = Object.fromEntries([[name, 1]]);
    if (name === "topN" || name === "query") continue;
    expect(() => requireKnownOptions(given, known, "a call")).toThrow(InvalidInputError);
  }
});
