import { describe, expect, test } from "vitest";
import { crossrankInTurn } from "./run-command.js";

interface Listed {
  readonly models: readonly {
    readonly id: string;
    readonly languages: readonly string[] | null;
    readonly parameters: number | null;
    readonly licence: { readonly value: string; readonly source: string } | null;
    readonly formats: readonly string[] | null;
    readonly evidence: readonly { readonly what: string; readonly source: string }[];
  }[];
  readonly unknown: number;
}

async function listed(...args: readonly string[]): Promise<Listed> {
  const { code, stdout, stderr } = await crossrankInTurn(["models", "--json", ...args]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as Listed;
}

describe("models", () => {
  test("each is there once, with what is held of it and where that is from", async () => {
    const { models, unknown } = await listed();
    expect(unknown).toBe(0);
    expect(models.length).toBeGreaterThan(50);
    expect(new Set(models.map(({ id }) => id)).size).toBe(models.length);
    for (const { id, evidence, licence, languages } of models) {
      expect(evidence.length, id).toBeGreaterThan(0);
      for (const { what, source } of evidence) {
        expect(["scores", "catalogue", "form", "embedded"]).toContain(what);
        expect(source).toMatch(/\S/);
      }
      if (licence !== null) expect(licence.source).toMatch(/\S/);
      for (const language of languages ?? []) expect(language).toMatch(/^([a-z]{2}|multilingual)$/);
    }
    expect(models[0]).toMatchObject({ id: "nano", evidence: [{ what: "embedded" }] });
  });

  test("filters leave out what is not held, and say how many", async () => {
    const all = await listed();
    const japanese = await listed("--language", "ja");
    expect(japanese.models.map(({ id }) => id)).toContain("hotchpotch/japanese-reranker-xsmall-v2");
    for (const { languages } of japanese.models) {
      expect(languages?.some((one) => one === "ja" || one === "multilingual")).toBe(true);
    }
    expect(japanese.unknown).toBe(all.models.filter(({ languages }) => languages === null).length);
    const small = await listed("--max-size", "0.6B");
    expect(small.models.map(({ id }) => id)).toContain("Qwen/Qwen3-Reranker-0.6B");
    for (const { parameters } of small.models) expect(parameters).toBeLessThanOrEqual(600);
    const free = await listed("--licence", "MIT, apache-2.0");
    for (const { licence } of free.models) expect(["mit", "apache-2.0"]).toContain(licence?.value);
    const onnx = await listed("--backend", "onnx", "--language", "en");
    for (const { formats } of onnx.models) expect(formats?.join()).toMatch(/onnx|safetensors/);
    const none = await listed("--language", "ja", "--max-size", "1M");
    expect(none.models).toEqual([]);
  });

  test("a table for people", async () => {
    const { stdout, code } = await crossrankInTurn(["models", "--language", "de"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^model +languages +size +licence +tokens +files +held\n/);
    expect(stdout).toMatch(/\n\d+ models; of \d+ more it is not held what the options ask for\n$/);
  });

  test.each([
    ["--max-size", "big"],
    ["--max-size", "-1B"],
    ["--backend", "none"],
  ])("%s %s is wrong usage", async (...args) => {
    expect(await crossrankInTurn(["models", ...args])).toMatchObject({ code: 2, stdout: "" });
  });
});
