import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { coreml } from "@crossrank/backend-coreml";
import { onnx } from "@crossrank/backend-onnx";
import { type Backend, createReranker, InvalidInputError, type ModelFiles } from "@crossrank/core";
import { type GoldenCase, type GoldenScore, type Goldens, readGoldens, verify } from "@crossrank/core/verify";
import { openModel } from "@crossrank/hub";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ConversionProgress, type ConvertOptions, convert } from "../src/convert.js";
import { ConversionNotFaithfulError, OutputFolderError } from "../src/errors.js";
import type { ArtifactProvenance } from "../src/provenance.js";
import { conversionDtypes } from "../src/writers.js";
import { filesIn, hashesOf } from "./mlpackage-files.js";
import { floatTensor, numbersOf, readFixture, withFiles, withTensors } from "./source-files.js";

const fixtures = fileURLToPath(new URL("../../conformance/fixtures", import.meta.url));

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "crossrank-convert-"));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const fixture = (name: string): Promise<ModelFiles> => openModel(join(fixtures, name));

const backend = (arithmetic: "single" | "half" = "single"): Backend =>
  coreml({ reference: { backend: onnx({ isolation: "thread", threads: 1, workers: 1 }), arithmetic } });

function toPackage(model: ModelFiles, rest: Partial<ConvertOptions> = {}): ConvertOptions {
  return { model, to: "mlpackage", output: join(root, "out"), backend: backend(), ...rest };
}

/** The files of a package, relative to its folder. */
const parts = [
  "Data/com.apple.CoreML/model.mlmodel",
  "Data/com.apple.CoreML/weights/weight.bin",
  "Manifest.json",
] as const;

const packagesIn = (folder: string): Promise<string[]> =>
  readdir(join(folder, "mlpackage")).then((names) => names.sort());

async function provenanceOf(folder: string): Promise<readonly ArtifactProvenance[]> {
  const text = await readFile(join(folder, "provenance.json"), "utf8");
  return (JSON.parse(text) as { artifacts: ArtifactProvenance[] }).artifacts;
}

async function failure(options: ConvertOptions): Promise<unknown> {
  return convert(options).then(
    () => expect.fail("the conversion did not fail"),
    (error: unknown) => error,
  );
}

describe("convert to mlpackage", () => {
  it("makes a complete model folder, verified, with provenance, that ranks by itself", async () => {
    const model = await fixture("xlm-roberta-logit");
    const written: number[] = [];
    const onProgress = (now: ConversionProgress): void => {
      if (now.step === "writing" && now.written !== undefined) written.push(now.written / (now.total ?? 0));
    };
    const { folder, provenance, verifications } = await convert(toPackage(model, { onProgress }));
    expect(await filesIn(folder)).toEqual(
      ["config.json", "golden.json"]
        .concat(
          parts.map((path) => `mlpackage/model.mlpackage/${path}`),
          ["provenance.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"],
        )
        .sort(),
    );
    expect(verifications.map(({ against, verification }) => [against, verification.passed])).toEqual([
      ["source", true],
      ["golden.json", true],
    ]);
    // The seed's precision, though it is not the most precise one.
    expect(provenance).toMatchObject({
      format: "mlpackage",
      dtype: "fp16",
      options: { deployment: "macos15", batch: 20, lengths: [64] },
      tensors: { fp16: 41 },
      otherPrecision: {},
      verified: true,
    });
    expect(provenance.files.map(({ path }) => path)).toEqual(
      parts.map((path) => `mlpackage/model.mlpackage/${path}`),
    );
    expect(await provenanceOf(folder)).toEqual([provenance]);
    expect(written.at(-1)).toBe(1);
    expect(written).toEqual(written.toSorted((a, b) => a - b));

    await using reranker = await createReranker({ model: await openModel(folder), backend: backend() });
    const { results } = await reranker.rerank({ query: "a cat", documents: ["a dog", "the cat sat"] });
    expect(results.every(({ logit }) => Number.isFinite(logit))).toBe(true);
  });

  it("is told the batch, the lengths and the oldest system", async () => {
    const model = await fixture("bert-cosine-mean");
    const { provenance, folder } = await convert(
      toPackage(model, { dtype: "FP32", batch: 4, lengths: [64, 32], deployment: "macos13" }),
    );
    expect(provenance).toMatchObject({
      dtype: "fp32",
      options: { deployment: "macos13", batch: 4, lengths: [32, 64] },
      tensors: { fp32: 37 },
      verified: true,
    });
    expect(await packagesIn(folder)).toEqual(["model_fp32_32.mlpackage", "model_fp32_64.mlpackage"]);
    expect(provenance.files[0]?.path).toBe(`mlpackage/model_fp32_32.mlpackage/${parts[0]}`);
    expect(provenance.files).toHaveLength(6);
  });

  it("has one artifact a precision, in whichever form, and replaces it only when forced", async () => {
    const model = await fixture("bert-logit");
    const unseen = { verify: false } as const;
    const { folder } = await convert(toPackage(model, unseen));
    await convert(toPackage(model, { ...unseen, dtype: "fp32" }));
    const whole = await hashesOf(join(folder, "mlpackage", "model_fp32.mlpackage"));

    const old = { ...unseen, deployment: "macos13", lengths: [32, 64] } as const;
    const refused = await failure(toPackage(model, old));
    expect(refused).toBeInstanceOf(OutputFolderError);
    expect(refused).toMatchObject({
      reason: "exists",
      path: join(folder, "mlpackage", "model.mlpackage"),
      message: expect.stringMatching(/mlpackage\/model\.mlpackage is there already/),
    });

    await convert(toPackage(model, { ...old, force: true }));
    expect(await packagesIn(folder)).toEqual([
      "model_32.mlpackage",
      "model_64.mlpackage",
      "model_fp32.mlpackage",
    ]);
    expect((await provenanceOf(folder)).map(({ files }) => files[0]?.path)).toEqual([
      `mlpackage/model_32.mlpackage/${parts[0]}`,
      `mlpackage/model_fp32.mlpackage/${parts[0]}`,
    ]);
    expect(await failure(toPackage(model, unseen))).toMatchObject({ reason: "exists" });

    // A length that is no longer among them would be taken for a part of the new artifact.
    await convert(toPackage(model, { ...old, lengths: [16, 32], force: true }));
    expect(await packagesIn(folder)).toEqual([
      "model_16.mlpackage",
      "model_32.mlpackage",
      "model_fp32.mlpackage",
    ]);
    const [first] = await provenanceOf(folder);
    const written = new Set((await filesIn(folder)).filter((path) => /model_(16|32)\./.test(path)));
    expect(new Set(first?.files.map(({ path }) => path))).toEqual(written);

    await convert(toPackage(model, { ...unseen, force: true }));
    expect(await packagesIn(folder)).toEqual(["model.mlpackage", "model_fp32.mlpackage"]);
    // Replaced where it stands, the other precision untouched, nothing left beside the folder.
    await convert(toPackage(model, { ...unseen, batch: 3, force: true }));
    expect(await packagesIn(folder)).toEqual(["model.mlpackage", "model_fp32.mlpackage"]);
    expect(await filesIn(join(folder, "mlpackage", "model.mlpackage"))).toEqual([...parts].sort());
    expect((await provenanceOf(folder))[0]?.options["batch"]).toBe(3);
    expect(await hashesOf(join(folder, "mlpackage", "model_fp32.mlpackage"))).toEqual(whole);
    expect(await readdir(root)).toEqual(["out"]);
  });

  it("adds to a model's own folder, beside its ONNX file", async () => {
    const source = join(root, "source");
    await cp(join(fixtures, "roberta-logit"), source, { recursive: true });
    const before = await filesIn(source);
    await convert(toPackage(await openModel(source), { output: source, verify: false }));
    const added = ["provenance.json", ...parts.map((path) => `mlpackage/model.mlpackage/${path}`)];
    expect(await filesIn(source)).toEqual([...before, ...added].sort());
  });

  it("keeps nothing of a package that is not its source's", async () => {
    const error = await failure(toPackage(await fixture("bert-logit"), { tolerance: 1e-9 }));
    expect(error).toBeInstanceOf(ConversionNotFaithfulError);
    expect((error as Error).message).toMatch(/as mlpackage fp16 does not give what its weights give/);
    expect(await readdir(root)).toEqual([]);
  });

  it("keeps nothing of what one of several backends finds wrong: a number that half precision cannot hold", async () => {
    const model = await readFixture("bert-logit");
    const files = withTensors(model, (tensors) => {
      const scaled = (name: string, change: (values: Float32Array) => void): void => {
        const stored = tensors.get(name) ?? expect.fail(name);
        const values = numbersOf(stored);
        change(values);
        tensors.set(name, floatTensor(stored.shape, values));
      };
      // Each weight fits; what the first unit gives does not.
      scaled("bert.encoder.layer.0.intermediate.dense.bias", (values) => values.fill(65_000, 0, 1));
      scaled("bert.encoder.layer.0.intermediate.dense.weight", (values) => {
        for (let index = 0; index < 32; index += 1) values[index] = (values[index] ?? 0) * 300;
      });
      scaled("bert.encoder.layer.0.output.dense.weight", (values) => {
        for (let row = 0; row < 32; row += 1) values[row * 64] = (values[row * 64] ?? 0) * 1e-4;
      });
    });
    // Its golden.json is of the weights as they were.
    const source = withFiles({ ...model, files }, { "golden.json": undefined });
    const error = await failure(toPackage(source, { backend: [backend(), backend("half")] }));
    expect(error).toBeInstanceOf(ConversionNotFaithfulError);
    expect(error).toMatchObject({
      backend: "coreml:reference-half",
      message: expect.stringMatching(/computed by coreml:reference-half.* of 11 numbers are not finite/),
    });
    expect(await readdir(root)).toEqual([]);
    // Float32 arithmetic does not see it.
    const { verifications } = await convert(toPackage(source));
    expect(verifications.map(({ verification }) => verification.backend.name)).toEqual(["coreml:reference"]);
  });

  it("is held against its source by each backend", async () => {
    const backends = [backend(), backend("half")];
    const { provenance } = await convert(toPackage(await fixture("bert-cosine-cls"), { backend: backends }));
    expect(provenance.verifications.map(({ against, backend }) => [against, backend.name])).toEqual([
      ["source", "coreml:reference"],
      ["golden.json", "coreml:reference"],
      ["source", "coreml:reference-half"],
      ["golden.json", "coreml:reference-half"],
    ]);
  });

  it.each(["xlm-roberta-logit", "bert-cosine-mean"])(
    "is verified at its own length where %s takes longer ones",
    async (name) => {
      const { folder, provenance, goldens } = await convert(
        toPackage(await fixture(name), { dtype: "fp32", lengths: [32] }),
      );
      const own = await readGoldens(await openModel(folder));
      const tokens = (one: GoldenScore | undefined): number =>
        Math.max(one?.ids?.length ?? 0, one?.queryIds?.length ?? 0);
      const all = (own?.cases ?? []).flatMap(({ expected }) => Object.values(expected));
      const fitting = all.filter((one) => tokens(one) <= 32);
      expect(fitting.length).toBeLessThan(all.length);
      const [bySource, byGolden] = provenance.verifications;
      expect(bySource).toMatchObject({ against: "source", summary: { cases: 11, tokensDifferent: 0 } });
      expect(bySource?.leftOut).toBeUndefined();
      expect(byGolden).toMatchObject({
        against: "golden.json",
        leftOut: all.length - fitting.length,
        summary: { cases: fitting.length },
      });
      // The longest of our own pairs fills the artifact, and no more.
      const longest = goldens?.cases.map(({ expected }) => tokens(Object.values(expected)[0])) ?? [];
      expect(Math.max(...longest)).toBe(32);
    },
  );

  it("counts the tokens itself where goldens give numbers alone", async () => {
    const model = await readFixture("xlm-roberta-logit");
    const golden = JSON.parse(await model.files.readText("golden.json")) as Goldens;
    const cases = golden.cases.map(({ expected, ...one }) => {
      const stripped = Object.entries(expected).map(([mode, one]) => [
        mode,
        { logit: one?.logit, score: one?.score },
      ]);
      return { ...one, expected: Object.fromEntries(stripped) as GoldenCase["expected"] };
    });
    const leftOut = async (goldens: Goldens): Promise<number | undefined> => {
      const files = withFiles(model, { "golden.json": JSON.stringify(goldens) });
      const { provenance } = await convert(toPackage(files, { dtype: "fp32", lengths: [32], force: true }));
      return provenance.verifications[1]?.leftOut;
    };
    expect(await leftOut({ ...golden, cases })).toBe(await leftOut(golden));
    // The weights' own numbers are not left out without a word.
    const ids = Array.from({ length: 33 }, () => 5);
    const tooLong = [{ ...cases[0], expected: { "document-only": { ids, logit: 1 } } }] as GoldenCase[];
    const options = { dtype: "fp32", lengths: [32], force: true, goldens: { ...golden, cases: tooLong } };
    expect(await failure(toPackage(model.files, options))).toMatchObject({ path: "goldens" });
  });

  it("leaves a golden.json behind that holds at every length", async () => {
    const model = withFiles(await readFixture("xlm-roberta-logit"), { "golden.json": undefined });
    const { folder, goldens } = await convert(toPackage(model, { dtype: "fp32", lengths: [32] }));
    const written = await readGoldens(await openModel(folder));
    expect(written?.cases.length).toBeGreaterThan(0);
    expect(written?.cases.length).toBeLessThan(goldens?.cases.length ?? 0);
    // Nothing was cut at 32: the model itself, which takes 64, gives the same tokens and numbers.
    const { passed } = await verify({
      model: await fixture("xlm-roberta-logit"),
      backend: onnx({ isolation: "thread", threads: 1, workers: 1 }),
      goldens: written ?? expect.fail("no golden.json"),
    });
    expect(passed).toBe(true);
  });

  it("leaves a folder of another model alone", async () => {
    const output = join(root, "out");
    await mkdir(output);
    await cp(join(fixtures, "roberta-logit", "config.json"), join(output, "config.json"));
    const error = await failure(toPackage(await fixture("bert-logit"), { force: true }));
    expect(error).toMatchObject({ reason: "conflict" });
    expect(await filesIn(root)).toEqual(["out/config.json"]);
  });

  it("ends with the signal's reason, and leaves nothing, when it is aborted while a package is written", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const onProgress = (now: ConversionProgress): void => {
      if (now.step === "writing" && now.written !== undefined) controller.abort(reason);
    };
    const options = { onProgress, signal: controller.signal };
    expect(await failure(toPackage(await fixture("bert-logit"), options))).toBe(reason);
    expect(await readdir(root)).toEqual([]);
  });
});

describe("options of Core ML", () => {
  it.each<[string, Partial<ConvertOptions>, string, RegExp]>([
    [
      "a batch of another format",
      { to: "onnx", batch: 20 },
      "batch",
      /an option of mlpackage, and onnx has none/,
    ],
    ["lengths of another format", { to: "gguf", lengths: [64] }, "lengths", /gguf has none/],
    ["a deployment of another format", { to: "mnn", deployment: "macos15" }, "deployment", /mnn has none/],
    ["no lengths", { lengths: [] }, "lengths", /at least one/],
    ["a batch of nothing", { batch: 0 }, "batch", /from 1 to 1024/],
    ["an unknown system", { deployment: "ios9" as never }, "deployment", /macos15, macos13/],
    ["no backends", { backend: [] }, "backend", /needed to verify/],
    ["int8", { dtype: "int8" }, "dtype", /one of fp32, fp16 for mlpackage/],
    ["a target", { target: "plain" }, "target", /an option of onnx/],
  ])("refuse %s", async (_, options, path, message) => {
    const error = await failure(toPackage(await fixture("bert-logit"), options));
    expect(InvalidInputError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ path, message: expect.stringMatching(message) });
    expect(await readdir(root)).toEqual([]);
  });

  it("are listed: precisions", () => {
    expect(conversionDtypes("mlpackage")).toEqual(["fp32", "fp16"]);
  });
});
