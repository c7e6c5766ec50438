// Many calls of one to three short documents on the embedded model, with a few large ones between: what a server does
// for days. Memory, open handles, threads and child processes must end where they began.
//
//   node scripts/soak.mjs [--calls 4000] [--isolation process|thread] [--json]
import { readdirSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";

const { values: options } = parseArgs({
  options: {
    calls: { type: "string", default: "4000" },
    isolation: { type: "string", default: "process" },
    json: { type: "boolean", default: false },
  },
});
const calls = Number(options.calls);
if (!Number.isInteger(calls) || calls < 200)
  throw new RangeError("--calls: give a whole number from 200 on.");

/** Samples of the machine's state, at even distances. */
const samples = 20;
/** Every so many calls one is large. */
const largeEvery = 200;
/** By how much the last quarter's median may exceed that of the second, as a share and in units. */
const ceilings = {
  heap: { share: 0.1, units: 2, name: "heap after collection, MB" },
  resident: { share: 0.1, units: 16, name: "resident memory, children included, MB" },
  handles: { share: 0, units: 0, name: "handles of the event loop" },
  files: { share: 0, units: 0, name: "open files, children included" },
  threads: { share: 0, units: 1, name: "threads, children included" },
  children: { share: 0, units: 0, name: "child processes" },
};

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc");
const isLinux = process.platform === "linux";

/** This process and all below it. @returns {number[]} */
function family(id = process.pid) {
  if (!isLinux) return [id];
  const found = [id];
  for (const task of list(`/proc/${id}/task`)) {
    const below = read(`/proc/${id}/task/${task}/children`).split(" ").filter(Boolean);
    found.push(...below.flatMap((child) => family(Number(child))));
  }
  return found;
}

/** @param {string} folder @returns {string[]} names; none where it is gone */
function list(folder) {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** @param {string} file @returns {string} empty where it is gone */
function read(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

const megabyte = 1024 * 1024;

function state() {
  collect();
  const ids = family();
  const count = (folder) => ids.reduce((sum, id) => sum + list(`/proc/${id}/${folder}`).length, 0);
  const residentOf = (id) => Number(/^VmRSS:\s+(\d+)/m.exec(read(`/proc/${id}/status`))?.[1] ?? 0) * 1024;
  return {
    heap: process.memoryUsage().heapUsed / megabyte,
    resident:
      (isLinux ? ids.reduce((sum, id) => sum + residentOf(id), 0) : process.memoryUsage().rss) / megabyte,
    handles: process.getActiveResourcesInfo().length,
    // What Linux alone tells.
    ...(isLinux ? { files: count("fd"), threads: count("task"), children: ids.length - 1 } : {}),
  };
}

/** The same numbers on every run. */
let seed = 20_261_129;
function random() {
  seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
  return seed / 2 ** 32;
}
const words =
  "river bank money engine coffee tea moon snow train garden doctor music paper window bread".split(" ");
const text = (length) => Array.from({ length }, () => words[Math.floor(random() * words.length)]).join(" ");

const reranker = await createReranker({
  model: await openModel(modelFolder),
  backend: onnx({ workers: 1, threads: 1, isolation: options.isolation }),
});
const seen = [];
const started = performance.now();
let documents = 0;
let firstLogit;
for (let call = 1; call <= calls; call += 1) {
  const isLarge = call % largeEvery === 0;
  const batch = Array.from({ length: isLarge ? 40 : 1 + Math.floor(random() * 3) }, () =>
    text(isLarge ? 60 : 3 + Math.floor(random() * 8)),
  );
  documents += batch.length;
  const { results } = await reranker.rerank({ query: text(4), documents: batch });
  if (results.length !== batch.length || !results.every(({ logit }) => Number.isFinite(logit))) {
    throw new Error(`Call ${call} gave ${results.length} results for ${batch.length} documents.`);
  }
  if (call % Math.floor(calls / samples) === 0) {
    // The same pair scores the same to the bit, at the end as at the beginning.
    const { results: probe } = await reranker.rerank({ query: "what barks", documents: ["a dog barks"] });
    firstLogit ??= probe[0].logit;
    if (probe[0].logit !== firstLogit) {
      throw new Error(`One pair scored ${firstLogit}, and ${probe[0].logit} after ${call} calls.`);
    }
    seen.push(state());
  }
}
const seconds = (performance.now() - started) / 1000;
await reranker.dispose();
const left = family().length - 1;

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const problems = left > 0 ? [`${left} child processes outlive dispose()`] : [];
const rows = Object.entries(ceilings).flatMap(([field, { share, units, name }]) => {
  const values = seen.map((one) => one[field]);
  if (values[0] === undefined) return [];
  // The first quarter fills caches, and pools that are kept.
  const quarter = Math.floor(values.length / 4);
  const [before, after] = [median(values.slice(quarter, 2 * quarter)), median(values.slice(-quarter))];
  const ceiling = before * (1 + share) + units;
  if (after > ceiling) problems.push(`${name}: from ${before.toFixed(1)} to ${after.toFixed(1)}`);
  return [{ name, before, after, ceiling }];
});

if (options.json) console.log(JSON.stringify({ calls, documents, seconds, rows, problems }));
else {
  console.log(
    `${calls} calls, ${documents} documents, isolation ${options.isolation}, ${seconds.toFixed(0)} s`,
  );
  for (const { name, before, after, ceiling } of rows) {
    console.log(`  ${name}: ${before.toFixed(1)} → ${after.toFixed(1)} (at most ${ceiling.toFixed(1)})`);
  }
  for (const problem of problems) console.log(`  GROWS ${problem}`);
}
process.exitCode = problems.length === 0 ? 0 : 1;
