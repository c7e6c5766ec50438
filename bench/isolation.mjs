// `node bench/isolation.mjs`: what a child process costs beside a worker thread, with the ONNX backend: the same model and
// documents, both kinds of isolation open at once, their rounds in turn, so that what else the machine does meets both.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { replaceBlock } from "../scripts/blocks.mjs";
import { makeDocuments } from "./documents.mjs";

const help = `Measures isolation: "process" beside isolation: "thread" of the ONNX backend: documents a second of large calls,
the time of a call with one short document, the time to load, and memory.

node bench/isolation.mjs [options]
  --rounds N      default 15, each with both kinds in turn
  --calls N       default 200, calls with one document in each round
  --documents N   default 64, of each large call
  --write         put the result into bench/README.md
  --help
`;

const fixture = fileURLToPath(
  new URL("../packages/backend-onnx/test/fixtures/cross-encoder", import.meta.url),
);
const models = [
  { name: "nano, int8, 14.8 MB", folder: modelFolder },
  { name: "a BERT of two layers of 32, fp32, 0.2 MB", folder: fixture },
];
const kinds = /** @type {const} */ (["process", "thread"]);

/** @param {readonly number[]} numbers @param {number} [share] which quantile */
function median(numbers, share = 0.5) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(share * (sorted.length - 1))] ?? Number.NaN;
}

/** Processes of this program: its own, and all that it started. */
function tree() {
  const rows = execFileSync("ps", ["-eo", "pid=,ppid=,rss="], { encoding: "utf8" })
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const found = new Set([process.pid]);
  for (let before = 0; before < found.size; ) {
    before = found.size;
    for (const [pid = 0, parent = 0] of rows) if (found.has(parent)) found.add(pid);
  }
  return rows.filter(([pid = 0]) => found.has(pid));
}

/** Milliseconds of processor time that the program has taken; 0 where there is no /proc. */
function processorTime() {
  return tree().reduce((sum, [pid = 0]) => sum + processorTimeOf(pid), 0);
}

/** @param {number} pid */
function processorTimeOf(pid) {
  try {
    const [, fields = ""] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ");
    const [user = 0, system = 0] = fields.split(" ").slice(11, 13).map(Number);
    // In hundredths of a second, on every Linux of today.
    return 10 * (user + system);
  } catch {
    // The command that listed the processes is gone by now.
    return 0;
  }
}

/** Bytes of this process and of all that it started; what several share (PSS) is shared out where the system says so. */
function treeMemory() {
  return tree().reduce((sum, [pid = 0, , rss = 0]) => sum + 1024 * memoryOf(pid, rss), 0);
}

/** @param {number} pid @param {number} rss kilobytes */
function memoryOf(pid, rss) {
  try {
    return Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? rss);
  } catch {
    return rss;
  }
}

/**
 * @param {{ readonly name: string, readonly folder: string }} model
 * @param {{ readonly rounds: number, readonly calls: number, readonly documents: number }} counts
 */
async function measure({ name, folder }, counts) {
  const model = await openModel(folder);
  const { query, documents } = await makeDocuments(modelFolder, counts.documents);
  const opened = [];
  for (const isolation of kinds) {
    const before = treeMemory();
    const start = performance.now();
    const reranker = await createReranker({ model, backend: onnx({ isolation }) });
    const loading = performance.now() - start;
    await reranker.rerank({ query, documents });
    opened.push({
      isolation,
      reranker,
      loading,
      memory: treeMemory() - before,
      rates: [],
      calls: [],
      processor: 0,
    });
  }
  const results = /** @type {{ rates: number[], calls: number[], processor: number, scores?: string }[]} */ (
    opened
  );
  for (let round = 0; round < counts.rounds; round += 1) {
    for (const at of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const { reranker } = /** @type {typeof opened[number]} */ (opened[at]);
      const result = /** @type {typeof results[number]} */ (results[at]);
      const taken = processorTime();
      const start = performance.now();
      const ranking = await reranker.rerank({ query, documents });
      result.rates.push((1000 * documents.length) / (performance.now() - start));
      result.processor += processorTime() - taken;
      result.scores = JSON.stringify(ranking.results.map(({ index, score }) => [index, score]));
    }
    for (let call = 0; call < 2 * counts.calls; call += 1) {
      const { reranker } = /** @type {typeof opened[number]} */ (opened[call % 2]);
      const begin = performance.now();
      await reranker.rerank({ query: "capital of france", documents: ["Paris is the capital of France."] });
      results[call % 2]?.calls.push(performance.now() - begin);
    }
  }
  for (const { reranker } of opened) await reranker.dispose();
  const [process, thread] = results;
  if (process?.scores !== thread?.scores) throw new Error(`${name}: the scores of process and thread differ`);
  // Of each round both kinds, so that what slows a whole round down slows both.
  const ratios = process?.rates.map((rate, round) => rate / (thread?.rates[round] ?? Number.NaN)) ?? [];
  const row = opened.map(({ isolation, loading, memory }, at) => {
    const { rates = [], calls = [], processor = Number.NaN } = results[at] ?? {};
    const cells = [
      median(rates).toFixed(0),
      (processor / counts.rounds / counts.documents).toFixed(2),
      median(calls).toFixed(2),
      median(calls, 0.95).toFixed(2),
      loading.toFixed(0),
      (memory / 1e6).toFixed(0),
    ];
    return `| ${name}, ${isolation} | ${cells.join(" | ")} |`;
  });
  const share = (100 * (median(ratios) - 1)).toFixed(1);
  const work = (100 * ((process?.processor ?? 0) / (thread?.processor ?? 0) - 1)).toFixed(1);
  const later = (median(process?.calls ?? []) - median(thread?.calls ?? [])).toFixed(2);
  return {
    row,
    summary: `- ${name}: the process has ${share} % of documents a second beside the thread (median of ${ratios.length} rounds), ${work} % of its processor time, and ${later} ms of a call's median.`,
  };
}

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    calls: { type: "string", default: "200" },
    documents: { type: "string", default: "64" },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(help);
} else {
  const counts = {
    rounds: Number(values.rounds),
    calls: Number(values.calls),
    documents: Number(values.documents),
  };
  const loadBefore = loadavg()[0] ?? 0;
  const measured = [];
  for (const model of models) measured.push(await measure(model, counts));
  const report = [
    `${cpus()[0]?.model.trim()}, ${availableParallelism()} threads, Node ${process.version}. ${counts.rounds} rounds, in turn, of one call with ${counts.documents} documents and ${counts.calls} calls with one. Load average before ${loadBefore.toFixed(1)}, after ${(loadavg()[0] ?? 0).toFixed(1)}. Memory: what the tree of processes grew by, first call included. The scores are the same.`,
    "",
    "| | documents/s | processor ms each | one document, p50 ms | p95 ms | load, ms | memory, MB |",
    "|---|---:|---:|---:|---:|---:|---:|",
    ...measured.flatMap(({ row }) => row),
    "",
    ...measured.map(({ summary }) => summary),
  ].join("\n");
  console.log(report);
  if (values.write) {
    const readme = new URL("README.md", import.meta.url);
    replaceBlock(readme, "isolation", `Written by \`node bench/isolation.mjs --write\`:\n\n${report}`);
  }
}
