import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  type CompileRequest,
  compiledModel,
  defaultCompiledModelFolder,
  useCompiledModel,
} from "../src/compiled-model-cache.js";
import { NativeError } from "../src/native-error.js";

// What is tested is the cache and not Core ML. The cache asks of a compiler that it leaves a folder in a temporary place;
// the one here copies the package, so that what comes out can be told from what went in.

let folder: string;
let packagePath: string;
let cacheFolder: string;
let compilations: number;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-compiled-"));
  packagePath = join(folder, "model.mlpackage");
  cacheFolder = join(folder, "cache");
  compilations = 0;
  await mkdir(join(packagePath, "Data"), { recursive: true });
  await writeFile(join(packagePath, "Manifest.json"), "{}");
  await writeFile(join(packagePath, "Data", "weight.bin"), new Uint8Array([1, 2, 3, 4]));
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function compile(path: string): Promise<string> {
  compilations += 1;
  const compiled = join(folder, `compiled-${compilations}`);
  await cp(path, compiled, { recursive: true });
  return compiled;
}

function request(changes: Partial<CompileRequest> = {}): CompileRequest {
  return { packagePath, cacheFolder, dependsOn: ["macOS 24B83", "addon 0.0.0"], compile, ...changes };
}

describe("compiledModel", () => {
  test("compiles once, moves the result into the cache, and finds it again", async () => {
    const first = await compiledModel(request());
    expect(first.fresh).toBe(true);
    expect(first.path.startsWith(cacheFolder)).toBe(true);
    expect([...(await readFile(join(first.path, "Data", "weight.bin")))]).toEqual([1, 2, 3, 4]);
    expect(await compiledModel(request())).toEqual({ path: first.path, fresh: false });
    expect(compilations).toBe(1);
    // Nothing is left, neither where it was compiled nor beside the entry.
    expect(await readdir(folder)).toEqual(["cache", "model.mlpackage"]);
    expect(await readdir(cacheFolder)).toHaveLength(1);
  });

  test("knows a package by its content, and not by its path", async () => {
    const first = await compiledModel(request());
    const elsewhere = join(folder, "other.mlpackage");
    await rename(packagePath, elsewhere);
    expect(await compiledModel(request({ packagePath: elsewhere }))).toEqual({ ...first, fresh: false });
    await writeFile(join(elsewhere, "Data", "weight.bin"), new Uint8Array([1, 2, 3, 5]));
    const changed = await compiledModel(request({ packagePath: elsewhere }));
    expect(changed.fresh).toBe(true);
    expect(changed.path).not.toBe(first.path);
  });

  test("knows the names of the files, and where one ends", async () => {
    const first = await compiledModel(request());
    await rename(join(packagePath, "Data", "weight.bin"), join(packagePath, "Data", "weights.bin"));
    expect((await compiledModel(request())).path).not.toBe(first.path);
    await rm(join(packagePath, "Data", "weights.bin"));
    await writeFile(join(packagePath, "Data", "weight.bin"), new Uint8Array([1, 2]));
    await writeFile(join(packagePath, "Data", "weight.bin2"), new Uint8Array([3, 4]));
    expect((await compiledModel(request())).path).not.toBe(first.path);
    expect(compilations).toBe(3);
  });

  test.each([
    ["another build of the system", ["macOS 24C101", "addon 0.0.0"]],
    ["another version of the addon", ["macOS 24B83", "addon 0.1.0"]],
    ["a list that runs together to the same text", ["macOS 24B83addon 0.0.0"]],
  ])("compiles again for %s", async (_, dependsOn) => {
    const first = await compiledModel(request());
    const second = await compiledModel(request({ dependsOn }));
    expect(second.fresh).toBe(true);
    expect(second.path).not.toBe(first.path);
  });

  test("follows the links to files in a snapshot of the hub's cache", async () => {
    const first = await compiledModel(request());
    await rename(join(packagePath, "Data", "weight.bin"), join(folder, "blob"));
    await symlink(join(folder, "blob"), join(packagePath, "Data", "weight.bin"));
    expect(await compiledModel(request())).toEqual({ ...first, fresh: false });
  });

  test("refuses a link to a folder, whose files would not be in the key", async () => {
    await rename(join(packagePath, "Data"), join(folder, "data"));
    await symlink(join(folder, "data"), join(packagePath, "Data"));
    await expect(compiledModel(request())).rejects.toMatchObject({
      code: "cache",
      message: expect.stringContaining("links to what is no file"),
    });
    expect(compilations).toBe(0);
  });

  // The cache holds nothing in memory, so two calls meet in the folder only, as two processes do.
  test("keeps one entry when several compile at once", async () => {
    let waiting = 0;
    let go: () => void = () => undefined;
    const everybody = new Promise<void>((resolve) => {
      go = resolve;
    });
    const together = async (path: string): Promise<string> => {
      const compiled = await compile(path);
      waiting += 1;
      if (waiting === 3) go();
      await everybody;
      return compiled;
    };
    const models = await Promise.all([1, 2, 3].map(() => compiledModel(request({ compile: together }))));
    expect(new Set(models.map(({ path }) => path)).size).toBe(1);
    expect(compilations).toBe(3);
    expect(await readdir(cacheFolder)).toHaveLength(1);
    expect((await compiledModel(request())).fresh).toBe(false);
  });

  test.each([
    ["shorter", (path: string) => truncate(join(path, "Data", "weight.bin"), 2)],
    ["missing", (path: string) => rm(join(path, "Data", "weight.bin"))],
    ["not listed", (path: string) => writeFile(join(path, "extra"), "")],
    ["all gone, the list too", (path: string) => rm(join(dirname(path), "files.json"))],
  ])("compiles an entry again whose files are %s", async (_, damage) => {
    const { path } = await compiledModel(request());
    await damage(path);
    expect(await compiledModel(request())).toEqual({ path, fresh: true });
    expect([...(await readFile(join(path, "Data", "weight.bin")))]).toEqual([1, 2, 3, 4]);
    expect(await readdir(path)).toEqual(["Data", "Manifest.json"]);
    expect(await readdir(cacheFolder)).toHaveLength(1);
    expect((await compiledModel(request())).fresh).toBe(false);
  });

  test("does not mistake what an interrupted process left for an entry", async () => {
    const { path } = await compiledModel(request());
    await rename(dirname(path), `${dirname(path)}.4711.abcd.tmp`);
    expect((await compiledModel(request())).fresh).toBe(true);
  });

  test("leaves nothing behind a compilation that fails, and throws its error", async () => {
    const failure = new NativeError("compile", "no such operation");
    const refused = compiledModel(request({ compile: () => Promise.reject(failure) }));
    await expect(refused).rejects.toBe(failure);
    expect(await readdir(cacheFolder)).toEqual([]);
  });

  test("refuses a compiled model without files", async () => {
    const nothing = async (): Promise<string> => {
      await mkdir(join(folder, "compiled"));
      return join(folder, "compiled");
    };
    await expect(compiledModel(request({ compile: nothing }))).rejects.toMatchObject({ code: "compile" });
    expect(await readdir(cacheFolder)).toEqual([]);
  });

  test("says which folder cannot be written, before it compiles", async () => {
    // A file in its place refuses everybody, the superuser too.
    await writeFile(join(folder, "file"), "");
    const closed = join(folder, "file", "cache");
    await expect(compiledModel(request({ cacheFolder: closed }))).rejects.toMatchObject({
      code: "cache",
      problem: expect.stringContaining(closed),
      fix: expect.stringContaining("cacheFolder"),
    });
    expect(compilations).toBe(0);
  });

  test("says which package cannot be read", async () => {
    const absent = join(folder, "absent.mlpackage");
    await expect(compiledModel(request({ packagePath: absent }))).rejects.toMatchObject({
      code: "cache",
      problem: expect.stringContaining(absent),
    });
    await mkdir(absent);
    await expect(compiledModel(request({ packagePath: absent }))).rejects.toMatchObject({ code: "cache" });
  });

  test("tells its steps", async () => {
    const steps: string[] = [];
    const onProgress = (step: string): unknown => steps.push(step);
    await compiledModel(request({ onProgress }));
    expect(steps).toEqual(["read", "compile"]);
    await compiledModel(request({ onProgress }));
    expect(steps).toEqual(["read", "compile", "read"]);
  });

  test("rejects with the signal's reason at once, and still keeps what was being compiled", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    let end: () => void = () => undefined;
    const ending = new Promise<void>((resolve) => {
      end = resolve;
    });
    const slow = async (path: string): Promise<string> => {
      controller.abort(reason);
      await ending;
      return compile(path);
    };
    await expect(compiledModel(request({ compile: slow, signal: controller.signal }))).rejects.toBe(reason);
    expect(compilations).toBe(0);
    end();
    await expect.poll(async () => (await compiledModel(request())).fresh, { timeout: 10_000 }).toBe(false);
    await expect(compiledModel(request({ signal: controller.signal }))).rejects.toBe(reason);
  });
});

describe("useCompiledModel", () => {
  test("compiles once more what does not load from the cache", async () => {
    const { path } = await compiledModel(request());
    // As long as before, so that only loading can tell.
    await writeFile(join(path, "Data", "weight.bin"), new Uint8Array([9, 9, 9, 9]));
    const load = async (compiledPath: string): Promise<number> => {
      const [first = 0] = await readFile(join(compiledPath, "Data", "weight.bin"));
      if (first === 9) throw new NativeError("load", "damaged");
      return first;
    };
    expect(await useCompiledModel(request(), load)).toBe(1);
    expect(compilations).toBe(2);
  });

  test("does not compile twice what fails when it is fresh, nor for another reason", async () => {
    const failing = (code: "load" | "unsupported") => async (): Promise<never> => {
      throw new NativeError(code, "no Neural Engine");
    };
    await expect(useCompiledModel(request(), failing("load"))).rejects.toMatchObject({ code: "load" });
    expect(compilations).toBe(1);
    await expect(useCompiledModel(request(), failing("unsupported"))).rejects.toMatchObject({
      code: "unsupported",
    });
    expect(compilations).toBe(1);
    await expect(useCompiledModel(request(), failing("load"))).rejects.toMatchObject({ code: "load" });
    expect(compilations).toBe(2);
  });
});

test.each([
  ["darwin", { HOME: "/home/of-ada" }, "/home/of-ada/Library/Caches/crossrank/coreml"],
  ["linux", { HOME: "/home/of-ada" }, "/home/of-ada/.cache/crossrank/coreml"],
  ["darwin", { HOME: "/home/of-ada", XDG_CACHE_HOME: "/caches" }, "/caches/crossrank/coreml"],
  ["darwin", { HOME: "/home/of-ada", XDG_CACHE_HOME: "" }, "/home/of-ada/Library/Caches/crossrank/coreml"],
] as const)("keeps compiled models where %s keeps caches (%j)", (platform, variables, expected) => {
  expect(defaultCompiledModelFolder(variables, platform)).toBe(expected);
});
