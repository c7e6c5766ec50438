import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mlx } from "@crossrank/backend-mlx";
import type { LoadRequest } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { serialize } from "../../convert/test/source-files.js";
import {
  filesOfTiny,
  profileOfTiny,
  type TinyModel,
  tinyLanguageModels,
  tinyModel,
  tinyModels,
  worstOf,
} from "../../convert/test/tiny-models.js";
import { describeNative, temporaryFolder } from "./fixtures.js";

const backend = mlx({ isolation: "thread" });

/** The model's files in a folder, which the addon reads itself. */
async function folderOf(model: TinyModel): Promise<string> {
  const [folder, files] = [temporaryFolder(), filesOfTiny(model)];
  for (const { path, size = 0 } of await files.list())
    writeFileSync(join(folder, path), await files.readBytes(path, { start: 0, end: size }));
  return folder;
}

/** Its weights are divided by a number, and as such in no file. */
const divided = tinyModel("llama-bidirectional-temperature");

/** Caps of scores and logits that bend, and heads that share keys. */
const bends = ({ name }: TinyModel): boolean => name === "gemma2-answers";

// What no fixture of packages/conformance has: windows by layer, scaled positions, decoders without a causal mask, MPNet,
// Gemma 2 and 3.
describeNative("transformers' logits of", () => {
  const models = [
    ...sampleOf(tinyModels, { name: "mlx", every: 3, always: (model) => model === divided }),
    ...sampleOf(tinyLanguageModels, { name: "mlx answers", every: 2, always: bends }),
  ];
  test.each(models)("$name", async (model) => {
    const files = await openModel(await folderOf(model));
    expect(await worstOf(model, backend, files)).toBeLessThan(1e-5);
  });

  test("weights of several files, all of which are what was loaded", async () => {
    const folder = await folderOf(divided);
    const names = [...divided.tensors.keys()];
    const shards = { "model-00001-of-00002.safetensors": names.filter((name) => name !== "score.weight") };
    const weightMap: Record<string, string> = {};
    for (const [path, of] of Object.entries({
      ...shards,
      "model-00002-of-00002.safetensors": ["score.weight"],
    })) {
      const tensors = new Map([...divided.tensors].filter(([name]) => of.includes(name)));
      writeFileSync(join(folder, path), serialize(tensors));
      for (const name of of) weightMap[name] = path;
    }
    writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ weight_map: weightMap }));
    rmSync(join(folder, "model.safetensors"));
    const files = await openModel(folder);
    const request: LoadRequest = {
      files,
      profile: profileOfTiny(divided),
      output: { kinds: ["class-logits"] },
    };
    const session = await backend.load(request);
    expect(session.artifact.files.map(({ path }) => path).sort()).toEqual([
      "model-00001-of-00002.safetensors",
      "model-00002-of-00002.safetensors",
      "model.safetensors.index.json",
    ]);
    await session.dispose();
    expect(await worstOf(divided, backend, files)).toBeLessThan(1e-5);
  });
});
