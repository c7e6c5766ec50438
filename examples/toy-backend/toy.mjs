// A whole backend: cross-encoders in ONNX Runtime, in this process. What it has to be: docs/decisions/0001-the-contract.md
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import * as core from "@crossrank/core";
import ort from "onnxruntime-node";

const path = "onnx/model.onnx";
const info = { name: "toy", runtime: { name: "onnxruntime-node", version: ort.env.versions.common } };
const families = ["cross-encoder"];
const outputs = { "class-logits": "logits", "hidden-states": "last_hidden_state" };
const diagnose = async () => ({ available: true, runtime: info.runtime, detail: "in this process" });
export const toy = () => ({ specificationVersion: "v1", name: info.name, families, load, diagnose });

async function load({ files, output, dtype = "fp32", signal }) {
  const facts = { model: files.id, backend: info.name };
  if (dtype !== "fp32") {
    throw new core.ModelFileNotFoundError({ ...facts, expected: [`${dtype} file`], fix: "Ask for fp32." });
  }
  const bytes = await readFile(await files.localPath(path, { signal }));
  const graph = await ort.InferenceSession.create(bytes).catch((cause) => {
    const problem = { problem: cause.message, fix: "Export the model again." };
    throw new core.ModelLoadError({ ...facts, file: path, ...problem }, { cause });
  });
  const kind = output.kinds.find((one) => graph.outputNames.includes(outputs[one]));
  if (kind === undefined) {
    const wanted = { capability: "output", wanted: output.kinds.join() };
    throw new core.IncompatibleModelError({ ...facts, ...wanted, supported: graph.outputNames });
  }
  const compute = async ({ rows, columns, inputIds, attentionMask, segmentIds }) => {
    const all = { input_ids: inputIds, attention_mask: attentionMask, token_type_ids: segmentIds };
    const tensor = (ids) => new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [rows, columns]);
    const feeds = Object.fromEntries(graph.inputNames.map((name) => [name, tensor(all[name])]));
    const result = (await graph.run(feeds))[outputs[kind]];
    return { kind, data: result.data, shape: [...result.dims] };
  };
  const running = new Set();
  let disposed;
  const dispose = () => (disposed ??= Promise.allSettled(running).then(() => graph.release()));
  const run = async (batch, options) => {
    if (disposed) throw new core.DisposedError("session");
    options?.signal?.throwIfAborted();
    const work = compute(batch).catch((cause) => {
      throw new core.BackendRunError({ backend: info.name, problem: cause.message }, { cause });
    });
    running.add(work);
    return work.finally(() => running.delete(work));
  };
  const segmentIds = graph.inputNames.includes("token_type_ids");
  const limits = { maxSequenceLength: undefined, sequenceLengths: "any", batchSize: { max: 64 } };
  const batchPreference = { rows: 8, tokens: 512, padding: 0.1 };
  const facets = { rowsAffectScores: false, concurrentRuns: 1, cancelsWithinBatch: false };
  const capabilities = { output: kind, segmentIds, ...limits, batchPreference, ...facets };
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const artifact = { format: "onnx", dtype, files: [{ path, sha256 }] };
  return { info, artifact, capabilities, settings: {}, run, dispose, [Symbol.asyncDispose]: dispose };
}

const among = (paths) => (paths.includes(path) ? [{ dtype: "fp32", path }] : []);
const format = { format: "onnx", dtypes: ["fp32"], artifacts: among, candidates: (paths) => paths };
export const backends = [{ name: info.name, families, install: [], ...format, create: toy }];
