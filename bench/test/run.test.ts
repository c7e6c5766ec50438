import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { Child } from "../child.mjs";
import { partNames } from "../options.mjs";
import type { EngineTable, ModelReport, Setup } from "../types.js";

const run = promisify(execFile);
const bench = fileURLToPath(new URL("../run.mjs", import.meta.url));

/** Of each table some, of every runtime that Node.js has; Python's are named as missing. */
const engines = [
  ...["onnxruntime-fp32", "transformers.js-fp32", "ctranslate2-fp32", "mlx-fp32", "torch-fp32"],
  ...["onnxruntime-int8", "ctranslate2-int8", "llamacpp-f16", "node-llama-cpp-f16", "llamacpp-q8_0"],
  ...["mnn-fp32", "mnn-large-batches", "mnn-int8-low-memory"],
  ...["crossrank", "sweep", "naive", "transformers.js"],
];

test("a small run of the one command ends well, and its engines agree", async () => {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-bench-test-"));
  const [file, page] = [join(folder, "report.json"), join(folder, "page.md")];
  const counts = ["--documents", "6", "--rounds", "3", "--shape", "tiny", "--engines", engines.join(",")];
  const only = ["--only", "encoders,mnn,causal,defaults"];
  // MNN's converter is Python's too: where this machine has it, it is used.
  const { stdout, stderr } = await run(
    process.execPath,
    [bench, ...counts, ...only, "--json", file, "--output", page],
    { maxBuffer: 1 << 24 },
  );
  const { reports } = JSON.parse(await readFile(file, "utf8")) as {
    reports: {
      encoders: EngineTable[];
      mnn: EngineTable[];
      causal: { name: string; processor?: number; difference: number }[];
      defaults: ModelReport[];
    };
  };
  const written = await readFile(page, "utf8");
  await rm(folder, { recursive: true });

  const tables = [...reports.encoders, ...reports.mnn];
  expect(tables.map(({ title }) => title)).toEqual(["fp32", "8 and 16 bits", "MNN"]);
  for (const { results, missing, reference } of tables) {
    for (const { title, reason } of missing) {
      // Loudly: on the page and on standard error.
      expect(written).toContain(`- **Missing: ${title}**`);
      expect(stderr).toContain(`missing: ${title}`);
      expect(reason).toMatch(/addon for .* is not there|lacks some of torch|MNN/);
      const runtime = /mlx/i.test(title)
        ? "MLX"
        : /CTranslate2/.test(title)
          ? "CTRANSLATE2"
          : "MNN_CONVERTER";
      if (!title.startsWith("torch"))
        expect(process.env[`CROSSRANK_REQUIRE_${runtime}`], reason).not.toBe("1");
    }
    for (const { name, title, difference, ratio, processor, peakMemory } of results) {
      // rankAll joins the pair in a way of its own: another number, of the same work.
      if (!name.startsWith("node-llama-cpp")) {
        expect(difference, name).toBeLessThan(/int8|q8/.test(name) ? 0.5 : /f16/.test(name) ? 2e-2 : 1e-3);
      }
      expect(peakMemory, name).toBeGreaterThan(1e7);
      if (process.platform !== "linux") continue;
      expect(processor, name).toBeGreaterThan(0);
      if (title !== reference && ratio !== undefined) expect(ratio.lower).toBeLessThanOrEqual(ratio.upper);
    }
  }
  const [fp32] = tables as [EngineTable];
  expect(fp32.noFloor !== undefined || (fp32.floor.fp32?.perSecond ?? 0) > 1e9).toBe(true);

  expect(reports.causal.map(({ name }) => name)).toEqual([
    "crossrank-F16",
    "node-llama-cpp-F16",
    "crossrank-Q8_0",
    "node-llama-cpp-Q8_0",
  ]);
  // Flash attention and the cache of keys differ: node-llama-cpp has halves there.
  for (const { name, difference } of reports.causal) expect(difference, name).toBeLessThan(0.5);

  const [defaults] = reports.defaults as [ModelReport];
  expect(defaults.results.map(({ name }) => name)).toEqual([
    "crossrank",
    "sweep",
    "naive",
    "transformers.js",
  ]);
  for (const { difference, ratio, delay } of defaults.results) {
    expect(difference).toBeLessThan(1e-3);
    expect(ratio).toBeGreaterThan(0);
    expect(delay?.max).toBeGreaterThanOrEqual(delay?.p50 ?? Number.NaN);
  }
  expect(defaults.sweep).not.toHaveLength(0);

  expect(stdout).toContain("| **crossrank, ONNX fp32** |");
  expect(written).toContain("| **crossrank, ONNX fp32** |");
  expect(written).toContain(`Written by \`npm run bench -- ${[...counts, ...only].join(" ")}\``);
});

test("every part has its place on the page, and a module", async () => {
  const page = await readFile(new URL("../../docs/bench.md", import.meta.url), "utf8");
  for (const name of partNames) {
    expect(page).toContain(`<!-- ${name}:start -->`);
    expect(await import(`../parts/${name}.mjs`)).toHaveProperty("run");
  }
});

test.each([
  ["--only", "everything", "--only knows"],
  ["--documents", "0", "--documents must be"],
  ["--engines", "onnxruntime-fp32,nobody", "--engines knows"],
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
