// Measures which batches, threads and workers are fastest on this machine, for docs/decisions/0002-onnx-batching.md.
//
//   pnpm build
//   python lab/fixtures/build_onnx_fixtures.py --bench DIR      (once; see there)
//   node packages/backend-onnx/scripts/measure-batching.mjs DIR [--repeat 5] [--only workers,rows,...] [--documents 200]
//
// Prints one table for each question. A cell is documents a second: the median of the repetitions, and in brackets
// the best, which another load on the machine disturbs least. All settings of a table take turns within each
// repetition, so that such a load hits them alike.
import { readdir, stat } from "node:fs/promises";
import { availableParallelism, cpus } from "node:os";
import { join, resolve } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { parseArgs } from "node:util";
import { onnx } from "../dist/index.js";

const { values: flags, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    repeat: { type: "string", default: "5" },
    documents: { type: "string", default: "200" },
    only: { type: "string" },
  },
});
if (positionals.length !== 1) {
  console.error(
    "usage: node measure-batching.mjs DIR [--repeat 5] [--only workers,rows,...] [--documents 200]",
  );
  process.exit(1);
}
const folder = resolve(positionals[0]);
const repetitions = Number(flags.repeat);
const wantedTables = flags.only?.split(",");

/** The same pseudo-random numbers in every run (mulberry32). */
function randomNumbers(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** Token ids with lengths skewed to the short end: mixed 15–512 tokens (mean about 178), short 20–60. */
function makeSequences(kind, count) {
  const random = randomNumbers(5);
  const shares = Array.from({ length: count }, (_, index) => (index + 0.5) / count);
  shares.sort(() => random() - 0.5);
  return shares.map((share) => {
    const length = kind === "short" ? 20 + Math.floor(41 * share) : 15 + Math.floor(498 * share ** 2.05);
    const ids = Int32Array.from({ length }, () => 200 + Math.floor(20000 * random()));
    ids[0] = 2;
    ids[length - 1] = 3;
    return ids;
  });
}

/** Sorted by length, longest first, cut as the preference says. As core's scheduler does. */
function cutBatches(sequences, { rows, tokens, padding }) {
  const sorted = [...sequences].sort((left, right) => right.length - left.length);
  const batches = [];
  let current = [];
  let real = 0;
  for (const sequence of sorted) {
    const columns = current[0]?.length ?? sequence.length;
    const total = (current.length + 1) * columns;
    const fits = current.length < rows && total <= tokens && 1 - (real + sequence.length) / total <= padding;
    if (current.length > 0 && !fits) {
      batches.push(current);
      current = [];
      real = 0;
    }
    current.push(sequence);
    real += sequence.length;
  }
  batches.push(current);
  return batches;
}

function makeBatch(sequences) {
  const rows = sequences.length;
  const columns = Math.max(...sequences.map((sequence) => sequence.length));
  const batch = {
    rows,
    columns,
    inputIds: new Int32Array(rows * columns),
    attentionMask: new Int32Array(rows * columns),
    segmentIds: new Int32Array(rows * columns),
    lengths: Int32Array.from(sequences, (sequence) => sequence.length),
  };
  sequences.forEach((sequence, row) => {
    batch.inputIds.set(sequence, row * columns);
    batch.attentionMask.fill(1, row * columns, row * columns + sequence.length);
  });
  return batch;
}

/** Milliseconds for all batches, as many at once as the session wants. */
async function runAll(session, batches) {
  const waiting = batches.map(makeBatch);
  const start = performance.now();
  const lane = async () => {
    for (let batch = waiting.shift(); batch !== undefined; batch = waiting.shift()) {
      await session.run(batch);
    }
  };
  await Promise.all(Array.from({ length: session.capabilities.concurrentRuns }, lane));
  return performance.now() - start;
}

function folderFiles(root) {
  return {
    id: root,
    revision: undefined,
    list: async () => {
      const names = await readdir(root, { recursive: true });
      const files = await Promise.all(
        names.map(async (path) => ({ path, entry: await stat(join(root, path)) })),
      );
      // A made-up hash: reading 90 MB at every load is not what is measured here.
      return files
        .filter(({ entry }) => entry.isFile())
        .map(({ path, entry }) => ({ path, size: entry.size, sha256: "0".repeat(64) }));
    },
    readText: () => Promise.reject(new Error("not needed")),
    localPath: async (path) => join(root, path),
  };
}

const profile = {
  specificationVersion: "1",
  family: "cross-encoder",
  architecture: "bert",
  pairTemplate: [],
  singleTemplate: [],
  maxLength: 512,
  truncation: "document-only",
  paddingId: 0,
  head: { kind: "logit" },
  activation: "identity",
  queryPrefix: "",
  documentPrefix: "",
};

async function loadSession({ model, dtype, workers, threads, level, extra }) {
  const backend = onnx({
    workers,
    threads,
    sessionOptions: { graphOptimizationLevel: level ?? "all", ...(extra === undefined ? {} : { extra }) },
  });
  return backend.load({
    files: folderFiles(join(folder, model)),
    profile,
    output: { kinds: ["class-logits"] },
    dtype,
  });
}

function median(numbers) {
  const sorted = [...numbers].sort((left, right) => left - right);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** One row for each setting, one column for each case; every setting of a column shares one session where it can. */
async function table(name, title, settings, cases) {
  if (wantedTables !== undefined && !wantedTables.includes(name)) {
    return;
  }
  const rates = new Map();
  for (const [caseName, { dtype, lengths, model }] of Object.entries(cases)) {
    const sequences = makeSequences(lengths, Number(flags.documents));
    const sessions = new Map();
    const prepared = [];
    for (const [settingName, setting] of Object.entries(settings)) {
      const place = { model: setting.model ?? model, dtype, ...setting.place };
      const key = JSON.stringify(place);
      if (!sessions.has(key)) {
        sessions.set(key, await loadSession(place));
      }
      const batches = setting.inOrder
        ? inInputOrder(sequences, setting.batch.rows)
        : cutBatches(sequences, setting.batch);
      prepared.push({ settingName, session: sessions.get(key), batches });
    }
    for (const { session, batches } of prepared) {
      await runAll(session, batches.slice(0, 4));
    }
    const samples = new Map(prepared.map(({ settingName }) => [settingName, []]));
    for (let repetition = 0; repetition < repetitions; repetition++) {
      for (const { settingName, session, batches } of prepared) {
        samples.get(settingName).push((1000 * sequences.length) / (await runAll(session, batches)));
      }
    }
    for (const [settingName, numbers] of samples) {
      const cell = `${median(numbers).toFixed(1)} (${Math.max(...numbers).toFixed(1)})`;
      rates.set(`${settingName}|${caseName}`, cell);
    }
    await Promise.all([...sessions.values()].map((session) => session.dispose()));
  }
  const caseNames = Object.keys(cases);
  console.log(`\n**${name}**: ${title}\n`);
  console.log(`| | ${caseNames.join(" | ")} |`);
  console.log(`|---|${caseNames.map(() => "---:").join("|")}|`);
  for (const settingName of Object.keys(settings)) {
    const cells = caseNames.map((caseName) => rates.get(`${settingName}|${caseName}`));
    console.log(`| ${settingName} | ${cells.join(" | ")} |`);
  }
}

function inInputOrder(sequences, rows) {
  return Array.from({ length: Math.ceil(sequences.length / rows) }, (_, index) =>
    sequences.slice(index * rows, (index + 1) * rows),
  );
}

/**
 * Tokens a second of processor time, for batches of equal lengths on one thread. Processor time, because it stays
 * true while other programs use the machine.
 */
async function grid(dtype) {
  const session = await loadSession({ model: fused, dtype, workers: 1, threads: 1 });
  const lengths = [32, 64, 128, 256, 512];
  const rowCounts = [1, 2, 4, 8, 16];
  const random = randomNumbers(9);
  const cells = new Map();
  for (let repetition = -1; repetition < repetitions; repetition++) {
    for (const length of lengths) {
      for (const rows of rowCounts.filter((rows) => rows * length <= 4096)) {
        const sequences = Array.from({ length: rows }, () =>
          Int32Array.from({ length }, () => 200 + Math.floor(20000 * random())),
        );
        // About the same work in every cell, so that small batches are measured as finely as large ones.
        const batches = Array.from({ length: Math.max(1, Math.floor(2048 / (rows * length))) }, () =>
          makeBatch(sequences),
        );
        const before = process.cpuUsage();
        for (const batch of batches) {
          await session.run(batch);
        }
        const { user, system } = process.cpuUsage(before);
        const key = `${length}|${rows}`;
        // The first round warms up.
        const samples = repetition < 0 ? [] : (cells.get(key) ?? []);
        samples.push((1e6 * batches.length * rows * length) / (user + system));
        cells.set(key, repetition < 0 ? [] : samples);
      }
    }
  }
  await session.dispose();
  console.log(`\n**grid**, ${dtype}: tokens a second of processor time, one thread, by length and rows\n`);
  console.log(`| length | ${rowCounts.map((rows) => `${rows} row${rows === 1 ? "" : "s"}`).join(" | ")} |`);
  console.log(`|---|${rowCounts.map(() => "---:").join("|")}|`);
  for (const length of lengths) {
    const row = rowCounts.map((rows) => cells.get(`${length}|${rows}`));
    console.log(
      `| ${length} | ${row.map((samples) => (samples ? median(samples).toFixed(0) : "")).join(" | ")} |`,
    );
  }
}

const fused = "minilm-shape-fused";
const plain = "minilm-shape-plain";
const cores = availableParallelism();
const all = {
  "fp32 mixed": { dtype: "fp32", lengths: "mixed", model: fused },
  "int8 mixed": { dtype: "int8", lengths: "mixed", model: fused },
  "fp32 short": { dtype: "fp32", lengths: "short", model: fused },
  "int8 short": { dtype: "int8", lengths: "short", model: fused },
};
const equal = { rows: 4, tokens: 1024, padding: 0.05 };
const spread = { workers: cores, threads: 1 };
const together = { workers: 1, threads: cores };

const lengths = makeSequences("mixed", Number(flags.documents)).map((sequence) => sequence.length);
const mean = lengths.reduce((total, length) => total + length, 0) / lengths.length;
console.log(
  `${cpus()[0]?.model.trim()}, ${cores} threads, Node ${process.version}; ${flags.documents} documents, mixed ` +
    `${Math.min(...lengths)}–${Math.max(...lengths)} tokens (mean ${mean.toFixed(0)}), short 20–60; documents a second: median (best) of ${repetitions}`,
);

if (wantedTables === undefined || wantedTables.includes("grid")) {
  await grid("fp32");
  await grid("int8");
}

await table(
  "workers",
  "how the threads are split (rows 4, padding 5 %)",
  Object.fromEntries(
    [1, 2, 4, 8, 16]
      .filter((workers) => workers <= cores)
      .map((workers) => [
        `${workers} × ${Math.floor(cores / workers)}`,
        { place: { workers, threads: Math.floor(cores / workers) }, batch: equal },
      ]),
  ),
  all,
);

await table(
  "rows",
  "rows at most, sorted by length, any padding, no token limit",
  {
    ...Object.fromEntries(
      [1, 2, 4, 8, 32].map((rows) => [
        `${rows}`,
        { place: spread, batch: { rows, tokens: Number.POSITIVE_INFINITY, padding: 1 } },
      ]),
    ),
    "32, input order": { place: spread, batch: { rows: 32 }, inOrder: true },
  },
  all,
);

await table(
  "rows-together",
  "the same on one worker with all threads",
  {
    ...Object.fromEntries(
      [1, 2, 4, 8, 32].map((rows) => [
        `${rows}`,
        { place: together, batch: { rows, tokens: Number.POSITIVE_INFINITY, padding: 1 } },
      ]),
    ),
  },
  all,
);

await table(
  "tokens",
  "tokens at most (rows 8, padding 5 %)",
  Object.fromEntries(
    [128, 256, 512, 1024, 2048, 4096].map((tokens) => [
      `${tokens}`,
      { place: spread, batch: { rows: 8, tokens, padding: 0.05 } },
    ]),
  ),
  all,
);

await table(
  "padding",
  "padding at most (rows 4, tokens 1024)",
  Object.fromEntries(
    [0, 0.02, 0.05, 0.1, 0.3].map((padding) => [
      `${(100 * padding).toFixed(0)} %`,
      { place: spread, batch: { rows: 4, tokens: 1024, padding } },
    ]),
  ),
  all,
);

await table(
  "graph",
  "how the graph is written, and the optimisation level (rows 4, padding 5 %)",
  Object.fromEntries(
    [fused, plain].flatMap((model) =>
      ["basic", "all"].map((level) => [
        `${model.replace("minilm-shape-", "")}, ${level}`,
        { model, place: { ...spread, level }, batch: equal },
      ]),
    ),
  ),
  { "fp32 mixed": all["fp32 mixed"], "int8 mixed": all["int8 mixed"] },
);

if (wantedTables === undefined || wantedTables.includes("event-loop")) {
  const session = await loadSession({ model: fused, dtype: "fp32", ...spread });
  const sequences = makeSequences("mixed", Number(flags.documents));
  const batches = cutBatches(sequences, session.capabilities.batchPreference);
  await runAll(session, batches.slice(0, 4));
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  const milliseconds = await runAll(session, batches);
  delay.disable();
  await session.dispose();
  const [middle, high, most] = [delay.percentile(50), delay.percentile(99), delay.max].map((nanoseconds) =>
    (nanoseconds / 1e6).toFixed(1),
  );
  console.log(
    `\n**event-loop**: delay while ${sequences.length} documents are scored in ${(milliseconds / 1000).toFixed(1)} s ` +
      `(timer of 10 ms): median ${middle} ms, p99 ${high} ms, most ${most} ms`,
  );
}
