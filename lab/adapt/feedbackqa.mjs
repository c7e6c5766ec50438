// Adapts a real model to FeedbackQA's training queries, and measures what that gave and what it cost. See README.md.
import { spawn } from "node:child_process";
import { createReadStream, existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openReranker } from "../../packages/crossrank/dist/index.js";
import { writeInWhole, writeWholeFile } from "../../packages/disk/dist/index.js";
import { openTask } from "../../packages/eval/dist/index.js";
import { openDataset } from "../../packages/hub/dist/index.js";
import { heldOutOfTask, judgeAgainstBase } from "../../packages/train/dist/index.js";
import { replaceBlock } from "../../scripts/blocks.mjs";

const { values } = parseArgs({
  options: {
    base: { type: "string" },
    pairs: { type: "string" },
    tasks: { type: "string" },
    work: { type: "string" },
    engine: { type: "string", default: "mlx" },
    python: { type: "string" },
    threads: { type: "string" },
    backend: { type: "string", default: "onnx" },
    depth: { type: "string", default: "50" },
    queries: { type: "string" },
    rows: { type: "string" },
    teacher: { type: "string" },
    "mining-depth": { type: "string", default: "20" },
    pick: { type: "string", default: "random" },
    negatives: { type: "string", default: "4" },
    "max-steps": { type: "string" },
    method: { type: "string", default: "full" },
    "learning-rate": { type: "string", default: "2e-5" },
    "held-out-share": { type: "string", default: "0.1" },
    epochs: { type: "string", default: "1" },
    "max-tokens": { type: "string", default: "256" },
    loss: { type: "string", default: "listwise" },
    "batch-size": { type: "string", default: "4" },
    accumulation: { type: "string", default: "2" },
    write: { type: "boolean", default: false },
  },
});
for (const name of ["base", "pairs", "tasks", "work"]) {
  if (values[name] === undefined) throw new Error(`--${name} is missing: see lab/adapt/README.md`);
}
const { base, pairs, tasks, work } = values;
const command = fileURLToPath(new URL("../../packages/crossrank/bin/crossrank.js", import.meta.url));
await mkdir(work, { recursive: true });

const corpus = join(work, "corpus.jsonl");
if (!existsSync(corpus)) await writeInWhole(corpus, rowsOfFeedbackQa());
const judged = join(work, "judged.jsonl");
if (!existsSync(judged)) await writeInWhole(judged, evenly(corpus, Number(values.rows ?? 0)));
const triplets = join(work, "triplets.jsonl");
if (!existsSync(triplets)) {
  // What a teacher would drop as likely relevant is what has to be told apart here: pages of several countries that say
  // nearly the same. So BM25's own order is drawn from, as the task's candidates are.
  await crossrank([
    "mine",
    "--queries",
    judged,
    "--corpus",
    corpus,
    ...(values.teacher === undefined ? ["--no-teacher"] : ["--teacher", values.teacher]),
    ...["--pick", values.pick, "--depth", values["mining-depth"], "--negatives", values.negatives],
    "--output",
    triplets,
  ]);
}
const adapted = join(work, `adapted-${values.engine}`);
if (!existsSync(adapted)) {
  const given = ["max-steps", "threads", "python"].flatMap((name) =>
    values[name] === undefined ? [] : [`--${name}`, values[name]],
  );
  const limit = values.queries === undefined ? [] : ["--held-out-queries", values.queries];
  await crossrank([
    ...[
      "train",
      base,
      "--data",
      triplets,
      "--output",
      adapted,
      "--engine",
      values.engine,
      "--method",
      values.method,
    ],
    ...[
      "--learning-rate",
      values["learning-rate"],
      "--epochs",
      values.epochs,
      "--max-tokens",
      values["max-tokens"],
    ],
    ...[
      "--loss",
      values.loss,
      "--batch-size",
      values["batch-size"],
      "--accumulation",
      values.accumulation,
      "--held-out-share",
      values["held-out-share"],
      "--to",
      "onnx",
      ...limit,
      ...given,
    ],
    ...(values["max-steps"] === undefined ? [] : ["--keep", "last", "--gate", "1"]),
  ]);
}

const report = JSON.parse(await readFile(join(adapted, "report.json"), "utf8"));
const lines = ["| task | queries | base | adapted | change | at least |", "|---|---|---|---|---|---|"];
const bounds = { feedbackqa: 0, noveleval: 0.005 };
for (const [name, margin] of Object.entries(bounds)) {
  const task = await openTask(await openDataset(join(tasks, name)));
  try {
    const limit = values.queries === undefined ? undefined : Number(values.queries);
    const held = await heldOutOfTask(task, { depth: Number(values.depth), limit, seed: 0 });
    const before = await measure(held, base, `${name}-base`);
    const after = await measure(held, join(adapted, "model"), `${name}-${values.engine}`);
    const { base: from, value, change, queries } = judgeAgainstBase(name, after, before, margin);
    const cells = [
      name,
      queries,
      from.toFixed(4),
      value.toFixed(4),
      change.mean.toFixed(4),
      change.lowerBound.toFixed(4),
    ];
    lines.push(`| ${cells.join(" | ")} |`);
  } finally {
    await task[Symbol.asyncDispose]();
  }
}
const { tokens, trainingMs, engine, steps } = report.result;
const seconds = trainingMs / 1000;
lines.push(
  "",
  `${steps} steps, ${tokens} tokens in ${seconds.toFixed(0)} s, ${(tokens / seconds).toFixed(0)} tokens a second, ${engine.name} ${engine.version} on ${engine.device}, ${engine.dtype}.`,
);
const table = lines.join("\n");
await writeWholeFile(join(work, `table-${values.engine}.md`), `${table}\n`);
process.stdout.write(`${table}\n`);
if (values.write) {
  const measured = fileURLToPath(new URL("../../docs/measured.md", import.meta.url));
  const given = ["rows", "queries", "threads"].flatMap((name) =>
    values[name] === undefined ? [] : [` --${name} ${values[name]}`],
  );
  const command = `node lab/adapt/feedbackqa.mjs --base MODEL --pairs PAIRS --tasks EVAL --work WORK${given.join("")} --write`;
  replaceBlock(measured, "adapted", `Written by \`${command}\`:\n\n${table}`);
}

/** Kept, since a thousand queries take an hour on a processor. */
async function measure(held, model, name) {
  const path = join(work, `values-${name}.json`);
  if (existsSync(path)) return new Map(JSON.parse(await readFile(path, "utf8")));
  const reranker = await openReranker(resolve(model), { backend: values.backend });
  try {
    const measured = await held.measure(
      async (list) => {
        const { scores } = await reranker.score(list);
        return Float64Array.from(scores, ({ logit }) => logit ?? Number.NEGATIVE_INFINITY);
      },
      {
        onProgress: (done) => {
          if (done % 6400 === 0) process.stderr.write(`${name}: ${done} of ${held.pairs} pairs\n`);
        },
      },
    );
    await writeWholeFile(path, JSON.stringify([...measured]));
    return measured;
  } finally {
    await reranker.dispose();
  }
}

async function* rowsOfFeedbackQa() {
  for await (const line of createInterface({ input: createReadStream(pairs) })) {
    const { source, query, positive } = JSON.parse(line);
    if (source === "feedbackqa") yield `${JSON.stringify({ query, positive })}\n`;
  }
}

/** So many rows, from all over the file: rows of one site lie together. All for 0. */
async function* evenly(path, count) {
  const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
  const taken = count === 0 ? lines.length : Math.min(count, lines.length);
  for (let at = 0; at < taken; at += 1) yield `${lines[Math.floor((at * lines.length) / taken)]}\n`;
}

function crossrank(args) {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [command, ...args], { stdio: ["ignore", "inherit", "inherit"] });
    child.on("error", failed);
    child.on("close", (code) => {
      if (code === 0) done();
      else failed(new Error(`crossrank ${args[0]} ended with ${code}`));
    });
  });
}
