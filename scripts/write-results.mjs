// Puts what the command itself says about real models and tasks into docs/measured.md, between the markers of each
// section; and the table of backends into README.md, from the report of nano-scifact-backends. Needs the folders that lab/ makes (see docs/measured.md), and tasks in eval/ of the folder that CROSSRANK_DATA names. After a build:
//   node scripts/write-results.mjs [SECTION …]
// Scores are kept in lab/runs/reports, so that a run that was cut off goes on, and a second one costs seconds.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const file = `${root}docs/measured.md`;
/** As it stands in the document, whichever folder it is. */
const data = "$CROSSRANK_DATA";
const tasks = ["scifact", "feedbackqa", "xquad-en", "liveqa-med", "noveleval"];
const onnx = ["onnx:fp32", "onnx:fp16", "onnx:int8"];
const llamacpp = ["llamacpp:F32", "llamacpp:F16", "llamacpp:Q8_0"];
const mnn = ["mnn:fp32", "mnn:fp16", "mnn:int8"];
const coreml = ["coreml:reference:fp16", "coreml:reference-half:fp16"];
/** First queries of tasks that would take two cores hours. */
const limits = { scifact: 80, feedbackqa: 60, "xquad-en": 300 };

/** @param {number | undefined} queries */
function limitOf(queries) {
  return queries === undefined ? [] : ["--limit", String(queries)];
}

/** @param {{ name: string, task: string, model: string, backends: readonly string[], more?: readonly string[] }} facts */
const evaluation = ({ name, task, model, backends, more = [] }) => ({
  name,
  needs: [model, `${data}/eval/${task}`],
  arguments: [
    "eval",
    ...["--task", `${data}/eval/${task}`, "--model", model],
    ...backends.flatMap((backend) => ["--backend", backend]),
    ...more,
    ...["--report", `lab/runs/reports/${name}`, "--format", "markdown"],
  ],
});

const sections = [
  ...tasks.map((task) =>
    evaluation({
      name: `nano-${task}`,
      task,
      model: "lab/runs/nano",
      backends: onnx,
      more: ["--gate", "0.005", ...limitOf(limits[task])],
    }),
  ),
  {
    name: "nano-compare",
    needs: ["lab/runs/nano", `${data}/eval/scifact`],
    arguments: [
      "compare",
      ...["--task", `${data}/eval/scifact`, "--limit", "20", "--model", "lab/runs/nano"],
      ...[...onnx, ...llamacpp, ...mnn, ...coreml].flatMap((backend) => ["--backend", backend]),
    ],
  },
  ...["scifact", "feedbackqa"].map((task) =>
    evaluation({
      name: `nano-${task}-backends`,
      task,
      model: "lab/runs/nano",
      backends: ["onnx:fp32", "onnx:int8", ...llamacpp, ...mnn, ...coreml],
      more: ["--gate", "0.005", ...limitOf(40)],
    }),
  ),
  {
    name: "xlm-roberta-compare",
    needs: ["lab/runs/xlm-roberta"],
    arguments: [
      "compare",
      ...["--task", "examples/task", "--model", "lab/runs/xlm-roberta"],
      ...["onnx:fp32", "llamacpp:F16", "mnn:fp16", ...coreml].flatMap((backend) => ["--backend", backend]),
      ...["--top", "5"],
    ],
  },
  {
    name: "minilm-compare",
    needs: ["lab/runs/minilm", `${data}/eval/feedbackqa`],
    arguments: [
      "compare",
      ...["--task", `${data}/eval/feedbackqa`, "--limit", "40", "--model", "lab/runs/minilm"],
      ...["onnx:fp32", "llamacpp:F16", "llamacpp:Q8_0", "mnn:fp16"].flatMap((backend) => [
        "--backend",
        backend,
      ]),
      ...["--top", "5"],
    ],
  },
  evaluation({
    name: "minilm-scifact",
    task: "scifact",
    model: "lab/runs/all-MiniLM-L6-v2",
    backends: ["onnx:fp32"],
    more: ["--retrieve"],
  }),
  evaluation({
    name: "bge-small-scifact",
    task: "scifact",
    model: "lab/runs/bge-small-en-v1.5",
    backends: ["onnx:fp32"],
    more: ["--retrieve"],
  }),
];

/** Its report is README.md's table. */
const tableSource = "nano-scifact-backends";

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !sections.some((section) => section.name === name));
if (unknown !== undefined) {
  console.error(`There is no section ${unknown}. Known: ${sections.map(({ name }) => name).join(", ")}.`);
  process.exit(2);
}
for (const { name, needs, arguments: argv } of sections) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const missing = needs.find((path) => !existsSync(resolve(root, here(path))));
  if (missing !== undefined) {
    console.error(`${name} is SKIPPED: there is no ${missing}`);
    process.exitCode = 1;
    continue;
  }
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["packages/crossrank/bin/crossrank.js", ...argv.map(here)],
    {
      cwd: root,
      encoding: "utf8",
      maxBuffer: 1 << 28,
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  // 1 says that a gate failed, which is a result.
  if (status !== 0 && !(status === 1 && stdout !== "")) {
    console.error(`${name} failed with ${status}:\n${stderr}`);
    process.exitCode = 1;
    continue;
  }
  write(name, argv, stdout.trim().replaceAll(here(data), data), status);
  if (name === tableSource) writeReadme();
  console.log(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s, exit code ${status}`);
}

/**
 * On this machine.
 *
 * @param {string} text
 */
function here(text) {
  return text.replace(data, () => process.env["CROSSRANK_DATA"] ?? data);
}

/** One row a system: how far its logits, its order and its nDCG@10 are from the reference's. */
function writeReadme() {
  const report = JSON.parse(readFileSync(`${root}lab/runs/reports/${tableSource}/report.json`, "utf8"));
  const rows = report.systems.flatMap(({ role, name, model, metrics, scores }) => {
    if (role !== "reference" && role !== "candidate") return [];
    const { runtime } = model.backend;
    const ndcg = metrics.find((metric) => metric.name === "ndcg@10");
    const cells = [`\`${name}\``, `${runtime.name} ${runtime.version}`, ndcg.expected.toFixed(4)];
    if (scores === null) return [[...cells, "reference", "", "", ""]];
    const { delta, kendall, top } = scores;
    const same = top.find(({ k }) => k === 10) ?? top.at(-1);
    return [
      [
        ...cells,
        signed(ndcg.change.mean),
        delta.maximum.toPrecision(2),
        kendall.withinQueries.toFixed(4),
        same.overlap.toFixed(3),
      ],
    ];
  });
  const heading = ["backend", "runtime", "nDCG@10", "Δ", "largest \\|Δ logit\\|", "τ-b", "top-10 overlap"];
  const lines = [heading, ["---", "---", ...Array(5).fill("---:")], ...rows].map(
    (cells) => `| ${cells.join(" | ")} |`,
  );
  const { task, settings } = report;
  const facts = `${task.name}, ${settings.limit ?? "all"} queries, 100 candidates each; ${report.created.slice(0, 10)}.`;
  replaceBlock(`${root}README.md`, "backends", `${lines.join("\n")}\n\n${facts}`);
}

/** @param {number} value */
function signed(value) {
  if (Math.abs(value) < 5e-5) return "±0";
  return `${value > 0 ? "+" : "−"}${Math.abs(value).toFixed(4)}`;
}

/**
 * @param {string} name
 * @param {readonly string[]} argv
 * @param {string} output
 * @param {number} status
 */
function write(name, argv, output, status) {
  const body = argv.includes("markdown") ? output.replace(/^### /gm, "#### ") : `\`\`\`\n${output}\n\`\`\``;
  const block = `\`\`\`sh\ncrossrank ${argv.join(" ")}\n\`\`\`\n\nExit code ${status}.\n\n${body}`;
  replaceBlock(file, name, block);
}

/**
 * @param {string} path
 * @param {string} name
 * @param {string} block
 */
function replaceBlock(path, name, block) {
  const text = readFileSync(path, "utf8");
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
  if (!text.includes(start) || !text.includes(end)) throw new Error(`${path} has no ${start} … ${end}`);
  writeFileSync(
    path,
    `${text.slice(0, text.indexOf(start) + start.length)}\n\n${block}\n\n${text.slice(text.indexOf(end))}`,
  );
}
