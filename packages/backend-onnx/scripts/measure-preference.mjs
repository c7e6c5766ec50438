// What batches cost by how many tokens and how much padding they may hold, on real texts: processor time in turns,
// against the first of them (docs/decisions/0002-onnx-batching.md).
// node packages/backend-onnx/scripts/measure-preference.mjs <model folder> <evaluation sets> [rounds]
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createReranker } from "@crossrank/core";
import { openModel } from "../../hub/dist/index.js";
import { onnx } from "../dist/index.js";

const [folder, sets, rounds = "5"] = process.argv.slice(2);
if (sets === undefined) {
  console.error("usage: node packages/backend-onnx/scripts/measure-preference.mjs MODEL EVAL [ROUNDS]");
  process.exit(2);
}
const preferences = {
  "512, 10 %": { rows: 8, tokens: 512, padding: 0.1 },
  "512, 5 %": { rows: 8, tokens: 512, padding: 0.05 },
  "256, 10 %": { rows: 8, tokens: 256, padding: 0.1 },
  "256, 5 %": { rows: 8, tokens: 256, padding: 0.05 },
  "256, 3 %": { rows: 8, tokens: 256, padding: 0.03 },
  "one row": { rows: 1 },
};

function textsOf(task, count, first = 0) {
  const lines = readFileSync(join(sets, task, "corpus.jsonl"), "utf8")
    .trim()
    .split("\n");
  return lines
    .slice(first, first + count)
    .map((line) => JSON.parse(line))
    .map(({ title, text }) => [title, text].filter(Boolean).join(" "));
}
const cut = (texts, wordsOf) =>
  texts.map((text, index) => text.split(/\s+/).slice(0, wordsOf(index)).join(" "));
const collections = {
  noveleval: textsOf("noveleval", 24),
  feedbackqa: textsOf("feedbackqa", 24, 100),
  "xquad-en": textsOf("xquad-en", 24, 50),
  "6 to 30 words": cut(textsOf("feedbackqa", 60), (index) => 6 + ((index * 7) % 25)),
  "4 to 12 words": cut(textsOf("scifact", 60), (index) => 4 + ((index * 5) % 9)),
};

const query = "what are the symptoms and how is it treated?";
const model = await openModel(folder);
const rerankers = new Map();
for (const [name, batch] of Object.entries(preferences)) {
  const backend = onnx({ isolation: "thread", workers: 1, threads: 1, batch });
  rerankers.set(name, await createReranker({ model, dtype: "fp32", backend, probe: false }));
}

const names = [...rerankers.keys()];
console.log(`| documents | ${names.join(" | ")} |`);
console.log(`| --- |${names.map(() => " ---: |").join("")}`);
for (const [collection, documents] of Object.entries(collections)) {
  const times = new Map(names.map((name) => [name, []]));
  for (let round = 0; round <= Number(rounds); round += 1) {
    for (const name of round % 2 === 0 ? names : [...names].reverse()) {
      const before = process.cpuUsage();
      await rerankers.get(name).rerank({ query, documents });
      const { user, system } = process.cpuUsage(before);
      if (round > 0) times.get(name).push(user + system);
    }
  }
  const [first] = names;
  const ratios = names.map((name) => {
    const logarithms = times.get(name).map((time, round) => Math.log(time / times.get(first)[round]));
    return Math.exp(logarithms.reduce((sum, value) => sum + value, 0) / logarithms.length).toFixed(3);
  });
  console.log(`| ${collection} | ${ratios.join(" | ")} |`);
}
for (const reranker of rerankers.values()) await reranker.dispose();
