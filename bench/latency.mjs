// `node bench/latency.mjs`: how long one call with one short document takes, with 1, 4 and 16 callers at once, beside a
// raw onnxruntime-node session in a worker thread that is given the same token ids. Both are open at once, and their
// rounds go in turn, so that what else the machine does meets both.
import { createRequire } from "node:module";
import { availableParallelism, cpus, loadavg } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const help = `Measures the latency of one pair: p50, p99 and processor time of a call, of crossrank and of a raw session.

node bench/latency.mjs [options]
  --rounds N      default 9, each with both in turn
  --calls N       default 200, of each in a round
  --callers A,B   callers at once, default 1,4,16
  --json          print what was measured as JSON
  --help

The model is nano in int8, one worker of one thread on both sides. The raw side is onnxruntime-node in a worker thread:
ids go there and a logit comes back, with no tokenizer, no check and no result to build.
`;

const query = "how do vaccines work";
const documents = [
  "Vaccines train the immune system to recognise pathogens, so that it answers faster when it meets them.",
  "The capital of France is Paris.",
  "Antibodies bind to antigens on the surface of a virus and mark it for other cells.",
  "Bread is baked from flour, water, yeast and salt.",
];

/** @typedef {{ readonly inputIds: Int32Array, readonly attentionMask: Int32Array, readonly segmentIds: Int32Array }} Row */

if (isMainThread) await main();
else await serveRaw();

/** The worker thread of the raw side: a session, and ids in, a logit out. */
async function serveRaw() {
  const ort = createRequire(import.meta.url)("onnxruntime-node");
  const session = await ort.InferenceSession.create(workerData.model, {
    graphOptimizationLevel: "basic",
    intraOpNumThreads: 1,
  });
  const sources = new Map([
    ["input_ids", "inputIds"],
    ["attention_mask", "attentionMask"],
    ["token_type_ids", "segmentIds"],
  ]);
  const port = /** @type {NonNullable<typeof parentPort>} */ (parentPort);
  port.on("message", async ({ id, row }) => {
    /** @type {Record<string, unknown>} */
    const feeds = {};
    for (const { name, type } of session.inputMetadata) {
      /** @type {Int32Array} */
      const values = row[sources.get(name) ?? ""];
      const data = type === "int64" ? BigInt64Array.from(values, BigInt) : values;
      feeds[name] = new ort.Tensor(type, data, [1, values.length]);
    }
    const output = (await session.run(feeds))[session.outputNames[0]];
    port.postMessage({ id, logit: output.data[0] });
  });
  port.postMessage("ready");
}

async function main() {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: "9" },
      calls: { type: "string", default: "200" },
      callers: { type: "string", default: "1,4,16" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return void process.stdout.write(help);
  const rounds = whole("rounds", values.rounds);
  const calls = whole("calls", values.calls);
  const callers = values.callers.split(",").map((each) => whole("callers", each));

  const { crossrank, raw, close } = await openBoth();
  const sides = { crossrank, raw };
  // The processor's caches, and the engine's compiler.
  for (const side of Object.values(sides)) await measure(side, 1, 300);
  const rows = [];
  for (const count of callers) {
    /** @type {Record<keyof typeof sides, { times: number[], processor: number[], medians: number[] }>} */
    const found = {
      crossrank: { times: [], processor: [], medians: [] },
      raw: { times: [], processor: [], medians: [] },
    };
    for (let round = 0; round < rounds; round += 1) {
      const names = /** @type {(keyof typeof sides)[]} */ (Object.keys(sides));
      for (const name of round % 2 === 0 ? names : names.reverse()) {
        const { times, processor } = await measure(sides[name], count, calls);
        found[name].times.push(...times);
        found[name].medians.push(quantile(times, 0.5));
        found[name].processor.push(processor / calls);
      }
    }
    const differences = found.crossrank.medians.map((each, index) => each - (found.raw.medians[index] ?? 0));
    rows.push({
      callers: count,
      crossrank: summary(found.crossrank),
      raw: summary(found.raw),
      overhead: {
        p50: quantile(differences, 0.5),
        lowest: Math.min(...differences),
        highest: Math.max(...differences),
        processor: quantile(
          found.crossrank.processor.map((each, index) => each - (found.raw.processor[index] ?? 0)),
          0.5,
        ),
      },
    });
  }
  await close();
  const machine = `${cpus()[0]?.model ?? "unknown"}, ${availableParallelism()} threads, load ${loadavg()[0]?.toFixed(1)}, Node ${process.versions.node}`;
  if (values.json) return void process.stdout.write(`${JSON.stringify({ machine, rows }, undefined, 2)}\n`);
  const ms = (/** @type {number} */ value) => value.toFixed(2);
  process.stdout.write(
    `${[
      `${machine}; ${rounds} rounds of ${calls} calls; milliseconds`,
      "",
      "| callers | crossrank p50 | p99 | processor | raw p50 | p99 | processor | overhead of p50 (median round; lowest to highest) | of processor |",
      "|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
      ...rows.map(
        ({ callers: count, crossrank: own, raw: bare, overhead }) =>
          `| ${count} | ${ms(own.p50)} | ${ms(own.p99)} | ${ms(own.processor)} | ${ms(bare.p50)} | ${ms(bare.p99)} | ${ms(bare.processor)} | ${ms(overhead.p50)} (${ms(overhead.lowest)} to ${ms(overhead.highest)}) | ${ms(overhead.processor)} |`,
      ),
    ].join("\n")}\n`,
  );
}

/** Both sides, each a call of one document that comes to a logit; their logits are held against each other. */
async function openBoth() {
  const { onnx } = await import("@crossrank/backend-onnx");
  const { createReranker } = await import("@crossrank/core");
  const { openModel } = await import("@crossrank/hub");
  const { modelFolder } = await import("@crossrank/model-nano");
  const backend = onnx({ workers: 1, threads: 1 });
  /** @type {Row | undefined} */
  let seen;
  const reranker = await createReranker({
    model: await openModel(modelFolder),
    backend: {
      ...backend,
      load: async (request) => {
        const session = await backend.load(request);
        const run = session.run.bind(session);
        session.run = (batch, options) => {
          // Before they go to the runtime, which takes them over.
          const { inputIds, attentionMask, segmentIds } = batch;
          seen ??= {
            inputIds: inputIds.slice(),
            attentionMask: attentionMask.slice(),
            segmentIds: segmentIds.slice(),
          };
          return run(batch, options);
        };
        return session;
      },
    },
  });
  const score = async (/** @type {number} */ index) => {
    const document = documents[index % documents.length] ?? "";
    const { scores } = await reranker.score([{ query, document }]);
    return scores[0]?.logit ?? Number.NaN;
  };
  /** @type {Row[]} */
  const rows = [];
  const expected = [];
  for (const index of documents.keys()) {
    seen = undefined;
    expected.push(await score(index));
    rows.push(/** @type {Row} */ (/** @type {unknown} */ (seen)));
  }

  const worker = new Worker(new URL(import.meta.url), {
    workerData: { model: join(modelFolder, "onnx/model_int8.onnx") },
  });
  /** @type {Map<number, (logit: number) => void>} */
  const waiting = new Map();
  await new Promise((resolve, reject) => {
    worker.once("error", reject);
    worker.on("message", (message) => {
      if (message === "ready") return resolve(undefined);
      waiting.get(message.id)?.(message.logit);
      waiting.delete(message.id);
    });
  });
  let next = 0;
  const raw = (/** @type {number} */ index) =>
    /** @type {Promise<number>} */ (
      new Promise((resolve) => {
        const id = next++;
        waiting.set(id, resolve);
        worker.postMessage({ id, row: rows[index % rows.length] });
      })
    );
  for (const [index, logit] of expected.entries()) {
    const bare = await raw(index);
    if (!(Math.abs(bare - logit) < 1e-4))
      throw new Error(`the raw session gives ${bare} for document ${index}, and crossrank ${logit}`);
  }
  const close = async () => {
    await reranker.dispose();
    await worker.terminate();
  };
  return { crossrank: score, raw, close };
}

/**
 * @param {(index: number) => Promise<number>} side
 * @param {number} callers
 * @param {number} calls of all callers together.
 */
async function measure(side, callers, calls) {
  /** @type {number[]} */
  const times = [];
  let next = 0;
  const before = process.cpuUsage();
  const caller = async () => {
    while (next < calls) {
      const index = next++;
      const started = performance.now();
      await side(index);
      times.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  const { user, system } = process.cpuUsage(before);
  return { times, processor: (user + system) / 1000 };
}

/** @param {{ times: readonly number[], processor: readonly number[] }} found */
function summary({ times, processor }) {
  return { p50: quantile(times, 0.5), p99: quantile(times, 0.99), processor: quantile(processor, 0.5) };
}

/** @param {readonly number[]} numbers @param {number} share */
function quantile(numbers, share) {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;
}

/** @param {string} name @param {string} value */
function whole(name, value) {
  const number = Number(value);
  if (!(Number.isSafeInteger(number) && number >= 1))
    throw new Error(`--${name} has to be whole numbers from 1 on`);
  return number;
}
