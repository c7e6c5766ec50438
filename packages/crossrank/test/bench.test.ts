import { readFile, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import type { TimingRequest } from "../src/bench/cell.js";
import { judgeGates, parseGates, requireMeasured } from "../src/bench/gates.js";
import type { BenchReport } from "../src/bench/report.js";
import { type BenchSystem, runBench } from "../src/bench/run-bench.js";
import { pairsOf } from "../src/bench/texts.js";
import type { BenchProcess } from "../src/scoring-process.js";
import { conformanceFixture, crossrankInTurn as crossrank, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const model = conformanceFixture("bert-logit");
const quick = ["--batch", "1,3", "--length", "40,48", "--warm-up", "1", "--iterations", "12"];

describe("crossrank bench", () => {
  it("measures every cell on every backend, with exactly the tokens asked for", async () => {
    const { code, stdout, stderr } = await crossrank([
      ...["bench", model, "--backend", "onnx:fp32", "--backend", "coreml:reference", ...quick],
      ...["--format", "json"],
    ]);
    expect(stderr.replace(/^note: .*\n/gm, "")).toBe("");
    expect(code).toBe(0);
    const report = JSON.parse(stdout) as BenchReport & { gates: unknown[] };
    expect(report.systems.map(({ name }) => name)).toEqual(["onnx:fp32", "coreml:reference"]);
    for (const { cells, memory, description } of report.systems) {
      expect(description.system.backend.runtime.version).toMatch(/\d/);
      expect(cells.map(({ batch, length }) => [batch, length])).toEqual([
        [1, 40],
        [3, 40],
        [1, 48],
        [3, 48],
      ]);
      for (const cell of cells) {
        expect(cell.milliseconds).toHaveLength(12);
        expect(cell.p50).toBeGreaterThan(0);
        expect(cell.p95).toBeGreaterThanOrEqual(cell.p50);
        expect(cell.p95PerPair * cell.batch).toBeCloseTo(cell.p95, 9);
        expect((cell.tokensPerSecond * cell.p50) / 1000).toBeCloseTo(cell.batch * cell.length, 6);
        expect(cell.eventLoopDelay).toBeGreaterThanOrEqual(0);
      }
      if (process.platform === "linux")
        expect(memory?.peakBytes).toBeGreaterThan(memory?.beforeLoadBytes ?? 0);
    }
    expect(report.gates).toEqual([]);
  });

  it("holds the numbers to gates, writes the card between its marks, and fails with the gates' names", async () => {
    const gates = folder.path("gates.txt");
    const card = folder.path("CARD.md");
    await writeFile(
      gates,
      "# Of the consumer.\np95(batch 3, length 40) < 100 s\np95(batch 3, length 40) / 3 < 0.000001 ms\nmemory < 50 GB\n",
    );
    await writeFile(card, "# A model\n\nWritten by hand.\n");
    const run = () =>
      crossrank(["bench", model, "--backend", "onnx:fp32", ...quick, "--gate", gates, "--update-card", card]);
    const { code, stdout, stderr } = await run();
    expect(code).toBe(1);
    expect(stdout).toContain("passed  onnx:fp32: p95(batch 3, length 40) < 100 s");
    expect(stdout).toContain("passed  onnx:fp32: memory < 50 GB");
    expect(stderr).toContain("1 of 3 gates failed: onnx:fp32: p95(batch 3, length 40) / 3 < 0.000001 ms");
    const once = await readFile(card, "utf8");
    expect(once).toContain("Written by hand.\n\n## Performance\n");
    await writeFile(card, `${once}\nAnd behind it.\n`);
    await run();
    const twice = await readFile(card, "utf8");
    expect(twice.match(/\*\*onnx:fp32: /g)).toHaveLength(1);
    expect(twice).toContain("Written by hand.");
    expect(twice).toContain("And behind it.");
  });

  it("leaves a card alone that is no UTF-8, or whose marks are not in order", async () => {
    const [begin, end] = ["<!-- crossrank bench: begin -->", "<!-- crossrank bench: end -->"];
    const cards: readonly (readonly [Buffer, number, RegExp])[] = [
      [Buffer.from("# Modèle\n", "latin1"), 1, /it is no UTF-8 text/],
      [Buffer.from("# Model\n", "utf16le").fill(0xff, 0, 1), 1, /is no UTF-8 text/],
      [Buffer.from(`${end}\n${begin}\n`), 1, /line 1: bench ends and has not begun/],
      [Buffer.from(`${begin}\n`), 1, /line 1: bench begins and does not end/],
      [Buffer.from(`${begin}\n${end}\n${begin}\n${end}\n`), 1, /line 3: bench is there a second time/],
      [Buffer.from("a\n<!-- crossrank bench begin -->\n"), 1, /line 2: the mark .* is damaged/],
    ];
    for (const [bytes, expected, message] of cards) {
      const card = folder.path("hostile-card.md");
      await writeFile(card, bytes);
      const { code, stderr } = await crossrank(["bench", model, ...quick, "--update-card", card]);
      expect(stderr).toMatch(message);
      expect(code).toBe(expected);
      expect(await readFile(card)).toEqual(bytes);
    }
  });

  it.each<[string, readonly string[], number, RegExp]>([
    ["a length above the model's", ["--length", "4096"], 1, /reads at most \d+ tokens a pair.*needs 4096/],
    ["a length below its template", ["--length", "5"], 1, /no text has 5 tokens a pair/],
    ["no batch", ["--batch", "0"], 2, /whole numbers of 1 to 1024/],
    ["a batch twice", ["--batch", "4,4"], 2, /a number twice/],
    ["no number", ["--length", "12,x"], 2, /whole numbers/],
    [
      "no gate file",
      ["--gate", "not-there.txt"],
      1,
      /cannot read --gate not-there.txt: there is no such file/,
    ],
    ["a folder as a card", ["--update-card", "."], 1, /\.: this is no file/],
    ["a backend twice", ["--backend", "onnx", "--backend", "onnx"], 2, /given twice/],
  ])("refuses %s", async (_name, given, expected, message) => {
    const usual = { "--batch": "1", "--length": "40", "--warm-up": "1", "--iterations": "1" };
    const others = Object.entries(usual).filter(([option]) => !given.includes(option));
    const { code, stdout, stderr } = await crossrank(["bench", model, ...others.flat(), ...given]);
    expect(stderr).toMatch(message);
    expect(code).toBe(expected);
    expect(stdout).toBe("");
  });
});

describe("gates", () => {
  const cell = {
    batch: 20,
    length: 256,
    p50: 100,
    p95: 180,
    p95PerPair: 9,
    tokensPerSecond: 51_200,
    eventLoopDelay: 2,
  };
  const memory = { peakBytes: 400e6, beforeLoadBytes: 80e6, method: "ps" };
  const report = {
    systems: [
      { name: "onnx:int8", cells: [{ ...cell, milliseconds: [] }], memory },
      { name: "onnx:fp32", cells: [{ ...cell, p50: 250, milliseconds: [] }], memory: undefined },
    ],
  } as unknown as BenchReport;
  const judge = (line: string) => judgeGates(parseGates(line, "gates.txt"), report);

  it.each<[string, readonly boolean[]]>([
    ["p95(batch 20, length 256) < 200 ms", [true, true]],
    ["p95( batch 20 ,length 256 )/20<15 ms", [true, true]],
    ["p95(batch 20, length 256) / 20 < 8.99 ms", [false, false]],
    ["p95(batch 20, length 256) < 0.18 s", [false, false]],
    ["p95(batch 20, length 256) <= 0.18 s", [true, true]],
    ["onnx:int8: p50(batch 20, length 256) < 0.5 onnx:fp32", [true]],
    ["p50(batch 20, length 256) < 0.39 onnx:fp32", [false]],
    ["tokens per second(batch 20, length 256) > 50000", [true, true]],
    ["event loop delay(batch 20, length 256) < 1 ms", [false, false]],
    // What could not be measured has not passed.
    ["memory < 500 MB", [true, false]],
    ["memory < 2 onnx:fp32", [false]],
    ["onnx:int8: memory >= 0.4 GB", [true]],
  ])("%s", (line, expected) => {
    expect(judge(line).map(({ passed }) => passed)).toEqual(expected);
  });

  it.each([
    "",
    "# nothing but a comment",
    "p95 < 200 ms",
    "p95(batch 20) < 200 ms",
    "p95(batch 20, length 256) < 200",
    "p95(batch 20, length 256) < 200 MB",
    "p95(batch 20, length 256) == 200 ms",
    "p95(batch 20, length 256) / 0 < 200 ms",
    "p99(batch 20, length 256) < 200 ms",
    "memory(batch 20, length 256) < 1 GB",
    "memory < -1 GB",
    "p95(batch 1e3, length 256) < 200 ms",
    "p95(batch 20, length 256) < 1 onnx:fp32 too",
    `p95(batch 20, length 256) < ${"9".repeat(400)}`,
    `tokens per second(batch 20, length 256) > 5000${" ".repeat(300)}0 onnx:fp32`,
    `memory < 1 GB${" ".repeat(300)}if it can be`,
  ])("refuses the file %j", (line) => {
    expect(() => parseGates(line, "gates.txt")).toThrow(/^gates\.txt /);
  });

  it("asks for the cell and the backend that a gate names", () => {
    const [gate] = parseGates("onnx:int8: p50(batch 4, length 64) < 1 mnn", "gates.txt");
    const check = (cells: { batch: number; length: number }[], backends: string[]) => () =>
      requireMeasured(gate === undefined ? [] : [gate], cells, backends);
    expect(check([{ batch: 4, length: 128 }], ["onnx:int8", "mnn"])).toThrow(
      /Add 4 to --batch and 64 to --length/,
    );
    expect(check([{ batch: 4, length: 64 }], ["onnx:int8"])).toThrow(/Add --backend mnn/);
    expect(check([{ batch: 4, length: 64 }], ["mnn"])).toThrow(/Add --backend onnx:int8/);
    expect(check([{ batch: 4, length: 64 }], ["onnx:int8", "mnn"])).not.toThrow();
  });

  it.each<[string, readonly string[], RegExp | undefined]>([
    [
      "p50(batch 4, length 64) < 0.6 mnn",
      ["mnn"],
      /holds mnn against itself. Add the --backend that it is for/,
    ],
    ["memory < 2 mnn", ["mnn"], /against itself/],
    ["mnn: memory < 2 mnn", ["mnn", "onnx"], /Name another backend before the colon/],
    ["onnx: p95(batch 4, length 64) > 0.1 onnx", ["onnx"], /against itself/],
    ["memory < 2 mnn", ["mnn", "onnx"], undefined],
    ["onnx: memory < 2 mnn", ["mnn", "onnx"], undefined],
    ["memory < 2 GB", ["mnn"], undefined],
  ])("refuses a gate that judges nothing: %s of %j", (line, backends, message) => {
    const check = () => requireMeasured(parseGates(line, "gates.txt"), [{ batch: 4, length: 64 }], backends);
    if (message === undefined) expect(check).not.toThrow();
    else expect(check).toThrow(message);
  });
});

describe("a run", () => {
  /** Notes what is asked of it; each call takes as many milliseconds as it has pairs. */
  const recorded = (asked: TimingRequest[], most = Number.POSITIVE_INFINITY): BenchSystem => ({
    name: "one",
    open: async () => ({
      description: {} as BenchProcess["description"],
      time: async (request) => {
        if (request.length > most) throw new Error(`no texts of ${request.length}`);
        asked.push(request);
        return {
          milliseconds: Array(request.iterations).fill(request.batch),
          tokens: request.batch * request.length,
          eventLoopDelay: 0,
        };
      },
      memory: async () => undefined,
      close: async () => undefined,
    }),
  });
  const options = {
    model: "m",
    environment: {} as BenchReport["environment"],
    signal: new AbortController().signal,
    onProgress: () => undefined,
  };

  it.each([1, 2, 9, 10, 11, 100])(
    "warms up in full once a cell, before %i counted calls",
    async (iterations) => {
      for (const warmUp of [0, 1, 50]) {
        const asked: TimingRequest[] = [];
        const cells = [
          { batch: 1, length: 40 },
          { batch: 4, length: 40 },
        ];
        const { systems } = await runBench({
          ...options,
          systems: [recorded(asked)],
          cells,
          warmUp,
          iterations,
        });
        for (const { batch } of cells) {
          const turns = asked.filter((request) => request.batch === batch && request.iterations > 0);
          expect(turns.map((turn) => turn.warmUp)).toEqual(
            turns.map((_, index) => (index === 0 ? warmUp : Math.min(1, warmUp))),
          );
          expect(turns.reduce((sum, turn) => sum + turn.iterations, 0)).toBe(iterations);
        }
        expect(systems[0]?.cells.map(({ milliseconds }) => milliseconds.length)).toEqual([
          iterations,
          iterations,
        ]);
      }
    },
  );

  it("tells of a cell without texts before it measures another", async () => {
    const asked: TimingRequest[] = [];
    const cells = [40, 64, 4096].map((length) => ({ batch: 1, length }));
    const run = runBench({ ...options, systems: [recorded(asked, 512)], cells, warmUp: 1, iterations: 10 });
    await expect(run).rejects.toThrow("no texts of 4096");
    expect(asked.every(({ iterations }) => iterations === 0)).toBe(true);
  });
});

describe("texts of a cell", () => {
  /** Tokenizers that give each word so many pieces, behind a prompt of so many. */
  const counter =
    (prompt: number, pieces: (word: string) => number, most: number) =>
    async ({ document }: { document: string }) => {
      const all = prompt + document.split(" ").reduce((sum, word) => sum + pieces(word), 0);
      return { tokens: Math.min(all, most), cut: Math.max(0, all - most) };
    };

  it("has exactly the length, in every row, for prompts and lengths of all sizes", async () => {
    let tried = 0;
    for (const prompt of [3, 13, 60]) {
      for (const length of [prompt + 1, prompt + 2, prompt + 64, 512]) {
        for (const batch of [1, 3, 9]) {
          const count = counter(prompt, () => 1, 512);
          const pairs = await pairsOf({ batch, length }, count);
          expect(pairs).toHaveLength(batch);
          for (const pair of pairs) expect(await count(pair)).toEqual({ tokens: length, cut: 0 });
          tried += 1;
        }
      }
    }
    expect(tried).toBe(36);
  });

  it("gives up where words do not add up to it, and where the model cuts", async () => {
    await expect(
      pairsOf(
        { batch: 1, length: 8 },
        counter(3, () => 2, 512),
      ),
    ).rejects.toThrow(/no text has 8 tokens/);
    await expect(
      pairsOf(
        { batch: 1, length: 600 },
        counter(3, () => 1, 512),
      ),
    ).rejects.toThrow(/at most 512 tokens/);
  });
});
