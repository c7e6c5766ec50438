import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { loadModel, readProfile } from "@crossrank/core";
import { readGoldens, verify } from "@crossrank/core/verify";
import { openModel } from "@crossrank/hub";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { convert } from "../src/convert.js";
import { ctranslate2Writer } from "../src/ctranslate2/write-ctranslate2.js";
import { UnsupportedConversionError } from "../src/errors.js";
import { ggufWriter } from "../src/gguf/write-gguf.js";
import { createMlpackageWriter } from "../src/mlpackage/write-mlpackage.js";
import { createOnnxWriter } from "../src/onnx/write-onnx.js";
import { sourceBackend } from "../src/reference/source-backend.js";
import { defaultPairs, sourceGoldens } from "../src/reference/source-goldens.js";
import { describeModel } from "../src/source/describe-model.js";
import { temporaryFolder } from "./onnx-files.js";

const fixtures = fileURLToPath(new URL("../../conformance/fixtures/", import.meta.url));
/** An expansion that is not attended; none, with windows and residual layers; one that is attended, in the original form. */
const names = ["bert-late", "modernbert-late", "bert-late-original"] as const;

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.close());

/** A copy without its ONNX file, which may be changed. */
async function copyOf(name: string, as: string): Promise<string> {
  const target = join(folder.path, as);
  await cp(join(fixtures, name), target, { recursive: true });
  await writeFile(join(target, "onnx", "model.onnx"), "");
  return target;
}

async function change(path: string, edit: (json: Record<string, unknown>) => Record<string, unknown>) {
  await writeFile(path, JSON.stringify(edit(JSON.parse(await readFile(path, "utf8")))));
}

describe.each(names)("%s", (name) => {
  test("from its weights, it is what PyLate gives", async () => {
    const files = await openModel(join(fixtures, name));
    const goldens = await readGoldens(files);
    if (goldens === undefined) throw new Error("no goldens");
    const result = await verify({ model: files, backend: sourceBackend(), goldens, tolerance: 2e-5 });
    expect([result.passed, result.summary.tokensDifferent, result.summary.compared]).toEqual([true, 0, 80]);
  });

  // Between them every operator of masks: ONNX Runtime's own attention, and written out.
  test.each([
    ["onnxruntime", "fp32", 1e-4],
    ["plain", "fp32", 1e-4],
    ["onnxruntime", "fp16", 0.15],
    ["onnxruntime", "int8", 4],
  ] as const)("as ONNX for %s in %s, too", async (target, dtype, tolerance) => {
    const root = await copyOf(name, `${name}-${target}-${dtype}`);
    const files = await openModel(root);
    const { profile } = await readProfile(files);
    const description = await describeModel(files, profile);
    await mkdir(join(root, "onnx"), { recursive: true });
    const path = join(root, "onnx", "model.onnx");
    await createOnnxWriter({ target }).write({ files, description, profile, dtype, path, metadata: {} });
    const goldens = await readGoldens(files);
    if (goldens === undefined) throw new Error("no goldens");
    const backend = onnx({ workers: 1, threads: 1, isolation: "thread", file: "onnx/model.onnx" });
    const result = await verify({ model: files, backend, goldens, tolerance });
    expect([result.summary.tokensDifferent, result.summary.maximum]).toEqual([0, expect.any(Number)]);
    expect(result.summary.maximum).toBeLessThan(tolerance);
    expect(result.passed).toBe(true);
  });

  test("its own goldens hold, tokens and numbers", async () => {
    const files = await openModel(join(fixtures, name));
    const { profile } = await readProfile(files);
    const goldens = await sourceGoldens(files, profile, defaultPairs(48));
    const backend = onnx({ workers: 1, threads: 1, isolation: "thread" });
    const { passed, summary } = await verify({ model: files, backend, goldens });
    expect(passed).toBe(true);
    expect(summary.tokensDifferent).toBe(0);
  });

  test("it has no place in a GGUF, a Core ML package or CTranslate2, which is said with the runtimes that have one", async () => {
    const files = await openModel(join(fixtures, name));
    const { profile } = await readProfile(files);
    const description = await describeModel(files, profile);
    for (const [writer, reason] of [
      [ggufWriter, /late interaction wants the vectors of all tokens.*Take onnx or mnn, or .* with mlx/],
      [createMlpackageWriter(), /late interaction model.*Take onnx or mnn, or .* with mlx/],
      [ctranslate2Writer, /late interaction.*CTranslate2.*Take onnx or mnn, or .* with mlx/],
    ] as const) {
      const check = (): void => writer.check(description, profile);
      expect(check).toThrow(UnsupportedConversionError);
      expect(check).toThrow(reason);
    }
  });
});

test("a checkpoint of the original is copied with its projection in a file of its own, and scores as before", async () => {
  const root = await copyOf("bert-late-original", "whole");
  const output = join(folder.path, "converted");
  const backend = onnx({ workers: 1, threads: 1, isolation: "thread" });
  await convert({ model: await openModel(root), to: "onnx", output, backend });
  const files = await openModel(output);
  expect((await files.list()).map(({ path }) => path)).toContain("projection.safetensors");
  const { profile } = await readProfile(files);
  expect(profile.head).toMatchObject({
    modules: [{ file: "projection.safetensors", weight: "linear.weight" }],
  });
  const goldens = await readGoldens(await openModel(join(fixtures, "bert-late-original")));
  if (goldens === undefined) throw new Error("no goldens");
  const { passed, summary } = await verify({ model: files, backend, goldens, tolerance: 1e-4 });
  expect([passed, summary.tokensDifferent]).toEqual([true, 0]);
});

test("an expansion that sees none of the query is refused, and not computed somehow", async () => {
  const root = await copyOf("modernbert-late", "window");
  await change(join(root, "config_sentence_transformers.json"), (settings) => ({
    ...settings,
    do_query_expansion: true,
  }));
  const files = await openModel(root);
  await expect(readProfile(files)).rejects.toThrow(
    /20 tokens that the query does not attend to.*see 5 places/,
  );
  // Whoever says what it is gets what the weights give, or an error.
  const { profile } = await readProfile(await openModel(join(fixtures, "modernbert-late")));
  if (profile.lateTemplate === undefined) throw new Error("no template");
  const lateTemplate = { ...profile.lateTemplate, expansion: { token: 1191, attended: false } };
  await using model = await loadModel({ model: files, backend: sourceBackend(), profile: { lateTemplate } });
  const reranker = await model.createReranker({ probe: false });
  await expect(reranker.score([{ query: "tea", document: "coffee" }])).rejects.toThrow(/no attended token/);
});
