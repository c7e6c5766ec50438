// Processor time and errors of graphs, interleaved in one process, one thread:
// node lab/int8/measure.mjs <pairs.json> <reference.onnx> <base.onnx> <other.onnx> ...
// Of each pair and graph the least time of several turns counts: what else runs on the machine only adds.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename } from "node:path";

const require = createRequire(new URL("../../packages/backend-onnx/package.json", import.meta.url));
const { InferenceSession, Tensor } = require("onnxruntime-node");

const [file, ...graphs] = process.argv.slice(2);
const every = Number(process.env.EVERY ?? 1);
const turns = Number(process.env.TURNS ?? 3);
const pairs = JSON.parse(readFileSync(file, "utf8")).filter((_, index) => index % every === 0);
const options = {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  graphOptimizationLevel: "basic",
  executionMode: "sequential",
};
const sessions = [];
for (const path of graphs) sessions.push(await InferenceSession.create(path, options));

const feed = ({ ids, segments }) => {
  const make = (values) => new Tensor("int64", BigInt64Array.from(values, BigInt), [1, ids.length]);
  return { input_ids: make(ids), attention_mask: make(ids.map(() => 1)), token_type_ids: make(segments) };
};
const seconds = ({ user, system }) => (user + system) / 1e6;
const logits = graphs.map(() => []);
const least = graphs.map(() => pairs.map(() => Infinity));
for (const [index, pair] of pairs.entries()) {
  const inputs = feed(pair);
  for (let turn = 0; turn < turns; turn += 1) {
    for (const [which, session] of sessions.entries()) {
      // The reference only gives its logits.
      if (which === 0 && turn > 0) continue;
      const start = process.cpuUsage();
      const output = await session.run(inputs);
      const taken = seconds(process.cpuUsage(start));
      least[which][index] = Math.min(least[which][index], taken);
      if (turn === 0) logits[which].push(Number(output.logits.data[0]));
    }
  }
}
const middle = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const sum = (values) => values.reduce((total, value) => total + value, 0);
const short = pairs.map(({ ids }, index) => (ids.length < 150 ? index : -1)).filter((index) => index >= 0);
const long = pairs.map(({ ids }, index) => (ids.length > 300 ? index : -1)).filter((index) => index >= 0);
console.log(
  "| graph | median Δ | largest Δ | documents a core-second | speed | below 150 tokens | above 300 |",
);
console.log("|---|---:|---:|---:|---:|---:|---:|");
for (const [which, path] of graphs.entries()) {
  const errors = logits[which].map((value, index) => Math.abs(value - logits[0][index]));
  const ratio = (chosen) =>
    (sum(chosen.map((index) => least[1][index])) / sum(chosen.map((index) => least[which][index]))).toFixed(
      3,
    );
  const all = pairs.map((_, index) => index);
  const cells = [
    basename(path, ".onnx"),
    middle(errors).toFixed(4),
    Math.max(...errors).toFixed(4),
    (pairs.length / sum(least[which])).toFixed(1),
    ...[all, short, long].map(ratio),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}
