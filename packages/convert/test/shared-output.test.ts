import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openModel } from "@crossrank/hub";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { convert } from "../src/convert.js";
import type { ArtifactProvenance } from "../src/provenance.js";

const packageFolder = fileURLToPath(new URL("..", import.meta.url));
const model = fileURLToPath(new URL("../../conformance/fixtures/bert-logit", import.meta.url));

const isLong = process.env["CROSSRANK_LONG"] === "1";

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "crossrank-shared-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

/** What one model is converted to at the same time. */
const kinds = [
  ["onnx", "fp32"],
  ["onnx", "fp16"],
  ["onnx", "int8"],
  ["gguf", "F32"],
  ["gguf", "F16"],
  ["gguf", "Q8_0"],
] as const;

const artifacts = [
  "gguf/model-F16.gguf",
  "gguf/model-F32.gguf",
  "gguf/model-Q8_0.gguf",
  "onnx/model.onnx",
  "onnx/model_fp16.onnx",
  "onnx/model_int8.onnx",
];

async function linesOf(output: string): Promise<string[]> {
  const text = await readFile(join(output, "provenance.json"), "utf8");
  const document = JSON.parse(text) as { artifacts: readonly ArtifactProvenance[] };
  return document.artifacts.map(({ files }) => files[0]?.path ?? "");
}

/** Converts without looking, as a process of its own with the built package. */
function convertIn(output: string, to: string, dtype: string, wrap: readonly string[] = []): Promise<string> {
  const script = `
    import { convert } from "@crossrank/convert";
    import { openModel } from "@crossrank/hub";
    const [, source, to, dtype, output] = process.argv;
    try {
      await convert({ model: await openModel(source), to, dtype, output, verify: false });
      console.log("done");
    } catch (error) {
      console.log(JSON.stringify({ code: error.code, reason: error.reason, path: error.path, message: error.message }));
    }`;
  const [command = "", ...args] = [...wrap, process.execPath];
  const child = spawn(command, [...args, "--input-type=module", "-e", script, model, to, dtype, output], {
    cwd: packageFolder,
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (part) => (text += part));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", () => resolve(text.trim()));
  });
}

describe("conversions into one folder at the same time", () => {
  it("keep every line of provenance.json, in one process", async () => {
    const rounds = isLong ? 100 : 4;
    for (let round = 0; round < rounds; round += 1) {
      const output = join(root, `out-${round}`);
      const files = await openModel(model);
      await Promise.all(
        kinds.map(([to, dtype]) => convert({ model: files, to, dtype, output, verify: false })),
      );
      expect(await linesOf(output)).toEqual(artifacts);
    }
    expect((await readdir(root)).filter((name) => !name.startsWith("out-"))).toEqual([]);
  });

  it("keep every line of provenance.json, in processes of their own", async () => {
    const output = join(root, "out");
    const outcomes = await Promise.all(kinds.map(([to, dtype]) => convertIn(output, to, dtype)));
    expect(outcomes).toEqual(kinds.map(() => "done"));
    expect(await linesOf(output)).toEqual(artifacts);
    expect(await readdir(root)).toEqual(["out"]);
  });

  it("clear up after an earlier process of the same id, as in containers, and not after themselves", async () => {
    const host = createHash("sha256").update(hostname()).digest("hex").slice(0, 8);
    const left = `.out.partial-${host}-${process.pid}-00000001`;
    await mkdir(join(root, left, "onnx"), { recursive: true });
    const files = await openModel(model);
    const output = join(root, "out");
    await Promise.all(
      kinds.map(([to, dtype]) => convert({ model: files, to, dtype, output, verify: false })),
    );
    expect(await readdir(root)).toEqual(["out"]);
    expect(await linesOf(output)).toEqual(artifacts);
  });
});

/** A small disk of the child's own; where the system gives none, a bound on the size of a file. */
const hasDisks = process.platform === "linux" && spawnSync("unshare", ["-rm", "true"]).status === 0;

function smallDisk(folder: string, kilobytes: number): readonly string[] {
  if (hasDisks) {
    const mount = `mount -t tmpfs -o size=${kilobytes}k tmpfs "$1" && shift && exec "$@"`;
    return ["unshare", "-rm", "sh", "-c", mount, "sh", folder];
  }
  // Blocks of 512 bytes (POSIX).
  return ["sh", "-c", `ulimit -f ${2 * kilobytes} && exec "$@"`, "sh"];
}

describe.runIf(process.platform !== "win32")("a disk that is full", () => {
  it("is named with the path and what to do, whatever it is that no longer fits", async () => {
    const sizes = isLong ? [8, 20, 40, 80, 120, 160, 200, 250, 300] : [8, 80, 200];
    for (const [to, dtype] of [
      ["onnx", "fp32"],
      ["gguf", "F32"],
      ["mlpackage", "fp32"],
    ] as const) {
      for (const size of sizes) {
        const disk = join(root, `${to}-${size}`);
        await mkdir(disk);
        const output = join(disk, "out");
        const text = await convertIn(output, to, dtype, smallDisk(disk, size));
        const error = JSON.parse(text) as Record<string, string>;
        expect({ size, ...error }).toMatchObject({ size, code: "output-folder", reason: "system" });
        expect(error["path"]).toContain(disk);
        expect(error["message"]).toMatch(/(the disk is full|allows no file so large)\. (Make room|Choose)/);
      }
    }
    const tried = 3 * sizes.length;
    console.log(`${tried} full disks (${hasDisks ? "tmpfs" : "ulimit"}), each a typed error with its path`);
  });
});
