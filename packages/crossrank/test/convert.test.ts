import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { weightsFolder } from "@crossrank/model-nano-weights";
import { beforeAll, describe, expect, it } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { withWeights } from "../src/embedded-model.js";
import {
  binary,
  conformanceFixture,
  crossrankInTurn as crossrank,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();

interface ConvertOutput {
  readonly model: { readonly id: string; readonly revision: string | null };
  readonly output: string;
  readonly artifacts: readonly {
    readonly format: string;
    readonly dtype: string;
    readonly files: readonly { readonly path: string; readonly size: number; readonly sha256: string }[];
    readonly verified: boolean;
    readonly verifications: readonly {
      readonly against: string;
      readonly passed: boolean;
      readonly summary: { readonly maximum: number; readonly compared: number };
      readonly cases: readonly unknown[];
    }[];
  }[];
}

async function convertJson(...args: readonly string[]): Promise<ConvertOutput> {
  const { code, stdout, stderr } = await crossrank(["convert", ...args, "--format", "json"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout) as ConvertOutput;
}

async function filesIn(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1))
    .sort();
}

/** A fixture as it comes from the hub: safetensors alone. */
async function copyOf(name: string, as: string): Promise<string> {
  const model = folder.path(as);
  const source = conformanceFixture(name);
  await cp(source, model, { recursive: true, filter: (path) => !path.startsWith(join(source, "onnx")) });
  return model;
}

/** One line on standard error, nothing on standard output. */
function expectFailure({ code, stdout, stderr }: Outcome, expected: number, problem: RegExp): void {
  expect({ code, stdout }).toEqual({ code: expected, stdout: "" });
  expect(stderr).toMatch(/^crossrank: [^\n]+\n$/);
  expect(stderr).toMatch(problem);
  expect(stderr).not.toContain("not expected");
}

describe("convert", () => {
  it("writes, verifies, and says what it was held against", async () => {
    const output = folder.path("table");
    const { code, stdout, stderr } = await crossrank([
      "convert",
      conformanceFixture("bert-logit"),
      "--to",
      "onnx",
      "--output",
      output,
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^model +.*bert-logit, model\.safetensors \([\d.]+ kB\)$/m);
    expect(stdout).toMatch(/^output +.*table$/m);
    expect(stdout).toMatch(/^onnx\/model\.onnx +fp32 +[\d.]+ kB +its weights +\d+ +\S+ +\S+ +max 0\.0001$/m);
    expect(stdout).toMatch(/^ +golden\.json +\d+ +\S+ +\S+ +max 0\.0001$/m);
    const verified = await crossrank(["verify", output]);
    expect(verified).toMatchObject({ code: 0, stderr: "" });
  });

  it("takes several precisions, in any case, and prints JSON with every case", async () => {
    const output = folder.path("several");
    const model = conformanceFixture("bert-logit");
    const printed = await convertJson(
      "--model",
      model,
      "--to",
      "onnx",
      "--dtype",
      "FP32,int8",
      "--dtype",
      "fp16",
      "--output",
      output,
    );
    expect(printed).toMatchObject({ model: { id: model, revision: null }, output });
    expect(printed.artifacts.map(({ dtype, files }) => [dtype, files.map(({ path }) => path)])).toEqual([
      ["fp32", ["onnx/model.onnx"]],
      ["int8", ["onnx/model_int8.onnx"]],
      ["fp16", ["onnx/model_fp16.onnx"]],
    ]);
    for (const { verifications } of printed.artifacts) {
      expect(verifications.map(({ against, passed }) => [against, passed])).toEqual([
        ["source", true],
        ["golden.json", true],
      ]);
      for (const { cases, summary } of verifications) {
        expect(cases.length).toBeGreaterThanOrEqual(summary.compared);
      }
    }
    const written = JSON.parse(await readFile(join(output, "provenance.json"), "utf8")) as ConvertOutput;
    expect(written.artifacts.map(({ dtype, files }) => [dtype, files])).toEqual(
      [...printed.artifacts]
        .sort((a, b) => ((a.files[0]?.path ?? "") < (b.files[0]?.path ?? "") ? -1 : 1))
        .map(({ dtype, files }) => [dtype, files]),
    );
  });

  it("puts the artifact into a model's own folder when no other is named", async () => {
    const model = await copyOf("bert-logit", "own");
    const before = await filesIn(model);
    // What is written is verified above.
    const { output } = await convertJson(model, "--to", "onnx", "--no-verify");
    expect(output).toBe(model);
    expect(await filesIn(model)).toEqual([...before, "onnx/model.onnx", "provenance.json"].sort());
    expectFailure(
      await crossrank(["convert", model, "--to", "onnx"]),
      1,
      /model\.onnx is there already.*--force/,
    );
    await convertJson(model, "--to", "onnx", "--force", "--no-verify");
  });

  it("keeps what nobody looked at only with --no-verify, and says so", async () => {
    const output = folder.path("unseen");
    const model = conformanceFixture("bert-logit");
    const args = ["convert", model, "--to", "onnx", "--output", output];
    expectFailure(
      await crossrank([...args, "--tolerance", "1e-12"]),
      1,
      /as onnx fp32 does not give what its weights give: .*further off than the 1e-12 .*Nothing of it was kept/,
    );
    expect(await leftAround(output)).toEqual([]);
    const { code, stdout } = await crossrank([...args, "--no-verify"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^onnx\/model\.onnx .* nothing: not verified$/m);
    const { artifacts } = JSON.parse(
      await readFile(join(output, "provenance.json"), "utf8"),
    ) as ConvertOutput;
    expect(artifacts).toMatchObject([{ verified: false, verifications: [] }]);
  });

  it("shows what was done before a precision failed", async () => {
    const output = folder.path("partly");
    const model = conformanceFixture("bert-logit");
    await mkdir(join(output, "onnx"), { recursive: true });
    await writeFile(join(output, "onnx", "model_int8.onnx"), "somebody's");
    const { code, stdout, stderr } = await crossrank(
      ["convert", model, "--to", "onnx", "--output", output].concat("--dtype", "fp32,int8", "--no-verify"),
    );
    expect(code).toBe(1);
    expect(stdout).toMatch(/^onnx\/model\.onnx +fp32 /m);
    expect(stderr).toMatch(/^crossrank: cannot write to the folder .*model_int8\.onnx is there already/);
    expect(await readFile(join(output, "onnx", "model_int8.onnx"), "utf8")).toBe("somebody's");
  });

  it("says why a model cannot be written", async () => {
    const output = folder.path("refused");
    for (const [name, to, reason] of [
      ["deberta-v2-logit", "gguf", /llama\.cpp has no DeBERTa/],
      ["qwen3-listwise", "onnx", /reads many documents in one sequence/],
    ] as const) {
      const args = ["convert", conformanceFixture(name), "--to", to, "--output", output];
      expectFailure(await crossrank(args), 1, reason);
      expect(await leftAround(output)).toEqual([]);
    }
  });

  it("is refused where golden.json is of another tokenizer", async () => {
    const broken = await copyOf("bert-logit", "other-goldens");
    const goldens = await readFile(join(conformanceFixture("roberta-logit"), "golden.json"));
    await rm(join(broken, "golden.json"));
    await writeFile(join(broken, "golden.json"), goldens);
    const outcome = await crossrank(["convert", broken, "--to", "onnx"]);
    expectFailure(
      outcome,
      1,
      /gives what its weights give, but not what its golden\.json says: .*token sequences differ/,
    );
    expect(await filesIn(broken)).not.toContain("provenance.json");
  });

  it("says that a model has no safetensors", async () => {
    const args = ["convert", modelFolder, "--to", "onnx", "--output", folder.path("nano")];
    expectFailure(await crossrank(args), 1, /model\.safetensors/);
  });

  it("makes the embedded artifact of the embedded model's weights, byte for byte", async () => {
    const output = folder.path("embedded");
    const args = ["convert", "nano", "--to", "onnx", "--dtype", "int8", "--no-verify", "--output", output];
    expect(await crossrank(args)).toMatchObject({ code: 0 });
    const artifact = "onnx/model_int8.onnx";
    const [made, embedded] = await Promise.all(
      [output, modelFolder].map((place) => readFile(join(place, artifact))),
    );
    expect(made?.equals(embedded as Buffer)).toBe(true);
  });

  it("does not take weights of another model for the embedded one's", async () => {
    const own = await openModel(modelFolder);
    const same = await withWeights(own, await openModel(weightsFolder), undefined);
    expect((await same.list()).map(({ path }) => path)).toContain("model.safetensors");
    const other = await openModel(conformanceFixture("bert-logit"));
    await expect(withWeights(own, other, undefined)).rejects.toThrow(/in one version: npm install/);
  });

  it("names an output that cannot be written to", async () => {
    const file = await folder.write("a-file", "");
    const model = conformanceFixture("bert-logit");
    for (const output of [file, join(file, "below")]) {
      expectFailure(
        await crossrank(["convert", model, "--to", "onnx", "--output", output]),
        1,
        /cannot write to the folder \S+: .*file\. Name a folder/,
      );
    }
  });
});

describe.skipIf(process.platform === "win32")("a file system that takes no more", () => {
  it("is named in one line, and nothing is left", async () => {
    const output = folder.path("full");
    const model = conformanceFixture("bert-logit");
    const args = ["convert", model, "--to", "onnx", "--no-verify", "--output", output];
    // Blocks of 512 bytes (POSIX): enough for the small files, too little for the artifact.
    const outcome = await crossrank(
      ["-c", 'ulimit -f 300; exec "$@"', "sh", process.execPath, binary, ...args],
      { command: "sh" },
    );
    expectFailure(outcome, 1, /cannot write to the folder \S*full: .* no file so large\. Choose/);
    expect(await leftAround(output)).toEqual([]);
  });
});

describe("a conversion that is stopped", () => {
  /** Runs a conversion and signals it as soon as its staging folder is there. */
  async function stop(output: string, signal: "SIGKILL" | "SIGINT"): Promise<Outcome> {
    let watching = true;
    const args = ["convert", conformanceFixture("xlm-roberta-logit"), "--to", "onnx", "--output", output];
    const outcome = crossrank(args, {
      onStart: (child) => {
        const look = async (): Promise<void> => {
          while (watching) {
            if ((await leftAround(output)).length > 0) {
              child.kill(signal);
              return;
            }
            await new Promise((resolve) => setTimeout(resolve, 2));
          }
        };
        void look();
      },
    });
    try {
      return await outcome;
    } finally {
      watching = false;
    }
  }

  it("leaves no half artifact when it is killed, and the next one clears up", async () => {
    const output = folder.path("killed");
    expect(await stop(output, "SIGKILL")).toMatchObject({ code: null, stdout: "" });
    const left = await leftAround(output);
    expect(left).toHaveLength(1);
    expect(left[0]).toMatch(/^\.killed\.partial-[0-9a-f]{8}-\d+-[0-9a-f]{8}$/);
    const again = ["--to", "onnx", "--output", output, "--no-verify"];
    await convertJson(conformanceFixture("xlm-roberta-logit"), ...again);
    expect(await leftAround(output)).toEqual(["killed"]);
  });

  it("clears up by itself when it is interrupted", async () => {
    const output = folder.path("interrupted");
    expect(await stop(output, "SIGINT")).toEqual({ code: 130, stdout: "", stderr: "" });
    expect(await leftAround(output)).toEqual([]);
  });
});

describe("wrong usage of convert", () => {
  it.each([
    ["no model", ["--to", "onnx"], /no model is given/],
    ["no format", ["./x"], /--to <format>/],
    ["an unknown format", ["./x", "--to", "tflite"], /onnx, gguf, mnn/],
    ["two models", ["./x", "--model", "./y", "--to", "onnx"], /given twice/],
    [
      "an unknown precision",
      ["./x", "--to", "gguf", "--dtype", "int8"],
      /--dtype must be one of F32, F16, Q8_0/,
    ],
    [
      "a precision that the target lacks",
      ["./x", "--to", "onnx", "--target", "mnn", "--dtype", "int8"],
      /one of fp32, fp16 for onnx with --target mnn/,
    ],
    ["an empty precision", ["./x", "--to", "onnx", "--dtype", "fp32,"], /several with commas/],
    [
      "a target of another format",
      ["./x", "--to", "gguf", "--target", "mnn"],
      /--target is an option of onnx, and --to is gguf/,
    ],
    [
      "a Python for nothing",
      ["./x", "--to", "onnx", "--python", "python3"],
      /--python is an option of mnn, and --to is onnx. Leave it out, or convert to mnn/,
    ],
    ["a target for MNN", ["./x", "--to", "mnn", "--target", "plain"], /--target is an option of onnx/],
    [
      "a precision that MNN lacks",
      ["./x", "--to", "mnn", "--dtype", "Q8_0"],
      /one of fp32, fp16, int8 for mnn/,
    ],
    ["a setting that the format lacks", ["./x", "--to", "gguf", "--set", "rows=2"], /nothing can be set/],
    ["a setting without a value", ["./x", "--to", "onnx", "--set", "target"], /these can be set: target/],
    ["a prototype's name", ["./x", "--to", "onnx", "--set", "constructor=1"], /these can be set: target/],
    [
      "a setting's wrong word",
      ["./x", "--to", "onnx", "--set", "target=x"],
      /one of onnxruntime, mnn, plain/,
    ],
    ["a setting's wrong number", ["./x", "--to", "mlpackage", "--set", "batch=0"], /above 0/],
    [
      "a setting and its flag",
      ["./x", "--to", "onnx", "--set", "target=mnn", "--target", "plain"],
      /set twice/,
    ],
    ["too many rows", ["./x", "--to", "mlpackage", "--batch", "1000000000"], /--batch must be .* 1 to 1024/],
    ["a judge that is none", ["./x", "--to", "onnx", "--backend", "nobody-has-it"], /there is no backend/],
    [
      "a judge with a precision",
      ["./x", "--to", "onnx", "--backend", "onnx:int8"],
      /Pass --backend onnx --dtype int8/,
    ],
    [
      "a judge of another format",
      ["./x", "--to", "gguf", "--backend", "onnx"],
      /--backend onnx loads onnx, and --to is gguf/,
    ],
    ["a tolerance that is none", ["./x", "--to", "onnx", "--tolerance", "0"], /above 0/],
    [
      "a tolerance for nothing",
      ["./x", "--to", "onnx", "--no-verify", "--tolerance", "1"],
      /--no-verify leaves that out/,
    ],
  ])("exits with 2 and points to --help: %s", async (_, args, problem) => {
    const outcome = await crossrank(["convert", ...args]);
    expectFailure(outcome, 2, problem);
    expect(outcome.stderr).toMatch(/See: crossrank convert --help\n$/);
  });
});

describe("a model as GGUF", () => {
  let model = "";
  beforeAll(async () => {
    model = await copyOf("bert-logit", "as-gguf");
    await convertJson(model, "--to", "gguf");
    // What is written is verified below: a process of llama.cpp costs as much as all else of a conversion.
    await convertJson(model, "--to", "gguf", "--dtype", "F16,Q8_0", "--no-verify");
  });

  it("is what a folder without ONNX is ranked with", async () => {
    // Without a precision: as eval below, and as the repository of GGUF files in reference.test.ts.
    const args = ["rerank", "--query", "paris", "--documents", "-", "--model", model, "--format", "json"];
    const { code, stdout, stderr } = await crossrank([...args, "--dtype", "q8_0"], {
      input: "the cat\nparis is a city",
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({
      model: { artifact: { format: "gguf", dtype: "Q8_0" } },
      backend: { name: "llamacpp", runtime: { name: "node-llama-cpp" } },
    });
  });

  it.each(sampleOf(["F32", "F16", "Q8_0"], { name: "gguf", every: 3 }))(
    "passes verify in %s",
    async (dtype) => {
      const { code, stdout } = await crossrank([
        "verify",
        model,
        "--backend",
        `llamacpp:${dtype.toLowerCase()}`,
      ]);
      expect(stdout).toMatch(new RegExp(`^model .* gguf ${dtype}$`, "m"));
      expect({ code, passed: /\nPASS: /.test(stdout) }).toEqual({ code: 0, passed: true });
    },
  );

  it("is listed by inspect, with what is taken by default", async () => {
    const { stdout } = await crossrank(["inspect", model]);
    expect(stdout).toMatch(/^llamacpp precisions$/m);
    expect(stdout).toMatch(/^ {2}F32 +gguf\/model-F32\.gguf +[\d.]+ kB +default$/m);
    expect(stdout).toMatch(/^ {2}Q8_0 +gguf\/model-Q8_0\.gguf +[\d.]+ kB +with --dtype Q8_0$/m);
    const { precisions } = JSON.parse((await crossrank(["inspect", model, "--format", "json"])).stdout) as {
      precisions: object[];
    };
    expect(precisions).toContainEqual({ backend: "llamacpp", dtype: "F16", path: "gguf/model-F16.gguf" });
  });

  it("shares its folder with ONNX, and compare holds the two against each other", async () => {
    const shared = folder.path("shared");
    await convertJson(model, "--to", "onnx", "--dtype", "fp32,int8", "--output", shared);
    // compare holds it against its weights.
    await convertJson(model, "--to", "gguf", "--output", shared, "--no-verify");
    const pairs = await folder.write(
      "pairs.jsonl",
      ["paris is a city", "the cat sat on the mat", "a dog", "what is the capital of france"]
        .map((document) => `${JSON.stringify({ query: "paris", document })}\n`)
        .join(""),
    );
    const { code, stdout, stderr } = await crossrank(
      ["compare", "--pairs", pairs, "--model", shared, "--reference", "onnx:fp32", "--gate"].concat(
        ["onnx:int8", "llamacpp:F32"].flatMap((backend) => ["--backend", backend]),
      ),
    );
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("llamacpp:F32");
  });

  it("is found by eval where no backend is named", async () => {
    const task = folder.path("task");
    await mkdir(join(task, "qrels"), { recursive: true });
    const lines = (...rows: object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");
    await writeFile(
      join(task, "corpus.jsonl"),
      lines({ _id: "a", text: "paris" }, { _id: "b", text: "a cat" }),
    );
    await writeFile(join(task, "queries.jsonl"), lines({ _id: "q", text: "paris" }));
    await writeFile(join(task, "qrels", "test.tsv"), "query-id\tcorpus-id\tscore\nq\ta\t1\n");
    const args = ["eval", "--task", task, "--model", model, "--format", "json"];
    const { code, stdout } = await crossrank(args);
    expect(code).toBe(0);
    const { systems } = JSON.parse(stdout) as { systems: { name: string; model: object }[] };
    expect(systems.find(({ name }) => name === "llamacpp")).toMatchObject({
      model: { artifact: { format: "gguf", dtype: "F32" } },
    });
  });
});

/** What is in the output's parent that has to do with it. */
async function leftAround(output: string): Promise<string[]> {
  const name = output.slice(output.lastIndexOf("/") + 1);
  const all = await readdir(folder.path("")).catch(() => []);
  return all.filter((one) => one === name || one.startsWith(`.${name}.`));
}
