import { describe, expect, it } from "vitest";
import { type CacheKeyFacts, cacheKey } from "../src/call/cache-key.js";
import { createFallbackReranker, createMemoryScoreCache, createReranker } from "../src/index.js";
import { documents, fixture, query, watched, withFiles } from "./fallback-scene.js";

const { backend } = watched("reference");

async function facts(): Promise<CacheKeyFacts> {
  await using reranker = await createReranker({ model: fixture("bert-logit"), backend });
  const { profile, session } = reranker;
  const artifact = {
    ...session.artifact,
    files: [
      { path: "a.onnx", sha256: "aa" },
      { path: "a.onnx_data", sha256: "bb" },
    ],
  };
  const model = { id: "acme/reranker", revision: "0123", artifact };
  return {
    model,
    backend: session.info,
    settings: { batch: "1" },
    profile,
    instruction: "",
    variant: "coreml(ane)",
  };
}

describe("a cache key", () => {
  it("is the same for the same facts, whatever the order of files and fields", async () => {
    const base = await facts();
    const { model, profile } = base;
    const turned = { ...model, artifact: { ...model.artifact, files: model.artifact.files.toReversed() } };
    const fields = Object.fromEntries(Object.entries(profile).reverse()) as unknown as typeof profile;
    expect(await cacheKey({ ...base, model: turned, profile: fields })).toBe(await cacheKey(base));
    // What is checked and chosen at load is no part of a score.
    const checked = { ...profile, defaultDtype: "int8", expectations: { tolerance: 1, pairs: [] } };
    expect(await cacheKey({ ...base, profile: checked })).toBe(await cacheKey(base));
    expect(await cacheKey({ ...base, instruction: undefined })).toBe(await cacheKey(base));
    expect(
      await cacheKey({ ...base, profile: { ...profile, instruction: "find" }, instruction: undefined }),
    ).toBe(await cacheKey({ ...base, profile, instruction: "find" }));
    // Where a folder lies is no part of a score: its content is.
    const folder = { ...base, contents: ["tokenizer.json dd"] };
    const at = (id: string) => ({ ...folder, model: { ...model, id, revision: undefined } });
    expect(await cacheKey(at("/home/a/model"))).toBe(await cacheKey(at("D:\\model")));
    expect(await cacheKey(base)).toMatch(/^crossrank:2:[0-9a-f]{64}$/);
  });

  it("is another for every other fact", async () => {
    const base = await facts();
    const { model, profile } = base;
    const { artifact } = model;
    const [first, second] = artifact.files as [
      { path: string; sha256: string },
      { path: string; sha256: string },
    ];
    const changes: Record<string, Partial<CacheKeyFacts>> = {
      "model id": { model: { ...model, id: "acme/other" } },
      revision: { model: { ...model, revision: "4567" } },
      "no revision": { model: { ...model, revision: undefined } },
      variant: { variant: "coreml(cpugpu)" },
      "no variant": { variant: undefined },
      "one file's hash": {
        model: { ...model, artifact: { ...artifact, files: [first, { ...second, sha256: "cc" }] } },
      },
      "hashes changed about": {
        model: {
          ...model,
          artifact: {
            ...artifact,
            files: [
              { ...first, sha256: second.sha256 },
              { ...second, sha256: first.sha256 },
            ],
          },
        },
      },
      "a file more": {
        model: {
          ...model,
          artifact: { ...artifact, files: [first, second, { path: "c", sha256: "cc" }] },
        },
      },
      dtype: { model: { ...model, artifact: { ...artifact, dtype: "int8" } } },
      format: { model: { ...model, artifact: { ...artifact, format: "mlpackage" } } },
      backend: { backend: { ...base.backend, name: "coreml" } },
      "runtime version": { backend: { ...base.backend, runtime: { ...base.backend.runtime, version: "2" } } },
      "a setting": { settings: { batch: "8" } },
      "no settings": { settings: {} },
      contents: { contents: ["tokenizer.json dd"] },
      instruction: { instruction: "find it" },
      "maximum length": { profile: { ...profile, maxLength: 32 } },
      truncation: { profile: { ...profile, truncation: "longest-first" } },
      template: { profile: { ...profile, pairTemplate: profile.pairTemplate.toReversed() } },
      head: { profile: { ...profile, head: { kind: "two-class", positive: 1 } } },
      activation: { profile: { ...profile, activation: "sigmoid" } },
      calibration: { profile: { ...profile, calibration: { method: "temperature", temperature: 5 } } },
      probabilities: { activation: "probability" },
      "long documents": {
        longDocuments: {
          ...{ strategy: "chunk", maxPassages: 8, overlapTokens: 8, spans: 1 },
          ...{ aggregate: "max", segmenter: "15.1" },
        } as never,
      },
      "query prefix": { profile: { ...profile, queryPrefix: "query: " } },
      "document prefix": { profile: { ...profile, documentPrefix: "passage: " } },
    };
    const keys = await Promise.all(
      Object.entries(changes).map(async ([name, change]) => [name, await cacheKey({ ...base, ...change })]),
    );
    const all = [await cacheKey(base), ...keys.map(([, key]) => key)];
    expect(keys.filter(([, key]) => all.filter((other) => other === key).length > 1)).toEqual([]);
  });
});

describe("a reranker's cache key", () => {
  it("stands in the results that ask for it, and is known before a call", async () => {
    await using reranker = await createReranker({ model: fixture("bert-logit"), backend });
    const result = await reranker.rerank({ query, documents, returnCacheKey: true });
    expect(result.cacheKey).toBe(await reranker.cacheKey());
    expect((await reranker.score([], { returnCacheKey: true })).cacheKey).toBe(result.cacheKey);
    expect(await reranker.rerank({ query, documents })).not.toHaveProperty("cacheKey");
    await using shorter = await createReranker({ model: fixture("bert-logit"), backend, maxLength: 32 });
    expect(await shorter.cacheKey()).not.toBe(result.cacheKey);
  });

  it("knows the tokenizer of a folder by its content, and that of a revision by the revision", async () => {
    const tokenizer = await fixture("bert-logit").readText("tokenizer.json");
    const keyOf = async (text: string, revision?: string): Promise<string> => {
      const model = { ...withFiles(fixture("bert-logit"), { "tokenizer.json": text }), revision };
      await using reranker = await createReranker({ model, backend });
      return reranker.cacheKey();
    };
    // The same vocabulary, with one rule of its normaliser turned: other ids, the same artifact and profile.
    const changed = tokenizer.replace(/"lowercase": ?true/, '"lowercase":false');
    expect(changed).not.toBe(tokenizer);
    expect(await keyOf(tokenizer)).toBe(await keyOf(tokenizer));
    expect(await keyOf(changed)).not.toBe(await keyOf(tokenizer));
    expect(await keyOf(changed, "0123")).toBe(await keyOf(tokenizer, "0123"));
    expect(await keyOf(tokenizer, "4567")).not.toBe(await keyOf(tokenizer, "0123"));
  });

  it("knows whether the scores are probabilities", async () => {
    const calibration = { method: "platt", slope: 2, intercept: 1 } as const;
    const keys: (string | undefined)[] = [];
    for (const profile of [{}, { calibration }]) {
      await using reranker = await createReranker({ model: fixture("bert-logit"), backend, profile });
      for (const activation of ["model", "probability"] as const) {
        const call = { activation, returnCacheKey: true } as const;
        const { cacheKey: own } = await reranker.rerank({ query, documents, ...call });
        expect(own).toBe(await reranker.cacheKey({ activation }));
        expect((await reranker.score([{ query, document: "a" }], call)).cacheKey).toBe(own);
        expect((await reranker.rerankMany({ queries: [query], documents, ...call })).cacheKey).toBe(own);
        keys.push(own);
      }
      expect(await reranker.cacheKey()).toBe(keys.at(-2));
      await expect(reranker.cacheKey({ activation: "sigmoid" as never })).rejects.toMatchObject({
        path: "activation",
      });
    }
    expect(new Set(keys).size).toBe(4);
    await using cosine = await createReranker({ model: fixture("bert-cosine-mean"), backend });
    await expect(cosine.cacheKey({ activation: "probability" })).rejects.toMatchObject({
      path: "activation",
    });
  });

  it("knows by its content what a revision has of another model", async () => {
    const tokenizer = await fixture("bert-logit").readText("tokenizer.json");
    const config = await fixture("bert-logit").readText("tokenizer_config.json");
    const scoreCache = createMemoryScoreCache();
    const cached = async (files: Record<string, string>, base: string): Promise<number | undefined> => {
      const model = { ...withFiles(fixture("bert-logit"), files), revision: "0123", base };
      await using reranker = await createReranker({ model, backend, scoreCache });
      return (await reranker.rerank({ query, documents })).usage.cached;
    };
    const all = documents.length;
    const changed = tokenizer.replace(/"lowercase": ?true/, '"lowercase":false');
    expect(await cached({ "tokenizer.json": tokenizer }, "acme/base")).toBe(0);
    expect(await cached({ "tokenizer.json": tokenizer }, "acme/base")).toBe(all);
    expect(await cached({ "tokenizer.json": changed }, "acme/base")).toBe(0);
    expect(await cached({ "tokenizer.json": tokenizer, "tokenizer_config.json": `${config} ` }, "x")).toBe(0);
  });

  it("is another for every variant, also where all of them run one artifact", async () => {
    const keys: (string | null)[] = [];
    for (const name of ["coreml(ane)", "coreml(cpugpu)"]) {
      const variants = [{ name, model: fixture("bert-logit"), backend }];
      await using reranker = createFallbackReranker({ variants });
      expect(await reranker.cacheKey()).toBeNull();
      const result = await reranker.rerank({ query, documents, returnCacheKey: true });
      expect(result.cacheKey).toBe(await reranker.cacheKey());
      keys.push(result.cacheKey ?? null);
    }
    expect(new Set(keys).size).toBe(2);
  });
});
