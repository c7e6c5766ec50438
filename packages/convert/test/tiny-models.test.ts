import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import type { Backend } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { describe, expect, test } from "vitest";
import type { ArtifactWriter } from "../src/artifact-writer.js";
import { createMnnWriter } from "../src/mnn/write-mnn.js";
import { createOnnxWriter, type OnnxTarget } from "../src/onnx/write-onnx.js";
import { sourceBackend } from "../src/reference/source-backend.js";
import { describeModel } from "../src/source/describe-model.js";
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
