import { createHash } from "node:crypto";
import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ModelDescription, Weight } from "@crossrank/convert";
import { type ModelFiles, ModelLoadError, ModelProfileError } from "@crossrank/core";
import { openSafetensors, type TensorFile } from "@crossrank/core/files";
import type { GraphChanges, LowRank, MadeWeight } from "../graph/changes.js";
import { modelWeights } from "../weights/model-weights.js";
import { findTensors, type TensorPlace } from "../weights/tensor-places.js";

const configFile = "adapter_config.json";
const weightsFile = "adapter_model.safetensors";
/** Bytes. */
const largestConfig = 1 << 20;
const prefix = "base_model.model.";

/** What was trained beside a model, in the layout of Hugging Face's peft. */
export interface Adapter {
  /** Of both files: what it is, for the settings of a session. */
  readonly sha256: string;
  /**
   * How a model's graph changes for it.
   * @param files whose tensors the description's weights are.
   * @throws {ModelLoadError} when it was trained beside another model.
   */
  changesOf(
    description: ModelDescription,
    files: ModelFiles,
    options: { readonly signal?: AbortSignal | undefined },
  ): Promise<GraphChanges>;
}

/**
 * Opens an adapter's folder: low ranks (LoRA) and whole tensors of a head.
 *
 * @param model for messages.
 * @throws {ModelLoadError} when there is none, or it is of a kind that is not computed here.
 */
export async function openAdapter(folder: string, model: string): Promise<Adapter> {
  const fault = (file: string, problem: string, fix: string, cause?: unknown): ModelLoadError =>
    new ModelLoadError({ model, backend: "mlx", file: join(folder, file), problem, fix }, { cause });
  const files = folderFiles(folder);
  const config = await readConfig(folder).catch((cause: unknown) => {
    throw fault(
      configFile,
      `the adapter is not there or is no JSON (${(cause as Error).message})`,
      `Name a folder with ${configFile} and ${weightsFile}`,
      cause,
    );
  });
  const problem = configProblem(config);
  if (problem !== undefined)
    throw fault(
      configFile,
      `the adapter ${problem}`,
      "Merge it into its model with peft, and name the merged folder",
    );
  let tensors: TensorFile;
  let sha256: string;
  try {
    tensors = await openSafetensors(files, weightsFile);
    sha256 = createHash("sha256")
      .update(JSON.stringify(config))
      .update(await readFile(join(folder, weightsFile)))
      .digest("hex");
  } catch (cause) {
    const said = ModelProfileError.isInstance(cause) ? cause.message : (cause as Error).message;
    throw fault(
      weightsFile,
      `the adapter cannot be read: ${said.replace(/\.$/, "")}`,
      "Write it again",
      cause,
    );
  }
  const rank = config["r"] as number;
  const alpha = config["lora_alpha"] as number;
  const scale = alpha / (config["use_rslora"] === true ? Math.sqrt(rank) : rank);
  return {
    sha256,
    changesOf: async (description, base, { signal }) => {
      const other = (problemOf: string): ModelLoadError =>
        fault(
          weightsFile,
          `the adapter ${problemOf}`,
          "Take the adapter that was trained beside this model, or the model that it was trained beside",
        );
      const weights = modelWeights(description).map(({ weight }) => weight);
      const places = await findTensors(base, weights, { signal });
      const taken = new Set<string>();
      const has = (name: string): boolean => tensors.names.includes(name);
      const lowRanks = new Map<Weight, LowRank>();
      const instead = new Map<Weight, MadeWeight>();
      for (const [weight, place] of places) {
        const module = place.name.replace(/\.weight$/, "");
        const [a, b] = [`${prefix}${module}.lora_A.weight`, `${prefix}${module}.lora_B.weight`];
        if (has(a) && has(b)) {
          const [outputs = 0, width = 0] = place.shape;
          if (
            tensors.shape(a).join() !== `${rank},${width}` ||
            tensors.shape(b).join() !== `${outputs},${rank}`
          )
            throw other(`has low ranks of another shape for ${place.name}`);
          lowRanks.set(weight, { a: rowsOf(tensors, a, undefined), b: rowsOf(tensors, b, place), scale });
          taken.add(a).add(b);
        }
        const whole = `${prefix}${place.name}`;
        if (!has(whole)) continue;
        if (tensors.shape(whole).join() !== place.shape.join())
          throw other(`has a tensor ${place.name} of another shape`);
        instead.set(weight, rowsOf(tensors, whole, place));
        taken.add(whole);
      }
      const unknown = tensors.names.find((name) => !taken.has(name));
      if (unknown !== undefined) throw other(`has ${unknown}, and the model has no such weight`);
      return {
        lowRankOf: (weight) => lowRanks.get(weight),
        insteadOf: (weight) => instead.get(weight),
      };
    },
  };
}

/** A tensor, or the rows of it that a weight is of a fused one. */
function rowsOf(tensors: TensorFile, name: string, place: TensorPlace | undefined): MadeWeight {
  const shape = tensors.shape(name);
  const [from, count] = place === undefined ? [0, shape[0] ?? 1] : [place.row, place.rows];
  return {
    name: `${name} ${from} ${count}`,
    shape: [count, ...shape.slice(1)],
    read: () => tensors.rows(name, from, from + count),
  };
}

async function readConfig(folder: string): Promise<Readonly<Record<string, unknown>>> {
  const path = join(folder, configFile);
  if ((await stat(path)).size > largestConfig) throw new Error("it is larger than a configuration");
  const parsed: unknown = JSON.parse(await readFile(path, "utf8"));
  if (typeof parsed !== "object" || parsed === null) throw new Error("it is no object");
  return parsed as Readonly<Record<string, unknown>>;
}

/** Why an adapter computes something that is not computed here; undefined where it does not. */
function configProblem(config: Readonly<Record<string, unknown>>): string | undefined {
  const isCount = (value: unknown): boolean => Number.isInteger(value) && (value as number) >= 1;
  if (config["peft_type"] !== "LORA")
    return `is of the kind ${JSON.stringify(config["peft_type"])}, and LORA is loaded`;
  if (!isCount(config["r"])) return "has no rank r";
  const alpha = config["lora_alpha"];
  if (!(typeof alpha === "number" && Number.isFinite(alpha))) return "has no lora_alpha";
  if ((config["bias"] ?? "none") !== "none") return "trains biases";
  for (const name of ["use_dora", "fan_in_fan_out", "lora_bias", "use_qalora"])
    if (config[name] === true) return `has ${name}`;
  for (const name of ["rank_pattern", "alpha_pattern"])
    if (Object.keys((config[name] ?? {}) as object).length > 0) return `has a ${name}`;
  return undefined;
}

/** Files of a folder of this machine. */
function folderFiles(folder: string): ModelFiles {
  return {
    id: folder,
    revision: undefined,
    list: async () => [
      { path: weightsFile, size: (await stat(join(folder, weightsFile))).size, sha256: undefined },
    ],
    readText: (path) => readFile(join(folder, path), "utf8"),
    readBytes: async (path, { start, end }) => {
      const file = await open(join(folder, path), "r");
      try {
        const { size } = await file.stat();
        const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start));
        for (let done = 0; done < bytes.length; ) {
          const { bytesRead } = await file.read(bytes, done, bytes.length - done, start + done);
          if (bytesRead === 0) throw new Error("the file became shorter");
          done += bytesRead;
        }
        return bytes;
      } finally {
        await file.close();
      }
    },
    localPath: async (path) => join(folder, path),
  };
}
