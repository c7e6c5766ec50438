import { cp, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { writeTask } from "./evaluation-scene.js";
import {
  conformanceFixture,
  crossrankInTurn as crossrank,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
let weights = "";
let artifact = "";
let base = "";
let task = "";
beforeAll(async () => {
  weights = folder.path("weights");
  base = conformanceFixture("bert-logit");
  await cp(base, weights, { recursive: true });
  await rm(join(weights, "onnx"), { recursive: true });
  artifact = folder.path("artifact");
  await cp(join(base, "onnx"), join(artifact, "onnx"), { recursive: true });
  task = await writeTask(folder, "task", { queries: 3, candidates: 4, words: 6 });
});

const converted = () => readdir(folder.path("home/crossrank/converted"));

function run(...args: readonly string[]): Promise<Outcome> {
  const environment = { HF_HOME: folder.path("home"), HF_HUB_CACHE: "" };
  return crossrank([...args, "--format", "json"], { environment });
}

describe("evaluations of a model with weights alone, and of an artifact with a base", () => {
  it("ci measures both, and their scores are the same", async () => {
    const config = await folder.write(
      "crossrank.config.json",
      JSON.stringify({
        models: [
          { model: "./weights", threads: 1, workers: 1 },
          { model: "./artifact", base, threads: 1, workers: 1 },
        ],
        backends: ["onnx:fp32"],
        tasks: ["./task"],
        gates: false,
      }),
    );
    const { code, stdout, stderr } = await run("ci", "--config", config);
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stderr).toMatch(/weights has weights and no onnx file: they were converted to onnx fp32/);
    expect(stderr).toMatch(/artifact has no config\.json.* taken from .*bert-logit/);
    // Each is said once, however often a model is opened.
    expect(stderr.match(/^note: /gm)).toHaveLength(2);
    const { cells } = JSON.parse(stdout) as {
      readonly cells: readonly { readonly systems: readonly { readonly metrics?: unknown }[] }[];
    };
    expect(cells).toHaveLength(2);
    expect(cells[0]?.systems[0]?.metrics).toEqual(cells[1]?.systems[0]?.metrics);
    expect(await converted()).toHaveLength(1);
  });

  it("eval and compare take what was converted, and convert what was not", async () => {
    const evaluated = await run("eval", "--model", weights, "--task", task, "--no-convert");
    expect({ code: evaluated.code, stderr: evaluated.stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringContaining("made of its weights earlier"),
    });
    const refused = await run("eval", "--model", weights, "--task", task, "--no-convert", "-b", "onnx:fp16");
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`crossrank convert ${weights} --to onnx --dtype fp16`);
    const both = ["--backend", "onnx:fp32", "--backend", "onnx:fp16"];
    const compared = await run("compare", "--model", weights, "--task", task, ...both);
    expect({ code: compared.code, stderr: compared.stderr }).toMatchObject({ code: 0 });
    expect(await converted()).toHaveLength(2);
  });

  it("a configuration may forbid it", async () => {
    const config = await folder.write(
      "forbidden.config.json",
      JSON.stringify({
        models: [{ model: "./weights", convert: false }],
        backends: ["llamacpp:F32"],
        tasks: ["./task"],
        gates: false,
      }),
    );
    const { code, stdout } = await run("ci", "--config", config);
    expect(code).toBe(1);
    expect(stdout).toContain("--to gguf --dtype F32");
  });
});
