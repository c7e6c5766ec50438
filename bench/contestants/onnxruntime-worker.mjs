// A worker thread of the raw sweep: one session, one batch at a time.
import { parentPort, workerData } from "node:worker_threads";
import { InferenceSession } from "onnxruntime-node";
import { runBatch } from "./onnxruntime-batch.mjs";

/** @typedef {import("./onnxruntime-batch.mjs").Sequence} Sequence */

const port = parentPort;
if (port === null) throw new Error("this file is a worker thread's");
/** @type {{ file: string, threads: number }} */
const { file, threads } = workerData;
const session = await InferenceSession.create(file, { intraOpNumThreads: threads });
port.on("message", async (/** @type {readonly Sequence[] | "end"} */ batch) => {
  if (batch === "end") {
    await session.release();
    port.close();
  } else {
    port.postMessage(await runBatch(session, batch));
  }
});
port.postMessage([]);
