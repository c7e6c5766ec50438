import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import {
  type Backend,
  createReranker,
  type Head,
  type ModelFiles,
  type ModelProfile,
  readProfile,
} from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { describe, expect, onTestFinished, test } from "vitest";
import { UnsupportedConversionError } from "../../convert/src/errors.js";
import { ggufWriter } from "../../convert/src/gguf/write-gguf.js";
import { sourceBackend } from "../../convert/src/reference/source-backend.js";
import { describeModel } from "../../convert/src/source/describe-model.js";
import {
  type EditableModel,
  floatTensor,
  readFixture,
  serialize,
  withFiles,
} from "../../convert/test/source-files.js";
import { llamacpp } from "../src/index.js";

const query = "what is red";
const documents = ["The sky is blue today.", "water is wet and cold", "Mars is red", ""];

interface Classifier {
  readonly files: ModelFiles;
  readonly profile: ModelProfile;
}

/** A decoder of the fixtures with a classifier of so many classes in place of its answers. */
async function classifier(
  fixture: string,
  classes: number,
  settings: Readonly<Record<string, unknown>> = {},
): Promise<Classifier & { readonly model: EditableModel }> {
  const model = await readFixture(fixture);
  const { profile: answers } = await readProfile(model.files);
  const hidden = Number(model.config["hidden_size"]);
  const numbers = Array.from({ length: classes * hidden }, (_, index) => 0.4 * Math.sin(1 + 0.7 * index));
  const tensors = new Map(model.tensors).set("score.weight", floatTensor([classes, hidden], numbers));
  const head: Head =
    classes === 1
      ? { kind: "logit" }
      : classes === 2
        ? { kind: "two-class", positive: 0 }
        : { kind: "class", positive: 1, classes };
  const profile: ModelProfile = { ...answers, family: "cross-encoder", head, activation: "identity" };
  const config = { ...model.config, pad_token_id: answers.paddingId, num_labels: classes, ...settings };
  const files = withFiles(model, {
    "config.json": JSON.stringify(config),
    "model.safetensors": serialize(tensors),
    "crossrank.json": JSON.stringify(profile),
    "modules.json": undefined,
  });
  return { files, profile, model };
}

async function logits(model: ModelFiles, backend: Backend): Promise<readonly (number | null)[]> {
  const reranker = await createReranker({ model, backend });
  try {
    const pairs = documents.map((document) => ({ query, document }));
    return (await reranker.score(pairs)).scores.map(({ logit }) => logit);
  } finally {
    await reranker.dispose();
  }
}

describe("a classifier of a Qwen3 as llama.cpp's rank head", () => {
  test.each([1, 2, 3])("of %i classes gives what the weights give", async (classes) => {
    const { files, profile } = await classifier("qwen3-yes-no", classes);
    const folder = await mkdtemp(join(tmpdir(), "crossrank-classes-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const path = join(folder, ggufWriter.path("F32"));
    await mkdir(dirname(path));
    const description = await describeModel(files, profile);
    await ggufWriter.write({ files, profile, description, dtype: "F32", path, metadata: {} });
    for (const name of ["config.json", "tokenizer.json", "tokenizer_config.json", "crossrank.json"])
      await writeFile(join(folder, name), await files.readText(name));
    const expected = await logits(files, sourceBackend());
    const given = await logits(await openModel(folder), llamacpp({ isolation: "thread", threads: 1 }));
    expect(new Set(expected).size).toBe(documents.length);
    for (const [index, logit] of given.entries())
      expect(Math.abs(Number(logit) - Number(expected[index]))).toBeLessThan(1e-4);
  });

  test("is refused where llama.cpp would read another token", async () => {
    const refuses = async ({ files, profile }: Classifier, message: RegExp): Promise<void> => {
      const description = await describeModel(files, profile);
      expect(() => ggufWriter.check?.(description, profile)).toThrow(UnsupportedConversionError);
      expect(() => ggufWriter.check?.(description, profile)).toThrow(message);
    };
    await refuses(await classifier("qwen2-one-zero", 1), /reads the last token, and .* of qwen2 the first/);
    await refuses(await classifier("gemma-yes", 2), /reads the last token, and .* of gemma the first/);
    const { files, profile } = await classifier("qwen3-yes-no", 1);
    const end = { token: "<pad>", id: profile.paddingId, segment: 0 as const };
    const pairTemplate = [...profile.pairTemplate, end];
    await refuses({ files, profile: { ...profile, pairTemplate } }, /may end with token \d+, which its/);
    // Without padding of its own, a model reads the last token too.
    const open = await classifier("qwen3-yes-no", 1, { pad_token_id: null });
    const description = await describeModel(open.files, open.profile);
    expect(() => ggufWriter.check?.(description, { ...open.profile, pairTemplate })).not.toThrow();
  });
});
