// `node bench/prefix.mjs`: what a decoder gains where the prompt's beginning (wording, instruction, query) is computed once
// for all documents of a query, beside the same model that computes every pair whole. Both are loaded at once and score
// the same pairs in turn; processor time counts, so that a busy machine hardly matters.
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { writeDecoder } from "./model/decoder-graph.mjs";

const help = `Measures what sharing a prompt's beginning saves: processor time a document, whole ÷ shared.

node bench/prefix.mjs [options]
  --logits A       "every" position, as optimum exports it, or "kept": as many as are asked for (default: kept)
  --queries N      of noveleval, each with its 20 documents (default: 3)
  --words N        cut each document to so many words (default: uncut)
  --rounds N       default 7, each with both in turn
  --help

CROSSRANK_DATA names the folder of eval/noveleval; CROSSRANK_LAB that of real/tokenizers/qwen3 (lab/README.md).
`;

/** Qwen3-0.6B's build and vocabulary; 8 of 28 layers, half as wide. */
const shape = {
  ...{ vocabulary: 151_936, hidden: 512, layers: 8 },
  ...{ heads: 8, keyHeads: 4, headSize: 128, intermediate: 1536 },
};
/** "yes" and "no" in Qwen3's vocabulary. */
const answers = { true_token_id: 9693, false_token_id: 2152 };

const { values } = parseArgs({
  options: {
    logits: { type: "string", default: "kept" },
    queries: { type: "string", default: "3" },
    words: { type: "string" },
    rounds: { type: "string", default: "7" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  process.stdout.write(help);
  process.exit(0);
}
const { CROSSRANK_DATA: data, CROSSRANK_LAB: lab } = process.env;
if (data === undefined || lab === undefined || !["every", "kept"].includes(values.logits)) {
  process.stderr.write(help);
  process.exit(2);
}

/**
 * A model's folder: this repository's Qwen3 fixture with the tokenizer and the shape of the real one.
 *
 * @param {string} tokenizers
 */
async function makeModel(tokenizers) {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-prefix-"));
  const fixture = new URL("../packages/conformance/fixtures/qwen3-yes-no/", import.meta.url);
  for (const name of ["chat_template.jinja", "config_sentence_transformers.json", "modules.json"]) {
    await cp(new URL(name, fixture), join(folder, name));
  }
  await cp(new URL("sentence_bert_config.json", fixture), join(folder, "sentence_bert_config.json"));
  for (const name of ["tokenizer.json", "tokenizer_config.json"]) {
    await cp(join(tokenizers, name), join(folder, name));
  }
  const head = JSON.parse(await readFile(new URL("1_LogitScore/config.json", fixture), "utf8"));
  await mkdir(join(folder, "1_LogitScore"));
  await writeFile(join(folder, "1_LogitScore/config.json"), JSON.stringify({ ...head, ...answers }));
  const config = JSON.parse(await readFile(new URL("config.json", fixture), "utf8"));
  const sizes = {
    ...{ vocab_size: shape.vocabulary, hidden_size: shape.hidden, num_hidden_layers: shape.layers },
    ...{ num_attention_heads: shape.heads, num_key_value_heads: shape.keyHeads, head_dim: shape.headSize },
    ...{ intermediate_size: shape.intermediate, max_position_embeddings: 40_960 },
    layer_types: new Array(shape.layers).fill("full_attention"),
  };
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...config, ...sizes }));
  await mkdir(join(folder, "onnx"));
  const logits = values.logits === "every" ? "every" : "kept";
  await writeDecoder(join(folder, "onnx/model.onnx"), shape, logits, "prefix");
  return folder;
}

/** @param {string} path @returns {Promise<{ _id: string, text: string }[]>} */
async function readLines(path) {
  const text = await readFile(path, "utf8");
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

/** @param {readonly number[]} numbers @param {number} share */
function quantile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return /** @type {number} */ (sorted[Math.round(share * (sorted.length - 1))]);
}

const folder = await makeModel(join(lab, "real/tokenizers/qwen3"));
try {
  const corpus = await readLines(join(data, "eval/noveleval/corpus.jsonl"));
  const queries = (await readLines(join(data, "eval/noveleval/queries.jsonl"))).slice(
    0,
    Number(values.queries),
  );
  const tasks = queries.map(({ _id, text }) => ({
    query: text,
    documents: corpus
      .filter((document) => document._id.startsWith(`${_id}-`))
      .map((document) =>
        values.words === undefined
          ? document.text
          : document.text.split(" ").slice(0, Number(values.words)).join(" "),
      ),
  }));
  const model = await openModel(folder);
  /** @param {boolean} sharePrefix */
  const open = (sharePrefix) =>
    createReranker({ model, backend: onnx({ workers: 1, threads: 1, isolation: "thread", sharePrefix }) });
  const [shared, whole] = [await open(true), await open(false)];
  let tokens = 0;
  /** @param {typeof shared} reranker */
  const score = async (reranker) => {
    const before = process.cpuUsage();
    /** @type {number[]} */
    const logits = [];
    tokens = 0;
    for (const task of tasks) {
      const { results } = await reranker.rerank(task);
      for (const { index, logit, tokens: length } of results) {
        logits[index + 20 * tasks.indexOf(task)] = logit ?? Number.NaN;
        tokens += length;
      }
    }
    const { user, system } = process.cpuUsage(before);
    return { seconds: (user + system) / 1e6, logits };
  };
  const documents = tasks.reduce((sum, task) => sum + task.documents.length, 0);
  await score(shared);
  /** @type {number[]} */
  const ratios = [];
  let difference = 0;
  let times = { shared: 0, whole: 0 };
  for (let round = 0; round < Number(values.rounds); round += 1) {
    // Each first in turn.
    const first = await score(round % 2 === 0 ? shared : whole);
    const second = await score(round % 2 === 0 ? whole : shared);
    const [one, other] = round % 2 === 0 ? [first, second] : [second, first];
    ratios.push(other.seconds / one.seconds);
    times = { shared: one.seconds, whole: other.seconds };
    difference = Math.max(
      difference,
      ...one.logits.map((logit, index) => Math.abs(logit - /** @type {number} */ (other.logits[index]))),
    );
  }
  const [low, middle, high] = [0, 0.5, 1].map((share) => quantile(ratios, share).toFixed(2));
  process.stdout.write(
    `${cpus()[0]?.model}, Node ${process.version}, one thread; ${documents} documents, ${(tokens / documents).toFixed(0)} tokens a pair\n` +
      `whole ÷ shared, processor time: ${middle} (${low}–${high}, ${ratios.length} rounds in turn)\n` +
      `last round, seconds a document: whole ${(times.whole / documents).toFixed(3)}, shared ${(times.shared / documents).toFixed(3)}\n` +
      `largest Δ logit: ${difference.toExponential(1)}\n`,
  );
  await shared.dispose();
  await whole.dispose();
} finally {
  await rm(folder, { recursive: true, force: true });
}
