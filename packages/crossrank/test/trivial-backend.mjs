// A real backend that computes next to nothing: a row's logit is a sum over its token ids. What is tried with it is
// everything around a runtime.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";

const info = { name: "trivial", runtime: { name: "trivial", version: "1" } };
const families = ["cross-encoder"];

/** Milliseconds of a batch: who is to be killed in the middle of one takes its time. */
const pause = Number(process.env.TRIVIAL_PAUSE ?? 0);

/** A file: while it is there every batch fails. */
const failing = process.env.TRIVIAL_FAILING;

async function load({ files }) {
  const path = "config.json";
  const bytes = await readFile(await files.localPath(path));
  const run = async (batch, options) => {
    options?.signal?.throwIfAborted();
    if (pause > 0) await setTimeout(pause);
    if (failing !== undefined && existsSync(failing)) throw new Error("the device is gone");
    const data = new Float32Array(batch.rows);
    for (let row = 0; row < batch.rows; row += 1) {
      let sum = 0;
      for (let column = 0; column < batch.lengths[row]; column += 1) {
        sum = (sum * 31 + batch.inputIds[row * batch.columns + column]) % 65_521;
      }
      data[row] = sum / 8192 - 4;
    }
    return { kind: "class-logits", data, shape: [batch.rows, 1] };
  };
  const dispose = async () => {};
  return {
    info,
    artifact: {
      format: "none",
      dtype: "fp32",
      files: [{ path, sha256: createHash("sha256").update(bytes).digest("hex") }],
    },
    capabilities: {
      output: "class-logits",
      segmentIds: true,
      maxSequenceLength: undefined,
      sequenceLengths: "any",
      batchSize: { max: 64 },
      batchPreference: { rows: 64, tokens: 65_536, padding: 1 },
      rowsAffectScores: false,
      concurrentRuns: 1,
      cancelsWithinBatch: false,
    },
    settings: {},
    run,
    dispose,
    [Symbol.asyncDispose]: dispose,
  };
}

export const trivial = () => ({
  specificationVersion: "v1",
  name: info.name,
  families,
  load,
  diagnose: async () => ({ available: true, runtime: info.runtime, detail: "in this process" }),
});

const among = (paths) => (paths.includes("config.json") ? [{ dtype: "fp32", path: "config.json" }] : []);
export const backends = [
  {
    name: info.name,
    families,
    install: [],
    format: "none",
    dtypes: ["fp32"],
    artifacts: among,
    candidates: among,
    create: trivial,
  },
];
