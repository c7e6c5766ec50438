// `node bench/memory.mjs MODEL`: the peak memory of a model on each backend, by `crossrank eval`, which counts the process
// that holds the model and all that it starts. Each backend has a run of its own. With --write the table goes into
// docs/measured.md, between the markers of memory-MODEL where there are such, else of memory; with --into into another
// document, between those of memory-MODEL there.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, homedir, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { replaceBlock } from "../scripts/blocks.mjs";

const help = `Measures the peak memory of a model on each backend.

node bench/memory.mjs MODEL [options]
  --task FOLDER     default eval/scifact of the folder that the variable CROSSRANK_DATA names
  --limit N         default 3, queries with 100 candidates each
  --backend NAME    again for each; default those of MODEL's table in docs/measured.md
  --workers N       models of a backend at once; default its own
  --write           put the table into the document
  --into DOCUMENT   default docs/measured.md
`;

const root = fileURLToPath(new URL("..", import.meta.url));
const usual = [
  "onnx:fp32",
  "onnx:int8",
  "llamacpp:F32",
  "llamacpp:Q8_0",
  "mnn:fp32",
  "mnn:int8",
  "coreml:reference:fp16",
];
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    task: { type: "string" },
    limit: { type: "string", default: "3" },
    backend: { type: "string", multiple: true, default: usual },
    workers: { type: "string" },
    write: { type: "boolean", default: false },
    into: { type: "string", default: "docs/measured.md" },
    help: { type: "boolean", default: false },
  },
});
const [model] = positionals;
if (values.help || model === undefined) {
  console.log(help);
  process.exit(values.help ? 0 : 2);
}

const data = process.env["CROSSRANK_DATA"];
const task = values.task ?? (data ? join(data, "eval/scifact") : undefined);
if (task === undefined) {
  console.error("Name the task: give --task, or set CROSSRANK_DATA.");
  process.exit(2);
}

/** @param {number} bytes */
const mebibytes = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;

/** @param {string} backend */
function measure(backend) {
  const report = mkdtempSync(join(tmpdir(), "crossrank-memory-"));
  try {
    const workers = values.workers === undefined ? [] : ["--workers", values.workers];
    const options = ["--task", String(task), "--limit", values.limit, ...workers, "--report", report];
    execFileSync(
      process.execPath,
      [
        join(root, "packages/crossrank/bin/crossrank.js"),
        ...["eval", "--model", String(model), "--backend", backend, "--no-convert", ...options],
        ...["--format", "json"],
      ],
      { cwd: root, stdio: ["ignore", "ignore", "inherit"] },
    );
    const { systems } = JSON.parse(readFileSync(join(report, "report.json"), "utf8"));
    const { memory } = systems.find((/** @type {any} */ system) => system.memory != null);
    return memory;
  } finally {
    rmSync(report, { recursive: true, force: true });
  }
}

const rows = values.backend.map((backend) => {
  const { peakBytes, beforeLoadBytes, method } = measure(backend);
  const cells = [mebibytes(peakBytes), mebibytes(beforeLoadBytes), mebibytes(peakBytes - beforeLoadBytes)];
  console.error(`${backend}: ${cells.join(", ")}`);
  return { row: `| \`${backend}\` | ${cells.join(" | ")} |`, method };
});
const named = values.backend === usual ? "" : values.backend.map((name) => ` --backend ${name}`).join("");
const shown = values.task === undefined ? "" : ` --task ${portable(values.task)}`;
const further = [
  ...(values.workers === undefined ? [] : [` --workers ${values.workers}`]),
  ...(values.into === "docs/measured.md" ? [] : [` --into ${values.into}`]),
].join("");
const table = [
  `Written by \`node bench/memory.mjs ${portable(model)}${named}${shown} --limit ${values.limit}${further} --write\`. Node.js ${process.version}, ${process.platform} ${process.arch}, ${availableParallelism()} threads. Measure: ${[...new Set(rows.map(({ method }) => method))].join("; ")}.`,
  "",
  "| backend | peak | before loading | of the model and its runtime |",
  "| :--- | ---: | ---: | ---: |",
  ...rows.map(({ row }) => row),
].join("\n");
console.log(table);
if (values.write) {
  const file = join(root, values.into);
  const before = readFileSync(file, "utf8");
  const own = `memory-${basename(model)}`;
  const name = before.includes(`<!-- ${own}:start -->`) ? own : "memory";
  replaceBlock(file, name, table);
}

/**
 * A path as everybody can write it: by the variables of docs/measured.md.
 *
 * @param {string} path
 */
function portable(path) {
  const lab = process.env["CROSSRANK_LAB"] || join(homedir(), ".cache/crossrank-lab");
  const named = path.replace(lab, () => "$CROSSRANK_LAB");
  return data ? named.replace(data, () => "$CROSSRANK_DATA") : named;
}
