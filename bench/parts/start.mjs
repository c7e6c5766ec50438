// From nothing to the first scores, and to the end of the program: ten documents, nano, programs in turn.
/** @import { PartOptions, PartReport, Ratio } from "../types.js" */
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { withoutCertificates } from "../../scripts/without-certificates.mjs";
import { progress } from "../command.mjs";
import { median } from "../judge.mjs";
import { pairedRatio } from "../paired.mjs";

const script = fileURLToPath(new URL("../start/first-scores.mjs", import.meta.url));
const crossrankCommand = fileURLToPath(new URL("../../packages/crossrank/bin/crossrank.js", import.meta.url));

/**
 * @typedef {object} Start
 * @property {number} first wall-clock milliseconds to the first line of output
 * @property {number} end to the end of the program
 * @property {number | undefined} processor milliseconds of the program and all that it started; undefined without bash
 */

/**
 * @param {string} file of documents
 * @returns {readonly { name: string, title: string, args: readonly string[] }[]}
 */
const programs = (file) => [
  { name: "crossrank", title: "crossrank, the library", args: [script, "crossrank"] },
  {
    name: "crossrank-rerank",
    title: "`crossrank rerank`",
    args: [crossrankCommand, "rerank", "--query", "what is the capital of France?", "--documents", file],
  },
  {
    name: "onnxruntime",
    title: "onnxruntime-node by hand, core's tokenizer",
    args: [script, "onnxruntime"],
  },
  { name: "transformers.js", title: "transformers.js", args: [script, "transformers-js"] },
  { name: "nothing", title: "Node.js that does nothing", args: [script, "nothing"] },
];

/**
 * @param {readonly string[]} args of Node.js
 * @returns {Promise<Start>}
 */
async function start(args) {
  // bash adds up what a program and the children that it waited for took; Node.js cannot.
  const timed = ["-c", 'TIMEFORMAT="%U %S"; time "$@"', "-", process.execPath, ...args];
  const withBash = process.platform !== "win32";
  // No contestant asks a server.
  const env = withoutCertificates(process.env);
  const begin = performance.now();
  const child = withBash ? spawn("bash", timed, { env }) : spawn(process.execPath, args, { env });
  let first = Number.NaN;
  let errors = "";
  child.stdout.on("data", () => {
    if (Number.isNaN(first)) first = performance.now() - begin;
  });
  child.stderr.on("data", (/** @type {Buffer} */ data) => {
    errors += data;
  });
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  const end = performance.now() - begin;
  if (code !== 0) throw new Error(`${args.join(" ")} ended with code ${code}: ${errors.trim()}`);
  const [user = Number.NaN, system = Number.NaN] = (errors.trim().split("\n").at(-1) ?? "")
    .split(" ")
    .map(Number);
  return { first, end, processor: withBash ? 1000 * (user + system) : undefined };
}

/**
 * @param {PartOptions} options
 * @returns {Promise<PartReport>}
 */
export async function run({ documents, rounds }) {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-start-"));
  try {
    const file = join(folder, "documents.txt");
    const lines = Array.from(
      { length: documents },
      (_, index) => `Chapter ${index} is about the capital of France.`,
    );
    await writeFile(file, `${lines.join("\n")}\n`);
    const playing = programs(file).map((program) => ({ ...program, starts: /** @type {Start[]} */ ([]) }));
    // The first of each fills the system's cache of files.
    for (let round = 0; round <= rounds; round++) {
      for (const { title, args, starts } of round % 2 === 0 ? playing : [...playing].reverse()) {
        progress(`start, round ${round}/${rounds}: ${title}`);
        const one = await start(args);
        if (round > 0) starts.push(one);
      }
    }
    const [reference] = playing;
    const timesOf = (/** @type {readonly Start[]} */ starts) =>
      starts.map(({ processor }) => processor ?? Number.NaN);
    const rows = playing.map(({ name, title, starts }) => ({
      name,
      title,
      first: median(starts.map(({ first }) => first)),
      end: median(starts.map(({ end }) => end)),
      processor: median(timesOf(starts)),
      ratio:
        reference === undefined || name === reference.name
          ? undefined
          : pairedRatio(timesOf(starts), timesOf(reference.starts)),
    }));
    const versions = JSON.parse(
      await readFile(new URL("../package.json", import.meta.url), "utf8"),
    ).dependencies;
    return {
      page: [
        `${documents} documents of nine tokens, nano in int8, ${rounds} rounds in turn; onnxruntime-node ${versions["onnxruntime-node"]}, transformers.js ${versions["@huggingface/transformers"]}.`,
        "",
        `| | processor ms to the end | over ${reference?.title}'s | wall ms to the first scores | wall ms to the end |`,
        "|---|---:|---:|---:|---:|",
        ...rows.map(
          ({ title, processor, ratio, first, end }) =>
            `| ${[title, processor.toFixed(0), ratioText(ratio), first.toFixed(0), end.toFixed(0)].join(" | ")} |`,
        ),
      ].join("\n"),
      kept: Object.fromEntries(
        rows.map(({ name, processor, first }) => [
          name,
          { ms: Math.round(processor), first: Math.round(first) },
        ]),
      ),
      report: playing.map(({ name, starts }) => ({ name, starts })),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @param {Ratio | undefined} ratio */
export function ratioText(ratio) {
  return ratio === undefined
    ? ""
    : `${ratio.value.toFixed(2)} (${ratio.lower.toFixed(2)} to ${ratio.upper.toFixed(2)})`;
}
