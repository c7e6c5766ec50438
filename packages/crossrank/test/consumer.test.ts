import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readProfile } from "@crossrank/core";
import { openFolder } from "@crossrank/hub";
import { describe, expect, it } from "vitest";
import { consumerContract, sectionsOf } from "../src/consumer/contract.js";
import { pythonConsumer } from "../src/consumer/python.js";
import { swiftConsumer } from "../src/consumer/swift.js";
import { conformanceFixture, crossrankInTurn as crossrank, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const repository = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const coreml = (name: string): string =>
  repository(`packages/backend-coreml/test/fixtures/${name}.mlpackage`);

/** A fixture, with a Core ML package where there is one of it. */
async function modelWith(name: string, artifact?: string): Promise<string> {
  const path = folder.path(name);
  await cp(conformanceFixture(name), path, { recursive: true });
  if (artifact !== undefined)
    await cp(coreml(artifact), join(path, "mlpackage", "model.mlpackage"), { recursive: true });
  return path;
}

async function contractOf(name: string, artifact?: string) {
  const files = await openFolder(await modelWith(name, artifact));
  const { profile } = await readProfile(files);
  const { signal } = new AbortController();
  return consumerContract(files, profile, artifact && "mlpackage/model.mlpackage", signal);
}

describe("the contract of a program", () => {
  it("is the seed's form for its port: 4 axes, no segments, the doubled separator", async () => {
    const contract = await contractOf("xlm-roberta-logit", "xlm-roberta-logit_seed-port");
    expect(contract.template).toEqual([
      { ids: [0], segment: 0 },
      { parts: [{ text: "query", trim: false }], segment: 0 },
      { ids: [2, 2], segment: 0 },
      { parts: [{ text: "document", trim: false }], segment: 0 },
      { ids: [2], segment: 0 },
    ]);
    expect(contract.artifact).toMatchObject({
      rows: 20,
      inputs: [
        { name: "input_ids", source: "ids", rank: 4 },
        { name: "attention_mask", source: "mask", rank: 4 },
      ],
      output: { name: "logit", columns: 1 },
      reading: { kind: "logit" },
    });
    // What is shown as examples is what the command writes.
    const place = folder.path("written");
    for (const [to, files] of [
      ["python", ["predict.py"]],
      ["swift", ["Package.swift", "Sources/Predict/main.swift"]],
    ] as const) {
      const { code, stderr } = await crossrank([
        "consumer",
        folder.path("xlm-roberta-logit"),
        "--to",
        to,
        "-o",
        place,
      ]);
      expect({ code, stderr }).toMatchObject({ code: 0 });
      for (const file of files) {
        const shown = await readFile(repository(`examples/${to}/${file}`), "utf8");
        expect(await readFile(join(place, file), "utf8")).toBe(shown);
      }
    }
  });

  it("has the segments of BERT, no package of a yes/no model, and the single text of a bi-encoder", async () => {
    const bert = await contractOf("bert-logit", "bert-logit_plain");
    expect(bert.template.map(({ segment }) => segment)).toContain(1);
    expect(bert.artifact?.inputs.map(({ source }) => source)).toContain("segments");
    const yesNo = await contractOf("qwen3-yes-no");
    expect(yesNo).toMatchObject({ family: "causal-lm", artifact: null });
    expect(yesNo.instructedTemplate).not.toBeNull();
    const pair = await contractOf("bert-cosine-mean");
    expect(pair).toMatchObject({ family: "bi-encoder", artifact: null });
    for (const contract of [bert, yesNo, pair]) {
      // Every constant is one that the other language can read.
      expect(pythonConsumer(contract)).toMatch(/^TEMPLATE = \[\n/m);
      expect(pythonConsumer(contract)).not.toMatch(/\b(undefined|null|true|false)\b,/);
      expect(swiftConsumer(contract)).not.toMatch(/undefined|null\b/);
    }
  });

  it("refuses families without a program, and what is no package", async () => {
    await expect(contractOf("qwen3-listwise")).rejects.toThrow(/is a listwise/);
    const model = folder.path("bert-logit");
    const asked = ["consumer", model, "--to", "python", "-o", folder.path("none"), "--artifact"];
    expect(await crossrank([...asked, "mlpackage/other.mlpackage"])).toMatchObject({ code: 2 });
  });

  it("writes no text into a literal that could end it", async () => {
    const contract = await contractOf("bert-two-class");
    const hostile = '"\\(exit(1))\n"""\u2028\u0000\ud800';
    const swift = swiftConsumer({ ...contract, model: hostile, queryPrefix: hostile });
    const line = swift.split("\n").find((one) => one.includes("queryPrefix ="));
    expect(line).toMatch(/^ {4}static let queryPrefix = "[^"\\]*(\\u\{[0-9a-f]+\}[^"\\]*)*"$/);
    const python = pythonConsumer({ ...contract, queryPrefix: hostile });
    expect(python.split("\n").find((one) => one.startsWith("QUERY_PREFIX"))).toBe(
      `QUERY_PREFIX = ${JSON.stringify(hostile)}`,
    );
  });

  it("leaves a file alone that it did not write", async () => {
    const place = folder.path("by-hand");
    await mkdir(place);
    await writeFile(join(place, "predict.py"), "print('mine')\n");
    const { code, stderr } = await crossrank([
      "consumer",
      folder.path("bert-logit"),
      "--to",
      "python",
      "-o",
      place,
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain("was not written by crossrank consumer");
    expect(await readFile(join(place, "predict.py"), "utf8")).toBe("print('mine')\n");
  });
});

it("joins adjacent wording and texts into one string, and keeps apart what a token or a split parts", () => {
  expect(
    sectionsOf([
      { token: "<s>", id: 1, segment: 0 },
      { token: "<x>", id: 2, segment: 0 },
      { literal: "Query: ", segment: 0 },
      { text: "query", segment: 0 },
      { split: true },
      { text: "document", segment: 1, trim: true },
      { literal: "\n", segment: 1 },
    ]),
  ).toEqual([
    { ids: [1, 2], segment: 0 },
    { parts: [{ literal: "Query: " }, { text: "query", trim: false }], segment: 0 },
    { parts: [{ text: "document", trim: true }, { literal: "\n" }], segment: 1 },
  ]);
});
