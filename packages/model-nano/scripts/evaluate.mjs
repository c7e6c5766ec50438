// nDCG@10 of a model on the shared evaluation sets, beside the first stage, a random and a constant order.
// Needs ../shared/data beside the repository. Usage: node packages/model-nano/scripts/evaluate.mjs --help
import { createReadStream, existsSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const allTasks = ["scifact", "feedbackqa", "xquad-en", "liveqa-med", "noveleval"];
const { values: options } = parseArgs({
  options: {
    data: { type: "string", default: path.join(repository, "..", "shared", "data", "eval") },
    model: { type: "string", default: modelFolder },
    dtype: { type: "string" },
    tasks: { type: "string", default: allTasks.join(",") },
    "max-length": { type: "string" },
    limit: { type: "string" },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(`Usage: node packages/model-nano/scripts/evaluate.mjs [options]
  --data DIR        folder of the tasks (default ../shared/data/eval beside the repository)
  --model DIR|ID    default: the embedded model
  --dtype D         default: the model's own
  --tasks A,B       default: ${allTasks.join(",")}
  --max-length N    tokens; default: the model's own
  --limit N         the first N queries of each task only
  --write           put the table into the model's README.md, between its eval markers`);
  process.exit(0);
}
if (!existsSync(options.data)) {
  console.error(`evaluate: there is no ${options.data}; pass --data DIR with BEIR-style task folders`);
  process.exit(1);
}

/** Rank cut-off of the metric. */
const depth = 10;
const discounts = Array.from({ length: depth }, (_, index) => 1 / Math.log2(index + 2));

async function readLines(file, take) {
  for await (const line of createInterface({
    input: createReadStream(file),
    crlfDelay: Number.POSITIVE_INFINITY,
  })) {
    if (line !== "") take(line);
  }
}

async function readTask(name) {
  const folder = path.join(options.data, name);
  const documents = new Map();
  await readLines(path.join(folder, "corpus.jsonl"), (line) => {
    const { _id, title, text } = JSON.parse(line);
    documents.set(_id, `${title ?? ""} ${text}`.trim());
  });
  const queries = new Map();
  await readLines(path.join(folder, "queries.jsonl"), (line) => {
    const { _id, text } = JSON.parse(line);
    queries.set(_id, text);
  });
  const judgements = new Map();
  let header = true;
  await readLines(path.join(folder, "qrels", "test.tsv"), (line) => {
    if (header) {
      header = false;
      return;
    }
    const [query, document, grade] = line.split("\t");
    if (!judgements.has(query)) judgements.set(query, new Map());
    judgements.get(query).set(document, Number(grade));
  });
  const candidates = new Map();
  await readLines(path.join(folder, "candidates.trec"), (line) => {
    const [query, , document, , score] = line.split(/\s+/);
    if (!candidates.has(query)) candidates.set(query, []);
    const pool = candidates.get(query);
    // A few LiveQA answers were judged twice and stand in their pool twice; a document can be found only once.
    if (!pool.some((other) => other.document === document)) pool.push({ document, score: Number(score) });
  });
  return { documents, queries, judgements, candidates };
}

/** Sum of gains over the top ten, gain = grade where it is above 0 (trec_eval, m_ndcg_cut). */
const dcg = (grades) =>
  grades.slice(0, depth).reduce((sum, grade, rank) => sum + Math.max(grade, 0) * discounts[rank], 0);

/** nDCG@10 of scored candidates, in trec_eval's order: score descending, ties by document id descending. */
function ndcg(scored, judged) {
  const bytes = new Map(scored.map(({ document }) => [document, Buffer.from(document)]));
  const order = [...scored].sort(
    (a, b) => b.score - a.score || Buffer.compare(bytes.get(b.document), bytes.get(a.document)),
  );
  return divide(dcg(order.map(({ document }) => judged.get(document) ?? 0)), judged);
}

/** What a random order gets on average: every candidate is equally likely at every rank. */
function randomNdcg(pool, judged) {
  const gain = pool.reduce((sum, { document }) => sum + Math.max(judged.get(document) ?? 0, 0), 0);
  const sum = discounts.slice(0, pool.length).reduce((total, discount) => total + discount, 0);
  return divide((gain / pool.length) * sum, judged);
}

function divide(gained, judged) {
  const ideal = dcg([...judged.values()].sort((a, b) => b - a));
  return ideal === 0 ? 0 : gained / ideal;
}

const mean = (list) => list.reduce((sum, value) => sum + value, 0) / list.length;

const reranker = await createReranker({
  model: await openModel(options.model),
  backend: onnx(),
  dtype: options.dtype,
  maxLength: options["max-length"] === undefined ? undefined : Number(options["max-length"]),
});
const rows = [];
for (const name of options.tasks.split(",")) {
  const task = await readTask(name);
  const ids = [...task.judgements.keys()].slice(
    0,
    options.limit === undefined ? undefined : Number(options.limit),
  );
  const scores = { first: [], random: [], constant: [], model: [] };
  let pairs = 0;
  const started = performance.now();
  for (const [position, id] of ids.entries()) {
    const judged = task.judgements.get(id);
    const pool = task.candidates.get(id) ?? [];
    // A query without candidates counts 0 for everybody (trec_eval -c).
    if (pool.length === 0) {
      for (const list of Object.values(scores)) list.push(0);
      continue;
    }
    const { results } = await reranker.rerank({
      query: task.queries.get(id),
      documents: pool.map(({ document }) => task.documents.get(document)),
    });
    pairs += pool.length;
    const reranked = results.map(({ index, logit }) => ({
      document: pool[index].document,
      score: logit ?? Number.NEGATIVE_INFINITY,
    }));
    scores.first.push(ndcg(pool, judged));
    scores.random.push(randomNdcg(pool, judged));
    scores.constant.push(
      ndcg(
        pool.map(({ document }) => ({ document, score: 0 })),
        judged,
      ),
    );
    scores.model.push(ndcg(reranked, judged));
    if (process.stderr.isTTY) process.stderr.write(`\r${name} ${position + 1}/${ids.length} `);
  }
  const seconds = (performance.now() - started) / 1000;
  rows.push({
    task: name,
    queries: ids.length,
    pairs,
    ...Object.fromEntries(Object.entries(scores).map(([key, list]) => [key, mean(list)])),
    speed: pairs / seconds,
  });
  if (process.stderr.isTTY) process.stderr.write("\r\x1b[K");
  console.log(JSON.stringify(rows.at(-1)));
}

const four = (value) => value.toFixed(4);
const table = [
  "| task | queries | pairs | random | constant score | first stage | this model | difference to the first stage |",
  "|---|---|---|---|---|---|---|---|",
  ...rows.map(
    (row) =>
      `| ${row.task} | ${row.queries} | ${row.pairs} | ${four(row.random)} | ${four(row.constant)} | ${four(row.first)} | ` +
      `**${four(row.model)}** | ${row.model >= row.first ? "+" : "−"}${four(Math.abs(row.model - row.first))} |`,
  ),
].join("\n");
const { runtime } = reranker.session.info;
const { artifact } = reranker.session;
const losers = rows.filter((row) => row.model < row.first).map((row) => row.task);
const summary =
  `${table}\n\nnDCG@10, linear gain, mean over the judged queries, ties by trec_eval's order; maximum length ` +
  `${reranker.profile.maxLength} tokens, document-only truncation. The random row is the exact expectation; the constant row ` +
  `is what equal scores get. Run on ${runtime.name} ${runtime.version}, ${artifact.dtype}, ` +
  `sha256 ${artifact.files[0].sha256.slice(0, 12)}….\n\n` +
  (losers.length === 0
    ? "It is ahead of the first stage on every one of these sets."
    : `**Where it does not help:** on ${losers.join(" and ")} the first stage's own order is better.`);
console.log(`\n${summary}`);
await reranker.dispose();

if (options.write) {
  const card = path.join(modelFolder, "README.md");
  const command = `node packages/model-nano/scripts/evaluate.mjs --write`;
  const text = readFileSync(card, "utf8");
  const [start, end] = ["<!-- eval:start -->", "<!-- eval:end -->"];
  if (!text.includes(start) || !text.includes(end)) throw new Error(`${card} has no ${start} … ${end}`);
  const before = text.slice(0, text.indexOf(start) + start.length);
  const after = text.slice(text.indexOf(end));
  writeFileSync(card, `${before}\n\nWritten by \`${command}\`:\n\n${summary}\n\n${after}`);
}
