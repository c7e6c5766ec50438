import { cp, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import { openReranker } from "crossrank";
import { beforeAll, describe, expect, it } from "vitest";
import { conformanceFixture, crossrankInTurn as crossrank, fixture, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
let model = "";

/** A cross-encoder, an .onnx of another name, one of another model, and one for a processor that no machine has. */
beforeAll(async () => {
  model = folder.path("model");
  await cp(conformanceFixture("bert-logit"), model, { recursive: true });
  for (const name of ["onnx/model_O3.onnx", "custom/any name.onnx", "onnx/model_qint8_ppc64le.onnx"]) {
    await mkdir(dirname(`${model}/${name}`), { recursive: true });
    await cp(`${model}/onnx/model.onnx`, `${model}/${name}`);
  }
});

const texts = ["--query", "red apple", "--documents", "-", "--format", "json"] as const;

async function rerank(
  ...args: readonly string[]
): Promise<{ code: number | null; stderr: string; path?: string; warnings?: readonly string[] }> {
  const { code, stdout, stderr } = await crossrank(["rerank", model, ...texts, ...args], {
    input: "apple\npear\n",
  });
  if (code !== 0) return { code, stderr };
  const { model: ran, warnings } = JSON.parse(stdout) as {
    readonly model: { readonly artifact: { readonly files: readonly { readonly path: string }[] } };
    readonly warnings: readonly { readonly code: string }[];
  };
  return { code, stderr, path: ran.artifact.files[0]?.path ?? "", warnings: warnings.map((one) => one.code) };
}

describe("--file", () => {
  it("runs the file that it names, and a precision's place takes one too", async () => {
    const path = "custom/any name.onnx";
    expect(await rerank("--file", path)).toMatchObject({ code: 0, path, warnings: [] });
    expect(await rerank("--backend", `onnx:${path}`)).toMatchObject({ code: 0, path });
    expect(await rerank("--dtype", "O3")).toMatchObject({ code: 0, path: "onnx/model_O3.onnx" });
    expect(await rerank()).toMatchObject({ code: 0, path: "onnx/model.onnx" });
  });

  it("is where a file for another processor runs, with a warning in the result", async () => {
    const path = "onnx/model_qint8_ppc64le.onnx";
    const left = await rerank("--dtype", "int8");
    expect(left.code).toBe(1);
    expect(left.stderr).toContain(`name the file in --file: ${path} is made for ppc64le`);
    expect(await rerank("--file", path)).toMatchObject({ code: 0, path, warnings: ["artifact-notes"] });
  });

  it("says what there is in place of a file that is not there", async () => {
    const { code, stderr } = await rerank("--file", "onnx/none.onnx");
    expect(code).toBe(1);
    expect(stderr).toContain("There is: custom/any name.onnx, onnx/model.onnx");
    expect(stderr).toContain("Name one of these in --file");
  });

  it("is taken by verify", async () => {
    const { code, stdout } = await crossrank([
      "verify",
      model,
      "--file",
      "onnx/model_O3.onnx",
      "--format",
      "json",
    ]);
    expect(code).toBe(0);
    expect(stdout).toContain('"onnx/model_O3.onnx"');
  });

  it("names the artifact of one backend: compare and eval say how to name several", async () => {
    const { code, stderr } = await crossrank([
      ...["compare", "--pairs", "none.jsonl", "--model", model, "--file", "onnx/model_O3.onnx"],
      ...["--backend", "onnx", "--backend", "onnx:fp32"],
    ]);
    expect(code).toBe(2);
    expect(stderr).toContain("--backend onnx:onnx/model_O3.onnx");
  });

  it("is an option of openReranker, and of no backend that was made already", async () => {
    const reranker = await openReranker(model, { file: "custom/any name.onnx" });
    expect(reranker.session.artifact.files[0]?.path).toBe("custom/any name.onnx");
    await reranker.dispose();
    await expect(openReranker(model, { file: "a.onnx", backend: onnx() })).rejects.toMatchObject({
      code: "invalid-input",
      path: "file",
    });
  });
});

it("a graph of one logit is a cross-encoder, whatever config.json calls its body", async () => {
  const { readFile, writeFile } = await import("node:fs/promises");
  const odd = folder.path("odd");
  await cp(conformanceFixture("bert-logit"), odd, { recursive: true });
  const config = JSON.parse(await readFile(`${odd}/config.json`, "utf8")) as Record<string, unknown>;
  const scores = async (): Promise<readonly (number | null)[]> => {
    const reranker = await openReranker(odd);
    const { results } = await reranker.rerank({ query: "red apple", documents: ["apple", "pear"] });
    await reranker.dispose();
    return results.map(({ logit }) => logit);
  };
  const expected = await scores();
  for (const change of [
    { architectures: ["JinaBertModel"], id2label: null, auto_map: { AutoModel: "x--y.JinaBertModel" } },
    { architectures: ["BertModel"] },
    { architectures: null },
    { architectures: ["BertForSequenceClassification"], id2label: null, num_labels: null },
  ]) {
    await writeFile(`${odd}/config.json`, JSON.stringify({ ...config, ...change }));
    expect(await scores()).toEqual(expected);
  }
  // A decoder's prompt is not in its tokenizer.
  for (const change of [
    { architectures: ["Qwen3Model"], model_type: "qwen3" },
    { architectures: ["LlamaModel"], model_type: "llama" },
  ]) {
    await writeFile(`${odd}/config.json`, JSON.stringify({ ...config, ...change }));
    await expect(openReranker(odd)).rejects.toMatchObject({ code: "model-profile" });
  }
  // Vectors are no logits.
  await cp(`${fixture("bi-encoder")}/onnx/model.onnx`, `${odd}/onnx/model.onnx`);
  await writeFile(`${odd}/config.json`, JSON.stringify({ ...config, architectures: ["BertModel"] }));
  await expect(openReranker(odd)).rejects.toMatchObject({ code: "model-profile" });
});

describe("inspect", () => {
  let alike = "";
  beforeAll(async () => {
    alike = folder.path("alike");
    await cp(conformanceFixture("bert-logit"), alike, { recursive: true });
    await cp(`${alike}/onnx/model.onnx`, `${alike}/onnx/second.onnx`);
    await rename(`${alike}/onnx/model.onnx`, `${alike}/onnx/first.onnx`);
    await rm(`${alike}/model.safetensors`, { force: true });
    const config = JSON.parse(await readFile(`${alike}/config.json`, "utf8")) as Record<string, unknown>;
    delete config["architectures"];
    await writeFile(`${alike}/config.json`, JSON.stringify(config));
  });

  interface Shown {
    readonly refused?: { readonly code: string };
    readonly artifacts: readonly { readonly path: string; readonly taken: string }[];
  }
  const inspected = async (...args: readonly string[]) => {
    const { code, stdout, stderr } = await crossrank(["inspect", ...args, "--format", "json"]);
    const shown = stdout === "" ? undefined : (JSON.parse(stdout) as Shown);
    const asked = shown?.artifacts.filter(({ taken }) => taken === "asked").map(({ path }) => path);
    return { code, stderr, shown, asked };
  };

  it("takes --file and --dtype as rerank does", async () => {
    expect(await inspected(model, "--file", "custom/any name.onnx")).toMatchObject({
      code: 0,
      asked: ["custom/any name.onnx"],
    });
    expect(await inspected(model, "--dtype", "O3")).toMatchObject({ code: 0, asked: ["onnx/model_O3.onnx"] });
    expect(await inspected(model, "--dtype", "fp32")).toMatchObject({ code: 0, asked: ["onnx/model.onnx"] });
    expect(await inspected(model)).toMatchObject({ code: 0, asked: [] });
    expect(await inspected(model, "--file", "onnx/none.onnx")).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("Name one of these in --file"),
    });
    expect(await inspected(alike, "--dtype", "fp16")).toMatchObject({ code: 1, shown: undefined });
  });

  it("lists the artifacts of a model that it refuses, and none as taken where several are alike", async () => {
    const { code, stderr, shown } = await inspected(alike);
    expect(code).toBe(1);
    expect(stderr).toContain("architectures");
    expect(shown?.refused?.code).toBe("model-profile");
    expect(shown?.artifacts.map(({ path, taken }) => [path, taken])).toEqual([
      ["onnx/first.onnx", "file"],
      ["onnx/second.onnx", "file"],
    ]);
    const { code: same, stdout } = await crossrank(["inspect", alike]);
    expect(same).toBe(1);
    expect(stdout).toMatch(/refused: [\s\S]*--file onnx\/second\.onnx/);
    expect(await inspected(alike, "--file", "onnx/second.onnx")).toMatchObject({
      code: 0,
      asked: ["onnx/second.onnx"],
    });
  });
});

describe("a precision behind a name", () => {
  it("is for repositories, which a folder is told", async () => {
    for (const args of [
      ["inspect", `${model}:int8`],
      ["rerank", `${model}:int8`, ...texts],
    ]) {
      const { code, stderr } = await crossrank(args, { input: "apple\n" });
      expect(code).toBe(1);
      expect(stderr).toContain("for repositories");
      expect(stderr).toContain("--dtype");
    }
  });
});
