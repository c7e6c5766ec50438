import { backends, type LlamaCppOptions, llamacpp } from "@crossrank/backend-llamacpp";
import type { BackendSession } from "@crossrank/core";
import { describe, expect, onTestFinished, test } from "vitest";
import { boundsFor } from "../src/defaults.js";
import { convertedFolder, load } from "./fixtures.js";

async function loadFor(name: string, dtype: string, options: LlamaCppOptions = {}): Promise<BackendSession> {
  const folder = await convertedFolder(name, ["F32", "F16", "Q8_0"]);
  const session = await load(llamacpp({ isolation: "thread", ...options }), folder, { dtype });
  onTestFinished(() => session.dispose());
  return session;
}

describe("settings, bounds, and whether rows affect scores", () => {
  test("of an encoder", async () => {
    const exact = await loadFor("bert-logit", "F32");
    expect(exact.settings).toEqual({ flashAttention: "false", gpu: "false" });
    expect(exact.bounds).toMatchObject({ logit: 1e-2, cosine: 2e-3 });
    const half = await loadFor("bert-logit", "F16");
    expect(half.settings).toEqual({ flashAttention: "true", gpu: "false" });
    expect(half.bounds).toMatchObject({ logit: 4e-2, cosine: 1e-2 });
    expect((await loadFor("bert-logit", "Q8_0")).bounds).toBeUndefined();
    expect(half.capabilities.rowsAffectScores).toBe(false);
  });

  test("of a decoder: rows affect each other with flash attention", async () => {
    expect((await loadFor("qwen3-yes-no", "F32")).capabilities.rowsAffectScores).toBe(false);
    const flash = await loadFor("qwen3-yes-no", "F32", { flashAttention: true });
    expect(flash.settings["flashAttention"]).toBe("true");
    expect(flash.capabilities.rowsAffectScores).toBe(true);
  });

  test("contexts and threads are no settings", async () => {
    const one = await loadFor("bert-logit", "F32", { contexts: 1, threads: 1 });
    const two = await loadFor("bert-logit", "F32", { contexts: 2, threads: 2 });
    expect(two.settings).toEqual(one.settings);
  });

  test("flash attention widens float32's bounds", () => {
    expect(boundsFor("F32", true)).toMatchObject({ logit: 4e-2, reason: expect.stringMatching(/flash/) });
  });
});

describe("the descriptor", () => {
  const [descriptor] = backends;

  test("lists artifacts as the backend would take them", () => {
    const paths = [
      "a.gguf",
      "b-q8_0.gguf",
      "x/c-F16.gguf",
      "gguf/c-F16.gguf",
      "mmproj-F16.gguf",
      "model.onnx",
    ];
    expect(descriptor?.artifacts(paths)).toEqual([
      { dtype: "F16", path: "gguf/c-F16.gguf" },
      { dtype: "F16", path: "x/c-F16.gguf" },
      { dtype: "Q8_0", path: "b-q8_0.gguf" },
      { dtype: "?", path: "a.gguf" },
    ]);
    expect(descriptor?.candidates(paths)).toEqual([
      "gguf/c-F16.gguf",
      "a.gguf",
      "b-q8_0.gguf",
      "x/c-F16.gguf",
    ]);
  });

  test("makes the backend that it describes", async () => {
    const backend = await descriptor?.create({ threads: 1, workers: 1 });
    expect(backend).toMatchObject({ name: descriptor?.name, families: descriptor?.families });
  });
});
