import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { onnx } from "@crossrank/backend-onnx";
import { ModelLoadError } from "@crossrank/core";
import { readGraph, withLocalFile } from "@crossrank/formats/onnx";
import { describe, expect, onTestFinished, test } from "vitest";
import { type FileMarks, marksOf } from "../src/file-marks.js";
import { fixture, load, makeBatch, profile, readGoldens, rejection, temporaryFolder } from "./fixtures.js";

/** ModelProto.metadata_props (field 14) of one entry: key (1) and value (2), each shorter than 128 bytes. */
function entry(key: string, value: string): Buffer {
  const text = (field: number, content: string): Buffer =>
    Buffer.concat([Buffer.of((field << 3) | 2, content.length), Buffer.from(content)]);
  const message = Buffer.concat([text(1, key), text(2, value)]);
  return Buffer.concat([Buffer.of((14 << 3) | 2, message.length), message]);
}

/** A model's folder whose file begins with such entries: protobuf takes the fields of a message in any order. */
async function marked(source: string, ...entries: readonly (readonly [string, string])[]): Promise<string> {
  const folder = await temporaryFolder();
  await cp(fixture(source), folder, { recursive: true });
  const path = join(folder, "onnx/model.onnx");
  const head = Buffer.concat(entries.map(([key, value]) => entry(key, value)));
  await writeFile(path, Buffer.concat([head, await readFile(path)]));
  return folder;
}

async function readFileMarks(path: string): Promise<FileMarks> {
  return marksOf(await withLocalFile(path, readGraph));
}

describe("marks of a file", () => {
  test("are read from its head", async () => {
    const folder = await marked(
      "cross-encoder",
      ["some", "thing"],
      ["crossrank.graph", "final"],
      ["crossrank.pooling", "cls"],
    );
    expect(await readFileMarks(join(folder, "onnx/model.onnx"))).toEqual({ final: true, pooling: "cls" });
  });

  test("are none where nothing is said", async () => {
    const none = { final: false, pooling: undefined };
    expect(await readFileMarks(join(fixture("cross-encoder"), "onnx/model.onnx"))).toEqual(none);
    const folder = await marked("cross-encoder", ["crossrank.graph", "something new"]);
    expect(await readFileMarks(join(folder, "onnx/model.onnx"))).toEqual(none);
  });

  test("are none in a file that is cut or garbage anywhere, and reading ends", async () => {
    const whole = Buffer.concat([entry("crossrank.graph", "final"), entry("crossrank.pooling", "mean")]);
    const folder = await temporaryFolder();
    await mkdir(join(folder, "onnx"));
    const path = join(folder, "onnx/model.onnx");
    for (let length = 0; length < whole.length; length += 1) {
      await writeFile(path, whole.subarray(0, length));
      expect((await readFileMarks(path)).pooling).toBeUndefined();
    }
    let state = 1;
    for (let round = 0; round < 300; round += 1) {
      const noise = Buffer.alloc(200);
      for (let index = 0; index < noise.length; index += 1) {
        state = (state * 48_271) % 2_147_483_647;
        noise[index] = state & 0xff;
      }
      await writeFile(path, noise);
      expect(await readFileMarks(path)).toEqual({ final: false, pooling: undefined });
    }
  });

  test("a graph in its final form is run as it is, with the same numbers", async () => {
    const outputs: Float32Array[] = [];
    const run: Buffer[] = [];
    for (const folder of [fixture("bi-encoder"), await marked("bi-encoder", ["crossrank.graph", "final"])]) {
      const file = join(await temporaryFolder(), "run.onnx");
      const backend = onnx({ workers: 1, threads: 1, sessionOptions: { optimizedModelFilePath: file } });
      const session = await load(backend, folder, { kinds: ["hidden-states"] });
      onTestFinished(() => session.dispose());
      outputs.push((await session.run(makeBatch(await readGoldens("bi-encoder")))).data);
      run.push(await readFile(file));
    }
    // ONNX Runtime writes what it runs: it fuses into operators of its own from the extended level on.
    expect(run.map((file) => file.includes("FusedMatMul"))).toEqual([true, false]);
    const [all, basic] = outputs as [Float32Array, Float32Array];
    const differences = all.map((value, index) => Math.abs(value - (basic[index] ?? Number.NaN)));
    expect(Math.max(...differences)).toBeLessThan(1e-4);
  });

  test("a vector that is pooled otherwise than the profile says is refused", async () => {
    const head = (pooling: "cls" | "mean") => ({
      profile: { ...profile, family: "bi-encoder" as const, head: { kind: "cosine" as const, pooling } },
      kinds: ["pooled"] as const,
    });
    const folder = await marked("bi-encoder-pooled", ["crossrank.pooling", "mean"]);
    const backend = onnx({ workers: 1, threads: 1 });
    const error = await rejection(load(backend, folder, head("cls")));
    expect(ModelLoadError.isInstance(error)).toBe(true);
    expect(error.message).toMatch(/pooled as "mean".*says "cls"/);
    const session = await load(backend, folder, head("mean"));
    expect(session.capabilities.output).toBe("pooled");
    await session.dispose();
  });
});
