import { ModelProfileError } from "../contract/errors.js";
import type { FileRequestOptions, ModelFiles } from "../contract/model-files.js";
import type { HeadModule } from "../contract/model-profile.js";
import { openSafetensors, type Tensor, type TensorFile } from "../files/safetensors.js";
import { dot, normalize } from "./vector.js";

/** The modules of a head, applied one after the other, in float64. */
export type HeadChain = (vector: Float64Array) => Float64Array;

type Activation = Extract<HeadModule, { kind: "dense" }>["activation"];

const activations: Readonly<Record<Activation, (value: number) => number>> = {
  identity: (value) => value,
  tanh: Math.tanh,
  relu: (value) => Math.max(0, value),
  // torch.nn.GELU's default, the exact one.
  gelu: (value) => (value / 2) * (1 + erf(value / Math.SQRT2)),
  silu: (value) => value / (1 + Math.exp(-value)),
  sigmoid: (value) => 1 / (1 + Math.exp(-value)),
};

/**
 * Reads the weights that the modules name.
 *
 * @throws {ModelFileNotFoundError} when a weights file is missing.
 * @throws {ModelProfileError} when one is damaged, or its shapes do not fit together.
 */
export async function loadHeadChain(
  files: ModelFiles,
  modules: readonly HeadModule[],
  options: FileRequestOptions = {},
): Promise<HeadChain> {
  const opened = new Map<string, Promise<TensorFile>>();
  const read = async (path: string, name: string): Promise<Tensor> => {
    const file = opened.get(path) ?? openSafetensors(files, path, options);
    opened.set(path, file);
    return (await file).read(name);
  };
  const steps: HeadChain[] = [];
  for (const module of modules) {
    if (module.kind === "normalize") {
      steps.push(normalize);
      continue;
    }
    const weight = await read(module.file, module.weight);
    const bias = module.bias === undefined ? undefined : await read(module.file, module.bias);
    const misfit = (problem: string): ModelProfileError =>
      new ModelProfileError({
        model: files.id,
        file: module.file,
        problem,
        fix: "Its weights and its config.json are not of one model; download it again",
      });
    if (module.kind === "layer-norm") {
      if (weight.shape.length !== 1)
        throw misfit(`${module.weight} has shape ${weight.shape.join(" × ")}, not that of a layer norm`);
      steps.push((vector) =>
        layerNorm(checked(vector, weight.data.length, module.kind), weight, bias, module.epsilon),
      );
      continue;
    }
    const [outputs = 0, inputs = 0] = weight.shape;
    if (weight.shape.length !== 2 || (bias !== undefined && bias.data.length !== outputs))
      throw misfit(`${module.weight} has shape ${weight.shape.join(" × ")} and does not fit its bias`);
    const carried =
      module.residualWeight === undefined ? undefined : await read(module.file, module.residualWeight);
    if (carried !== undefined && (carried.shape[0] !== outputs || carried.shape[1] !== inputs))
      throw misfit(
        `${module.residualWeight} has shape ${carried.shape.join(" × ")}, not that of ${module.weight}`,
      );
    if (module.residual && carried === undefined && outputs !== inputs)
      throw misfit(
        `a residual layer of ${inputs} inputs and ${outputs} outputs has no weight for what it adds`,
      );
    const activate = activations[module.activation];
    steps.push((vector) => {
      const x = checked(vector, inputs, module.kind);
      return Float64Array.from({ length: outputs }, (_, row) => {
        const sum = rowTimes(weight, row, x);
        const value = activate(sum + (bias?.data[row] ?? 0));
        if (!module.residual) return value;
        return value + (carried === undefined ? (x[row] as number) : rowTimes(carried, row, x));
      });
    });
  }
  return (vector) => steps.reduce((current, step) => step(current), vector);
}

function rowTimes({ data }: Tensor, row: number, x: Float64Array): number {
  return dot(data.subarray(row * x.length, (row + 1) * x.length), x);
}

function checked(vector: Float64Array, width: number, kind: string): Float64Array {
  if (vector.length === width) return vector;
  throw new RangeError(`the head's ${kind} wants ${width} numbers, and the model gives ${vector.length}`);
}

function layerNorm(
  vector: Float64Array,
  weight: Tensor,
  bias: Tensor | undefined,
  epsilon: number,
): Float64Array {
  const mean = vector.reduce((sum, value) => sum + value, 0) / vector.length;
  const variance = vector.reduce((sum, value) => sum + (value - mean) ** 2, 0) / vector.length;
  const scale = 1 / Math.sqrt(variance + epsilon);
  return vector.map((value, i) => (value - mean) * scale * (weight.data[i] as number) + (bias?.data[i] ?? 0));
}

/**
 * The error function, to float64's precision: its Maclaurin series up to 3, beyond that the continued fraction of erfc
 * (Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.6 and 7.1.14).
 */
function erf(x: number): number {
  const z = Math.abs(x);
  const sign = Math.sign(x);
  if (z > 6) return sign;
  if (z < 3) {
    let term = z;
    let sum = z;
    for (let n = 1; Math.abs(term) > 1e-17 * Math.abs(sum); n += 1) {
      term *= (2 * z * z) / (2 * n + 1);
      sum += term;
    }
    return sign * ((2 / Math.sqrt(Math.PI)) * Math.exp(-z * z) * sum);
  }
  let fraction = 0;
  for (let n = 60; n > 0; n -= 1) fraction = n / 2 / (z + fraction);
  return sign * (1 - Math.exp(-z * z) / Math.sqrt(Math.PI) / (z + fraction));
}
