// Every engine that is held beside crossrank over one encoder, all on one thread: what each takes of a processor is
// compared, and threads that wait for each other would hide it.
/** @import { BenchModel, Contestant, ContestantOptions, FloorKind, Skipped } from "../types.js" */
/** @import { Artifact, Artifacts } from "./artifacts.mjs" */
import { fileOf, hasModules, inNode, pythonCommand } from "../contestants/contestants.mjs";

/**
 * @typedef {object} Engine
 * @property {string} name
 * @property {string} title
 * @property {string} [artifact] its key among the artifacts; without one it reads the made model's own files
 * @property {string} [made] file of the made model that it reads; model.safetensors without one
 * @property {string} module of Node.js, or a script of Python
 * @property {ContestantOptions} options
 * @property {FloorKind} floor what its products with weights are computed in
 */

/**
 * @typedef {object} Table engines that run in turn
 * @property {string} name
 * @property {string} title
 * @property {string} reference name of the engine that the others are held against
 * @property {readonly Engine[]} engines
 */

const one = { threads: 1 };

/** @type {(backend: NonNullable<ContestantOptions["backend"]>, dtype: string, settings: Record<string, unknown>) => Pick<Engine, "module" | "options">} */
const crossrank = (backend, dtype, settings) => ({
  module: "crossrank",
  options: { backend, dtype, settings },
});
const onnx = (/** @type {string} */ dtype) => crossrank("onnx", dtype, { workers: 1, threads: 1 });
const llamacpp = (/** @type {string} */ dtype) => crossrank("llamacpp", dtype, { contexts: 1, threads: 1 });

/** @type {(dtype: string, settings?: Record<string, unknown>) => Pick<Engine, "module" | "options">} */
export const mnn = (dtype, settings = {}) =>
  crossrank("mnn", dtype, { sessions: 1, threads: 1, ...settings });
const ctranslate2 = (/** @type {string} */ dtype) =>
  crossrank("ctranslate2", dtype, { sessions: 1, threads: 1 });
const plain = { module: "onnxruntime", options: { rows: 1, workers: 0, ...one } };

/** @type {readonly Table[]} */
export const tables = [
  {
    name: "fp32",
    title: "fp32",
    reference: "crossrank-onnx-fp32",
    engines: [
      {
        name: "crossrank-onnx-fp32",
        title: "crossrank, ONNX fp32",
        artifact: "onnx:fp32",
        ...onnx("fp32"),
        floor: "fp32",
      },
      {
        name: "onnxruntime-fp32",
        title: "onnxruntime-node on crossrank's file",
        artifact: "onnx:fp32",
        ...plain,
        floor: "fp32",
      },
      {
        name: "onnxruntime-export-fp32",
        title: "onnxruntime-node on torch.onnx.export's file",
        artifact: "dynamo:fp32",
        ...plain,
        floor: "fp32",
      },
      {
        name: "transformers.js-fp32",
        title: "transformers.js, sorted, batches of 8",
        artifact: "onnx:fp32",
        module: "transformers-js",
        options: { dtype: "fp32", rows: 8, ...one },
        floor: "fp32",
      },
      {
        name: "openvino-fp32",
        title: "OpenVINO fp32 (Python)",
        made: "onnx/model.onnx",
        module: "openvino-onnx",
        options: { dtype: "fp32", positions: 512, ...one },
        floor: "fp32",
      },
      {
        name: "ctranslate2-fp32",
        title: "crossrank, CTranslate2 fp32",
        artifact: "ctranslate2:fp32",
        ...ctranslate2("fp32"),
        floor: "fp32",
      },
      { name: "mnn-fp32", title: "crossrank, MNN fp32", artifact: "mnn:fp32", ...mnn("fp32"), floor: "fp32" },
      {
        name: "mlx-fp32",
        title: "crossrank, MLX fp32 on the processor",
        ...crossrank("mlx", "fp32", one),
        floor: "fp32",
      },
      {
        name: "torch-fp32",
        title: "torch fp32, sorted, batches of 8 (Python)",
        module: "torch-sorted",
        options: { dtype: "fp32", rows: 8, ...one },
        floor: "fp32",
      },
      {
        name: "sentence-transformers",
        title: "sentence-transformers, torch fp32, as documented (Python)",
        module: "sentence-transformers",
        options: { backend: "torch", dtype: "fp32", ...one },
        floor: "fp32",
      },
      {
        name: "llamacpp-f32",
        title: "crossrank, llama.cpp F32",
        artifact: "gguf:F32",
        ...llamacpp("F32"),
        floor: "fp32",
      },
    ],
  },
  {
    name: "fewer-bits",
    title: "8 and 16 bits",
    reference: "crossrank-onnx-int8",
    engines: [
      {
        name: "crossrank-onnx-int8",
        title: "crossrank, ONNX int8",
        artifact: "onnx:int8",
        ...onnx("int8"),
        floor: "int8",
      },
      {
        name: "onnxruntime-int8",
        title: "onnxruntime-node on crossrank's file",
        artifact: "onnx:int8",
        ...plain,
        floor: "int8",
      },
      {
        name: "onnxruntime-export-int8",
        title: "onnxruntime-node on torch's export, quantize_dynamic",
        artifact: "dynamo:int8",
        ...plain,
        floor: "int8",
      },
      {
        name: "transformers.js-int8",
        title: "transformers.js int8, sorted, batches of 8",
        artifact: "onnx:int8",
        module: "transformers-js",
        options: { dtype: "int8", rows: 8, ...one },
        floor: "int8",
      },
      {
        name: "ctranslate2-int8",
        title: "crossrank, CTranslate2 int8",
        artifact: "ctranslate2:int8",
        ...ctranslate2("int8"),
        floor: "int8",
      },
      {
        name: "ctranslate2-python-int8",
        title: "CTranslate2 int8, sorted, batches of 8 (Python)",
        artifact: "ctranslate2:int8",
        module: "ctranslate2-python",
        options: { dtype: "int8", rows: 8, ...one },
        floor: "int8",
      },
      {
        name: "openvino-bf16",
        title: "OpenVINO bf16 (Python)",
        made: "onnx/model.onnx",
        module: "openvino-onnx",
        options: { dtype: "bf16", positions: 512, ...one },
        floor: "bf16",
      },
      {
        name: "torch-bf16",
        title: "torch bf16, sorted, batches of 8 (Python)",
        module: "torch-sorted",
        options: { dtype: "bf16", rows: 8, ...one },
        floor: "bf16",
      },
      {
        name: "llamacpp-f16",
        title: "crossrank, llama.cpp F16",
        artifact: "gguf:F16",
        ...llamacpp("F16"),
        floor: "fp32",
      },
      {
        name: "node-llama-cpp-f16",
        title: "node-llama-cpp rankAll, F16",
        artifact: "gguf:F16",
        module: "node-llama-cpp",
        options: one,
        floor: "fp32",
      },
      {
        name: "llamacpp-q8_0",
        title: "crossrank, llama.cpp Q8_0",
        artifact: "gguf:Q8_0",
        ...llamacpp("Q8_0"),
        floor: "int8",
      },
      {
        name: "node-llama-cpp-q8_0",
        title: "node-llama-cpp rankAll, Q8_0",
        artifact: "gguf:Q8_0",
        module: "node-llama-cpp",
        options: one,
        floor: "int8",
      },
      {
        name: "mnn-int8",
        title: 'crossrank, MNN int8, memory: "low"',
        artifact: "mnn:int8",
        ...mnn("int8", { memory: "low" }),
        floor: "int8",
      },
    ],
  },
];

/**
 * MNN by threads, precision, memory and batch, beside ONNX.
 *
 * @type {Table}
 */
export const mnnTable = {
  name: "mnn",
  title: "MNN",
  reference: "mnn-fp32",
  engines: [
    {
      name: "mnn-fp32",
      title: "MNN fp32, one thread, up to 8 rows a batch",
      artifact: "mnn:fp32",
      ...mnn("fp32"),
      floor: "fp32",
    },
    {
      name: "mnn-two-threads",
      title: "fp32, one session of two threads",
      artifact: "mnn:fp32",
      ...mnn("fp32", { threads: 2 }),
      floor: "fp32",
    },
    {
      name: "mnn-two-sessions",
      title: "fp32, two sessions of one thread",
      artifact: "mnn:fp32",
      ...mnn("fp32", { sessions: 2 }),
      floor: "fp32",
    },
    {
      name: "mnn-one-row",
      title: "fp32, one row a batch",
      artifact: "mnn:fp32",
      ...mnn("fp32", { batch: { rows: 1 } }),
      floor: "fp32",
    },
    {
      name: "mnn-large-batches",
      title: "fp32, up to 32 rows, 4096 tokens, a tenth of padding",
      artifact: "mnn:fp32",
      ...mnn("fp32", { batch: { rows: 32, tokens: 4096, padding: 0.1 } }),
      floor: "fp32",
    },
    {
      name: "mnn-low-precision",
      title: 'fp32, precision: "low"',
      artifact: "mnn:fp32",
      ...mnn("fp32", { precision: "low" }),
      floor: "fp32",
    },
    { name: "mnn-fp16", title: "fp16", artifact: "mnn:fp16", ...mnn("fp16"), floor: "fp32" },
    {
      name: "mnn-fp16-low",
      title: 'fp16, precision: "low"',
      artifact: "mnn:fp16",
      ...mnn("fp16", { precision: "low" }),
      floor: "fp32",
    },
    { name: "mnn-int8", title: "int8", artifact: "mnn:int8", ...mnn("int8"), floor: "fp32" },
    {
      name: "mnn-int8-low-memory",
      title: 'int8, memory: "low"',
      artifact: "mnn:int8",
      ...mnn("int8", { memory: "low" }),
      floor: "int8",
    },
    {
      name: "mnn-int8-low-one-row",
      title: 'int8, memory: "low", one row a batch',
      artifact: "mnn:int8",
      ...mnn("int8", { memory: "low", batch: { rows: 1 } }),
      floor: "int8",
    },
    {
      name: "crossrank-onnx-fp32",
      title: "ONNX fp32",
      artifact: "onnx:fp32",
      ...onnx("fp32"),
      floor: "fp32",
    },
    {
      name: "crossrank-onnx-int8",
      title: "ONNX int8",
      artifact: "onnx:int8",
      ...onnx("int8"),
      floor: "int8",
    },
  ],
};

/** Names for --only. */
export const engineNames = [
  ...new Set([...tables, mnnTable].flatMap(({ engines }) => engines.map(({ name }) => name))),
];

/** Modules of Python that a script needs. */
const scripts = /** @type {Readonly<Record<string, readonly string[]>>} */ ({
  "sentence-transformers": ["torch", "sentence_transformers"],
  "torch-sorted": ["torch", "transformers"],
  "openvino-onnx": ["openvino", "tokenizers"],
  "ctranslate2-python": ["ctranslate2", "tokenizers", "safetensors"],
});

/**
 * @param {readonly Engine[]} engines
 * @returns {readonly string[]} keys of the artifacts that they need
 */
export const artifactsOf = (engines) => [...new Set(engines.flatMap(({ artifact }) => artifact ?? []))];

/**
 * @param {readonly Engine[]} engines
 * @param {{ source: BenchModel, artifacts: Artifacts }} files the made model, with model.safetensors and its plain ONNX file
 * @returns {{ contestants: Contestant[], missing: Skipped[] }}
 */
export function chooseEngines(engines, { source, artifacts }) {
  /** @type {Contestant[]} */
  const contestants = [];
  /** @type {Skipped[]} */
  const missing = [];
  for (const { name, title, module, options, artifact, made } of engines) {
    const needs = scripts[module];
    const found = artifact === undefined ? undefined : artifacts.found[artifact];
    const setup = {
      model: found === undefined ? { ...source, file: made ?? source.file } : modelOf(source, found, options),
    };
    if (artifact !== undefined && found === undefined) {
      missing.push({ title, reason: artifacts.missing[artifact] ?? "its artifact was not made" });
    } else if (needs === undefined) {
      contestants.push({ ...inNode(name, title, module, options), sweep: false, setup });
    } else if (!hasModules(pythonCommand(), needs)) {
      const reason = `${pythonCommand()} lacks some of ${needs.join(", ")}: run once with --install-python, or name a Python with --python`;
      missing.push({ title, reason });
    } else {
      const args = [fileOf(`${module}.py`)];
      contestants.push({ name, title, command: pythonCommand(), args, options, sweep: false, setup });
    }
  }
  return { contestants, missing };
}

/**
 * @param {BenchModel} source
 * @param {Artifact} artifact
 * @param {ContestantOptions} options
 * @returns {BenchModel}
 */
function modelOf(source, { folder, file }, { dtype = "" }) {
  return { name: source.name, folder, file, dtype, safetensors: false };
}
