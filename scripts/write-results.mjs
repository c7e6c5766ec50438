// Puts what the command itself says about real models and tasks into docs/measured.md, between the markers of each
// section; and the table of backends into README.md, from seed-ms-marco-MiniLM-L-12-v2. Needs the folders that
// lab/ makes (see docs/measured.md) and tasks in eval/ of the folder that CROSSRANK_DATA names; real models lie in
// real/ of CROSSRANK_LAB (default ~/.cache/crossrank-lab). After a build:
//   node scripts/write-results.mjs [SECTION …]
// Scores are kept in lab/runs/reports, so that a run that was cut off goes on, and a second one costs seconds.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { replaceBlock } from "./blocks.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const file = `${root}docs/measured.md`;
/** As it stands in the document, whichever folder it is. */
const data = "$CROSSRANK_DATA";
const lab = "$CROSSRANK_LAB";
/** What the names stand for on this machine. */
const places = {
  [data]: process.env["CROSSRANK_DATA"] ?? data,
  [lab]: process.env["CROSSRANK_LAB"] || join(homedir(), ".cache/crossrank-lab"),
};
const coreml = ["coreml:reference:fp16", "coreml:reference-half:fp16"];
/** The columns of the first seed, and ours beside them: backend, format and precision. */
const everyRuntime = [
  ["onnx:fp32", "onnx", "fp32"],
  ["onnx:fp16", "onnx", "fp16"],
  ["onnx:int8", "onnx", "int8"],
  ["llamacpp:F16", "gguf", "F16"],
  ["llamacpp:Q8_0", "gguf", "Q8_0"],
  ["llamacpp:Q4_K_M", "gguf", "Q4_K_M"],
  ["ctranslate2:int8", "ctranslate2", "int8"],
  ["mnn:fp32", "mnn", "fp32"],
  ["mnn:int8", "mnn", "int8"],
  ["coreml:reference:fp16", "mlpackage", "fp16"],
  ["mlx:fp32", "safetensors", "fp32"],
];

/** @param {number | undefined} queries */
function limitOf(queries) {
  return queries === undefined ? [] : ["--limit", String(queries)];
}

/** @param {{ name: string, task: string, model: string, backends: readonly string[], more?: readonly string[] }} facts */
const evaluation = ({ name, task, model, backends, more = [], report = `lab/runs/reports/${name}` }) => ({
  name,
  needs: [...(model === "nano" ? [] : [model]), `${data}/eval/${task}`],
  arguments: [
    "eval",
    ...["--task", `${data}/eval/${task}`, "--model", model],
    ...backends.flatMap((backend) => ["--backend", backend]),
    ...more,
    ...["--report", report, "--format", "markdown"],
  ],
});

/**
 * A real model on a task, on every runtime.
 *
 * @param {{ model: string, task: string, backends?: readonly string[], limit?: number }} facts
 */
const realEvaluation = ({ model, task, backends = runtimesOf(model), limit }) => {
  const name = `real-${model}-${task}`;
  const report = `${lab}/real/reports/${model}-${task}`;
  const more = ["--gate", "0.005", ...limitOf(limit)];
  return {
    ...evaluation({ name, task, model: `${lab}/real/${model}`, backends, more, report }),
    summary: report,
  };
};

/**
 * The first seed's query and documents, as its tables have them.
 *
 * @param {string} model
 */
const seedTable = (model, backends = runtimesOf(model)) => ({
  name: `seed-${model}`,
  needs: [`${lab}/real/${model}`],
  arguments: [
    "compare",
    ...["--pairs", "lab/real/seed.jsonl", "--model", `${lab}/real/${model}`],
    ...backends.flatMap((backend) => ["--backend", backend]),
    ...["--format", "json"],
  ],
  render: renderSeedTable,
});

/**
 * A small model before a real one: what is lost, and whole calls.
 *
 * @param {{ task: string, limit: number }} facts
 */
const cascadeSweep = ({ task, limit }) => {
  const model = `${lab}/real/ms-marco-MiniLM-L-12-v2`;
  const more = ["--cascade", "nano,backend=onnx:int8", "--gate", "0.003", "--threads", "1", "--workers", "1"];
  return evaluation({
    name: `cascade-${task}`,
    ...{ task, model, backends: ["onnx:int8"], more: [...more, ...limitOf(limit)] },
    report: `${lab}/cascade/${task}`,
  });
};

const sections = [
  evaluation({
    name: "nano-noveleval",
    task: "noveleval",
    model: "nano",
    backends: ["onnx:fp32", "onnx:int8"],
    more: ["--gate", "0.005"],
  }),
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
  ...["ms-marco-MiniLM-L-12-v2", "bge-small-en", "bge-small-en-v1.5", "all-MiniLM-L6-v2"].map((model) =>
    seedTable(model),
  ),
  evaluation({
    name: "long-liveqa-med",
    task: "liveqa-med",
    model: "nano",
    backends: ["onnx:int8"],
    more: ["--long-documents", "truncate", "--long-documents", "chunk", ...limitOf(30)],
  }),
  realEvaluation({ model: "ms-marco-MiniLM-L-12-v2", task: "noveleval" }),
  realEvaluation({
    model: "ms-marco-MiniLM-L-12-v2",
    task: "liveqa-med",
    backends: [
      "onnx:fp32",
      "onnx:int8",
      "ctranslate2:int8",
      "mnn:fp32",
      "llamacpp:Q8_0",
      "llamacpp:Q4_K_M",
      "llamacpp:F16",
      "coreml:reference:fp16",
    ],
    limit: 8,
  }),
  cascadeSweep({ task: "scifact", limit: 50 }),
  cascadeSweep({ task: "feedbackqa", limit: 100 }),
];

/** The same query and documents by every fixture that lab/fixtures/convert.mjs has converted: one table of all. */
const fixturesSection = "seed-fixtures";
const fixturesFolder = "lab/runs/fixtures";

/** What it measures is README.md's table, too. */
const tableSource = "seed-ms-marco-MiniLM-L-12-v2";

const wanted = process.argv.slice(2);
const unknown = wanted.find(
  (name) => name !== fixturesSection && !sections.some((section) => section.name === name),
);
if (unknown !== undefined) {
  console.error(
    `There is no section ${unknown}. Known: ${[...sections.map(({ name }) => name), fixturesSection].join(", ")}.`,
  );
  process.exit(2);
}
for (const { name, needs, arguments: argv, render, summary } of sections) {
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
  const head = summary === undefined ? "" : `${renderSummary(`${here(summary)}/report.json`)}\n\n`;
  write(name, argv, head + there(render === undefined ? stdout.trim() : render(stdout)), status);
  if (name === tableSource) writeReadme(stdout);
  console.log(`${name}: ${((performance.now() - started) / 1000).toFixed(0)} s, exit code ${status}`);
}
if (wanted.length === 0 || wanted.includes(fixturesSection)) writeFixtures();

/** A row a fixture, a column a runtime: how far its logits are from those of torch's export in ONNX Runtime. */
function writeFixtures() {
  const folder = resolve(root, fixturesFolder);
  if (!existsSync(folder)) {
    console.error(
      `${fixturesSection} is SKIPPED: there is no ${fixturesFolder}, run lab/fixtures/convert.mjs`,
    );
    process.exitCode = 1;
    return;
  }
  const [reference, ...columns] = everyRuntime.map(([backend]) => backend);
  /** @type {string[]} */
  const notes = [];
  const noteOf = (reason) => {
    if (!notes.includes(reason)) notes.push(reason);
    return `– (${notes.indexOf(reason) + 1})`;
  };
  const rows = readdirSync(folder)
    .filter((fixture) => existsSync(join(folder, fixture, "refused.json")))
    .map((fixture) => {
      const refused = JSON.parse(readFileSync(join(folder, fixture, "refused.json"), "utf8"));
      // Its message begins with the model, and ends in advice.
      const reasons = Object.fromEntries(
        Object.entries(refused).map(([column, message]) => [
          column,
          message.replace(/^.*? cannot be converted to /, "").split(". ")[0],
        ]),
      );
      // Kept, so that a run that was cut off goes on.
      const kept = join(folder, fixture, "seed.json");
      const compared = existsSync(kept)
        ? JSON.parse(readFileSync(kept, "utf8"))
        : compareFixture(fixture, [reference, ...columns], reasons);
      writeFileSync(kept, JSON.stringify(compared));
      const { systems, scale, pairs, failed } = compared;
      Object.assign(reasons, failed);
      const cells = columns.map((column) => {
        const at = systems.indexOf(column);
        if (at === -1) return noteOf(reasons[column]);
        return Math.max(...pairs.map(({ logits }) => Math.abs(logits[at] - logits[0]))).toPrecision(2);
      });
      return [`\`${fixture}\``, scale, ...cells];
    });
  const table = tableOf([
    ["fixture", "scale", ...columns.map((column) => `\`${column}\``)],
    ["---", "---", ...columns.map(() => "---:")],
    ...rows,
  ]);
  replaceBlock(
    file,
    fixturesSection,
    `${table}\n\n${notes.map((note, at) => `${at + 1}. ${note}`).join("\n")}`,
  );
  console.log(`${fixturesSection}: ${rows.length} fixtures`);
}

/**
 * One comparison of all that was converted; of a runtime that then fails, its reason, and the others once more.
 *
 * @param {string} fixture
 * @param {readonly string[]} backends
 * @param {Record<string, string>} refused
 */
function compareFixture(fixture, backends, refused) {
  const failed = {};
  for (;;) {
    const asked = backends.filter((backend) => !(backend in refused) && !(backend in failed));
    const only = asked.length === 1;
    const argv = [
      ...["compare", "--pairs", "lab/real/seed.jsonl", "--model", `${fixturesFolder}/${fixture}`],
      ...asked.flatMap((backend) => ["--backend", backend]),
      ...["--format", "json"],
    ];
    if (only) return { systems: asked, scale: "", pairs: [], failed };
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ["packages/crossrank/bin/crossrank.js", ...argv],
      { cwd: root, encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "pipe", "pipe"] },
    );
    if (status === 0) {
      const { systems, pairs } = JSON.parse(stdout);
      return { systems: systems.map(({ name }) => name), scale: systems[0].model.scale, pairs, failed };
    }
    const message = stderr
      .trim()
      .replace(/^crossrank: /, "")
      .split("\n")[0];
    const culprit = asked.slice(1).find((backend) => message.includes(backend.split(":")[0])) ?? asked.at(-1);
    console.error(`${fixture} on ${culprit}: ${message}`);
    failed[culprit] = message.replaceAll(root, "").slice(0, 200);
  }
}

/**
 * On this machine.
 *
 * @param {string} text
 */
function here(text) {
  return Object.entries(places).reduce((result, [name, place]) => result.replaceAll(name, () => place), text);
}

/**
 * As it stands in the document.
 *
 * @param {string} text
 */
function there(text) {
  return Object.entries(places).reduce((result, [name, place]) => result.replaceAll(place, () => name), text);
}

/**
 * The runtimes that a real model has an artifact for, as lab/real/convert.mjs left them.
 *
 * @param {string} model
 */
function runtimesOf(model) {
  const file = join(places[lab], "real", model, "provenance.json");
  const artifacts = existsSync(file) ? JSON.parse(readFileSync(file, "utf8")).artifacts : [];
  // An export that was published with the model is no artifact of provenance.json.
  const isPublished = existsSync(join(places[lab], "real", model, "onnx/model.onnx"));
  return everyRuntime.flatMap(([backend, format, dtype]) =>
    (backend === "onnx:fp32" && isPublished) ||
    format === "safetensors" ||
    artifacts.some((one) => one.format === format && one.dtype === dtype)
      ? [backend]
      : [],
  );
}

/**
 * A row a document and a column a runtime, as in the seed; the logit in brackets where the score is a probability of
 * it.
 *
 * @param {string} json of `crossrank compare`
 */
function renderSeedTable(json) {
  const { systems, pairs } = JSON.parse(json);
  const isCosine = systems[0].model.scale === "cosine";
  const cell = (logit) => {
    if (logit === null) return "–";
    if (isCosine) return logit.toFixed(5);
    return `${(1 / (1 + Math.exp(-logit))).toPrecision(5)} (${logit.toFixed(3).replace("-", "−")})`;
  };
  const order = ["1", "4", "3", "2"];
  const rows = order.map((id) => {
    const { logits } = pairs.find(({ document }) => document.id === id);
    return [`\`${Number(id) - 1}\``, ...logits.map(cell)];
  });
  const largest = systems.map((_, column) =>
    column === 0
      ? ""
      : Math.max(...pairs.map(({ logits }) => Math.abs(logits[column] - logits[0]))).toPrecision(2),
  );
  const what = isCosine ? "cosine" : "logit";
  return tableOf([
    ["", ...systems.map(({ name }) => `\`${name}\``)],
    ["---", ...systems.map(() => "---:")],
    ...rows,
    [`largest \\|Δ ${what}\\|`, ...largest],
  ]);
}

/**
 * Of each system what a reader looks for first.
 *
 * @param {string} path of a report.json
 */
function renderSummary(path) {
  const { systems } = JSON.parse(readFileSync(path, "utf8"));
  const rows = systems.map(({ name, role, metrics, scores, gates = [] }) => {
    const [ndcg] = metrics;
    const { interval, change } = ndcg;
    const range = interval == null ? "" : `${interval.lower.toFixed(4)} to ${interval.upper.toFixed(4)}`;
    const delta = scores?.delta;
    const tau = scores?.kendall.withinQueries ?? scores?.kendall.pooled;
    return [
      role === "reference" ? `\`${name}\` (reference)` : `\`${name}\``,
      ndcg.expected.toFixed(4),
      range,
      change == null ? "" : signed(change.mean),
      change?.lowerBound == null ? "" : signed(change.lowerBound),
      delta == null ? "" : delta.maximum.toPrecision(2),
      delta == null ? "" : delta.median.toPrecision(2),
      tau == null ? "" : tau.toFixed(4),
      gates.length === 0 ? "" : gates.every(({ passed }) => passed) ? "passed" : "failed",
    ];
  });
  const heading = [
    "",
    "nDCG@10",
    "95 % interval",
    "Δ",
    "lower bound of Δ",
    "largest \\|Δ logit\\|",
    "median",
    "τ-b",
    "gate",
  ];
  return tableOf([heading, ["---", ...heading.slice(1).map(() => "---:")], ...rows]);
}

/** @param {readonly (readonly string[])[]} rows */
function tableOf(rows) {
  return rows.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

/**
 * One row a runtime: its logits of the seed's documents, and how far they are from the reference's.
 *
 * @param {string} json
 */
function writeReadme(json) {
  const { systems, pairs } = JSON.parse(json);
  const order = ["1", "4", "3", "2"];
  const documents = order.map((id) => pairs.find(({ document }) => document.id === id));
  const rows = systems.map(({ name, model }, column) => {
    const { runtime } = model.backend;
    const logits = documents.map((pair) => pair.logits[column].toFixed(3).replace("-", "−"));
    const largest = Math.max(...pairs.map(({ logits }) => Math.abs(logits[column] - logits[0])));
    const delta = column === 0 ? "reference" : largest.toPrecision(2);
    return [`\`${name}\``, `${runtime.name} ${runtime.version}`, ...logits, delta];
  });
  const heading = [
    "backend",
    "runtime",
    ...order.map((id) => `document ${Number(id) - 1}`),
    "largest \\|Δ logit\\|",
  ];
  const table = tableOf([heading, ["---", "---", ...Array(5).fill("---:")], ...rows]);
  replaceBlock(`${root}README.md`, "backends", table);
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
  const body = argv.includes("json")
    ? output
    : argv.includes("markdown")
      ? output.replace(/^### /gm, "#### ")
      : `\`\`\`\n${output}\n\`\`\``;
  const block = `\`\`\`sh\ncrossrank ${argv.join(" ")}\n\`\`\`\n\nExit code ${status}.\n\n${body}`;
  replaceBlock(file, name, block);
}
