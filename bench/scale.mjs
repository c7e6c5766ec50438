// `node bench/scale.mjs`: what an evaluation of a million pairs takes in memory, and what a kill in its middle costs.
// The model is a fake: a hash of each pair's text in place of a score. Real ones take days for as many pairs on two
// cores; everything around them (task, candidates, storing, resuming, metrics, statistics, report) is the real thing.
/** @import { Scorer } from "@crossrank/eval" */
import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { createWriteStream } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openTask, runEvaluation } from "@crossrank/eval";
import { openModel } from "@crossrank/hub";
import { replaceBlock } from "../scripts/blocks.mjs";

const help = `Evaluates a made-up task with a fake model in a process of its own, kills it (SIGKILL) at 40 %, starts it again,
and does it once more without a kill. Says peak memory by tenths, what was scored twice, and whether both runs end
with the same scores.

node bench/scale.mjs -- [options]
  --pairs N       default 1000000, 500 candidates a query
  --write         put the result into bench/README.md
  --help
`;

const candidatesEach = 500;
const corpusSize = 20_000;
const words =
  "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau".split(
    " ",
  );

/** @param {number} number */
const text = (number) =>
  Array.from(
    { length: 12 + (number % 29) },
    (_, at) => words[(number * 31 + at * (7 + (number % 11))) % words.length],
  ).join(" ");

/**
 * A BEIR folder with candidates, written as a stream.
 * @param {string} folder
 * @param {number} pairs
 */
async function writeTask(folder, pairs) {
  const queries = Math.ceil(pairs / candidatesEach);
  const candidate = (/** @type {number} */ query, /** @type {number} */ rank) =>
    (query * 797 + rank * 37) % corpusSize;
  /** @type {(path: string, lines: Iterable<string>) => Promise<void>} */
  const write = (path, lines) =>
    pipeline(
      (function* () {
        for (const line of lines) yield `${line}\n`;
      })(),
      createWriteStream(join(folder, path)),
    );
  await mkdir(join(folder, "qrels"), { recursive: true });
  const range = (/** @type {number} */ count) => Array(count).keys();
  await write(
    "corpus.jsonl",
    map(range(corpusSize), (id) => JSON.stringify({ _id: `d${id}`, title: "", text: text(id) })),
  );
  await write(
    "queries.jsonl",
    map(range(queries), (id) => JSON.stringify({ _id: `q${id}`, text: text(id * 13 + 5) })),
  );
  await write(
    "qrels/test.tsv",
    map(range(queries + 1), (line) =>
      line === 0 ? "query-id\tcorpus-id\tscore" : `q${line - 1}\td${candidate(line - 1, (line - 1) % 40)}\t1`,
    ),
  );
  await write(
    "candidates.trec",
    map(range(queries * candidatesEach), (line) => {
      const [query, rank] = [Math.floor(line / candidatesEach), line % candidatesEach];
      return `q${query} Q0 d${candidate(query, rank)} ${rank + 1} ${candidatesEach - rank} made-up`;
    }),
  );
}

/**
 * @template T
 * @param {Iterable<number>} numbers
 * @param {(number: number) => T} make
 */
function* map(numbers, make) {
  for (const number of numbers) yield make(number);
}

/**
 * Reads every text, so that the task's reading is not spared.
 * @param {(pairs: number) => void} count
 * @returns {Scorer}
 */
function fakeScorer(count) {
  const usage = {
    sequences: 0,
    batches: 1,
    tokens: 0,
    paddedTokens: 0,
    milliseconds: { encode: 0, run: 0, total: 0 },
  };
  return {
    description: {
      model: { id: "fake: a hash of the text", revision: null },
      family: "cross-encoder",
      system: {
        backend: { name: "fake", runtime: { name: "sha256", version: "1" } },
        artifact: { format: "safetensors", dtype: "fp32", files: [{ path: "none", sha256: "0".repeat(64) }] },
        settings: {},
        precision: "fp32",
        tokenizerSha256: null,
        template: "none",
        maxLength: 512,
        truncation: "document-only",
        instruction: null,
        queryPrefix: "",
        documentPrefix: "",
        scale: "logit",
        activation: "identity",
        scoring: "pointwise",
      },
      profileSha256: "0".repeat(64),
      loadMilliseconds: 0,
    },
    async score(pairs, { signal }) {
      signal?.throwIfAborted();
      count(pairs.length);
      const scores = pairs.map(({ query, document }) => {
        const body = typeof document === "string" ? document : document.text;
        const logit = createHash("sha1").update(query).update(body).digest().readInt32BE(0) / 2 ** 28;
        return { logit, score: 1 / (1 + Math.exp(-logit)), tokens: 8, truncatedTokens: 0 };
      });
      return { scores, warnings: [], usage: { ...usage, sequences: pairs.length, tokens: 8 * pairs.length } };
    },
    embed: () => Promise.reject(new Error("no bi-encoder")),
    memory: async () => undefined,
    close: async () => {},
  };
}

/**
 * In the process of its own: one evaluation, saying how far it is and how much memory it holds.
 * @param {string} folder
 * @param {string} output
 */
async function evaluate(folder, output) {
  let scored = 0;
  let tenth = -1;
  const say = (/** @type {object} */ message) => process.send?.(message);
  const task = await openTask(await openModel(folder));
  say({ opened: process.memoryUsage().rss });
  const started = performance.now();
  await runEvaluation({
    task,
    systems: [{ name: "fake", open: async () => fakeScorer((pairs) => (scored += pairs)) }],
    folder: output,
    environment: {
      node: process.version,
      platform: process.platform,
      cpu: null,
      cores: 1,
      memory: 0,
      packages: {},
    },
    onProgress: ({ phase, completed, total, resumed, secondsLeft }) => {
      const now = phase === "scoring" ? Math.floor((10 * completed) / total) : 10;
      if (now === tenth) return;
      tenth = now;
      say({ phase, completed, resumed, secondsLeft, rss: process.memoryUsage().rss });
    },
  });
  const { maxRSS } = process.resourceUsage();
  say({ scored, seconds: (performance.now() - started) / 1000, peak: maxRSS * 1024 });
  await task[Symbol.asyncDispose]();
}

/**
 * @typedef {object} Observed
 * @property {number} opened
 * @property {{ phase: string, completed: number, resumed: number, secondsLeft?: number, rss: number }[]} steps
 * @property {{ scored: number, seconds: number, peak: number } | undefined} end
 */

/**
 * @param {string} folder
 * @param {string} output
 * @param {number} killAt pairs after which the process is killed
 * @returns {Promise<Observed>}
 */
function observe(folder, output, killAt) {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), ["--evaluate", folder, "--output", output]);
    /** @type {Observed} */
    const observed = { opened: 0, steps: [], end: undefined };
    child.on("message", (/** @type {any} */ message) => {
      if (message.opened !== undefined) observed.opened = message.opened;
      else if (message.scored !== undefined) observed.end = message;
      else {
        observed.steps.push(message);
        if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${message.phase} ${message.completed}`);
        if (message.completed >= killAt) child.kill("SIGKILL");
      }
    });
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      if (code === 0 || signal === "SIGKILL") resolve(observed);
      else reject(new Error(`the evaluation ended with ${signal ?? `code ${code}`}`));
    });
  });
}

/** Of every query's logits, without what each call took. @param {string} output */
async function scoresHash(output) {
  const [name] = (await readdir(join(output, "scores"))).filter((file) => file.endsWith(".jsonl"));
  const lines = (await readFile(join(output, "scores", name ?? ""), "utf8")).trim().split("\n").slice(1);
  // Each line begins with its checksum, and holds the queries of one call.
  const logits = lines
    .flatMap((line) => JSON.parse(line.slice(line.indexOf(" ") + 1)).scores)
    .map((entry) => JSON.stringify([entry.query, entry.logits]));
  return createHash("sha256").update(logits.sort().join("\n")).digest("hex");
}

/** @param {number} bytes */
const megabytes = (bytes) => (bytes / 1e6).toFixed(0);

/** @param {number} pairs */
async function measure(pairs) {
  const folder = await mkdtemp(join(tmpdir(), "crossrank-scale-"));
  try {
    const [task, killed, whole] = ["task", "killed", "whole"].map((name) => join(folder, name));
    await writeTask(String(task), pairs);
    const first = await observe(String(task), String(killed), 0.4 * pairs);
    const second = await observe(String(task), String(killed), Number.POSITIVE_INFINITY);
    const third = await observe(String(task), String(whole), Number.POSITIVE_INFINITY);
    const same = (await scoresHash(String(killed))) === (await scoresHash(String(whole)));
    const total = Math.ceil(pairs / candidatesEach) * candidatesEach;
    const resumed = second.steps.find(({ phase }) => phase === "scoring")?.resumed ?? 0;
    const scoring = third.steps.filter(({ phase }) => phase === "scoring");
    const row = scoring.map(({ completed, rss }) => [
      `${((100 * completed) / total).toFixed(0)} %`,
      megabytes(rss),
    ]);
    const left = scoring.find(({ completed }) => completed >= total / 2)?.secondsLeft;
    return [
      `${total.toLocaleString("en")} pairs, ${(total / candidatesEach).toLocaleString("en")} queries × ${candidatesEach} candidates, a fake model. ${process.version}.`,
      "",
      `| pairs scored | ${row.map(([at]) => at).join(" | ")} |`,
      `|---|${row.map(() => "---:").join("|")}|`,
      `| resident memory, MB | ${row.map(([, rss]) => rss).join(" | ")} |`,
      "",
      `- Task open: ${megabytes(third.opened)} MB. Peak of the whole process, metrics and statistics included: ${megabytes(third.end?.peak ?? 0)} MB. ${third.end?.seconds.toFixed(0)} s, of which the fake model takes next to nothing; the time left was first said at the first batch (at half: ${left?.toFixed(0)} s).`,
      `- Killed (SIGKILL) at ${first.steps.at(-1)?.completed.toLocaleString("en")} pairs and started again: ${resumed.toLocaleString("en")} were there, ${second.end?.scored.toLocaleString("en")} were scored, together ${(resumed + (second.end?.scored ?? 0)).toLocaleString("en")} of ${total.toLocaleString("en")}.`,
      `- The scores of the killed run and of one that was left alone are ${same ? "the same" : "NOT the same"}.`,
    ].join("\n");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  allowPositionals: true,
  options: {
    pairs: { type: "string", default: "1000000" },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
    // For the process of its own.
    evaluate: { type: "string" },
    output: { type: "string" },
  },
});
if (values.help) {
  console.log(help);
} else if (values.evaluate !== undefined && values.output !== undefined) {
  await evaluate(values.evaluate, values.output);
} else {
  const pairs = Number(values.pairs);
  if (!Number.isSafeInteger(pairs) || pairs < candidatesEach)
    throw new RangeError(`--pairs must be a number from ${candidatesEach} on`);
  const report = await measure(pairs);
  console.log(report);
  if (values.write) {
    const readme = new URL("README.md", import.meta.url);
    replaceBlock(readme, "scale", `Written by \`node bench/scale.mjs --write\`:\n\n${report}`);
  }
}
