import { spawnSync } from "node:child_process";
import { cp, mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { mnn } from "@crossrank/backend-mnn";
import { beforeAll, describe, expect, it } from "vitest";
import {
  conformanceFixture,
  crossrankInTurn as crossrank,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();

const python = process.env["PYTHON"] || "python3";
const imported = spawnSync(python, ["-c", "import _tools; _tools.mnnconvert"]);
const { available, detail } = await mnn().diagnose();
const required = process.env["CROSSRANK_REQUIRE_MNN_CONVERTER"] === "1";
const canConvert = (available && imported.status === 0) || required;
if (!canConvert) {
  const reason = available ? `${python} has no package MNN, which PYTHON may name another for` : detail;
  console.warn(`SKIPPED: crossrank convert --to mnn by MNN itself. ${reason}`);
}

/** One line on standard error, nothing on standard output. */
function expectFailure({ code, stdout, stderr }: Outcome, problem: RegExp): void {
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(/^crossrank: [^\n]+\n$/);
  expect(stderr).toMatch(problem);
  expect(stderr).not.toContain("not expected");
}

describe("convert --to mnn without MNN's converter", () => {
  const args = ["convert", conformanceFixture("bert-logit"), "--to", "mnn", "--no-verify"];

  it("says what to install where there is no Python", async () => {
    const empty = folder.path("empty");
    await mkdir(empty);
    const output = folder.path("none");
    const outcome = await crossrank([...args, "--output", output], {
      environment: { PATH: empty, PYTHON: "" },
    });
    expectFailure(outcome, /^crossrank: MNN's converter is a Python package, and python3 is not there\./);
    expect(outcome.stderr).toMatch(/`python3 -m pip install MNN==3\.6\.1`, .* in --python /);
    await expect(readdir(output)).rejects.toThrow(/ENOENT/);
  });

  it("names the Python that it was given", async () => {
    const named = await crossrank([...args, "--python", "/nowhere/python", "--output", folder.path("named")]);
    expectFailure(named, /and \/nowhere\/python is not there/);
  });

  it("refuses DeBERTa with the reason, before it looks for one", async () => {
    const outcome = await crossrank(
      ["convert", conformanceFixture("deberta-v2-logit"), "--to", "mnn", "--no-verify"].concat([
        "--python",
        "/nowhere/python",
        "--output",
        folder.path("deberta"),
      ]),
    );
    expectFailure(
      outcome,
      /cannot be converted to mnn: after a batch of one row MNN computes DeBERTa's attention wrongly/,
    );
  });

  it("explains itself in --help", async () => {
    const { code, stdout } = await crossrank(["convert", "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/--to <format> +what to write: onnx, gguf, mnn, mlpackage/);
    expect(stdout).toMatch(/^ {2}--python <text> /m);
    expect(stdout).toMatch(/^ {2}mnn {4}as onnx, without DeBERTa-v2/m);
    expect(stdout).toContain("pip install MNN==3.6.1");
    expect(stdout).toMatch(/\$ crossrank convert \.\/my-model --to mnn/);
  });
});

(canConvert ? describe : describe.skip)("a model as MNN", () => {
  let model = "";
  let converted: Outcome;
  beforeAll(async () => {
    model = folder.path("as-mnn");
    const source = conformanceFixture("bert-logit");
    await cp(source, model, { recursive: true, filter: (path) => !path.startsWith(join(source, "onnx")) });
    converted = await crossrank(["convert", model, "--to", "mnn", "--dtype", "fp32,fp16,int8"]);
  }, 120_000);

  it("was written, and held against its source in batches of all kinds", () => {
    const { code, stdout, stderr } = converted;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(
      /^mnn\/model\.mnn +fp32 +[\d.]+ kB +its weights, one row at a time +11 +\S+ +\S+ +max 0\.0001$/m,
    );
    expect(stdout).toMatch(/^ +golden\.json, padded batches +108 +\S+ +\S+ +max 0\.0001$/m);
    expect(stdout).toMatch(/^ +its weights +11 +\S+ +\S+ +max 0\.0001$/m);
    expect(stdout).toMatch(/^mnn\/model_fp16\.mnn +fp16 .* max 0\.02$/m);
    expect(stdout).toMatch(/^mnn\/model_int8\.mnn +int8 .* median 0\.15, signs stable, 75 % ordered alike$/m);
  });

  it("is what a folder without ONNX and GGUF is ranked with", async () => {
    const args = ["rerank", "--query", "paris", "--documents", "-", "--model", model, "--format", "json"];
    const { code, stdout, stderr } = await crossrank([...args, "--threads", "1", "--workers", "1"], {
      input: "the cat\nparis is a city",
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({
      model: { artifact: { format: "mnn", dtype: "fp32" } },
      backend: { name: "mnn", runtime: { name: "MNN", version: expect.stringMatching(/^3\.6\./) } },
    });
  });

  it("passes verify as mnn:int8", async () => {
    const { code, stdout } = await crossrank(["verify", model, "--backend", "mnn:int8"]);
    expect(stdout).toMatch(/^model .* mnn int8$/m);
    expect({ code, passed: /\nPASS: /.test(stdout) }).toEqual({ code: 0, passed: true });
  });

  it("is listed by inspect, with what is taken by default", async () => {
    const { stdout } = await crossrank(["inspect", model]);
    expect(stdout).toMatch(/^mnn precisions$/m);
    expect(stdout).toMatch(/^ {2}fp32 +mnn\/model\.mnn +[\d.]+ kB +default$/m);
    expect(stdout).toMatch(/^ {2}fp16 +mnn\/model_fp16\.mnn +[\d.]+ kB +with --dtype fp16$/m);
  });
});
