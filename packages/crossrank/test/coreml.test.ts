import { cp, rm } from "node:fs/promises";
import { join } from "node:path";
import type { ComparisonReport, EvaluationReport } from "@crossrank/eval";
import type { PackageReport } from "@crossrank/formats/mlpackage";
import { beforeAll, describe, expect, it } from "vitest";
import { parseBackend } from "../src/backend-names.js";
import { defaultBackend, precisionsAmong } from "../src/backends.js";
import { writeTask } from "./evaluation-scene.js";
import {
  conformanceFixture,
  crossrankInTurn as crossrank,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
const isMac = process.platform === "darwin";

const packageFiles = ["Manifest.json", "Data/com.apple.CoreML/model.mlmodel"].flatMap((file) =>
  ["model", "model_fp32"].map((name) => `mlpackage/${name}.mlpackage/${file}`),
);

describe("the names of Core ML's backends", () => {
  it.each([
    ["coreml", { name: "coreml", dtype: undefined }],
    ["coreml:fp16", { name: "coreml", dtype: "fp16" }],
    ["coreml:reference", { name: "coreml:reference", dtype: undefined }],
    ["coreml:reference:fp32", { name: "coreml:reference", dtype: "fp32" }],
    ["coreml:reference-half", { name: "coreml:reference-half", dtype: undefined }],
    ["coreml:reference-half:fp16", { name: "coreml:reference-half", dtype: "fp16" }],
    ["onnx:int8", { name: "onnx", dtype: "int8" }],
    ["coreml:", undefined],
    ["coremlreference", undefined],
    ["toString", undefined],
  ])("reads %s", (value, expected) => {
    expect(parseBackend(value)).toEqual(expected);
  });

  it("lists the precisions of packages once, the default first", async () => {
    expect(await precisionsAmong(packageFiles)).toEqual([
      { backend: "coreml", dtype: "fp16", path: "mlpackage/model.mlpackage" },
      { backend: "coreml", dtype: "fp32", path: "mlpackage/model_fp32.mlpackage" },
    ]);
  });

  it("lists packages of one length each", async () => {
    const paths = [128, 256].map((length) => `mlpackage/model_${length}.mlpackage/Manifest.json`);
    expect(await precisionsAmong(paths)).toEqual([
      { backend: "coreml", dtype: "fp16", path: "mlpackage/model_128.mlpackage" },
      { backend: "coreml", dtype: "fp16", path: "mlpackage/model_256.mlpackage" },
    ]);
  });

  it.skipIf(isMac)("are nobody's default where there is no Core ML", async () => {
    expect(await defaultBackend([...packageFiles, "onnx/model.onnx"], "fp16")).toBe("onnx");
    expect(await defaultBackend([...packageFiles, "gguf/model-F32.gguf"])).toBe("llamacpp");
    await expect(defaultBackend(packageFiles)).rejects.toThrow(
      /files for coreml and nothing else, and Core ML is on macOS only; coreml:reference computes/,
    );
  });

  it.runIf(isMac)(
    "are the default on a Mac, where there is nothing else or nothing of the precision",
    async () => {
      expect(await defaultBackend(packageFiles)).toBe("coreml");
      expect(await defaultBackend([...packageFiles, "onnx/model.onnx"], "fp16")).toBe("coreml");
      expect(await defaultBackend([...packageFiles, "onnx/model.onnx"])).toBe("onnx");
    },
  );
});

describe("options of Core ML packages", () => {
  const model = conformanceFixture("xlm-roberta-logit");

  it.each([
    [
      ["convert", model, "--to", "onnx", "--batch", "20"],
      /--batch is an option of mlpackage, and --to is onnx/,
    ],
    [["convert", model, "--to", "gguf", "--lengths", "128"], /--lengths is an option of mlpackage/],
    [["convert", model, "--to", "mnn", "--deployment", "macos13"], /--deployment is an option of mlpackage/],
    [["convert", model, "--to", "mlpackage", "--lengths", "128,many"], /whole number above 0/],
    [["convert", model, "--to", "mlpackage", "--lengths", "128,"], /whole number above 0/],
    [["convert", model, "--to", "mlpackage", "--batch", "0"], /whole number above 0/],
    [["convert", model, "--to", "mlpackage", "--deployment", "macos12"], /macos15, macos13/],
    [["convert", model, "--to", "mlpackage", "--target", "mnn"], /--target is an option of onnx/],
    [
      ["convert", model, "--to", "mlpackage", "--dtype", "int8"],
      /--dtype must be one of .*fp16.* for mlpackage/,
    ],
    [["inspect", model, "--contract", "seed"], /--contract compares a Core ML package/],
    [["inspect", "x.mlpackage", "--contract", "seed:0"], /--contract seed: needs a length above 0/],
    [["inspect", "x.mlpackage", "--revision", "main"], /--revision needs a model/],
  ])("are refused where they do not belong: %j", async (args, problem) => {
    const { code, stdout, stderr } = await crossrank(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(problem);
  });

  it("stand in --help, with an example", async () => {
    const convert = await crossrank(["convert", "--help"]);
    expect(convert.stdout).toMatch(/\$ crossrank convert \.\/my-model --to mlpackage/);
    expect(convert.stdout).toMatch(/^ {2}--lengths <n,…> /m);
    const inspect = await crossrank(["inspect", "--help"]);
    expect(inspect.stdout).toMatch(/\$ crossrank inspect \S+\.mlpackage --contract seed/);
  });
});

describe("a model as a Core ML package", () => {
  let model = "";
  let converted: Outcome;
  const artifact = (): string => join(model, "mlpackage", "model.mlpackage");
  beforeAll(async () => {
    model = folder.path("as-mlpackage");
    await cp(conformanceFixture("xlm-roberta-logit"), model, { recursive: true });
    const args = ["--dtype", "fp16,fp32", "--lengths", "32,64"];
    converted = await crossrank(["convert", model, "--to", "mlpackage", ...args]);
  }, 120_000);

  it("was written, and held against its source by the reference", () => {
    const { code, stdout, stderr } = converted;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(
      /^mlpackage\/model\.mlpackage +fp16 +[\d.]+ kB +its weights, coreml:reference +11 .* max 0\.04$/m,
    );
    expect(stdout).toMatch(/^ +its weights, coreml:reference-half +11 .* max 0\.04$/m);
    expect(stdout).toMatch(/^ +golden\.json, coreml:reference-half +108 .* max 0\.04$/m);
    expect(stdout).toMatch(
      /^mlpackage\/model_fp32\.mlpackage +fp32 +[\d.]+ kB +its weights, coreml:reference +11 .* max 0\.0001$/m,
    );
    expect(stdout).toMatch(/^ +golden\.json, coreml:reference +108 .* max 0\.0001$/m);
  });

  it("is fp16 and for macOS 15 unless something else is asked for, or has one package a length", async () => {
    const source = conformanceFixture("bert-logit");
    const plain = folder.path("plain");
    const args = ["convert", source, "--to", "mlpackage", "--no-verify", "--output"];
    const written = await crossrank([...args, plain, "--format", "json"]);
    expect({ code: written.code, stderr: written.stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(written.stdout)).toMatchObject({ artifacts: [{ format: "mlpackage", dtype: "fp16" }] });
    const inspected = await crossrank(["inspect", join(plain, "mlpackage", "model.mlpackage")]);
    expect(inspected.stdout).toMatch(/^ {2}token_type_ids +int32 +\(20, 1, 1, 64\)/m);

    const older = folder.path("older");
    const options = ["--deployment", "macos13", "--lengths", "32,64", "--batch", "4"];
    const { code, stdout } = await crossrank([...args, older, ...options]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^mlpackage\/model_32\.mlpackage, mlpackage\/model_64\.mlpackage +fp16 .* nothing: not verified$/m,
    );
    const one = await crossrank(["inspect", join(older, "mlpackage", "model_32.mlpackage")]);
    expect(one.stdout).toMatch(/^ {2}specification +version 7: macOS 13, iOS 16 or later$/m);
    expect(one.stdout).toMatch(/^ {2}input_ids +int32 +\(4, 1, 1, 32\)$/m);
    const model = await crossrank(["inspect", older]);
    expect(model.stdout).toMatch(
      /^ {2}fp16 +mlpackage\/model_32\.mlpackage +[\d.]+ kB +(?:default|Core ML is on macOS only; .*)$/m,
    );
    expect(model.stdout).toMatch(
      /^ {2}fp16 +mlpackage\/model_64\.mlpackage +[\d.]+ kB +(?:default|Core ML is on macOS only; .*)$/m,
    );
    const verified = await crossrank(["verify", older, "--backend", "coreml:reference"]);
    expect(verified.stdout).toMatch(/\nPASS: /);
  });

  it("says how many cases fit where it is shorter than its source", async () => {
    const args = ["--dtype", "fp32", "--lengths", "16", "--output", folder.path("short")];
    const { code, stdout, stderr } = await crossrank(["convert", model, "--to", "mlpackage", ...args]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    // Every case is from one artifact and one backend, which then goes without saying.
    expect(stdout).toMatch(/^mlpackage\/model_fp32\.mlpackage .* its weights +\d+ /m);
    expect(stdout).toMatch(/^ +golden\.json +\d+ of 112 .* max 0\.0001$/m);
  });

  async function verify(backend: string, tolerance: string): Promise<Outcome & { readonly worst: number }> {
    const args = ["verify", model, "--backend", backend, "--tolerance", tolerance, "--format", "json"];
    const outcome = await crossrank(args);
    const { verifications } = JSON.parse(outcome.stdout) as {
      verifications: {
        backend: { name: string; runtime: { name: string } };
        summary: { maximum: number; compared: number };
      }[];
    };
    const [first] = verifications;
    expect(first?.backend.name).toBe(backend.split(":").slice(0, 2).join(":"));
    expect(first?.backend.runtime.name).toMatch(/^Core ML reference \(on onnxruntime-node/);
    expect(first?.summary.compared).toBe(108);
    return { ...outcome, worst: first?.summary.maximum ?? Number.NaN };
  }

  it("is verified as the reference, which says that it is one", async () => {
    const { code, stdout } = await crossrank(["verify", model, "--backend", "coreml:reference:fp16"]);
    expect(stdout).toMatch(/^model .* mlpackage fp16$/m);
    expect(stdout).toMatch(/^backend +coreml:reference \(Core ML reference \(on onnxruntime-node\) /m);
    expect({ code, passed: /\nPASS: /.test(stdout) }).toEqual({ code: 0, passed: true });
  });

  it("can be held to the seed's bound of 1e-3", async () => {
    expect((await verify("coreml:reference:fp32", "0.001")).code).toBe(0);
    // Rounding this fixture's random weights to half precision costs more than that.
    const rounded = await verify("coreml:reference:fp16", "0.001");
    expect(rounded.code).toBe(1);
    expect(rounded.worst).toBeLessThan(0.02);
    // And further from its source where every result is rounded to it.
    const { worst: half, code } = await verify("coreml:reference-half:fp16", "0.05");
    expect(code).toBe(0);
    expect(half).toBeGreaterThan(rounded.worst);
  });

  it("is compared with ONNX, and passes the seed's gate on a task", async () => {
    const task = await writeTask(folder, "gate", { queries: 12, candidates: 8, words: 12 });
    const systems = ["--backend", "onnx:fp32", "--backend", "coreml:reference:fp16"];
    const rules = { change: 0.005, margin: 0.005, scores: false, quality: false };
    const gate = await folder.write("seed-gate.json", JSON.stringify(rules));
    const evaluated = await crossrank(
      ["eval", "--task", task, "--model", model, ...systems, "--gate", gate].concat([
        "--threads",
        "1",
        "--format",
        "json",
      ]),
    );
    expect({ code: evaluated.code, stderr: evaluated.stderr }).toEqual({ code: 0, stderr: "" });
    const { systems: rows, environment } = JSON.parse(evaluated.stdout) as EvaluationReport;
    const row = rows.find(({ name }) => name === "coreml:reference:fp16");
    expect(row?.model).toMatchObject({
      backend: {
        name: "coreml:reference",
        runtime: { name: expect.stringMatching(/^Core ML reference \(on onnxruntime-node/) },
      },
      artifact: { format: "mlpackage", dtype: "fp16" },
    });
    expect(row?.gates).toMatchObject([
      { check: "ndcg@10 change", passed: true, bound: 0.005 },
      { check: "ndcg@10 non-inferiority", passed: true, bound: -0.005 },
    ]);
    expect(Object.keys(environment.packages)).toEqual(
      expect.arrayContaining(["@crossrank/backend-coreml", "@crossrank/backend-onnx"]),
    );

    const compared = await crossrank(
      ["compare", "--task", task, "--model", model, ...systems, "--gate", "--format", "json"].concat([
        "--threads",
        "1",
      ]),
    );
    expect({ code: compared.code, stderr: compared.stderr }).toEqual({ code: 0, stderr: "" });
    const report = JSON.parse(compared.stdout) as ComparisonReport;
    const candidate = report.systems.find(({ name }) => name === "coreml:reference:fp16");
    // Other weights than ONNX's: rounded ones. That they differ shows that it was not ONNX's file that ran.
    expect(candidate?.scores?.delta?.maximum).toBeGreaterThan(0);
    expect(candidate?.scores?.delta?.maximum).toBeLessThan(0.02);
  });

  it("is listed by inspect, once", async () => {
    const { code, stdout } = await crossrank(["inspect", model]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^coreml precisions\n {2}fp16 +mlpackage\/model\.mlpackage +[\d.]+ kB +(?:default|Core ML is on macOS only; .*)\n {2}fp32 +mlpackage\/model_fp32\.mlpackage +[\d.]+ kB(?: +Core ML is on macOS only; .*)?$/m,
    );
    expect(stdout.match(/^coreml.* precisions$|^coreml precisions$/gm)).toHaveLength(1);
  });

  it("is described by inspect on its own", async () => {
    const { code, stdout, stderr } = await crossrank(["inspect", artifact()]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^ {2}specification +version 9: macOS 15, iOS 18 or later$/m);
    expect(stdout).toMatch(/^ {2}operation sets +CoreML8$/m);
    for (const input of ["input_ids", "attention_mask"]) {
      expect(stdout).toMatch(
        new RegExp(`^ {2}${input} +int32 +\\(20, 1, 1, 32\\) or \\(20, 1, 1, 64\\), by default `, "m"),
      );
    }
    expect(stdout).toMatch(/^outputs\n {2}logit +float32 +.*fp32 \(20, 1\) in the program$/m);
    expect(stdout).toMatch(/^ {2}conv +\d+$/m);
    expect(stdout).toMatch(/^weights\n {2}fp16 +\d+ tensors +[\d.]+ kB$/m);
    expect(stdout).toMatch(/^ {2}Data\/com\.apple\.CoreML\/weights\/weight\.bin +[\d.]+ kB$/m);
  });

  it("keeps to a contract of its own, and deviates from the seed's in every shape", async () => {
    const shapes = [32, 64].map((length) => [20, 1, 1, length]);
    const contract = await folder.write(
      "contract.json",
      JSON.stringify({
        inputs: ["input_ids", "attention_mask"].map((name) => ({ name, element: "int32", shapes })),
        outputs: [{ name: "logit", element: "float32", shapes: [[20, 1]] }],
        weights: ["fp16"],
      }),
    );
    const kept = await crossrank(["inspect", artifact(), "--contract", contract]);
    expect({ code: kept.code, stderr: kept.stderr }).toEqual({ code: 0, stderr: "" });
    expect(kept.stdout).toMatch(/^contract .*contract\.json\n {2}PASS: it keeps to it\.$/m);

    const seed = await crossrank(["inspect", artifact(), "--contract", "seed"]);
    expect(seed.code).toBe(1);
    expect(seed.stdout).toMatch(/^ {2}deviation +expected +found$/m);
    expect(seed.stderr).toMatch(
      /deviates from the contract seed in 2 places: input input_ids, input attention_mask\n$/,
    );
    const json = await crossrank(["inspect", artifact(), "--contract", "seed", "--format", "json"]);
    expect(json.code).toBe(1);
    const report = JSON.parse(json.stdout) as PackageReport & { contract: string; deviations: object[] };
    expect(report.contract).toBe("seed");
    expect(report.deviations).toHaveLength(2);
    expect(report.specificationVersion).toBe(9);
  });

  it.skipIf(isMac)("says what to do where there is no Core ML", async () => {
    const args = ["rerank", "--query", "paris", "--documents", "-", "--model"];
    const asked = await crossrank([...args, model, "--backend", "coreml"], { input: "paris" });
    expect({ code: asked.code, stdout: asked.stdout }).toEqual({ code: 1, stdout: "" });
    expect(asked.stderr).toMatch(/^crossrank: [^\n]*macOS[^\n]*reference[^\n]*\n$/);
    expect(asked.stderr).not.toContain("not expected");

    const alone = folder.path("alone");
    await cp(model, alone, { recursive: true });
    await rm(join(alone, "onnx"), { recursive: true });
    // With weights the model would be converted for a runtime that works here.
    await rm(join(alone, "model.safetensors"));
    const unnamed = await crossrank([...args, alone], { input: "paris" });
    expect({ code: unnamed.code, stdout: unnamed.stdout }).toEqual({ code: 1, stdout: "" });
    expect(unnamed.stderr).toMatch(/coreml:reference computes the same package here/);
  });

  it("is computed by rerank where the reference is asked for", async () => {
    const args = ["rerank", "--query", "paris", "--documents", "-", "--model", model, "--format", "json"];
    const { code, stdout, stderr } = await crossrank([...args, "--backend", "coreml:reference"], {
      input: "the cat\nparis is a city",
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({
      model: { artifact: { format: "mlpackage", dtype: "fp16" } },
      backend: { name: "coreml:reference" },
    });
  });
});

describe("inspect of a package that is none", () => {
  it.each([
    ["nothing.mlpackage", undefined],
    ["empty.mlmodel", ""],
    ["garbage.mlmodel", "\u0007\u0008garbage"],
  ])("says what is wrong with %s", async (name, content) => {
    if (content !== undefined) await folder.write(name, content);
    const { code, stdout, stderr } = await crossrank(["inspect", folder.path(name)]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^crossrank: [^\n]+\n$/);
    expect(stderr).toContain(name);
    expect(stderr).not.toContain("not expected");
  });

  it("names a contract that cannot be read", async () => {
    const broken = await folder.write("broken.json", "{");
    const { code, stderr } = await crossrank(["inspect", "x.mlpackage", "--contract", broken]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/cannot read --contract .*broken\.json: it is not JSON/);
    const wrong = await folder.write("wrong.json", '{"inputs": 3}');
    const second = await crossrank(["inspect", "x.mlpackage", "--contract", wrong]);
    expect(second.code).toBe(1);
    expect(second.stderr).toMatch(/wrong\.json.*inputs/);
  });
});
