// What earlier runs measured: a file a processor in bench/history, a line a run.
/** @import { Machine, PartReport } from "./types.js" */
import { execFileSync } from "node:child_process";
import { appendFile, mkdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/** Runs that the page shows. */
const shown = 10;

/**
 * @typedef {object} Run
 * @property {string} date ISO 8601, UTC, of its end
 * @property {string} commit short, with a + where files were changed
 * @property {string} command
 * @property {string} node
 * @property {number} threads
 * @property {number} load average of the last minute
 * @property {Record<string, Record<string, any>>} parts what each kept
 */

/** @param {Machine} machine */
function fileOf({ processor }) {
  const name = processor
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
  return fileURLToPath(new URL(`history/${name}.jsonl`, import.meta.url));
}

/**
 * @param {Machine} machine
 * @param {string} command
 * @param {number} load
 * @param {Readonly<Record<string, PartReport>>} done
 */
export async function addToHistory(machine, command, load, done) {
  const git = (/** @type {string[]} */ ...args) =>
    execFileSync("git", args, { cwd: fileURLToPath(new URL(".", import.meta.url)), encoding: "utf8" }).trim();
  /** @type {Run} */
  const run = {
    date: new Date().toISOString(),
    commit: `${git("rev-parse", "--short", "HEAD")}${git("status", "--porcelain") === "" ? "" : "+"}`,
    command,
    node: machine.node,
    threads: machine.threads,
    load: Number(load.toFixed(1)),
    parts: Object.fromEntries(Object.entries(done).map(([name, { kept }]) => [name, { ...kept }])),
  };
  const file = fileOf(machine);
  await mkdir(fileURLToPath(new URL("history", import.meta.url)), { recursive: true });
  await appendFile(file, `${JSON.stringify(run)}\n`);
}

/**
 * The last runs on this processor that held crossrank beside plain onnxruntime.
 *
 * @param {Machine} machine
 * @returns {Promise<string>}
 */
export async function renderHistory(machine) {
  const text = await readFile(fileOf(machine), "utf8").catch(() => "");
  return renderRuns(
    machine.processor,
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line)),
  );
}

/**
 * @param {string} processor
 * @param {readonly Run[]} runs
 */
export function renderRuns(processor, runs) {
  const rows = runs
    .filter(({ parts }) => parts["encoders"] !== undefined)
    .slice(-shown)
    .map(({ date, commit, load, parts }) => {
      const all = parts["encoders"] ?? {};
      const cells = ["fp32", "int8"].flatMap((dtype) => {
        const own = all[`crossrank-onnx-${dtype}`];
        const plain = all[`onnxruntime-${dtype}`]?.ratio;
        return [
          own?.ms?.toPrecision(3) ?? "",
          own?.share === undefined ? "" : `${(100 * own.share).toFixed(0)} %`,
          plain === undefined
            ? ""
            : `${plain[1].toFixed(2)} (${plain[0].toFixed(2)} to ${plain[2].toFixed(2)})`,
        ];
      });
      return `| ${[date.slice(0, 16).replace("T", " "), commit, load, ...cells].join(" | ")} |`;
    });
  if (rows.length === 0) return "No run of the encoders on this processor was kept yet.";
  return [
    `Runs on ${processor}, crossrank's ONNX: processor ms a document, share of the floor, and what plain onnxruntime takes of crossrank's processor time on the same file.`,
    "",
    "| UTC | commit | load | fp32 ms | share | plain | int8 ms | share | plain |",
    "|---|---|---:|---:|---:|---:|---:|---:|---:|",
    ...rows,
  ].join("\n");
}
