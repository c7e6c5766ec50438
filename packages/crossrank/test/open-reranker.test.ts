import { join } from "node:path";
import { openModel } from "@crossrank/hub";
import { describe, expect, it } from "vitest";
import { backendNames, registeredNames } from "../src/backend-names.js";
import { openReranker } from "../src/index.js";
import { registeredBackends } from "../src/registry.js";
import { conformanceFixture, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const model = conformanceFixture("xlm-roberta-logit");
const documents = ["the cat sat", "paris is a city"];

describe("the registry", () => {
  it.each(registeredNames)("knows %s by the name and format that its package says", async (name) => {
    const backends = await registeredBackends(name);
    expect(backends[0]?.name).toBe(name);
    for (const one of backends.slice(1)) expect(one.name.startsWith(`${name}:`)).toBe(true);
    // Listed without the package: `--help` loads none.
    expect(backendNames.filter((one) => one === name || one.startsWith(`${name}:`))).toEqual(
      backends.map((one) => one.name),
    );
    const artifact = `model.${backends[0]?.descriptor.format}`;
    for (const { descriptor } of backends) {
      const paths = [
        `onnx/${artifact}`,
        `${artifact}/Manifest.json`,
        `${artifact}/model.bin`,
        `${artifact}/vocabulary.json`,
        artifact,
      ];
      expect(descriptor.candidates(paths)).not.toEqual([]);
    }
  });
});

describe("openReranker", () => {
  it("opens the embedded model by itself", async () => {
    await using reranker = await openReranker("nano");
    const {
      results,
      model: used,
      backend,
    } = await reranker.rerank({ query: "capital of France", documents });
    expect(used.id).toBe("nano");
    expect(backend.name).toBe("onnx");
    expect(results).toHaveLength(2);
  });

  it("takes a folder or files, a backend with a precision, and options of the model", async () => {
    for (const one of [model, await openModel(model)]) {
      await using reranker = await openReranker(one, { backend: "onnx:fp32", threads: 1, maxLength: 32 });
      expect(reranker.session.artifact.dtype).toBe("fp32");
      expect(reranker.profile.maxLength).toBe(32);
    }
  });

  it("gives every call its time budget, which a call may replace", async () => {
    const none = { milliseconds: 1, whenExceeded: "passthrough" } as const;
    await using reranker = await openReranker(model, { timeBudget: none });
    const many = new Array<string>(2000).fill("paris is a city of many words ".repeat(5));
    const ranking = await reranker.rerank({ query: "paris", documents: many });
    expect(ranking.status).toBe("passthrough");
    const scoring = await reranker.score(many.map((document) => ({ query: "paris", document })));
    expect(scoring.status).toBe("passthrough");
    const timeBudget = { milliseconds: 60_000, whenExceeded: "throw" } as const;
    const result = await reranker.rerank({ query: "paris", documents, timeBudget });
    expect(result.status).toBe("reranked");
    expect(await reranker.cacheKey()).toMatch(/./);
  });

  it("steps down variants, which share what they do not say themselves", async () => {
    await using chain = await openReranker(model, {
      maxLength: 32,
      variants: [{ backend: "onnx:int8" }, { backend: "./none.mjs" }, { name: "last", backend: "onnx:fp32" }],
    });
    const result = await chain.rerank({ query: "paris", documents });
    expect(result).toMatchObject({ variant: "last", model: { artifact: { dtype: "fp32" } } });
    expect(result.fallbacks.map(({ variant, reason }) => [variant, reason])).toEqual([
      ["onnx:int8", "model-file-not-found"],
      ["./none.mjs", "backend-module"],
    ]);
  });

  it.each([
    ["an unknown backend", () => openReranker(model, { backend: "onnxx" }), "unknown-backend"],
    [
      "one among variants",
      () => openReranker(model, { variants: [{ backend: "onnxx" }] }),
      "unknown-backend",
    ],
    ["no variant", () => openReranker(model, { variants: [] }), "invalid-input"],
    ["two precisions", () => openReranker(model, { backend: "onnx:fp32", dtype: "int8" }), "invalid-input"],
    ["a file that is none", () => openReranker(model, { backend: "./none.mjs" }), "backend-module"],
    ["a revision of nano", () => openReranker("nano", { revision: "main" }), "invalid-input"],
    ["no model", () => openReranker(join(folder.path("none"), "here")), "invalid-input"],
  ])("refuses %s with a typed error", async (_, open, code) => {
    await expect(open()).rejects.toMatchObject({ code });
  });
});
