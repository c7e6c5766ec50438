// Who competes over one model in several formats, and with whom each is compared.
/** @import { BenchModel, Contestant, ContestantOptions, Skipped } from "../types.js" */
/** @import { Artifact, Artifacts } from "./artifacts.mjs" */
import { availableParallelism } from "node:os";
import { fileOf, hasModules, inNode, pythonCommand } from "../contestants/contestants.mjs";

/** Documents for a contestant that takes seconds for one. */
const sampleSize = 10;

/**
 * @typedef {object} Entry
 * @property {string} name
 * @property {string} title
 * @property {string} [artifact] its key among the artifacts; without one it reads model.safetensors
 * @property {string} module of Node.js, or a script of Python: "sentence-transformers", "ctranslate2-python"
 * @property {ContestantOptions} options
 * @property {string} [against] name of crossrank's that it is compared with
 * @property {boolean} [sample] whether it gets fewer documents
 */

const cores = availableParallelism();

/** As backend-mnn chooses for a small file. */
const mnnSessions = Math.min(4, cores);
const mnnThreads = Math.floor(cores / mnnSessions);

/** In the order of the table and of the rounds, so that those who are compared run one after the other. */
const entries = /** @type {const} @satisfies {readonly Entry[]} */ ([
  {
    name: "onnx-fp32",
    title: "crossrank, onnx fp32",
    artifact: "onnx:fp32",
    module: "crossrank",
    options: { backend: "onnx", dtype: "fp32" },
  },
  {
    name: "export-fp32",
    title: "crossrank on torch.onnx.export's graph, fp32",
    artifact: "dynamo:fp32",
    module: "crossrank",
    options: { backend: "onnx", dtype: "fp32" },
    against: "onnx-fp32",
  },
  {
    name: "legacy-export-fp32",
    title: "crossrank on the legacy exporter's graph, fp32",
    artifact: "legacy:fp32",
    module: "crossrank",
    options: { backend: "onnx", dtype: "fp32" },
    against: "onnx-fp32",
  },
  {
    name: "torch-fp32",
    title: "sentence-transformers, torch fp32",
    module: "sentence-transformers",
    options: { backend: "torch", dtype: "fp32" },
    against: "onnx-fp32",
  },
  {
    name: "onnx-int8",
    title: "crossrank, onnx int8",
    artifact: "onnx:int8",
    module: "crossrank",
    options: { backend: "onnx", dtype: "int8" },
  },
  {
    name: "export-int8",
    title: "crossrank on torch.onnx.export's graph, int8",
    artifact: "dynamo:int8",
    module: "crossrank",
    options: { backend: "onnx", dtype: "int8" },
    against: "onnx-int8",
  },
  {
    name: "legacy-export-int8",
    title: "crossrank on the legacy exporter's graph, int8",
    artifact: "legacy:int8",
    module: "crossrank",
    options: { backend: "onnx", dtype: "int8" },
    against: "onnx-int8",
  },
  {
    name: "torch-bf16",
    title: "sentence-transformers, torch bf16",
    module: "sentence-transformers",
    options: { backend: "torch", dtype: "bf16" },
    against: "onnx-int8",
  },
  {
    name: "llamacpp-f32",
    title: "crossrank, llamacpp F32",
    artifact: "gguf:F32",
    module: "crossrank",
    options: { backend: "llamacpp", dtype: "F32" },
  },
  {
    name: "llamacpp-f16",
    title: "crossrank, llamacpp F16",
    artifact: "gguf:F16",
    module: "crossrank",
    options: { backend: "llamacpp", dtype: "F16" },
  },
  {
    name: "rankall-f16",
    title: `node-llama-cpp rankAll, F16, threads: ${cores}`,
    artifact: "gguf:F16",
    module: "node-llama-cpp",
    options: { threads: cores },
    against: "llamacpp-f16",
  },
  {
    name: "llamacpp-q8_0",
    title: "crossrank, llamacpp Q8_0",
    artifact: "gguf:Q8_0",
    module: "crossrank",
    options: { backend: "llamacpp", dtype: "Q8_0" },
  },
  {
    name: "rankall-q8_0",
    title: `node-llama-cpp rankAll, Q8_0, threads: ${cores}`,
    artifact: "gguf:Q8_0",
    module: "node-llama-cpp",
    options: { threads: cores },
    against: "llamacpp-q8_0",
  },
  {
    name: "rankall-f16-default",
    title: `node-llama-cpp rankAll, F16, as documented (${sampleSize} documents)`,
    artifact: "gguf:F16",
    module: "node-llama-cpp",
    options: {},
    against: "llamacpp-f16",
    sample: true,
  },
  {
    name: "rankall-q8_0-default",
    title: `node-llama-cpp rankAll, Q8_0, as documented (${sampleSize} documents)`,
    artifact: "gguf:Q8_0",
    module: "node-llama-cpp",
    options: {},
    against: "llamacpp-q8_0",
    sample: true,
  },
  {
    name: "mnn-fp32",
    title: `crossrank, mnn fp32, sessions × threads: ${mnnSessions} × ${mnnThreads}`,
    artifact: "mnn:fp32",
    module: "crossrank",
    options: { backend: "mnn", dtype: "fp32" },
  },
  {
    name: "mnn-fp32-one-session",
    title: `crossrank, mnn fp32, sessions × threads: 1 × ${cores}`,
    artifact: "mnn:fp32",
    module: "crossrank",
    options: { backend: "mnn", dtype: "fp32", mnn: { sessions: 1, threads: cores } },
    against: "mnn-fp32",
  },
  {
    name: "mnn-fp32-one-row",
    title: "crossrank, mnn fp32, one row a batch",
    artifact: "mnn:fp32",
    module: "crossrank",
    options: { backend: "mnn", dtype: "fp32", mnn: { batch: { rows: 1 } } },
    against: "mnn-fp32",
  },
  {
    name: "mnn-fp32-large-batches",
    title: "crossrank, mnn fp32, up to 32 rows, 4096 tokens, a tenth of padding",
    artifact: "mnn:fp32",
    module: "crossrank",
    options: { backend: "mnn", dtype: "fp32", mnn: { batch: { rows: 32, tokens: 4096, padding: 0.1 } } },
    against: "mnn-fp32",
  },
  {
    name: "mnn-fp32-low-precision",
    title: 'crossrank, mnn fp32, precision: "low"',
    artifact: "mnn:fp32",
    module: "crossrank",
    options: { backend: "mnn", dtype: "fp32", mnn: { precision: "low" } },
    against: "mnn-fp32",
  },
  {
    name: "mnn-fp16",
    title: "crossrank, mnn fp16",
    artifact: "mnn:fp16",
    module: "crossrank",
    options: { backend: "mnn", dtype: "fp16" },
    against: "mnn-fp32",
  },
  {
    name: "mnn-int8",
    title: "crossrank, mnn int8",
    artifact: "mnn:int8",
    module: "crossrank",
    options: { backend: "mnn", dtype: "int8" },
    against: "mnn-fp32",
  },
  {
    name: "mnn-int8-low-memory",
    title: 'crossrank, mnn int8, memory: "low"',
    artifact: "mnn:int8",
    module: "crossrank",
    options: { backend: "mnn", dtype: "int8", mnn: { memory: "low" } },
    against: "mnn-fp32",
  },
  {
    name: "ctranslate2-fp32",
    title: "crossrank, ctranslate2 fp32",
    artifact: "ctranslate2:fp32",
    module: "crossrank",
    options: { backend: "ctranslate2", dtype: "fp32" },
    against: "onnx-fp32",
  },
  {
    name: "ctranslate2-int8",
    title: "crossrank, ctranslate2 int8",
    artifact: "ctranslate2:int8",
    module: "crossrank",
    options: { backend: "ctranslate2", dtype: "int8" },
    against: "onnx-int8",
  },
  {
    name: "ctranslate2-python-int8",
    title: "Python's ctranslate2, int8, sorted, batches of 32",
    artifact: "ctranslate2:int8",
    module: "ctranslate2-python",
    options: { dtype: "int8" },
    against: "ctranslate2-int8",
  },
  {
    name: "mlx-fp32",
    title: "crossrank, mlx fp32 on the processor",
    module: "crossrank",
    options: { backend: "mlx", dtype: "fp32" },
    against: "onnx-fp32",
  },
  {
    name: "mlx-q8",
    title: "crossrank, mlx q8 on the processor",
    module: "crossrank",
    options: { backend: "mlx", dtype: "q8" },
    against: "onnx-int8",
  },
]);

/** Modules of Python that a script needs, and how to install them. */
const scripts = /** @type {Readonly<Record<string, { needs: string[], install: string }>>} */ ({
  "sentence-transformers": {
    needs: ["sentence_transformers"],
    install: "sentence-transformers",
  },
  "ctranslate2-python": {
    needs: ["ctranslate2", "tokenizers", "safetensors"],
    install: "ctranslate2 tokenizers safetensors",
  },
});

/** @typedef {(typeof entries)[number]["name"]} FormatName */

export const formatNames = entries.map(({ name }) => name);

/** @type {(only: readonly string[]) => readonly string[]} keys of the artifacts that these contestants need */
export const artifactsOf = (only) => [
  ...new Set(
    entries.flatMap((entry) => ("artifact" in entry && only.includes(entry.name) ? entry.artifact : [])),
  ),
];

/** @type {(name: string) => string | undefined} name of the one that it is compared with */
export function opponentOf(name) {
  const entry = entries.find((one) => one.name === name);
  return entry !== undefined && "against" in entry ? entry.against : undefined;
}

/**
 * @param {BenchModel} source with model.safetensors
 * @param {{ only: readonly string[], artifacts: Artifacts, documents: readonly string[] }} choice
 * @returns {{ contestants: Contestant[], skipped: Skipped[] }}
 */
export function chooseFormats(source, { only, artifacts, documents }) {
  /** @type {Contestant[]} */
  const contestants = [];
  /** @type {Skipped[]} */
  const skipped = [];
  for (const entry of /** @type {readonly Entry[]} */ (entries).filter(({ name }) => only.includes(name))) {
    const { name, title, module, options } = entry;
    const script = scripts[module];
    const artifact = entry.artifact === undefined ? undefined : artifacts.found[entry.artifact];
    const setup = {
      model: artifact === undefined ? source : modelOf(source, artifact, options),
      ...(entry.sample === true ? { documents: sample(documents) } : {}),
    };
    if (entry.artifact !== undefined && artifact === undefined) {
      skipped.push({ title, reason: artifacts.missing[entry.artifact] ?? "its artifact was not made" });
    } else if (script === undefined) {
      contestants.push({ ...inNode(name, title, module, options), setup });
    } else if (!hasModules(pythonCommand(), script.needs)) {
      const reason = `${pythonCommand()} has no ${script.needs.join(" or no ")} (pip install ${script.install})`;
      skipped.push({ title, reason });
    } else {
      const args = [fileOf(`${module}.py`)];
      contestants.push({ name, title, command: pythonCommand(), args, options, sweep: false, setup });
    }
  }
  return { contestants, skipped };
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

/**
 * Evenly over the documents by length, so that their mean length is about that of all.
 *
 * @param {readonly string[]} documents
 */
function sample(documents) {
  const sorted = [...documents].sort((left, right) => left.length - right.length);
  const step = Math.max(1, sorted.length / sampleSize);
  return sorted.filter((_, index) => Math.floor((index + 0.5) / step) !== Math.floor((index - 0.5) / step));
}
