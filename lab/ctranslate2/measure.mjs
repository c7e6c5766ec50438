// Holds a model's artifacts for CTranslate2 against its ONNX ones: how far int8 is from fp32, and documents a core-second.
// After a build:
//
//   node lab/ctranslate2/measure.mjs MODEL [--rounds 4] [--documents 40]
//
// MODEL is a folder with onnx/model.onnx, onnx/model_int8.onnx and both precisions of `crossrank convert --to
// ctranslate2`. Differences are of logits, over questions and paragraphs of this repository's guides. Times are
// processor time of this process, one thread, the systems in turn in every round, texts of bench/documents.mjs.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makeDocuments } from "../../bench/documents.mjs";
import { ctranslate2 } from "../../packages/backend-ctranslate2/dist/index.js";
import { onnx } from "../../packages/backend-onnx/dist/index.js";
import { createReranker } from "../../packages/core/dist/index.js";
import { openModel } from "../../packages/hub/dist/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: "string", default: "4" }, documents: { type: "string", default: "40" } },
});
const [folder = ""] = positionals;
const model = await openModel(folder);
const systems = {
  "onnx fp32": [onnx({ isolation: "thread", threads: 1 }), "fp32"],
  "onnx int8": [onnx({ isolation: "thread", threads: 1 }), "int8"],
  "ctranslate2 fp32": [ctranslate2({ isolation: "thread", threads: 1, sessions: 1 }), "fp32"],
  "ctranslate2 int8": [ctranslate2({ isolation: "thread", threads: 1, sessions: 1 }), "int8"],
};
const rerankers = new Map();
for (const [name, [backend, dtype]] of Object.entries(systems)) {
  rerankers.set(name, await createReranker({ model, backend, dtype }));
}

const { queries, passages } = textsOfGuides();
const logits = new Map();
for (const [name, reranker] of rerankers) {
  const all = [];
  for (const query of queries) {
    const { results } = await reranker.rerank({ query, documents: passages });
    all.push(...results.toSorted((a, b) => a.index - b.index).map(({ logit }) => logit));
  }
  logits.set(name, all);
}
const reference = logits.get("onnx fp32");
console.log(`${reference.length} pairs, |Δ logit| from onnx fp32`);
for (const [name, found] of logits) {
  const deltas = found.map((logit, index) => Math.abs(logit - reference[index])).sort((a, b) => a - b);
  console.log(
    `  ${name}: largest ${deltas.at(-1).toPrecision(3)}, median ${deltas[deltas.length >> 1].toPrecision(3)}`,
  );
}

const { query, documents } = await makeDocuments(folder, Number(values.documents));
const seconds = new Map([...rerankers.keys()].map((name) => [name, []]));
for (let round = -1; round < Number(values.rounds); round += 1) {
  for (const [name, reranker] of rerankers) {
    const before = process.cpuUsage();
    await reranker.rerank({ query, documents });
    const { user, system } = process.cpuUsage(before);
    // The first warms up.
    if (round >= 0) seconds.get(name).push((user + system) / 1e6);
  }
}
console.log(
  `${documents.length} documents of 178 tokens on average, documents a core-second: median (least to most)`,
);
for (const [name, times] of seconds) {
  const rates = times.map((time) => documents.length / time).sort((a, b) => a - b);
  const text = [rates[rates.length >> 1], rates[0], rates.at(-1)].map((rate) => rate.toFixed(1));
  console.log(`  ${name}: ${text[0]} (${text[1]} to ${text[2]})`);
}
for (const reranker of rerankers.values()) await reranker.dispose();

function textsOfGuides() {
  const guides = fileURLToPath(new URL("../../docs/guides/", import.meta.url));
  const text = readdirSync(guides)
    .filter((name) => name.endsWith(".md"))
    .sort()
    .map((name) => readFileSync(join(guides, name), "utf8"))
    .join("\n\n");
  const blocks = text.split(/\n\s*\n/);
  return {
    queries: blocks.flatMap((block) => /^## (.*)$/.exec(block)?.[1] ?? []).slice(0, 6),
    passages: blocks.filter((block) => /^[A-Z]/.test(block) && block.length > 250).slice(0, 30),
  };
}
