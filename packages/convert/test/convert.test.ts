import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import {
  CrossrankError,
  createReranker,
  InvalidInputError,
  type ModelFiles,
  readProfile,
} from "@crossrank/core";
import { type Goldens, verify } from "@crossrank/core/verify";
import { openModel } from "@crossrank/hub";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ConversionProgress, type ConvertOptions, convert } from "../src/convert.js";
import {
  ConversionNotFaithfulError,
  OutputFolderError,
  SourceChangedError,
  UnsupportedConversionError,
} from "../src/errors.js";
import type { ArtifactProvenance } from "../src/provenance.js";

const fixtures = fileURLToPath(new URL("../../conformance/fixtures", import.meta.url));

/** Of each test's own: what is in it afterwards is what the conversion left. */
let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "crossrank-convert-"));
});
afterEach(async () => {
  await rm(root, { recursive: true, force: true });
});

const fixture = (name: string): Promise<ModelFiles> => openModel(join(fixtures, name));

/** A fixture as it comes from the hub: without artifacts. */
async function copyOf(name: string, as = "source"): Promise<string> {
  const model = join(root, as);
  await cp(join(fixtures, name), model, {
    recursive: true,
    filter: (path) => !path.startsWith(join(fixtures, name, "onnx")),
  });
  return model;
}

async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
    .sort();
}

async function readJson<Value>(...path: string[]): Promise<Value> {
  return JSON.parse(await readFile(join(...path), "utf8")) as Value;
}

async function provenanceOf(folder: string): Promise<ArtifactProvenance[]> {
  return (await readJson<{ artifacts: ArtifactProvenance[] }>(folder, "provenance.json")).artifacts;
}

const sha256 = async (path: string): Promise<string> =>
  createHash("sha256")
    .update(await readFile(path))
    .digest("hex");

/** What a conversion that must fail throws. */
async function failure(options: ConvertOptions): Promise<unknown> {
  return convert(options).then(
    () => expect.fail("the conversion did not fail"),
    (error: unknown) => error,
  );
}

function toOnnx(model: ModelFiles, output: string, rest: Partial<ConvertOptions> = {}): ConvertOptions {
  return {
    model,
    to: "onnx",
    output,
    backend: onnx({ isolation: "thread", threads: 1, workers: 1 }),
    ...rest,
  };
}

describe("convert", () => {
  it("makes a complete model folder, verified, with provenance", async () => {
    const model = await fixture("bert-logit");
    const output = join(root, "made", "here");
    const steps: ConversionProgress["step"][] = [];
    const conversion = await convert(toOnnx(model, output, { onProgress: ({ step }) => steps.push(step) }));

    expect(conversion.folder).toBe(output);
    expect(await filesIn(root)).toEqual(
      ["config.json", "golden.json", "onnx/model.onnx", "provenance.json", "special_tokens_map.json"]
        .concat("tokenizer.json", "tokenizer_config.json")
        .map((path) => join("made", "here", path)),
    );
    expect([...new Set(steps)]).toEqual(["reading", "hashing", "reference", "writing", "verifying"]);

    const [entry, ...others] = await provenanceOf(output);
    expect(others).toEqual([]);
    const artifact = join(output, "onnx", "model.onnx");
    const weights = join(fixtures, "bert-logit", "model.safetensors");
    const own = await readJson<Goldens>(fixtures, "bert-logit", "golden.json");
    expect(entry).toEqual({
      format: "onnx",
      dtype: "fp32",
      files: [{ path: "onnx/model.onnx", size: (await stat(artifact)).size, sha256: await sha256(artifact) }],
      source: {
        // No path of this machine.
        id: "bert-logit",
        revision: null,
        files: [
          { path: "model.safetensors", size: (await stat(weights)).size, sha256: await sha256(weights) },
        ],
      },
      converter: {
        packages: { "@crossrank/convert": expect.any(String), "@crossrank/core": expect.any(String) },
        node: process.versions.node,
        date: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
      },
      options: { target: "onnxruntime" },
      tensors: expect.any(Object),
      otherPrecision: {},
      verified: true,
      verifications: [
        expect.objectContaining({
          against: "source",
          backend: { name: "onnx", runtime: { name: "onnxruntime-node", version: expect.any(String) } },
          bound: { name: "fp32", maximum: 1e-4 },
        }),
        expect.objectContaining({ against: "golden.json", reference: own.reference }),
      ],
    });
    for (const { summary } of entry?.verifications ?? []) {
      expect(summary.compared).toBeGreaterThan(5);
      expect(summary.tokensDifferent).toBe(0);
      expect(summary.maximum).toBeLessThan(1e-4);
    }
    expect(conversion.provenance).toEqual(entry);
    expect(conversion.verifications.map(({ verification }) => verification.passed)).toEqual([true, true]);
  });

  it("leaves a folder that works by itself", async () => {
    const output = join(root, "out");
    await convert(toOnnx(await fixture("modernbert-chain"), output));
    const converted = await openModel(output);
    expect((await readProfile(converted)).profile).toEqual(
      (await readProfile(await fixture("modernbert-chain"))).profile,
    );
    await using reranker = await createReranker({
      model: converted,
      backend: onnx({ isolation: "thread", threads: 1 }),
    });
    const { results } = await reranker.rerank({ query: "a cat", documents: ["a dog", "the cat sat"] });
    expect(results.every(({ logit }) => Number.isFinite(logit))).toBe(true);
  });

  it("writes goldens of its own where the source has none, so that verify has something to hold on to", async () => {
    const source = await copyOf("bert-logit");
    await rm(join(source, "golden.json"));
    const output = join(root, "out");
    const { verifications } = await convert(toOnnx(await openModel(source), output));
    expect(verifications.map(({ against }) => against)).toEqual(["source"]);
    const goldens = await readJson<Goldens>(output, "golden.json");
    const again = await verify({
      model: await openModel(output),
      backend: onnx({ isolation: "thread", threads: 1 }),
      goldens,
    });
    expect(again).toMatchObject({ passed: true });
  });

  it("adds to a model's own folder the artifact and its provenance, and changes nothing else", async () => {
    const source = await copyOf("bert-logit");
    const before = new Map<string, string>();
    for (const path of await filesIn(source)) before.set(path, await sha256(join(source, path)));
    await convert(toOnnx(await openModel(source), source));
    expect(await filesIn(root)).toEqual(
      [...before.keys(), "onnx/model.onnx", "provenance.json"].map((path) => join("source", path)).sort(),
    );
    for (const [path, hash] of before) expect(await sha256(join(source, path))).toBe(hash);
  });

  it("keeps one entry an artifact, and replaces an artifact only when forced", async () => {
    const model = await fixture("bert-logit");
    const output = join(root, "out");
    const { goldens } = await convert(toOnnx(model, output));
    await convert(toOnnx(model, output, { dtype: "INT8", goldens }));
    expect((await provenanceOf(output)).map(({ dtype }) => dtype)).toEqual(["fp32", "int8"]);

    const [first] = await provenanceOf(output);
    const refused = await failure(toOnnx(model, output, { goldens }));
    expect(refused).toBeInstanceOf(OutputFolderError);
    expect(refused).toMatchObject({ reason: "exists", path: join(output, "onnx", "model.onnx") });
    expect((refused as Error).message).toMatch(/onnx\/model\.onnx is there already\. .*option `force`/);

    // Data of an artifact that is replaced would be taken for the new one's.
    await writeFile(join(output, "onnx", "model.onnx_data"), "old");
    await convert(toOnnx(model, output, { goldens, force: true }));
    expect(await filesIn(join(output, "onnx"))).toEqual(["model.onnx", "model_int8.onnx"]);
    const entries = await provenanceOf(output);
    expect(entries.map(({ dtype }) => dtype)).toEqual(["fp32", "int8"]);
    expect(entries[0]?.files).toEqual(first?.files);
    expect(entries[0]?.converter.date).not.toBe(first?.converter.date);
  });

  it("puts facts that overrode the model's own into the copy", async () => {
    const output = join(root, "out");
    const profile = { maxLength: 40, activation: "sigmoid" } as const;
    const source = await copyOf("bert-logit");
    await rm(join(source, "golden.json"));
    await convert(toOnnx(await openModel(source), output, { profile }));
    expect(await readJson(output, "crossrank.json")).toEqual(profile);
    expect((await readProfile(await openModel(output))).profile).toMatchObject(profile);
    expect((await provenanceOf(output))[0]?.options.profile).toEqual(profile);
  });

  it("does without a backend where nothing is to be verified, and says that nobody looked", async () => {
    const output = join(root, "out");
    const conversion = await convert({
      model: await fixture("bert-logit"),
      to: "onnx",
      output,
      verify: false,
    });
    expect(conversion).toMatchObject({ verifications: [], goldens: undefined });
    expect((await provenanceOf(output))[0]).toMatchObject({ verified: false, verifications: [] });
  });
});

describe("an artifact that is not its source's", () => {
  it("is refused by how much and where, and nothing is left", async () => {
    const error = await failure(
      toOnnx(await fixture("bert-logit"), join(root, "deep", "out"), { tolerance: 1e-12 }),
    );
    expect(ConversionNotFaithfulError.isInstance(error)).toBe(true);
    const { against, verification, message } = error as ConversionNotFaithfulError;
    expect(against).toBe("source");
    expect(verification.summary.maximum).toBeGreaterThan(1e-12);
    expect(message).toMatch(/as onnx fp32 does not give what its weights give: .* the worst by \S+ \(/);
    expect(await readdir(root)).toEqual([]);
  });

  it("is refused when the weights were changed between reference and writing", async () => {
    const source = await copyOf("bert-logit");
    await rm(join(source, "golden.json"));
    const model = await openModel(source);
    const output = join(root, "out");
    // As a download that goes on while somebody converts.
    const onProgress = ({ step, ...rest }: ConversionProgress): void => {
      if (step === "writing" && !("written" in rest)) flipSigns(source);
    };
    const error = await failure(toOnnx(model, output, { onProgress }));
    expect(error).toBeInstanceOf(ConversionNotFaithfulError);
    expect((error as ConversionNotFaithfulError).verification.summary.maximum).toBeGreaterThan(0.01);
    expect(await readdir(root)).toEqual(["source"]);

    // Without verification the hashes in provenance.json would be of other weights.
    const unseen = await failure(toOnnx(model, output, { onProgress, verify: false }));
    expect(unseen).toBeInstanceOf(SourceChangedError);
    expect(await readdir(root)).toEqual(["source"]);
  });

  it("is refused when its golden.json is of another model", async () => {
    const source = await copyOf("bert-logit");
    flipSigns(source);
    const error = await failure(toOnnx(await openModel(source), join(root, "out")));
    expect(error).toBeInstanceOf(ConversionNotFaithfulError);
    expect(error).toMatchObject({ against: "golden.json", verification: { passed: false } });
    expect((error as Error).message).toMatch(/but not what its golden\.json says: .*not of one model/);
    expect(await readdir(root)).toEqual(["source"]);
  });
});

describe("what cannot be done", () => {
  it.each<[string, Partial<ConvertOptions>, string, RegExp]>([
    [
      "an unknown precision",
      { dtype: "fp64" },
      "dtype",
      /must be one of fp32, fp16, int8 for onnx, not "fp64"/,
    ],
    [
      "a target of another format",
      { to: "gguf", target: "mnn" },
      "target",
      /is an option of onnx, and gguf has none/,
    ],
    ["a tolerance of nothing", { tolerance: 0 }, "tolerance", /above 0/],
    ["no backend to verify with", { backend: undefined }, "backend", /verify: false/],
    ["a profile of another form", { profile: { maxLength: "long" } as never }, "profile", /maxLength/],
  ])("refuses %s", async (_, options, path, message) => {
    const error = await failure(toOnnx(await fixture("bert-logit"), join(root, "out"), options));
    expect(InvalidInputError.isInstance(error)).toBe(true);
    expect(error).toMatchObject({ path, message: expect.stringMatching(message) });
    expect(await readdir(root)).toEqual([]);
  });

  it("says why a model cannot be written, before anything is", async () => {
    const listwise = await fixture("qwen3-listwise");
    for (const to of ["onnx", "gguf"] as const) {
      const error = await failure({ model: listwise, to, output: join(root, "out"), verify: false });
      expect(error).toBeInstanceOf(UnsupportedConversionError);
      expect(error).toMatchObject({ format: to, problem: expect.stringMatching(/\w+ \w+/) });
    }
    expect(await readdir(root)).toEqual([]);
  });

  it.each(["is a file", "lies below a file"])("names an output that %s", async (how) => {
    const file = join(root, "file");
    await writeFile(file, "");
    const output = how === "is a file" ? file : join(file, "below", "out");
    const error = await failure(toOnnx(await fixture("bert-logit"), output));
    expect(error).toBeInstanceOf(OutputFolderError);
    expect(error).toMatchObject({ reason: "system", output });
    expect((error as Error).message).toMatch(/cannot write to the folder .*file.*Name a folder/);
    expect(CrossrankError.isInstance(error)).toBe(true);
    expect(await filesIn(root)).toEqual(["file"]);
  });

  // The system says there that nothing is found, for ever.
  it.runIf(process.platform === "linux").each(["/proc/crossrank", "/proc/crossrank/below/out"])(
    "names an output that no system lets be made: %s",
    async (output) => {
      const error = await failure(toOnnx(await fixture("bert-logit"), output));
      expect(error).toBeInstanceOf(OutputFolderError);
      expect(error).toMatchObject({ reason: "system", output });
    },
  );

  it("leaves another model's folder alone", async () => {
    const output = join(root, "out");
    await mkdir(output);
    await cp(join(fixtures, "roberta-logit", "config.json"), join(output, "config.json"));
    const error = await failure(toOnnx(await fixture("bert-logit"), output, { force: true }));
    expect(error).toMatchObject({ reason: "conflict", path: join(output, "config.json") });
    expect(await filesIn(root)).toEqual(["out/config.json"]);
  });

  it("does not write over a provenance.json of somebody else", async () => {
    const output = join(root, "out");
    await mkdir(output);
    await writeFile(join(output, "provenance.json"), '{"builder": "another"}');
    const error = await failure(toOnnx(await fixture("bert-logit"), output, { force: true }));
    expect(error).toMatchObject({ reason: "conflict", path: join(output, "provenance.json") });
    expect(await filesIn(root)).toEqual(["out/provenance.json"]);
  });

  it.each(["reading", "hashing", "reference", "writing", "verifying"] as const)(
    "ends with the signal's reason, and leaves nothing, when it is aborted at %s",
    async (step) => {
      const controller = new AbortController();
      const reason = new Error("enough");
      const onProgress = (now: ConversionProgress): void => {
        if (now.step === step) controller.abort(reason);
      };
      const options = { onProgress, signal: controller.signal };
      expect(await failure(toOnnx(await fixture("bert-logit"), join(root, "out"), options))).toBe(reason);
      expect(await readdir(root)).toEqual([]);
    },
  );
});

describe("staging folders that were left behind", () => {
  const long = new Date(Date.now() - 48 * 3_600_000);
  const here = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);
  // Larger than any process id.
  const nobody = 2 ** 30;

  async function leave(name: string, when?: Date): Promise<string> {
    const path = join(root, name);
    await mkdir(join(path, "onnx"), { recursive: true });
    await writeFile(join(path, "onnx", "model.onnx"), "half");
    if (when !== undefined) {
      for (const file of [...(await readdir(path, { recursive: true })), "."]) {
        await utimes(join(path, file), when, when);
      }
    }
    return name;
  }

  it("are removed once their owner is dead, or silent for a day, and those of the living stay", async () => {
    const dead = await leave(`.out.partial-${here}-${nobody}-00000001`);
    const silent = await leave(".out.partial-00000000-1-00000002", long);
    const alive = await leave(`.out.partial-${here}-${process.ppid}-00000003`, long);
    const elsewhere = await leave(".out.partial-00000000-1-00000004");
    const other = await leave(`.other.partial-${here}-${nobody}-00000005`);
    const foreign = await leave(".out.partial-of-somebody", long);
    await convert({
      model: await fixture("bert-logit"),
      to: "onnx",
      output: join(root, "out"),
      verify: false,
    });
    const left = await readdir(root);
    for (const name of [dead, silent]) expect(left).not.toContain(name);
    expect(left.sort()).toEqual(["out", alive, elsewhere, other, foreign].sort());
  });
});

/** Turns the classifier's weights around, in place. */
function flipSigns(source: string): void {
  const path = join(source, "model.safetensors");
  const bytes = readFileSync(path);
  const length = Number(bytes.readBigUInt64LE());
  const header = JSON.parse(bytes.toString("utf8", 8, 8 + length)) as Record<
    string,
    { data_offsets: [number, number] }
  >;
  const [from, to] = header["classifier.weight"]?.data_offsets ?? [0, 0];
  for (let at = 8 + length + from; at < 8 + length + to; at += 4) {
    bytes.writeFloatLE(-bytes.readFloatLE(at), at);
  }
  writeFileSync(path, bytes);
}
