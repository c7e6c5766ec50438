import { cp, mkdir, readFile, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { backends, onnx } from "@crossrank/backend-onnx";
import {
  type BackendSession,
  InvalidInputError,
  ModelFileNotFoundError,
  type ModelFiles,
  ModelLoadError,
} from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { describe, expect, onTestFinished, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { artifactsAmong, processorOf } from "../src/published-names.js";
import { thisProcessor } from "../src/this-processor.js";
import { fixturesFolder, load, makeBatch, rejection, temporaryFolder } from "./fixtures.js";
import { folderFiles } from "./folder-files.js";

// One tiny cross-encoder in the forms in which ONNX files are published: lab/fixtures/build_onnx_forms.py.

const forms = join(fixturesFolder, "forms");
const goldens = JSON.parse(await readFile(join(forms, "forms.json"), "utf8")) as {
  readonly sequences: readonly (readonly number[])[];
  readonly logits: Readonly<Record<string, readonly number[]>>;
};
const [descriptor] = backends;
const one = { workers: 1, threads: 1, isolation: "thread" } as const;

/** A model's folder: name in it → form. */
async function folderOf(files: Readonly<Record<string, string>>): Promise<string> {
  const folder = await temporaryFolder();
  for (const [name, form] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await cp(join(forms, form), join(folder, name));
  }
  return folder;
}

async function loadFor(...parameters: Parameters<typeof load>): Promise<BackendSession> {
  const session = await load(...parameters);
  onTestFinished(() => session.dispose());
  return session;
}

function pathOf(session: BackendSession): string | undefined {
  return session.artifact.files[0]?.path;
}

async function logitsOf(session: BackendSession): Promise<readonly number[]> {
  const logits: number[] = [];
  for (const inputIds of goldens.sequences) {
    const { data } = await session.run(makeBatch([{ inputIds, segmentIds: inputIds.map(() => 0) }]));
    logits.push(data[0] ?? Number.NaN);
  }
  return logits;
}

const addsIn32Bits = ["avx512_vnni", "arm64"].some((name) => thisProcessor().fits.includes(name));

describe("what a graph is, and that it runs as the tool that made it meant", () => {
  test.each([
    ["fp32.onnx", "fp32", undefined, false],
    ["old.onnx", "fp32", undefined, false],
    ["nested.onnx", "fp32", undefined, false],
    ["constants.onnx", "fp32", undefined, false],
    ["fp16.onnx", "fp16", undefined, false],
    ["qint8_avx512_vnni.onnx", "int8", "dynamic: weights int8, activations at run time", true],
    ["qint8_avx512.onnx", "int8", "dynamic: weights int8, activations at run time", true],
    ["qint8_arm64.onnx", "int8", "dynamic: weights int8, activations at run time", true],
    ["quint8_avx2.onnx", "uint8", "dynamic: weights uint8, activations at run time", true],
    ["static_qdq.onnx", "int8", "static (QDQ): weights int8, activations by fixed scales", false],
    ["static_qoperator.onnx", "int8", "static (QOperator): weights int8, activations by fixed scales", false],
    ["q4.onnx", "q4", "weights alone: 4 bits in blocks of 32", false],
    ["q4f16.onnx", "q4f16", "weights alone: 4 bits in blocks of 32", false],
    ["q8_blocks.onnx", "q8", "weights alone: 8 bits in blocks of 32", false],
    ["bnb4.onnx", "bnb4", "weights alone: 4 bits in blocks of 32", false],
  ])("%s: %s", async (form, dtype, quantisation, rowsAffectScores) => {
    // A name that says something else, and nothing.
    for (const path of ["onnx/model.onnx", "deep/er/some name.ONNX"]) {
      const folder = await folderOf({ [path]: form });
      const description = await descriptor?.describe?.(folderFiles(folder), path);
      expect(description).toMatchObject({ dtype, quantisation, facts: { opset: "17" }, files: [] });
      const tensor = { type: "int64", shape: ["batch", "sequence"] };
      expect(description?.inputs).toEqual([
        { name: "input_ids", ...tensor },
        { name: "attention_mask", ...tensor },
      ]);
      expect(description?.outputs).toEqual([{ name: "logits", type: "float32", shape: ["batch", 1] }]);
      const session = await loadFor(onnx(one), folder);
      expect(pathOf(session)).toBe(path);
      expect(session.artifact.dtype).toBe(dtype);
      expect(session.capabilities.rowsAffectScores).toBe(rowsAffectScores);
      const expected = goldens.logits[form] ?? [];
      const logits = await logitsOf(session);
      // Kernels of 8 and 4 bits differ between processors; a wrong graph is off by the size of the logits, .25. Weights
      // of all 8 bits, signed, are made for processors that add up in 32 bits: the 16 of AVX2 overflow.
      const isMadeElsewhere = ["qint8_avx512_vnni.onnx", "qint8_arm64.onnx"].includes(form) && !addsIn32Bits;
      const tolerance = dtype === "fp32" ? 1e-5 : isMadeElsewhere ? 6e-2 : 2e-2;
      for (const [index, logit] of logits.entries()) {
        expect(Math.abs(logit - (expected[index] ?? Number.NaN))).toBeLessThan(tolerance);
      }
    }
  });
});

/** Every .onnx that the repositories of ../shared/published name (136 repositories, 18 names), and more of their kind. */
const published: readonly (readonly [path: string, form: string, dtype: string])[] = [
  ["onnx/model.onnx", "fp32.onnx", "fp32"],
  ["model.onnx", "fp32.onnx", "fp32"],
  ["onnx/model_O1.onnx", "fp32.onnx", "fp32"],
  ["onnx/model_O2.onnx", "fp32.onnx", "fp32"],
  ["onnx/model_O3.onnx", "fp32.onnx", "fp32"],
  ["onnx/model_O4.onnx", "fp16.onnx", "fp16"],
  ["onnx/model_fp16.onnx", "fp16.onnx", "fp16"],
  ["onnx/model_qint8_arm64.onnx", "qint8_arm64.onnx", "int8"],
  ["onnx/model_qint8_avx512.onnx", "qint8_avx512.onnx", "int8"],
  ["onnx/model_qint8_avx512_vnni.onnx", "qint8_avx512_vnni.onnx", "int8"],
  ["onnx/model_quint8_avx2.onnx", "quint8_avx2.onnx", "uint8"],
  ["onnx/model_quantized.onnx", "quint8_avx2.onnx", "q8"],
  ["onnx/model_int8.onnx", "qint8_arm64.onnx", "int8"],
  ["onnx/model_uint8.onnx", "quint8_avx2.onnx", "uint8"],
  ["onnx/model_q4.onnx", "q4.onnx", "q4"],
  ["onnx/model_q4f16.onnx", "q4f16.onnx", "q4f16"],
  ["onnx/model_bnb4.onnx", "bnb4.onnx", "bnb4"],
  ["model_quant.onnx", "qint8_arm64.onnx", "int8"],
  ["model_optimized.onnx", "fp32.onnx", "fp32"],
  ["model_quantized.onnx", "static_qdq.onnx", "q8"],
  ["onnx/model-quantized.onnx", "static_qoperator.onnx", "int8"],
  ["bge-reranker-base.onnx", "fp32.onnx", "fp32"],
  ["v1/export/reranker.int8.onnx", "qint8_arm64.onnx", "int8"],
  ["onnx/reranker_q4.onnx", "q4.onnx", "q4"],
  ["quantized/model_qint8_ppc64le.onnx", "qint8_arm64.onnx", "int8"],
];

describe("a repository with one file, by every published name", () => {
  test.each(sampleOf(published, { name: "published", every: 3 }))(
    "%s runs, and is %s by its content",
    async (path, form, dtype) => {
      const session = await loadFor(onnx(one), await folderOf({ [path]: form }));
      expect(pathOf(session)).toBe(path);
      expect(session.artifact.dtype).toBe(dtype);
    },
  );
});

test("every name of a repository is listed once, and can be named: as a file, or in place of a precision", async () => {
  const folder = await folderOf(Object.fromEntries(published.map(([path, form]) => [path, form])));
  const listed = descriptor?.artifacts(published.map(([path]) => path)) ?? [];
  expect(listed.map(({ path }) => path).sort()).toEqual(published.map(([path]) => path).sort());
  for (const [path, , dtype] of sampleOf(published, { name: "named", every: 3 })) {
    const byFile = await load(onnx({ ...one, file: path }), folder);
    const byDtype = await load(onnx(one), folder, { dtype: path });
    for (const session of [byFile, byDtype]) {
      expect(pathOf(session)).toBe(path);
      expect(session.artifact.dtype).toBe(dtype);
      await session.dispose();
    }
  }
});

/** What cross-encoder/ms-marco-MiniLM-L6-v2 and its kin have. */
const usual = {
  "onnx/model.onnx": "fp32.onnx",
  "onnx/model_O1.onnx": "fp32.onnx",
  "onnx/model_O2.onnx": "fp32.onnx",
  "onnx/model_O3.onnx": "fp32.onnx",
  "onnx/model_O4.onnx": "fp16.onnx",
  "onnx/model_qint8_arm64.onnx": "qint8_arm64.onnx",
  "onnx/model_qint8_avx512.onnx": "qint8_avx512.onnx",
  "onnx/model_qint8_avx512_vnni.onnx": "qint8_avx512_vnni.onnx",
  "onnx/model_quint8_avx2.onnx": "quint8_avx2.onnx",
};

describe("the file that is made for a processor", () => {
  const vnni = ["avx2", "avx512f", "avx512bw", "avx512_vnni"];
  test.each([
    ["x64", vnni, "qint8_avx512_vnni"],
    ["x64", ["avx2", "avx512f", "avx512bw"], "qint8_avx512"],
    ["x64", ["avx2", "avx512_vnni"], "quint8_avx2"],
    ["x64", ["avx2", "avx_vnni"], "qint8_avx512_vnni"],
    ["x64", ["avx2"], "quint8_avx2"],
    // A system that does not say what its processor can.
    ["x64", [], "quint8_avx2"],
    ["arm64", [], "qint8_arm64"],
    ["ppc64", [], undefined],
    ["riscv64", [], undefined],
  ])("%s with %j: %s", (arch, flags, expected) => {
    const artifacts = artifactsAmong(Object.keys(usual), processorOf(arch, flags));
    const chosen = artifacts.find(({ dtype, onlyByName }) => dtype === "int8" && onlyByName === undefined);
    expect(chosen?.aliases).toEqual(expected === undefined ? undefined : [expected]);
    expect(artifacts).toHaveLength(Object.keys(usual).length);
    // What is made for another one is named, and left out.
    for (const { path, onlyByName } of artifacts) {
      const isElsewhere = path.endsWith("O4.onnx") || (/arm64/.test(path) && arch !== "arm64");
      if (isElsewhere) expect(onlyByName).toMatch(/^is (half precision )?made for /);
    }
  });

  test("is what int8 means here, before one for any processor", async () => {
    const folder = await folderOf({ ...usual, "onnx/model_int8.onnx": "static_qdq.onnx" });
    const session = await loadFor(onnx(one), folder, { dtype: "int8" });
    const [best] = thisProcessor().fits;
    expect(pathOf(session)).toContain(best ?? "model_int8.onnx");
    expect(session.notes).toEqual([]);
    expect(pathOf(await loadFor(onnx(one), folder))).toBe("onnx/model.onnx");
  });

  test("is taken for one for another only where that is named, with a note", async () => {
    const other = thisProcessor().fits.includes("arm64") ? "qint8_avx512_vnni" : "qint8_arm64";
    const path = `onnx/model_${other}.onnx`;
    const folder = await folderOf({ "onnx/model.onnx": "fp32.onnx", [path]: "qint8_arm64.onnx" });
    const error = await rejection(load(onnx(one), folder, { dtype: "int8" }));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error.message).toContain(`the option \`file\`: ${path} is made for`);
    expect(error.message).toContain("Ask for dtype fp32");
    const named = await loadFor(onnx({ ...one, file: path }), folder);
    // What its weights are is said besides: narrow-sums.test.ts.
    const [note, ...others] = named.notes ?? [];
    expect(note).toContain(`${path} is made for`);
    expect(others).toHaveLength(thisProcessor().sums === "32 bits" ? 0 : 1);
    const byDtype = await loadFor(onnx(one), folder, { dtype: other.toUpperCase() });
    expect(byDtype.notes).toEqual(named.notes);
  });

  test("O4 is half precision for a GPU, and said to be", async () => {
    const folder = await folderOf(usual);
    const error = await rejection(load(onnx(one), folder, { dtype: "fp16" }));
    expect(error.message).toContain("onnx/model_O4.onnx is half precision made for a GPU");
    const session = await loadFor(onnx(one), folder, { dtype: "O4" });
    expect(session.artifact.dtype).toBe("fp16");
    expect(session.notes).toEqual([expect.stringContaining("made for a GPU")]);
  });
});

describe("where names do not decide, content does", () => {
  test.each([
    [{ "a.onnx": "fp32.onnx", "b.onnx": "qint8_arm64.onnx" }, undefined, "a.onnx"],
    [{ "a.onnx": "q4.onnx", "b.onnx": "fp16.onnx" }, undefined, "b.onnx"],
    [{ "a.onnx": "fp32.onnx", "b.onnx": "quint8_avx2.onnx" }, "int8", "b.onnx"],
    [{ "a.onnx": "fp32.onnx", "b.onnx": "static_qdq.onnx" }, "q8", "b.onnx"],
    [{ "a.onnx": "fp32.onnx", "b.onnx": "fp16.onnx", "c.onnx": "q4.onnx" }, "fp16", "b.onnx"],
    [{ "a.onnx": "q4f16.onnx", "b.onnx": "q4.onnx" }, "q4f16", "a.onnx"],
    [
      { "onnx/model.onnx": "fp32.onnx", "onnx/model_quantized.onnx": "quint8_avx2.onnx" },
      "int8",
      "onnx/model_quantized.onnx",
    ],
    [
      { "onnx/model.onnx": "fp32.onnx", "onnx/model_uint8.onnx": "quint8_avx2.onnx" },
      "int8",
      "onnx/model_uint8.onnx",
    ],
    // A usual name goes before what is read.
    [{ "aaa.onnx": "fp32.onnx", "onnx/model_q4.onnx": "q4.onnx" }, undefined, "onnx/model_q4.onnx"],
  ])("%j, asked for %s: %s", async (files, dtype, expected) => {
    const session = await loadFor(onnx(one), await folderOf(files as Record<string, string>), { dtype });
    expect(pathOf(session)).toBe(expected);
  });

  test("several that are alike are told apart by nobody", async () => {
    const folder = await folderOf({ "a.onnx": "fp32.onnx", "b/c.onnx": "fp32.onnx", "d.onnx": "q4.onnx" });
    for (const dtype of [undefined, "fp32"]) {
      const error = await rejection(load(onnx(one), folder, { dtype }));
      expect(error).toMatchObject({ code: "model-file-not-found", found: ["a.onnx", "b/c.onnx"] });
      expect(error.message).toContain("the option `file`");
    }
  });

  test("a graph that takes no token ids, and what is no graph, are passed over", async () => {
    const folder = await folderOf({ "a.onnx": "fp32.onnx" });
    await writeFile(join(folder, "b.onnx"), "no graph");
    await writeFile(join(folder, "tokenizer.onnx"), "");
    expect(pathOf(await loadFor(onnx(one), folder))).toBe("a.onnx");
  });

  test("a name that is no precision and no artifact is the caller's mistake", async () => {
    const folder = await folderOf(usual);
    const error = await rejection(load(onnx(one), folder, { dtype: "O5" }));
    expect(error).toBeInstanceOf(InvalidInputError);
  });
});

describe("weights in files of their own", () => {
  const parts = {
    "onnx/any.onnx": "parts.onnx",
    "onnx/parts.weights": "parts.weights",
    "onnx/weights/part one.bin": "weights/part one.bin",
  };

  test("are found by the names of the graph, and are part of the artifact", async () => {
    const folder = await folderOf({ ...parts, "onnx/any.onnx_data": "parts.weights" });
    const session = await loadFor(onnx(one), folder);
    expect(session.artifact.files.map(({ path }) => path)).toEqual(Object.keys(parts));
    expect(await descriptor?.describe?.(folderFiles(folder), "onnx/any.onnx")).toMatchObject({
      files: Object.keys(parts).slice(1),
      notes: [],
    });
    for (const [index, logit] of (await logitsOf(session)).entries()) {
      expect(logit).toBeCloseTo(goldens.logits["parts.onnx"]?.[index] ?? Number.NaN, 5);
    }
  });

  test("run from a cache that has every file under its hash", async () => {
    const original = folderFiles(await folderOf(parts));
    const root = await temporaryFolder();
    let copies = 0;
    const files: ModelFiles = {
      ...original,
      localPath: async (path) => {
        copies += 1;
        const copy = join(root, `blob-${copies}`);
        await cp(await original.localPath(path), copy);
        return copy;
      },
    };
    const session = await loadFor(onnx(one), "", { files });
    expect((await logitsOf(session))[0]).toBeCloseTo(goldens.logits["parts.onnx"]?.[0] ?? Number.NaN, 5);
  });

  test("are a typed error that names the one that is missing, cut or empty", async () => {
    for (const name of Object.keys(parts).slice(1)) {
      const { [name as keyof typeof parts]: _, ...others } = parts;
      const missing = await rejection(load(onnx(one), await folderOf(others)));
      expect(missing).toBeInstanceOf(ModelLoadError);
      expect(missing.message).toContain(`${name} is not there`);
      for (const size of [0, 100, 4095]) {
        const folder = await folderOf(parts);
        await truncate(join(folder, name), size);
        const error = await rejection(load(onnx(one), folder));
        expect(error).toMatchObject({ code: "model-load" });
        expect(error.message).toContain(name);
      }
    }
  });

  test.each([
    "../parts.weights!",
    "a/../../outside!",
    "/etc/hostname....",
    "..\\outside.......",
    "C:\\parts.weights",
    "C:/parts.weights.",
    "parts.weights\0../",
    "................/",
    "*/_ORT_MEM_ADDR_/*",
  ])("lie nowhere but in the graph's folder: %j", async (location) => {
    const folder = await folderOf(parts);
    const path = join(folder, "onnx/any.onnx");
    // Of the same length, so that the file stays well-formed.
    const wanted = "weights/part one.bin";
    const bytes = Buffer.from(
      (await readFile(path))
        .toString("latin1")
        .replaceAll(wanted, location.padEnd(wanted.length, "/x").slice(0, wanted.length)),
      "latin1",
    );
    await writeFile(path, bytes);
    const error = await rejection(load(onnx(one), folder));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error.message).toMatch(/no place within its folder|is not there/);
  });

  test("are refused where a link leads out of the model", async () => {
    const folder = await folderOf(parts);
    const outside = join(await temporaryFolder(), "secret");
    await cp(join(forms, "parts.weights"), outside);
    const { unlink } = await import("node:fs/promises");
    await unlink(join(folder, "onnx/parts.weights"));
    await symlink(outside, join(folder, "onnx/parts.weights"));
    const error = await rejection(load(onnx(one), "", { files: await openModel(folder) }));
    expect(error).toMatchObject({ code: "unsafe-path" });
  });
});

describe("class logits that a file declares", () => {
  test.each([
    ["forms/fp32.onnx", 1],
    ["forms/qint8_avx512_vnni.onnx", 1],
    ["cross-encoder-two-class/onnx/model.onnx", 2],
    ["bi-encoder/onnx/model.onnx", undefined],
    ["bi-encoder-pooled/onnx/model.onnx", undefined],
    ["decoder/onnx/model.onnx", undefined],
  ])("%s: %s", async (form, classes) => {
    const folder = await temporaryFolder();
    await cp(join(fixturesFolder, form), join(folder, "onnx/model.onnx"));
    const declared = await onnx().declaredClasses?.({ files: folderFiles(folder) });
    expect(declared).toEqual(classes === undefined ? undefined : { path: "onnx/model.onnx", classes });
  });
});
