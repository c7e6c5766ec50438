// onnxruntime-node by hand, tokenised with core's encoder: everything in one padded batch, or sorted by length in
// batches of a fixed number of rows, in the main thread or in worker threads.
/** @import { Loaded, Setup } from "../types.js" */
/** @import { Sequence } from "./onnxruntime-batch.mjs" */
import { once } from "node:events";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { readProfile } from "@crossrank/core";
import { createPairEncoder, createTextTokenizer } from "@crossrank/core/encoding";
import { openModel } from "@crossrank/hub";
import { env, InferenceSession } from "onnxruntime-node";
import { runBatch } from "./onnxruntime-batch.mjs";

/** @typedef {{ run: (batch: readonly Sequence[]) => Promise<readonly number[]>, end: () => Promise<unknown> }} Lane */

/**
 * @param {Setup} setup
 * @returns {Promise<Loaded>}
 */
export async function load({ model, options }) {
  const { rows = "all", workers = 0, threads } = options;
  const files = await openModel(model.folder);
  const { profile, tokenizerJson } = await readProfile(files);
  const encoder = createPairEncoder(createTextTokenizer(tokenizerJson, files.id), profile);
  const file = join(model.folder, model.file);
  const lanes =
    workers === 0
      ? [await mainThread(file, threads)]
      : await Promise.all(Array.from({ length: workers }, () => workerThread(file, threads ?? 1)));

  return {
    version: `onnxruntime-node ${env.versions.node ?? env.versions.common}`,
    async score(query, documents) {
      const tokenizedQuery = encoder.encodeQuery(query);
      const sequences = documents.map((document) => encoder.encodePair(tokenizedQuery, document));
      const order = sequences.map((_, index) => index);
      if (rows !== "all") order.sort((left, right) => lengthOf(sequences, right) - lengthOf(sequences, left));
      const size = rows === "all" ? order.length : rows;
      /** @type {number[]} */
      const logits = new Array(order.length).fill(Number.NaN);
      let next = 0;
      await Promise.all(
        lanes.map(async (lane) => {
          while (next < order.length) {
            const members = order.slice(next, next + size);
            next += size;
            const batch = members.map((index) => {
              const { ids, segmentIds } = /** @type {Sequence} */ (sequences[index]);
              return { ids, segmentIds };
            });
            const answers = await lane.run(batch);
            members.forEach((index, row) => {
              logits[index] = answers[row] ?? Number.NaN;
            });
          }
        }),
      );
      return {
        logits,
        truncated: sequences.map(({ truncatedTokens }) => truncatedTokens > 0),
        tokens: sequences.map(({ ids }) => ids.length),
      };
    },
    async dispose() {
      await Promise.all(lanes.map((lane) => lane.end()));
    },
  };
}

/**
 * @param {readonly Sequence[]} sequences
 * @param {number} index
 */
function lengthOf(sequences, index) {
  return sequences[index]?.ids.length ?? 0;
}

/**
 * @param {string} file
 * @param {number | undefined} threads
 * @returns {Promise<Lane>}
 */
async function mainThread(file, threads) {
  const session = await InferenceSession.create(
    file,
    threads === undefined ? {} : { intraOpNumThreads: threads },
  );
  return { run: (batch) => runBatch(session, batch), end: () => session.release() };
}

/**
 * @param {string} file
 * @param {number} threads
 * @returns {Promise<Lane>}
 */
async function workerThread(file, threads) {
  const worker = new Worker(new URL("./onnxruntime-worker.mjs", import.meta.url), {
    workerData: { file, threads },
  });
  /** @returns {Promise<readonly number[]>} */
  const answer = async () => (await once(worker, "message"))[0];
  await answer();
  return {
    run(batch) {
      worker.postMessage(batch);
      return answer();
    },
    end() {
      const ended = once(worker, "exit");
      worker.postMessage("end");
      return ended;
    },
  };
}
