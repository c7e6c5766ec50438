// Puts what the command itself says about real models and tasks into docs/measured.md, between the markers of each
// section. Needs ../shared/data and the folders that lab/ makes (see docs/measured.md). After a build:
//   node scripts/write-results.mjs [SECTION …]
// Scores are kept in lab/runs/reports, so that a run that was cut off goes on, and a second one costs seconds.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const file = `${root}docs/measured.md`;
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
  needs: [model, `../shared/data/eval/${task}`],
  arguments: [
    "eval",
    ...["--task", `../shared/data/eval/${task}`, "--model", model],
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
    needs: ["lab/runs/nano", "../shared/data/eval/scifact"],
    arguments: [
      "compare",
      ...["--task", "../shared/data/eval/scifact", "--limit", "20", "--model", "lab/runs/nano"],
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
    name: "minilm-compare",
    needs: ["lab/runs/minilm", "../shared/data/eval/feedbackqa"],
    arguments: [
      "compare",
      ...["--task", "../shared/data/eval/feedbackqa", "--limit", "40", "--model", "lab/runs/minilm"],
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

const wanted = process.argv.slice(2);
const unknown = wanted.find((name) => !sections.some((section) => section.name === name));
if (unknown !== undefined) {
  console.error(`There is no section ${unknown}. Known: ${sections.map(({ name }) => name).join(", ")}.`);
  process.exit(2);
}
for (const { name, needs, arguments: argv } of sections) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const missing = needs.find((path) => !existsSync(`${root}${path}`));
  if (missing !== undefined) {
    console.error(`${name} is SKIPPED: there is no ${missing}`);
    process.exitCode = 1;
    continue;
  }
  const started = performance.now();
  const { status, stdout, stderr } = spawnSync(process.execPath, ["packages/cli/bin/crossrank.js", ...argv], {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 1 << 28,
    stdio: ["ignore", "pipe", "pipe"],
  });
  // 1 says that a gate failed, which is a result.
  if (status !== 0 && !(status === 1 && stdout !== "")) {
    console.error(`${name} failed with ${status}:\n${stderr}`);
    process.exitCode = 1;
    continue;
  }
  write(name, argv, stdout.trim(), status);
  console.log(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s, exit code ${status}`);
}

/**
 * @param {string} name
 * @param {readonly string[]} argv
 * @param {string} output
 * @param {number} status
 */
function write(name, argv, output, status) {
  const text = readFileSync(file, "utf8");
  const [start, end] = [`<!-- ${name}:start -->`, `<!-- ${name}:end -->`];
  if (!text.includes(start) || !text.includes(end))
    throw new Error(`docs/measured.md has no ${start} … ${end}`);
  const body = argv.includes("markdown") ? output.replace(/^### /gm, "#### ") : `\`\`\`\n${output}\n\`\`\``;
  const block = `\`\`\`sh\ncrossrank ${argv.join(" ")}\n\`\`\`\n\nExit code ${status}.\n\n${body}`;
  writeFileSync(
    file,
    `${text.slice(0, text.indexOf(start) + start.length)}\n\n${block}\n\n${text.slice(text.indexOf(end))}`,
  );
}
