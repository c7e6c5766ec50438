/** @import { BenchModel, Contestant, ContestantOptions, Skipped } from "../types.js" */
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { installedPython } from "../python.mjs";

/** Names for --only, in the order of the table. */
export const contestantNames = /** @type {const} */ ([
  "crossrank",
  "sweep",
  "naive",
  "transformers.js",
  "sentence-transformers-torch",
  "sentence-transformers-onnx",
]);

/** @type {(name: string) => string} */
export const fileOf = (name) => fileURLToPath(new URL(name, import.meta.url));

/** @type {(name: string, title: string, module: string, options?: ContestantOptions) => Contestant} */
export const inNode = (name, title, module, options = {}) => ({
  name,
  title,
  command: process.execPath,
  args: [fileOf("host.mjs"), module],
  options,
  sweep: name === "sweep",
});

/**
 * Threads are split over sessions in these ways: one session with all of them in the main thread, worker threads of
 * one thread each, and on a machine of more than four threads also four workers, which is crossrank's own choice.
 *
 * @param {number} cores
 * @returns {{ workers: number, threads: number }[]}
 */
export function layouts(cores) {
  const split = cores > 4 ? [{ workers: 4, threads: Math.floor(cores / 4) }] : [];
  return [{ workers: 0, threads: cores }, ...split, { workers: cores, threads: 1 }];
}

/**
 * @param {BenchModel} model
 * @param {readonly string[]} only names
 * @param {readonly number[]} batches rows of the sweep
 * @returns {{ contestants: Contestant[], skipped: Skipped[] }}
 */
export function chooseContestants(model, only, batches) {
  const sweep = layouts(availableParallelism()).flatMap(({ workers, threads }) =>
    batches.map((rows) => {
      const place =
        workers === 0
          ? `one session of ${count(threads, "thread")}`
          : `${count(workers, "worker")} of ${count(threads, "thread")}`;
      const title = `onnxruntime-node, sorted, batches of ${rows}, ${place}`;
      return inNode("sweep", title, "onnxruntime", { rows, workers, threads });
    }),
  );
  const all = [
    inNode("crossrank", "crossrank, defaults", "crossrank"),
    ...sweep,
    inNode("naive", "onnxruntime-node, one padded batch", "onnxruntime", { rows: "all" }),
    inNode("transformers.js", "transformers.js, as documented", "transformers-js"),
  ].filter(({ name }) => only.includes(name));
  const python = choosePython(model, only);
  return { contestants: [...all, ...python.contestants], skipped: python.skipped };
}

/** @type {(number: number, noun: string) => string} */
const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/**
 * @param {BenchModel} model
 * @param {readonly string[]} only
 * @returns {{ contestants: Contestant[], skipped: Skipped[] }}
 */
function choosePython(model, only) {
  /** @type {Contestant[]} */
  const contestants = [];
  /** @type {Skipped[]} */
  const skipped = [];
  const command = pythonCommand();
  const backends = /** @type {const} */ (["torch", "onnx"]).filter((backend) =>
    only.includes(`sentence-transformers-${backend}`),
  );
  for (const backend of backends) {
    const title = `sentence-transformers, ${backend}`;
    const needed =
      backend === "torch" ? ["sentence_transformers"] : ["sentence_transformers", "optimum.onnxruntime"];
    const extra = backend === "torch" ? "sentence-transformers" : '"sentence-transformers[onnx]"';
    if (backend === "torch" && !model.safetensors) {
      skipped.push({ title, reason: `${model.name} comes as ${model.file} only, without weights for torch` });
    } else if (!hasModules(command, needed)) {
      skipped.push({ title, reason: `${command} has no ${needed.join(" or no ")} (pip install ${extra})` });
    } else {
      contestants.push({
        name: `sentence-transformers-${backend}`,
        title,
        command,
        args: [fileOf("sentence-transformers.py")],
        options: { backend },
        sweep: false,
      });
    }
  }
  return { contestants, skipped };
}

export function pythonCommand() {
  return process.env["PYTHON"] || installedPython() || "python3";
}

/**
 * Looks without importing torch, which takes seconds.
 *
 * @param {string} command
 * @param {readonly string[]} modules
 */
export function hasModules(command, modules) {
  const script = `import sys; from importlib.util import find_spec; sys.exit(not all(map(find_spec, ${JSON.stringify(modules)})))`;
  return spawnSync(command, ["-c", script], { stdio: "ignore" }).status === 0;
}
