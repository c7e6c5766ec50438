// Measures the embedded model for its card: nDCG@10 on evaluation tasks beside its teacher, the first stage, a random and
// a constant order; every runtime and precision; and how much faster than the teacher it is. After a build:
//   node packages/model-nano/scripts/write-card.mjs --help
// Scores are kept in --reports, so that a run that was cut off goes on.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { replaceBlock } from "../../../scripts/blocks.mjs";

const repository = fileURLToPath(new URL("../../..", import.meta.url));
const card = path.join(modelFolder, "README.md");
const lab = process.env["CROSSRANK_LAB"] || path.join(homedir(), ".cache/crossrank-lab");
const { values: options } = parseArgs({
  options: {
    data: {
      type: "string",
      default: process.env["CROSSRANK_DATA"] ?? path.join(repository, "../shared/data"),
    },
    teacher: { type: "string", default: path.join(lab, "real/ms-marco-MiniLM-L-12-v2") },
    tasks: { type: "string", default: "scifact:40,feedbackqa:60,xquad-en:150,liveqa-med,noveleval" },
    whole: { type: "string", default: "scifact" },
    everywhere: { type: "string", default: "noveleval" },
    reports: { type: "string", default: path.join(repository, "lab/runs/reports/card") },
    rounds: { type: "string", default: "12" },
    only: { type: "string" },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(`Usage: node packages/model-nano/scripts/write-card.mjs [options]
  --data DIR        folder whose eval/ holds the tasks (default: CROSSRANK_DATA, else ../shared/data)
  --teacher DIR     the teacher, as lab/real/make.py writes it (default: in CROSSRANK_LAB)
  --tasks A:N,B     tasks, each with the number of its first queries (default: ${options.tasks})
  --whole A         the task of which all queries are held against the first stage (default: ${options.whole})
  --everywhere A    the task that every runtime scores (default: ${options.everywhere})
  --reports DIR     where scores are kept (default: lab/runs/reports/card)
  --rounds N        of the comparison of speed, in turns (default: ${options.rounds})
  --only A,B        parts: speed, quality, whole, runtimes (default: all)
  --write           put the tables into the model's card, and the first into README.md, between markers`);
  process.exit(0);
}
for (const place of [options.data, options.teacher]) {
  if (existsSync(place)) continue;
  console.error(`write-card: there is no ${place}. See --help and lab/real`);
  process.exit(1);
}

/** Every runtime of this machine, with the precisions that convert writes; the reference first. */
const everywhere = [
  "onnx:fp32",
  "onnx:int8",
  "llamacpp:F16",
  "llamacpp:Q8_0",
  "mnn:fp32",
  "mnn:int8",
  "coreml:reference:fp16",
  "ctranslate2:int8",
  "mlx:fp16",
];

function folderOf(task) {
  return path.join(options.data, "eval", task);
}

function crossrank(argv) {
  console.error(`crossrank ${argv.join(" ")}`);
  const command = path.join(repository, "packages/crossrank/bin/crossrank.js");
  const { status } = spawnSync(process.execPath, [command, ...argv], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  if (status !== 0) throw new Error(`crossrank ${argv[0]} ended with ${status}`);
}

/** The model's weights, and beside them every format that runs here. */
function convertAll() {
  const output = path.join(repository, "lab/runs/nano");
  cpSync(path.join(repository, "packages/model-nano-weights/model"), output, { recursive: true });
  const formats = Object.entries({
    onnx: "fp32,int8",
    gguf: "F16,Q8_0",
    mnn: "fp32,int8",
    mlpackage: "fp16",
    ctranslate2: "int8",
  });
  for (const [format, dtypes] of formats) {
    crossrank(["convert", output, "--to", format, "--dtype", dtypes, "--force"]);
  }
  return output;
}

/** The report of `crossrank eval`. */
function evaluate(model, name, task, limit, backends) {
  const report = path.join(options.reports, `${name}-${task}`);
  mkdirSync(report, { recursive: true });
  const argv = ["eval", "--task", folderOf(task), "--model", model];
  argv.push(...backends.flatMap((backend) => ["--backend", backend]));
  if (limit !== undefined) argv.push("--limit", limit);
  argv.push("--report", report);
  crossrank(argv);
  return JSON.parse(readFileSync(path.join(report, "report.json"), "utf8"));
}

function systemOf(report, name) {
  const found = report.systems.find((system) => system.name === name);
  if (found === undefined)
    throw new Error(`the report has no ${name}, but ${report.systems.map((one) => one.name)}`);
  return found;
}

/** Whether the candidates come in an order, which is the first stage's. */
const ranked = (report) => report.systems.some(({ name }) => name === "first stage");

function ndcg(report, name) {
  const found = systemOf(report, name).metrics.find((metric) => metric.name === "ndcg@10");
  return { value: found.expected, interval: found.interval };
}

const digits = (value) => value.toFixed(4);
const percent = (value) => `${(100 * value).toFixed(1)} %`;
const range = ({ interval }) =>
  `${digits(interval.lower ?? interval[0])} to ${digits(interval.upper ?? interval[1])}`;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const table = (rows) => rows.map((row) => `| ${row.join(" | ")} |`).join("\n");

function writeQuality(tasks) {
  const rows = [];
  for (const [task, limit] of tasks) {
    const own = evaluate("nano", "nano", task, limit, ["onnx:fp32", "onnx:int8"]);
    const theirs = evaluate(options.teacher, "teacher", task, limit, ["onnx:fp32"]);
    const int8 = ndcg(own, "onnx:int8");
    rows.push({
      ...{ task, counts: own.task.counts, int8 },
      ...{ fp32: ndcg(own, "onnx:fp32"), teacher: ndcg(theirs, "onnx:fp32") },
      ...{
        first: ranked(own) ? ndcg(own, "first stage") : undefined,
        random: ndcg(own, "random"),
        constant: ndcg(own, "constant"),
      },
    });
  }
  const columns = ["random", "constant", "first", "teacher", "fp32", "int8"];
  // Candidates without an order are as good as equal scores.
  const means = columns.map((name) => mean(rows.map((row) => (row[name] ?? row.constant).value)));
  return `${table([
    [
      "task",
      "queries",
      "pairs",
      "random",
      "constant score",
      "first stage",
      "teacher, fp32",
      "fp32",
      "int8",
      "95 % interval of int8",
      "int8 against teacher",
    ],
    ["---", ...Array(10).fill("---:")],
    ...rows.map((row) => [
      row.task,
      row.counts.queries === row.counts.allQueries
        ? row.counts.queries
        : `first ${row.counts.queries} of ${row.counts.allQueries}`,
      row.counts.pairs,
      ...columns.slice(0, 5).map((name) => (row[name] === undefined ? "–" : digits(row[name].value))),
      `**${digits(row.int8.value)}**`,
      range(row.int8),
      percent(row.int8.value / row.teacher.value),
    ]),
    ["mean", "", "", ...means.map(digits), "", percent(means[5] / means[3])],
  ])}

nDCG@10, linear gain, mean over the judged queries, ties at their expected value; at most 256 tokens (the teacher 512), document-only truncation. The teacher's and the fp32 column are ONNX Runtime's on float32 weights. LiveQA's candidates come in no order; in the mean their constant score stands for it.`;
}

/** Where the first queries are not like the others, all of them say whether the model helps. */
function writeWhole(task) {
  const report = evaluate("nano", "whole", task, undefined, ["onnx:int8"]);
  const own = ndcg(report, "onnx:int8");
  const first = ndcg(report, "first stage");
  const { change } = systemOf(report, "first stage").metrics.find((metric) => metric.name === "ndcg@10");
  return `All ${report.task.counts.queries} queries of ${task}, ${report.task.counts.pairs} pairs, without the teacher: int8 **${digits(own.value)}** (95 % interval ${range(own)}), the first stage's own order ${digits(first.value)} (${range(first)}). The difference is ${digits(-change.mean)}, p ${change.pValue.toFixed(2)}; the queries can show a difference of ${digits(change.detectableDrop)}.`;
}

function writeRuntimes([task, limit]) {
  const report = evaluate(convertAll(), "everywhere", task, limit, everywhere);
  const rows = everywhere.map((name) => {
    const { scores } = systemOf(report, name);
    const found = ndcg(report, name);
    const delta = scores?.delta;
    return [
      `\`${name}\``,
      digits(found.value),
      range(found),
      ...(delta === undefined
        ? ["", ""]
        : [delta.maximum, delta.median].map((value) => value.toPrecision(2))),
    ];
  });
  return `On ${task}, ${report.task.counts.queries} queries and ${report.task.counts.pairs} pairs, held against \`${everywhere[0]}\`:

${table([["runtime and precision", "nDCG@10", "95 % interval", "largest \\|Δ logit\\|", "median"], ["---", ...Array(4).fill("---:")], ...rows])}`;
}

/** Processor time of the two models on the same pairs, in turns: the machine may have other work. */
async function writeSpeed([task]) {
  const lines = (name) =>
    readFileSync(path.join(folderOf(task), name), "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
  const [query] = lines("queries.jsonl");
  const documents = lines("corpus.jsonl")
    .slice(0, 24)
    .map(({ title, text }) => `${title ?? ""} ${text}`.trim());
  const load = async (folder) =>
    createReranker({
      model: await openModel(folder),
      // In this process, whose time is measured.
      backend: onnx({ isolation: "thread", threads: 1, workers: 1 }),
      dtype: "int8",
      maxLength: 256,
    });
  const models = { nano: await load(modelFolder), teacher: await load(options.teacher) };
  const times = { nano: [], teacher: [] };
  for (let round = -1; round < Number(options.rounds); round += 1) {
    for (const name of round % 2 === 0 ? ["nano", "teacher"] : ["teacher", "nano"]) {
      const before = process.cpuUsage();
      await models[name].rerank({ query: query.text, documents });
      const { user, system } = process.cpuUsage(before);
      // The first round warms up.
      if (round >= 0) times[name].push((user + system) / 1e6 / documents.length);
    }
  }
  for (const model of Object.values(models)) await model.dispose();
  const ratios = times.teacher.map((value, index) => value / times.nano[index]).sort((a, b) => a - b);
  const at = (share) => ratios[Math.min(ratios.length - 1, Math.floor(share * ratios.length))];
  const perSecond = (name) => (1 / mean(times[name])).toFixed(1);
  return `Speed against the teacher, both in int8 on ONNX Runtime, one thread, the same ${documents.length} documents of ${task} in turns, ${ratios.length} rounds: **${at(0.5).toFixed(2)} times** as many documents a second of processor time (${perSecond("nano")} against ${perSecond("teacher")}; ratios from ${at(0).toFixed(2)} to ${at(1).toFixed(2)}).`;
}

const tasks = options.tasks.split(",").map((value) => value.split(":"));
const one = tasks.find(([task]) => task === options.everywhere) ?? [options.everywhere];
const parts = {
  speed: () => writeSpeed(one),
  quality: () => writeQuality(tasks),
  whole: () => writeWhole(options.whole),
  runtimes: () => writeRuntimes(one),
};
const command = "`node packages/model-nano/scripts/write-card.mjs --write`";
for (const [name, make] of Object.entries(parts)) {
  if (options.only !== undefined && !options.only.split(",").includes(name)) continue;
  const content = await make();
  console.log(`\n${content}`);
  if (!options.write) continue;
  replaceBlock(card, name, `From ${command}:\n\n${content}`);
  if (name === "quality")
    replaceBlock(path.join(repository, "README.md"), name, `From ${command}:\n\n${content}`);
}
