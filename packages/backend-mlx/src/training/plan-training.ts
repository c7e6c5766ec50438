import type { ModelDescription, Weight } from "@crossrank/convert";
import type { ModelFiles } from "@crossrank/core";
import type { DropoutChances, GraphChanges, LowRank, MadeWeight } from "../graph/changes.js";
import { modelWeights, type Projection } from "../weights/model-weights.js";
import { findTensors, type TensorPlace } from "../weights/tensor-places.js";
import { dropoutOf } from "./dropout.js";
import { UntrainableError } from "./errors.js";
import { createUniform } from "./uniform.js";

/** What of a model is trained. */
export interface TrainedParts {
  /** `lora`: low ranks beside matrices, and the head. `full`: every weight. */
  readonly method: "lora" | "full";
  readonly rank: number;
  /** A low rank counts alpha / rank. */
  readonly alpha: number;
  readonly targets: readonly Projection[];
  /** A chance for all of the model's own dropouts, 0 to below 1; or `"model"`: those of its config.json. */
  readonly dropout: number | "model";
  readonly lowRankDropout: number;
  /** Of the first numbers of low ranks. */
  readonly seed: number;
}

/** A weight that is trained, by what it is. */
export type TrainedFacts =
  | { readonly role: "a"; readonly tensor: TensorPlace; readonly name: string; readonly scale: number }
  /** `tensor.row` and `tensor.rows`: which outputs of the matrix. */
  | { readonly role: "b"; readonly tensor: TensorPlace; readonly name: string; readonly scale: number }
  /** `tensor`: the tensor, or rows of it, whose place the numbers take. */
  | { readonly role: "whole"; readonly tensor: TensorPlace; readonly name: string };

export interface TrainingChanges extends GraphChanges {
  readonly dropout: DropoutChances;
  /** What a weight of the program is when it is trained; undefined of one that is not. */
  readonly factsOf: (weight: Weight | MadeWeight) => TrainedFacts | undefined;
}

/**
 * What is trained of a model, and how its graph changes for it.
 *
 * @throws {UntrainableError} when no matrix is a target, or a weight that would be trained is in no file.
 */
export async function planTraining(
  description: ModelDescription,
  files: ModelFiles,
  parts: TrainedParts,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<TrainingChanges> {
  const { method, rank, alpha, targets, dropout, lowRankDropout } = parts;
  const all = modelWeights(description);
  const tensors = await findTensors(
    files,
    all.map(({ weight }) => weight),
    options,
  );
  const facts = new Map<Weight | MadeWeight, TrainedFacts>();
  const lowRanks = new Map<Weight, LowRank>();
  const inputs = new Map<string, MadeWeight>();
  const tensorOf = (weight: Weight): TensorPlace => {
    const tensor = tensors.get(weight);
    if (tensor !== undefined) return tensor;
    throw new UntrainableError({
      model: files.id,
      problem: `has a weight that no file holds as it is (${weight.name}), so it cannot be trained`,
      fix: "Take the method lora with other targets, or another model",
    });
  };
  for (const one of all) {
    const { weight } = one;
    if (method === "full" || one.part === "head") {
      const tensor = tensorOf(weight);
      const whole = tensor.shape[0] === tensor.rows;
      const name = whole ? tensor.name : `${tensor.name}[${tensor.row}..${tensor.row + tensor.rows}]`;
      facts.set(weight, { role: "whole", tensor, name });
    } else if (one.part === "projection" && !one.isBias && targets.includes(one.projection)) {
      const tensor = tensorOf(weight);
      const [outputs = 1, width = 1] = weight.shape;
      const scale = alpha / rank;
      const module = tensor.name.replace(/\.weight$/, "");
      const a = inputs.get(tensor.name) ?? firstInputs(`${module}.lora_A.weight`, [rank, width], parts.seed);
      inputs.set(tensor.name, a);
      const whole = tensor.shape[0] === tensor.rows;
      const name = `${module}.lora_B.weight${whole ? "" : `[${tensor.row}..${tensor.row + tensor.rows}]`}`;
      const b: MadeWeight = { name, shape: [outputs, rank], read: () => new Float32Array(outputs * rank) };
      facts.set(a, { role: "a", tensor, name: a.name, scale });
      facts.set(b, { role: "b", tensor, name, scale });
      lowRanks.set(weight, { a, b, scale });
    }
  }
  if (method === "lora" && lowRanks.size === 0)
    throw new UntrainableError({
      model: files.id,
      problem: `has none of the projections ${targets.join(", ")}`,
      fix: "Name projections that its layers have",
    });
  return {
    dropout: await dropoutOf(files, dropout, options),
    lowRankDropout,
    wholeVocabulary: method === "full",
    lowRankOf: (weight) => lowRanks.get(weight),
    factsOf: (weight) => facts.get(weight),
  };
}

/** As peft starts them: evenly within 1/√inputs (torch's kaiming_uniform_ with √5). */
function firstInputs(name: string, shape: readonly [number, number], seed: number): MadeWeight {
  const [rank, width] = shape;
  return {
    name,
    shape,
    read: () => {
      const next = createUniform(`${seed} ${name}`);
      const most = 1 / Math.sqrt(width);
      return Float32Array.from({ length: rank * width }, () => (2 * next() - 1) * most);
    },
  };
}
