import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import type { FormatsReport } from "../types.js";

const run = promisify(execFile);
const formats = fileURLToPath(new URL("../formats.mjs", import.meta.url));

test("a small run ends well, and crossrank's formats agree", async () => {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-bench-test-"));
  const file = join(folder, "report.json");
  const names = ["onnx-fp32", "onnx-int8", "llamacpp-f16", "rankall-f16", "llamacpp-q8_0"];
  const args = ["--documents", "6", "--repeat", "1", "--shape", "tiny", "--only", names.join(",")];
  const { stdout } = await run(process.execPath, [formats, ...args, "--json", file]);
  const { report } = JSON.parse(await readFile(file, "utf8")) as { report: FormatsReport };
  await rm(folder, { recursive: true });

  expect(report.skipped).toEqual([]);
  expect(report.results.map(({ name }) => name)).toEqual(names);
  const result = (name: string) => report.results.find((one) => one.name === name);
  for (const { rate, peakMemory, bytes } of report.results) {
    expect(rate).toBeGreaterThan(0);
    expect(peakMemory).toBeGreaterThan(1e7);
    expect(bytes).toBeGreaterThan(1e5);
  }
  expect(result("onnx-fp32")?.difference).toBe(0);
  expect(result("llamacpp-f16")?.difference).toBeLessThan(2e-2);
  expect(result("onnx-int8")?.difference).toBeLessThan(0.5);
  expect(result("llamacpp-q8_0")?.difference).toBeLessThan(0.5);
  // It gives segment 0 to all tokens: another number, of the same work.
  expect(result("rankall-f16")?.difference).toBeGreaterThan(1e-2);
  expect(result("rankall-f16")?.against).toBe("crossrank, llamacpp F16");
  expect(report.aims.find(({ text }) => text.includes("rankAll, F16"))?.met).toBeTypeOf("boolean");
  expect(stdout).toContain("| **crossrank, onnx fp32** |");
});

test("without Python what needs it is skipped, with the reason", async () => {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-bench-test-"));
  const file = join(folder, "report.json");
  const names = "onnx-fp32,export-fp32,torch-bf16";
  const args = ["--documents", "3", "--repeat", "1", "--shape", "tiny", "--only", names, "--json", file];
  await run(process.execPath, [formats, ...args], { env: { ...process.env, PYTHON: join(folder, "none") } });
  const { report } = JSON.parse(await readFile(file, "utf8")) as { report: FormatsReport };
  await rm(folder, { recursive: true });

  expect(report.results.map(({ name }) => name)).toEqual(["onnx-fp32"]);
  expect(report.skipped.map(({ reason }) => reason)).toEqual([
    expect.stringContaining("onnxscript"),
    expect.stringContaining("sentence_transformers"),
  ]);
  expect(report.aims.every(({ met }) => met === undefined)).toBe(true);
});

test("MNN's formats agree, or are skipped with the reason", async () => {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-bench-test-"));
  const file = join(folder, "report.json");
  const names = ["onnx-fp32", "mnn-fp32", "mnn-fp32-large-batches", "mnn-int8-low-memory"];
  const args = ["--documents", "6", "--repeat", "1", "--shape", "tiny", "--only", names.join(",")];
  await run(process.execPath, [formats, ...args, "--json", file]);
  const { report } = JSON.parse(await readFile(file, "utf8")) as { report: FormatsReport };
  await rm(folder, { recursive: true });

  if (process.env["CROSSRANK_REQUIRE_MNN_CONVERTER"] === "1") expect(report.skipped).toEqual([]);
  for (const { title, reason } of report.skipped) {
    console.warn(`SKIPPED ${title}: ${reason}`);
    expect(reason).toContain("MNN");
  }
  expect(report.results.length + report.skipped.length).toBe(names.length);
  for (const { name, difference } of report.results) {
    expect(difference).toBeLessThan(name === "mnn-int8-low-memory" ? 0.5 : 1e-3);
  }
});

test("CTranslate2's and MLX's runs agree, or are skipped with the reason", async () => {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-bench-test-"));
  const file = join(folder, "report.json");
  const names = ["onnx-fp32", "onnx-int8", "ctranslate2-fp32", "ctranslate2-int8", "mlx-fp32", "mlx-q8"];
  const args = ["--documents", "6", "--repeat", "1", "--shape", "tiny", "--only", names.join(",")];
  await run(process.execPath, [formats, ...args, "--json", file]);
  const { report } = JSON.parse(await readFile(file, "utf8")) as { report: FormatsReport };
  await rm(folder, { recursive: true });

  for (const { title, reason } of report.skipped) {
    console.warn(`SKIPPED ${title}: ${reason}`);
    expect(reason).toMatch(/the addon for .* is not there/);
    const runtime = title.includes("mlx") ? "MLX" : "CTRANSLATE2";
    expect(process.env[`CROSSRANK_REQUIRE_${runtime}`], reason).not.toBe("1");
  }
  expect(report.results.length + report.skipped.length).toBe(names.length);
  for (const { name, difference, processorSeconds, processorRatio } of report.results) {
    expect(difference, name).toBeLessThan(/int8|q8/.test(name) ? 0.5 : 1e-3);
    if (process.platform !== "linux") continue;
    expect(processorSeconds, name).toBeGreaterThanOrEqual(0);
    if (!name.startsWith("onnx")) expect(processorRatio, name).toBeDefined();
  }
});

test("an unknown contestant is refused", async () => {
  const failure = await run(process.execPath, [formats, "--only", "nobody"]).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 1, stderr: expect.stringContaining("--only knows") });
});
