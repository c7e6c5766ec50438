import { createHash } from "node:crypto";
import { cp, mkdir, readFile, rename, symlink, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { dtypeSuffixes, onnx } from "@crossrank/backend-onnx";
import {
  type BackendSession,
  InvalidInputError,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
} from "@crossrank/core";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  fixture,
  folderWith,
  load,
  makeBatch,
  profile,
  readGoldens,
  rejection,
  temporaryFolder,
} from "./fixtures.js";
import { folderFiles } from "./folder-files.js";

const backend = onnx({ isolation: "thread", workers: 1, threads: 1 });

async function loadFor(...parameters: Parameters<typeof load>): Promise<BackendSession> {
  const session = await load(...parameters);
  onTestFinished(() => session.dispose());
  return session;
}

function pathOf(session: BackendSession): string | undefined {
  return session.artifact.files[0]?.path;
}

describe("the file of each dtype", () => {
  const everything = Object.values(dtypeSuffixes).map((suffix) => `onnx/model${suffix}.onnx`);

  test.each([
    ["fp32", "onnx/model.onnx"],
    ["fp16", "onnx/model_fp16.onnx"],
    ["int8", "onnx/model_int8.onnx"],
    ["uint8", "onnx/model_uint8.onnx"],
    ["q8", "onnx/model_quantized.onnx"],
    ["q4", "onnx/model_q4.onnx"],
    ["q4f16", "onnx/model_q4f16.onnx"],
    ["bnb4", "onnx/model_bnb4.onnx"],
    ["q1f16", "onnx/model_q1f16.onnx"],
  ])("%s → %s", async (dtype, path) => {
    const folder = await folderWith(everything);
    const session = await loadFor(backend, folder, { dtype });
    const sha256 = createHash("sha256")
      .update(await readFile(join(folder, path)))
      .digest("hex");
    // Each is the same graph: what it computes in is read from it, whatever it is called.
    expect(session.artifact).toEqual({ format: "onnx", dtype: "fp32", files: [{ path, sha256 }] });
    expect(session.notes).toEqual(
      dtype === "fp32" ? [] : [`${path} is named as ${dtype} is, and computes in fp32`],
    );
  });

  test.each([
    [["onnx/model_q4.onnx", "onnx/model_quantized.onnx", "onnx/model_fp16.onnx"], "onnx/model_fp16.onnx"],
    [["onnx/model_q4.onnx", "onnx/model_quantized.onnx"], "onnx/model_quantized.onnx"],
    [["onnx/model_q4f16.onnx"], "onnx/model_q4f16.onnx"],
    [["model.onnx", "onnx/model_fp16.onnx"], "model.onnx"],
    [["model.onnx", "onnx/model.onnx"], "onnx/model.onnx"],
  ])("without one asked for, of %j: %s", async (names, path) => {
    const session = await loadFor(backend, await folderWith(names));
    expect(session.artifact.files[0]?.path).toBe(path);
  });

  test("the profile's default stands before the most precise, the caller's before both", async () => {
    const folder = await folderWith(["onnx/model.onnx", "onnx/model_int8.onnx", "onnx/model_q4.onnx"]);
    const withDefault = { profile: { ...profile, defaultDtype: "int8" } };
    expect(pathOf(await loadFor(backend, folder, withDefault))).toBe("onnx/model_int8.onnx");
    expect(pathOf(await loadFor(backend, folder, { ...withDefault, dtype: "q4" }))).toBe(
      "onnx/model_q4.onnx",
    );
  });

  test.each([
    ["the name of another format's precision", "Q8_0", "onnx/model.onnx"],
    ["a precision that is not there", "fp16", "onnx/model.onnx"],
    ["written in another case", "INT8", "onnx/model_int8.onnx"],
  ])("a default that is %s", async (_, defaultDtype, expected) => {
    const folder = await folderWith(["onnx/model_int8.onnx", "onnx/model.onnx"]);
    const session = await loadFor(backend, folder, { profile: { ...profile, defaultDtype } });
    expect(pathOf(session)).toBe(expected);
  });

  test("one asked for in another case", async () => {
    const folder = await folderWith(["onnx/model_int8.onnx", "onnx/model.onnx"]);
    expect(pathOf(await loadFor(backend, folder, { dtype: "INT8" }))).toBe("onnx/model_int8.onnx");
  });
});

describe("an artifact that is not there", () => {
  test("names the dtypes that are", async () => {
    const folder = await folderWith(["onnx/model.onnx", "onnx/model_quantized.onnx"]);
    const error = await rejection(load(backend, folder, { dtype: "fp16" }));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error).toMatchObject({
      expected: ["onnx/model_fp16.onnx", "model_fp16.onnx"],
      found: ["onnx/model.onnx", "onnx/model_quantized.onnx"],
    });
    expect(error.message).toContain("Ask for dtype fp32 or q8.");
  });

  test("says so where there is no ONNX at all", async () => {
    const error = await rejection(load(backend, await temporaryFolder()));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error.message).toContain("crossrank convert --to onnx");
  });

  test("a dtype that does not exist is the caller's mistake", async () => {
    const error = await rejection(load(backend, fixture("cross-encoder"), { dtype: "float32" }));
    expect(error).toBeInstanceOf(InvalidInputError);
    expect(error.message).toContain("fp32, fp16, int8");
  });
});

describe("the option `file`", () => {
  test.each([
    "onnx/model_O3.onnx",
    "onnx/model_qint8_avx512_vnni.onnx",
    "onnx/model_quantized.onnx",
    "special.onnx",
  ])("runs %s, whatever precision is asked for", async (file) => {
    const folder = await folderWith(["onnx/model.onnx", file]);
    const session = await loadFor(onnx({ isolation: "thread", file, workers: 1, threads: 1 }), folder, {
      dtype: "int8",
    });
    expect(session.artifact.dtype).toBe("fp32");
    expect(session.artifact.files[0]?.path).toBe(file);
  });

  test("that is not there: lists the .onnx files that are", async () => {
    const folder = await folderWith(["onnx/model.onnx"]);
    const error = await rejection(load(onnx({ file: "onnx/none.onnx" }), folder));
    expect(error).toMatchObject({ expected: ["onnx/none.onnx"], found: ["onnx/model.onnx"] });
  });
});

describe("external data", () => {
  async function expectGoldens(session: BackendSession): Promise<void> {
    const [golden] = await readGoldens("cross-encoder-external");
    const output = await session.run(makeBatch(golden === undefined ? [] : [golden]));
    expect(output.data[0]).toBeCloseTo(golden?.logits?.[0] ?? Number.NaN, 4);
  }

  test("is part of the artifact", async () => {
    const session = await loadFor(backend, fixture("cross-encoder-external"));
    expect(session.artifact.files.map(({ path }) => path)).toEqual([
      "onnx/model.onnx",
      "onnx/model.onnx_data",
    ]);
  });

  /** As the hub's cache has it: a snapshot of symbolic links to files named by their hash. */
  async function linkedFolder(blobOf: (name: string) => string): Promise<string> {
    const root = await temporaryFolder();
    const snapshot = join(root, "snapshots/0123456789abcdef");
    for (const name of ["onnx/model.onnx", "onnx/model.onnx_data"]) {
      const [link, blob] = [join(snapshot, name), join(root, blobOf(name))];
      await mkdir(dirname(link), { recursive: true });
      await cp(join(fixture("cross-encoder-external"), name), blob);
      await symlink(relative(dirname(link), blob), link);
    }
    return snapshot;
  }

  test("loads through symbolic links into one folder", async () => {
    const folder = await linkedFolder((name) => `blobs/${createHash("sha256").update(name).digest("hex")}`);
    await expectGoldens(await loadFor(backend, folder));
  });

  test("loads through symbolic links into two folders, which ONNX Runtime refuses by itself", async () => {
    const folder = await linkedFolder((name) => (name.endsWith(".onnx") ? "graphs/a" : "weights/b"));
    await expectGoldens(await loadFor(onnx({ workers: 2, threads: 1 }), folder));
  });

  test("loads from a cache that keeps every file under its hash, with no links", async () => {
    const root = await temporaryFolder();
    const original = folderFiles(fixture("cross-encoder-external"));
    const files: ModelFiles = {
      ...original,
      localPath: async (path) => {
        const copy = join(root, createHash("sha256").update(path).digest("hex"));
        await cp(await original.localPath(path), copy);
        return copy;
      },
    };
    await expectGoldens(await loadFor(backend, "", { files }));
  });

  test("that is missing is an error that says where it belongs", async () => {
    const folder = await folderWith(["onnx/model.onnx"], "cross-encoder-external");
    const error = await rejection(load(backend, folder));
    expect(error).toMatchObject({ code: "model-load", file: "onnx/model.onnx" });
    expect(error.message).toMatch(/External data.*beside it/);
  });

  test("is fetched by the graph's names, and nothing else is", async () => {
    const folder = await folderWith(["onnx/model.onnx"], "cross-encoder-external");
    await rename(join(folder, "onnx/model.onnx"), join(folder, "onnx/model_fp16.onnx"));
    const data = join(fixture("cross-encoder-external"), "onnx/model.onnx_data");
    await cp(data, join(folder, "onnx/model.onnx_data"));
    for (const name of ["model_fp16.onnx_data", "model_fp16.onnx.data", "model.onnx_data_1"]) {
      await writeFile(join(folder, "onnx", name), "not this model's");
    }
    const fetched: string[] = [];
    const original = folderFiles(folder);
    const files: ModelFiles = {
      ...original,
      localPath: (path) => {
        fetched.push(path);
        return original.localPath(path);
      },
    };
    await expectGoldens(await loadFor(backend, folder, { files, dtype: "fp16" }));
    expect([...new Set(fetched)]).toEqual(["onnx/model_fp16.onnx", "onnx/model.onnx_data"]);
  });
});

test("a hash that the source knows is taken over, not computed again", async () => {
  const original = folderFiles(fixture("cross-encoder"));
  const sha256 = "ab".repeat(32);
  const files: ModelFiles = {
    ...original,
    list: async () => (await original.list()).map((file): ModelFile => ({ ...file, sha256 })),
  };
  expect((await loadFor(backend, "", { files })).artifact.files).toEqual([
    { path: "onnx/model.onnx", sha256 },
  ]);
});
