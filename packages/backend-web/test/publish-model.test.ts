import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publishModel } from "@crossrank/backend-web/files";
import { readProfile } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { afterAll, describe, expect, test } from "vitest";
import { fixture } from "../../backend-onnx/test/fixtures.js";
import { listName } from "../src/file-list.js";
import { fixtureFolder } from "./browser/scene.js";

const folder = await mkdtemp(join(tmpdir(), "crossrank-publish-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

let models = 0;

/** A copy of a fixture with other files; what is undefined goes. */
async function modelOf(name: string, changes: Readonly<Record<string, string | undefined>>): Promise<string> {
  models += 1;
  const model = join(folder, String(models));
  await cp(fixtureFolder(name), model, { recursive: true });
  for (const [path, text] of Object.entries(changes)) {
    if (text === undefined) await rm(join(model, path), { recursive: true, force: true });
    else await writeFile(join(model, path), text);
  }
  return model;
}

const pathsOf = (files: readonly { readonly path: string }[]): readonly string[] =>
  files.map(({ path }) => path);

const base = (id: string, more = ""): string => `---\nbase_model: ${id}\n${more}---\n# A model\n`;
const noPrompts = { "config_sentence_transformers.json": undefined, "crossrank.json": undefined };
const noPromptOfItsOwn = {
  "modules.json": undefined,
  "1_LogitScore": undefined,
  "sentence_bert_config.json": undefined,
  "config_sentence_transformers.json": undefined,
  "chat_template.jinja": undefined,
  "model.safetensors": undefined,
};

describe("a published model is to the page what its folder is to Node.js", () => {
  test.each<[string, string, Readonly<Record<string, string | undefined>>, string | undefined]>([
    [
      "known by what its card quotes",
      "bert-cosine-mean",
      { ...noPrompts, "README.md": 'Each input text should start with "query: " or "passage: ".' },
      "query: ",
    ],
    [
      "known by its card, beside facts of its own",
      "bert-cosine-mean",
      {
        ...noPrompts,
        "crossrank.json": '{ "documentPrefix": "d: " }',
        "README.md": base("BAAI/bge-small-en-v1.5", "base_model_relation: quantized\n"),
      },
      "Represent this sentence for searching relevant passages: ",
    ],
    [
      "with weights that may be trained further",
      "bert-cosine-mean",
      { ...noPrompts, "README.md": base("BAAI/bge-small-en-v1.5") },
      "",
    ],
    [
      "a finetune by its own word",
      "bert-cosine-mean",
      { ...noPrompts, "README.md": base("BAAI/bge-small-en-v1.5", "base_model_relation: finetune\n") },
      "",
    ],
    ["of which nothing is known", "bert-cosine-mean", noPrompts, ""],
    [
      "a language model known by its card",
      "qwen3-yes-no",
      { ...noPromptOfItsOwn, "README.md": base("Qwen/Qwen3-Reranker-0.6B") },
      undefined,
    ],
    ["that says all there is", "bert-logit", {}, undefined],
  ])("%s", async (_, name, changes, prefix) => {
    const source = await modelOf(name, changes);
    const target = `${source} published`;
    await publishModel(source, target);
    const { profile } = await readProfile(await openModel(source));
    expect((await readProfile(await openModel(target))).profile).toEqual(profile);
    if (prefix !== undefined) expect(profile.queryPrefix).toBe(prefix);
    const again = await publishModel(source, target);
    expect(JSON.parse(await readFile(join(target, listName), "utf8"))).toEqual(again);
  });

  test("and one that Node.js refuses is refused there", async () => {
    const config = JSON.parse(
      await readFile(join(fixtureFolder("qwen3-yes-no"), "config.json"), "utf8"),
    ) as object;
    const source = await modelOf("qwen3-yes-no", {
      ...noPromptOfItsOwn,
      "config.json": JSON.stringify({ ...config, _name_or_path: "Qwen/Qwen3-Reranker-0.6B" }),
      "README.md": base("Qwen/Qwen3-Reranker-0.6B", "base_model_relation: finetune\n"),
    });
    const target = `${source} published`;
    await publishModel(source, target);
    for (const place of [source, target]) {
      await expect(openModel(place).then((model) => readProfile(model))).rejects.toMatchObject({
        code: "model-profile",
      });
    }
  });
});

test("a target within the source is no part of the model", async () => {
  const source = await modelOf("bert-logit", {});
  const first = await publishModel(source, join(source, "public/model"));
  expect(await publishModel(source, join(source, "public/model"))).toEqual(first);
  expect(await publishModel(join(source, "public/model"), join(folder, "of a copy"))).toEqual(first);
});

test("weights go along under whatever name the graph gives them", async () => {
  const source = await modelOf("bert-logit", { onnx: undefined, "model.safetensors": undefined });
  const external = fixture("cross-encoder-external");
  const graph = await readFile(join(external, "onnx/model.onnx"), "latin1");
  // Of the same length, so that the message stays one.
  expect(graph).toContain("model.onnx_data");
  await writeFile(
    join(source, "model.onnx"),
    graph.replaceAll("model.onnx_data", "model-data1.bin"),
    "latin1",
  );
  await cp(join(external, "onnx/model.onnx_data"), join(source, "model-data1.bin"));
  await writeFile(join(source, "model-other.bin"), "of PyTorch");
  const paths = pathsOf(await publishModel(source, `${source} published`));
  expect(paths).toContain("model-data1.bin");
  expect(paths).not.toContain("model-other.bin");
});

test("links are followed to files within the model, and to nothing else", async () => {
  const source = await modelOf("bert-logit", {});
  const plain = pathsOf(await publishModel(source, `${source} published`));
  await symlink("onnx", join(source, "linked"));
  await symlink(join(folder, "nowhere"), join(source, "dangling.txt"));
  expect(pathsOf(await publishModel(source, `${source} published`))).toEqual(plain);
  await symlink("config.json", join(source, "other.json"));
  expect(pathsOf(await publishModel(source, `${source} published`))).toContain("other.json");
  await mkdir(join(folder, "secrets"), { recursive: true });
  await writeFile(join(folder, "secrets/key.json"), "{}");
  await symlink(join(folder, "secrets/key.json"), join(source, "key.json"));
  await expect(publishModel(source, `${source} published`)).rejects.toMatchObject({ code: "unsafe-path" });
});
