import { ModelProfileError } from "@crossrank/core";
import type { Linear, Norm } from "./description.js";
import { requireSetting, type Source } from "./source.js";

/**
 * What stands before an encoder's names. transformers saves a model with a head under `base_model_prefix`, and an
 * encoder alone without one, and loads either into the other.
 *
 * @throws {ModelProfileError} when there is no such tensor under either name.
 */
export function findPrefix({ weights }: Source, within: string, name: string): string {
  const found = [within, ""].find((prefix) => weights.has(prefix + name));
  if (found !== undefined) return found;
  throw weights.problem(undefined, `has no tensor ${within}${name}`);
}

/** Weight and bias of torch.nn.Linear. @param bias `optional`: if there is one. */
export function linear(
  { weights }: Source,
  name: string,
  outputs: number,
  inputs: number,
  bias: boolean | "optional" = true,
): Linear {
  const weight = weights.take(`${name}.weight`, [outputs, inputs]);
  if (bias === false) return { weight };
  const own = `${name}.bias`;
  const taken = bias === true ? weights.take(own, [outputs]) : weights.takeOptional(own, [outputs]);
  return taken === undefined ? { weight } : { weight, bias: taken };
}

/**
 * The layer of a classifier that gives the classes which the profile's head reads.
 * @throws {ModelProfileError} where the weights give others: the head or the number of labels is wrong, and no file is
 *   damaged.
 */
export function classifierLinear(
  source: Source,
  name: string,
  classes: number,
  inputs: number,
  bias = true,
): Linear {
  const { weights, model, profile } = source;
  const [given, ...rest] = weights.shape(`${name}.weight`) ?? [];
  if (given !== undefined && given !== classes && rest.length === 1 && rest[0] === inputs) {
    throw new ModelProfileError({
      model,
      file: weights.files.paths[0],
      problem: `its classifier (${name}.weight) gives ${given} ${given === 1 ? "class" : "classes"}, and the profile's head (${profile.head.kind}) reads ${classes}`,
      fix: "Correct the head (crossrank.json, or the option `profile`), or num_labels and id2label of config.json",
    });
  }
  return linear(source, name, classes, inputs, bias);
}

/** torch.nn.LayerNorm, also under the names that its numbers had in the first BERT (gamma, beta). */
export function layerNorm(
  { weights }: Source,
  name: string,
  width: number,
  epsilon: number,
  bias = true,
): Norm {
  const weight = weights.take([`${name}.weight`, `${name}.gamma`], [width]);
  return bias
    ? { kind: "layer-norm", weight, bias: weights.take([`${name}.bias`, `${name}.beta`], [width]), epsilon }
    : { kind: "layer-norm", weight, epsilon };
}

/** LayerNorm without a mean, as the decoders have it. */
export function rmsNorm({ weights }: Source, name: string, width: number, epsilon: number): Norm {
  return { kind: "rms-norm", weight: weights.take(`${name}.weight`, [width]), epsilon };
}

/** Rotary positions turn pairs of numbers. @throws {ModelProfileError} when a head has an odd one. */
export function requirePairs(source: Source, headSize: number): void {
  requireSetting(
    source,
    headSize % 2 === 0,
    `gives its heads ${headSize} numbers, which are no pairs to rotate`,
  );
}

/** @throws {ModelProfileError} when the heads do not share the hidden size evenly. */
export function headSizeOf(source: Source, hidden: number, heads: number): number {
  requireSetting(
    source,
    hidden % heads === 0,
    `hidden_size ${hidden} is no multiple of num_attention_heads ${heads}`,
  );
  return hidden / heads;
}
