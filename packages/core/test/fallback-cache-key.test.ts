import { describe, expect, it } from "vitest";
import { type CacheKeyFacts, cacheKey, createFallbackReranker, createReranker } from "../src/index.js";
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
  return { model, backend: session.info, profile, instruction: "", variant: "coreml(ane)" };
}

describe("a cache key", () => {
  it("is the same for the same facts, whatever the order of files and fields", async () => {
    const base = await facts();
    const { model, profile } = base;
    const turned = { ...model, artifact: { ...model.artifact, files: model.artifact.files.toReversed() } };
    const fields = Object.fromEntries(Object.entries(profile).reverse()) as unknown as typeof profile;
    expect(cacheKey({ ...base, model: turned, profile: fields })).toBe(cacheKey(base));
    // What is checked and chosen at load is no part of a score.
    const checked = { ...profile, defaultDtype: "int8", expectations: { tolerance: 1, pairs: [] } };
    expect(cacheKey({ ...base, profile: checked })).toBe(cacheKey(base));
    expect(cacheKey({ ...base, instruction: undefined })).toBe(cacheKey(base));
    expect(cacheKey({ ...base, profile: { ...profile, instruction: "find" }, instruction: undefined })).toBe(
      cacheKey({ ...base, profile, instruction: "find" }),
    );
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
      contents: { contents: ["tokenizer.json dd"] },
      instruction: { instruction: "find it" },
      "maximum length": { profile: { ...profile, maxLength: 32 } },
      truncation: { profile: { ...profile, truncation: "longest-first" } },
      template: { profile: { ...profile, pairTemplate: profile.pairTemplate.toReversed() } },
      head: { profile: { ...profile, head: { kind: "two-class", positive: 1 } } },
      activation: { profile: { ...profile, activation: "sigmoid" } },
      "query prefix": { profile: { ...profile, queryPrefix: "query: " } },
      "document prefix": { profile: { ...profile, documentPrefix: "passage: " } },
    };
    const keys = Object.entries(changes).map(([name, change]) => [name, cacheKey({ ...base, ...change })]);
    const all = [cacheKey(base), ...keys.map(([, key]) => key)];
    expect(keys.filter(([, key]) => all.filter((other) => other === key).length > 1)).toEqual([]);
  });
});

describe("a reranker's cache key", () => {
  it("stands in its results, and is known before a call", async () => {
    await using reranker = await createReranker({ model: fixture("bert-logit"), backend });
    const result = await reranker.rerank({ query, documents });
    expect(result.cacheKey).toBe(reranker.cacheKey());
    expect((await reranker.score([])).cacheKey).toBe(result.cacheKey);
    expect(result.cacheKey).toContain(reranker.session.artifact.files[0]?.sha256);
    await using shorter = await createReranker({ model: fixture("bert-logit"), backend, maxLength: 32 });
    expect(shorter.cacheKey()).not.toBe(result.cacheKey);
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

  it("is another for every variant, also where all of them run one artifact", async () => {
    const keys: (string | null)[] = [];
    for (const name of ["coreml(ane)", "coreml(cpugpu)"]) {
      const variants = [{ name, model: fixture("bert-logit"), backend }];
      await using reranker = createFallbackReranker({ variants });
      expect(reranker.cacheKey()).toBeNull();
      const result = await reranker.rerank({ query, documents });
      expect(result.cacheKey).toBe(reranker.cacheKey());
      keys.push(result.cacheKey);
    }
    expect(new Set(keys).size).toBe(2);
  });
});
