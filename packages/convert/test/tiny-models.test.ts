import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import type { Backend } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { describe, expect, test } from "vitest";
import type { ArtifactWriter } from "../src/artifact-writer.js";
import { UnsupportedConversionError } from "../src/errors.js";
import { ggufWriter } from "../src/gguf/write-gguf.js";
import { createMlpackageWriter } from "../src/mlpackage/write-mlpackage.js";
import { createMnnWriter } from "../src/mnn/write-mnn.js";
import { createOnnxWriter, type OnnxTarget } from "../src/onnx/write-onnx.js";
import { sourceBackend } from "../src/reference/source-backend.js";
import { describeModel } from "../src/source/describe-model.js";
import { relativeBucket } from "../src/source/relative-bucket.js";
import { describeWithConverter, backend as mnnBackend } from "./mnn-scene.js";
import { filesOfTiny, profileOfTiny, type TinyModel, tinyModel, tinyModels, worstOf } from "./tiny-models.js";

const ofEachKind = ["qwen3-padding", "mistral-window", "modernbert-window", "mpnet-one-label"].map(tinyModel);

test.each(tinyModels)("$name: the reference gives transformers' logits", async (model) => {
  // Norms and softmax of the goldens are computed in float32.
  expect(await worstOf(model, sourceBackend(), filesOfTiny(model))).toBeLessThan(2e-6);
});

describe.each<OnnxTarget>(["onnxruntime", "plain"])("an ONNX graph for %s", (target) => {
  test.each(target === "plain" ? ofEachKind : tinyModels)("$name", async (model) => {
    expect(
      await worstIn(createOnnxWriter({ target }), onnx({ isolation: "thread", threads: 1 }), model),
    ).toBeLessThan(1e-5);
  });
});

describeWithConverter("a .mnn file", () => {
  test.each(ofEachKind)("$name", async (model) => {
    expect(await worstIn(createMnnWriter(), mnnBackend(), model)).toBeLessThan(1e-5);
  });
});

async function worstIn(writer: ArtifactWriter, backend: Backend, model: TinyModel): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-tiny-"));
  try {
    const [files, profile, dtype] = [filesOfTiny(model), profileOfTiny(model), "fp32"];
    const description = await describeModel(files, profile);
    const path = join(folder, writer.path(dtype));
    await mkdir(dirname(path));
    await writer.write({ files, profile, description, dtype, path, metadata: {} });
    await writeFile(join(folder, "config.json"), await files.readText("config.json"));
    return await worstOf(model, backend, await openModel(folder));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

test("the last token of a model without padding is the last one, whatever it is", async () => {
  const model = tinyModel("qwen3-padding");
  const { head } = await describeModel(filesOfTiny(model, { pad_token_id: null }), profileOfTiny(model));
  expect(head).toMatchObject({ pooling: "last" });
  expect(head).not.toHaveProperty("passedOver");
});

describe("what another runtime would compute otherwise is refused by name", () => {
  test.each<[string, RegExp, RegExp]>([
    ["mpnet-one-label", /llama\.cpp has no MPNet/, /bucketed positions/],
    ["qwen3-window-of-late-layers", /its attention sees a window/, /its tokens see earlier ones alone/],
    ["qwen2-one-label", /llama\.cpp's rank head of qwen2 the first/, /its tokens see earlier ones alone/],
    ["qwen2-window-by-layer-types", /its attention sees a window/, /its tokens see earlier ones alone/],
    ["gemma-default-padding", /rank head of gemma the first/, /its tokens see earlier ones alone/],
    ["llama-one-label", /does not write architecture llama as GGUF/, /its tokens see earlier ones alone/],
    ["mistral-window", /does not write architecture mistral as GGUF/, /its tokens see earlier ones alone/],
  ])("%s", async (name, gguf, mlpackage) => {
    const model = tinyModel(name);
    const profile = profileOfTiny(model);
    const description = await describeModel(filesOfTiny(model), profile);
    const checked = (writer: ArtifactWriter) => (): void => writer.check(description, profile);
    expect(checked(ggufWriter)).toThrow(UnsupportedConversionError);
    expect(checked(ggufWriter)).toThrow(gguf);
    expect(checked(createMlpackageWriter())).toThrow(UnsupportedConversionError);
    expect(checked(createMlpackageWriter())).toThrow(mlpackage);
  });
});

test("every distance has torch's bucket", () => {
  // transformers 5.24.0, MPNetEncoder.relative_position_bucket: the least key less query of each bucket that follows.
  const starts = [
    [-600, 15],
    [-90, 14],
    [-63, 13],
    [-45, 12],
    [-31, 11],
    [-22, 10],
    [-15, 9],
    [-11, 8],
    ...Array.from({ length: 8 }, (_, index): [number, number] => [index - 7, 7 - index]),
    ...Array.from({ length: 8 }, (_, index): [number, number] => [index + 1, 17 + index]),
    [12, 25],
    [16, 26],
    [23, 27],
    [32, 28],
    [46, 29],
    [64, 30],
    [91, 31],
  ] as const;
  for (let distance = -600; distance <= 600; distance += 1) {
    const expected = starts.findLast(([start]) => start <= distance)?.[1];
    expect(relativeBucket(distance, { buckets: 32, maxDistance: 128 }), String(distance)).toBe(expected);
  }
});
