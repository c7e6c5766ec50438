import { ChildProcess } from "node:child_process";
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type OnnxOptions, onnx } from "@crossrank/backend-onnx";
import { IncompatibleModelError, InvalidInputError, ModelLoadError } from "@crossrank/core";
import { afterEach, describe, expect, test, vi } from "vitest";
import { slimPackage } from "../src/library.js";
import { runtimeFix } from "../src/load-error.js";
import { fixture, folderWith, load, rejection, temporaryFolder } from "./fixtures.js";
import { crossEncoder, folderOf } from "./graphs.js";

afterEach(() => {
  vi.restoreAllMocks();
});

/** Changes the bytes of a good model; text changes must keep their length. */
async function damaged(change: (bytes: Buffer) => Buffer): Promise<string> {
  const folder = await folderWith(["onnx/model.onnx"]);
  const path = join(folder, "onnx/model.onnx");
  await writeFile(path, change(await readFile(path)));
  return folder;
}

function replaceText(bytes: Buffer, from: string, to: string): Buffer {
  return Buffer.from(bytes.toString("latin1").replaceAll(from, to), "latin1");
}

describe("a file that cannot be loaded gives one line with the fix, and leaves no process behind", () => {
  test.each<[string, (bytes: Buffer) => Buffer, RegExp]>([
    ["empty", () => Buffer.alloc(0), /is empty\. Download it again/],
    ["truncated", (bytes) => bytes.subarray(0, bytes.length >> 1), /compare its sha256/],
    ["corrupt", (bytes) => Buffer.from(bytes).fill(0x5a, 100, 5000), /compare its sha256/],
    ["not ONNX", () => Buffer.from("<html>Not found</html>"), /compare its sha256/],
    [
      "a Git LFS pointer",
      () => Buffer.from("version https://git-lfs.example/spec/v1\noid sha256:00\nsize 9\n"),
      /git lfs pull/,
    ],
    [
      "with an operator that does not exist",
      (bytes) => replaceText(bytes, "LayerNormalization", "LayerNormalizatiom"),
      /LayerNormalizatiom.*lacks an operator/,
    ],
    [
      "with an unknown input",
      (bytes) => replaceText(bytes, "token_type_ids", "token_typo_ids"),
      /unknown input "token_typo_ids"; the graph wants input_ids int64\[batch, sequence\]/,
    ],
    [
      "without an attention mask",
      (bytes) => replaceText(bytes, "attention_mask", "attention_ma.k"),
      /unknown input "attention_ma\.k"/,
    ],
  ])("%s", async (_, change, message) => {
    const spy = vi.spyOn(ChildProcess.prototype, "unref");
    const error = await rejection(load(onnx({ workers: 2 }), await damaged(change)));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error).toMatchObject({ backend: "onnx", file: "onnx/model.onnx" });
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain("\n");
    for (const { exitCode, signalCode } of spy.mock.contexts as ChildProcess[]) {
      expect(exitCode ?? signalCode).not.toBeNull();
    }
  });

  test("the runtime's own words are the cause", async () => {
    const error = await rejection(load(onnx(), await damaged((bytes) => bytes.subarray(0, 1000))));
    expect((error.cause as Error).message).toContain("Protobuf parsing failed");
  });
});

test("an output of another kind than asked for lists what there is", async () => {
  const wanted = [
    ["bi-encoder", "class-logits"],
    ["bi-encoder-pooled", "class-logits"],
    ["cross-encoder", "hidden-states"],
    ["bi-encoder", "token-logits"],
    ["cross-encoder", "marked-states"],
  ] as const;
  for (const [name, kind] of wanted) {
    const error = await rejection(
      load(onnx({ workers: 1, isolation: "thread" }), fixture(name), { kinds: [kind], tokens: [0] }),
    );
    expect(error).toBeInstanceOf(IncompatibleModelError);
    expect(error).toMatchObject({ wanted: kind });
  }
  const error = await rejection(load(onnx({ workers: 1, isolation: "thread" }), fixture("bi-encoder")));
  expect(error.message).toContain("last_hidden_state float32[batch, sequence, 32]");
});

describe("execution providers", () => {
  test.each([[["nonsense"]], [["nonsense", "cpu"]]])(
    "%j is refused, never dropped",
    async (executionProviders) => {
      const error = await rejection(load(onnx({ executionProviders }), fixture("cross-encoder")));
      expect(error).toBeInstanceOf(ModelLoadError);
      expect(error.message).toMatch(
        /"nonsense" is not in this build, which has cpu.*leave `executionProviders` out/,
      );
    },
  );

  test("as objects", async () => {
    const backend = onnx({ executionProviders: [{ name: "cpu" }], workers: 1 });
    const session = await load(backend, fixture("cross-encoder"));
    await session.dispose();
  });
});

/** The built backend in a folder that has no ONNX Runtime: which it finds is a matter of where it lies. */
async function backendWithoutRuntime(): Promise<{
  readonly root: string;
  readonly backend: { readonly onnx: typeof onnx };
}> {
  const root = await temporaryFolder();
  const scope = join(root, "node_modules/@crossrank");
  await cp(fileURLToPath(new URL("../dist", import.meta.url)), join(scope, "backend-onnx/dist"), {
    recursive: true,
  });
  await cp(
    fileURLToPath(new URL("../package.json", import.meta.url)),
    join(scope, "backend-onnx/package.json"),
  );
  for (const name of ["core", "backend-kit", "formats"]) {
    await symlink(fileURLToPath(new URL(`../../${name}`, import.meta.url)), join(scope, name));
  }
  return {
    root,
    backend: (await import(join(scope, "backend-onnx/dist/index.js"))) as { onnx: typeof onnx },
  };
}

test("without ONNX Runtime: diagnose says what to install, and so does a load", async () => {
  const { backend: copy } = await backendWithoutRuntime();

  const diagnosis = await copy.onnx().diagnose();
  expect(diagnosis.available).toBe(false);
  const words =
    /(@crossrank\/onnxruntime-\S+ and )?onnxruntime-node (is|are) not installed.*(Install @crossrank\/onnxruntime-|has no library for)/;
  expect(diagnosis.detail).toMatch(words);

  const error = await rejection(load(copy.onnx(), fixture("cross-encoder")));
  expect(error).toMatchObject({ code: "model-load" });
  expect(error.message).toMatch(/ONNX Runtime does not start/);
  expect(error.message).toMatch(words);
});

test("each platform that ONNX Runtime is built for has its own package, and no other has", () => {
  expect(slimPackage("linux", "x64")).toBe("@crossrank/onnxruntime-linux-x64");
  expect(slimPackage("win32", "arm64")).toBe("@crossrank/onnxruntime-win32-arm64");
  for (const [platform, processor] of [
    ["darwin", "x64"],
    ["linux", "ia32"],
    ["freebsd", "x64"],
    ["win32", "ia32"],
    ["linux", "riscv64"],
  ] as const) {
    expect(slimPackage(platform, processor)).toBeUndefined();
  }
});

describe("what to do where ONNX Runtime is not there", () => {
  function on(platform: NodeJS.Platform, processor: string, header: object): string {
    vi.spyOn(process, "platform", "get").mockReturnValue(platform);
    vi.spyOn(process, "arch", "get").mockReturnValue(processor as NodeJS.Architecture);
    vi.spyOn(process.report, "getReport").mockReturnValue({ header });
    return runtimeFix();
  }
  const glibc = { glibcVersionRuntime: "2.36" };

  test.each<[NodeJS.Platform, string, object, RegExp]>([
    ["linux", "x64", glibc, /^Install @crossrank\/onnxruntime-linux-x64, an optional dependency/],
    ["linux", "arm64", glibc, /^Install @crossrank\/onnxruntime-linux-arm64/],
    ["win32", "arm64", {}, /^Install @crossrank\/onnxruntime-win32-arm64/],
    [
      "linux",
      "x64",
      {},
      /^ONNX Runtime has no library for linux-x64 without glibc \(musl\).*another backend/,
    ],
    ["linux", "riscv64", glibc, /^ONNX Runtime has no library for linux-riscv64, but for Linux \(glibc\)/],
    ["darwin", "x64", {}, /^ONNX Runtime has no library for darwin-x64,.*@crossrank\/backend-llamacpp/],
    ["freebsd", "x64", {}, /^ONNX Runtime has no library for freebsd-x64,/],
  ])("on %s %s", (platform, processor, header, message) => {
    expect(on(platform, processor, header)).toMatch(message);
  });
});

describe("of several ONNX Runtimes", () => {
  /** A package that exports what tells it apart from others. */
  async function install(root: string, name: string, source: string): Promise<void> {
    const folder = join(root, "node_modules", name);
    await mkdir(folder, { recursive: true });
    await writeFile(
      join(folder, "package.json"),
      JSON.stringify({ name, version: "1.30.0", main: "index.js" }),
    );
    await writeFile(join(folder, "index.js"), source);
  }

  const words = (name: string): string =>
    `exports.env = { versions: { common: "1.30.0" } };
    exports.listSupportedBackends = () => [{ name: ${JSON.stringify(name)}, bundled: true }];`;

  const slim = slimPackage();
  const cases: [installed: string[], providers: string[], found: string | undefined][] = [
    [[slim ?? "", "onnxruntime-node"], [], slim],
    [[slim ?? "", "onnxruntime-node"], ["cuda"], "onnxruntime-node"],
    [[slim ?? ""], ["cuda"], slim],
    [["onnxruntime-node"], [], "onnxruntime-node"],
    [[], [], undefined],
  ];
  test.runIf(slim !== undefined).each(cases)(
    "%j with providers %j: %s",
    async (installed, providers, found) => {
      const { root, backend } = await backendWithoutRuntime();
      for (const name of installed) await install(root, name, words(name));
      if (providers.length === 0) {
        const { detail } = await backend.onnx().diagnose();
        if (found === undefined) expect(detail).toMatch(/are not installed/);
        else expect(detail).toContain(`execution providers ${found};`);
        return;
      }
      const error = await rejection(
        load(backend.onnx({ executionProviders: providers }), fixture("cross-encoder")),
      );
      expect(error.message).toContain(`not in this build, which has ${found}`);
    },
  );

  test.runIf(slim !== undefined)("one that is broken is named, and not passed over", async () => {
    const { root, backend } = await backendWithoutRuntime();
    await install(root, slim ?? "", 'throw new Error("libstdc++.so.6: GLIBCXX_3.4.30 not found");');
    await install(root, "onnxruntime-node", words("onnxruntime-node"));
    expect((await backend.onnx().diagnose()).detail).toMatch(/GLIBCXX/);
  });
});

test("session options reach the runtime", async () => {
  const backend = onnx({ sessionOptions: { graphOptimizationLevel: "nonsense" as "all" } });
  const error = await rejection(load(backend, fixture("cross-encoder")));
  expect(error).toBeInstanceOf(ModelLoadError);
  expect(error.message).toContain("graphOptimizationLevel");
});

test.each<[OnnxOptions, string]>([
  [{ workers: 0 }, "workers"],
  [{ workers: 10_000 }, "workers"],
  [{ threads: 513 }, "threads"],
  [{ threads: 1e6 }, "threads"],
  [{ isolation: "none" as "thread" }, "isolation"],
  [{ deadlines: { load: 0 } }, "deadlines.load"],
  [{ deadlines: { run: 1e9 } }, "deadlines.run"],
  [{ deadlines: { close: 0.5 } }, "deadlines.close"],
  [{ workers: 1.5 }, "workers"],
  [{ threads: -1 }, "threads"],
  [{ threads: Number.NaN }, "threads"],
  [{ executionProviders: [] }, "executionProviders"],
  [{ batch: { rows: 0 } }, "batch.rows"],
  [{ batch: { tokens: 0.5 } }, "batch.tokens"],
  [{ batch: { padding: 2 } }, "batch.padding"],
  [{ sessionOptions: { extra: { callback: () => undefined } } }, "sessionOptions"],
])("the option in %j is refused at once", (options, path) => {
  let error: unknown;
  try {
    onnx(options);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(InvalidInputError);
  expect(error).toMatchObject({ path });
});

test("shapes that lie in the weight file are told from a weight file that is missing", async () => {
  const constant = (name: string, value: bigint) => ({
    name,
    dims: [1n],
    values: [value],
    location: `${name}.bin`,
  });
  const between = [
    { operator: "Shape", inputs: ["x"], outputs: ["shape"] },
    { operator: "Slice", inputs: ["shape", "zero", "one"], outputs: ["rows"] },
    { operator: "ConstantOfShape", inputs: ["rows"], outputs: ["zeros"] },
    { operator: "Unsqueeze", inputs: ["zeros", "one"], outputs: ["column"] },
    { operator: "Add", inputs: ["x", "column"], outputs: ["y"] },
  ];
  const constants = [constant("zero", 0n), constant("one", 1n)];
  const folder = await folderOf(crossEncoder({ between, constants }));
  for (const { name, values } of constants) {
    await writeFile(join(folder, "onnx", `${name}.bin`), new Uint8Array(BigInt64Array.from(values).buffer));
  }
  const error = await rejection(load(onnx(), folder));
  expect(error).toBeInstanceOf(ModelLoadError);
  expect(error.message).toMatch(/shapes in the \.onnx itself.*"zero", "one"\).*size_threshold/);
  expect(error.message).not.toMatch(/beside it/);
});
