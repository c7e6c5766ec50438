import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { Child } from "../child.mjs";
import type { ModelReport, Setup } from "../types.js";

const run = promisify(execFile);
const bench = fileURLToPath(new URL("../run.mjs", import.meta.url));

test("a small run ends well, and all contestants in JavaScript agree", async () => {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-bench-test-"));
  const file = join(folder, "report.json");
  const only = "crossrank,sweep,naive,transformers.js";
  const args = ["--documents", "6", "--repeat", "1", "--shape", "tiny", "--batches", "1,4", "--only", only];
  const { stdout } = await run(process.execPath, [bench, ...args, "--json", file]);
  const { reports } = JSON.parse(await readFile(file, "utf8")) as { reports: ModelReport[] };
  await rm(folder, { recursive: true });

  expect(reports).toHaveLength(1);
  const [report] = reports as [ModelReport];
  expect(report.results.map(({ name }) => name)).toEqual(["crossrank", "sweep", "naive", "transformers.js"]);
  for (const { difference, ratio, delay, peakMemory } of report.results) {
    expect(difference).toBeLessThan(1e-3);
    expect(ratio).toBeGreaterThan(0);
    expect(delay?.max).toBeGreaterThanOrEqual(delay?.p50 ?? Number.NaN);
    expect(peakMemory).toBeGreaterThan(1e7);
  }
  expect(report.sweep).not.toHaveLength(0);
  expect(report.aims.every(({ met }) => met !== undefined)).toBe(true);
  expect(stdout).toContain("| **crossrank, defaults** |");
});

test.each([
  ["--model", "large", "--model must be"],
  ["--documents", "0", "--documents must be"],
  ["--only", "crossrank,nobody", "--only knows"],
])("%s %s is refused", async (name, value, message) => {
  const failure = await run(process.execPath, [bench, name, value]).catch((error: unknown) => error);
  expect(failure).toMatchObject({ code: 1, stderr: expect.stringContaining(message) });
});

test("a contestant that cannot load says why", async () => {
  const host = fileURLToPath(new URL("../contestants/host.mjs", import.meta.url));
  const contestant = {
    name: "crossrank",
    title: "crossrank",
    command: process.execPath,
    args: [host, "crossrank"],
    options: {},
    sweep: false,
  };
  const empty = await mkdtemp(join(tmpdir(), "crossrank-bench-test-"));
  const setup: Setup = {
    model: { name: "none", folder: empty, file: "", dtype: "fp32", safetensors: false },
    query: "q",
    documents: [],
    options: {},
  };
  await expect(Child.load(contestant, setup)).rejects.toThrow("tokenizer.json");
  await rm(empty, { recursive: true });
});
