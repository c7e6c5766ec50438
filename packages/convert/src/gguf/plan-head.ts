import type { ModelProfile } from "@crossrank/core";
import type { Linear, ModelDescription } from "../source/description.js";
import type { Weight } from "../source/weight.js";
import { differenceOfRows } from "./derived-weight.js";
import { exact, type PlannedTensor, poolingTypes, refusal } from "./plan.js";

export interface HeadPlan {
  readonly poolingType: number;
  readonly tensors: readonly PlannedTensor[];
  readonly foldedTwoClass?: 0 | 1 | undefined;
}

/**
 * The head of an encoder. llama.cpp's rank pooling takes one vector, through `cls` and a fixed activation, to
 * `cls.output` (`llm_graph_context::build_pooling` in llama-graph.cpp): the first token's and tanh for `bert`, the
 * mean, GELU and `cls.norm` for `modern-bert`. The other pooling types give the vector itself.
 *
 * @throws {UnsupportedConversionError} for a head that is not of this form.
 */
export function planEncoderHead(
  description: ModelDescription,
  profile: ModelProfile,
  flavour: "bert" | "modern-bert",
): HeadPlan {
  switch (profile.head.kind) {
    case "cosine":
    case "pooled-chain":
      return { poolingType: poolingTypes[profile.head.pooling], tensors: [] };
    case "logit":
      return planClassifier(description, flavour, undefined);
    case "two-class":
      return planClassifier(description, flavour, profile.head.positive);
    default:
      throw refusal(
        description,
        `an encoder with a head of kind ${profile.head.kind} has no place in a GGUF`,
      );
  }
}

const poolingNames = {
  cls: "the first token's vector",
  mean: "the mean vector",
  last: "the last token's vector",
} as const;

function planClassifier(
  description: ModelDescription,
  flavour: "bert" | "modern-bert",
  positive: 0 | 1 | undefined,
): HeadPlan {
  const { head } = description;
  if (head.kind !== "classifier")
    throw refusal(description, "its profile has a classifier's head, and the model has no classifier");
  const wanted = flavour === "bert" ? "cls" : "mean";
  if (head.pooling !== wanted)
    throw refusal(
      description,
      `its classifier takes ${poolingNames[head.pooling]}, and llama.cpp's rank pooling of ${flavour} takes ${wanted === "cls" ? "the first token's" : "the mean"}`,
    );
  const classes = positive === undefined ? 1 : 2;
  if (head.classes !== classes)
    throw refusal(
      description,
      `its classifier has ${head.classes} classes, and its profile's head ${classes}`,
    );

  const steps = [...head.steps];
  const last = steps.pop();
  const unlike = () =>
    refusal(
      description,
      `its classifier is not ${flavour === "bert" ? "dense, tanh, dense" : "dense, GELU, norm, dense"}, which is ` +
        "all that llama.cpp computes",
    );
  if (last?.kind !== "linear" || last.linear.weight.shape[1] !== description.hiddenSize) throw unlike();
  if (last.activation !== "identity") throw unlike();
  const tensors: PlannedTensor[] = [];
  const [dense, norm, ...others] = steps;
  if (others.length > 0) throw unlike();
  if (dense !== undefined) {
    const activations = flavour === "bert" ? ["tanh"] : ["gelu", "gelu-tanh"];
    if (dense.kind !== "linear" || !activations.includes(dense.activation)) throw unlike();
    if (dense.linear.weight.shape.some((length) => length !== description.hiddenSize)) throw unlike();
    tensors.push(exact("cls.weight", dense.linear.weight));
    if (dense.linear.bias !== undefined) {
      if (flavour === "modern-bert")
        throw refusal(description, "llama.cpp drops the bias of its head's layer");
      tensors.push(exact("cls.bias", dense.linear.bias));
    }
    if ((norm === undefined) !== (flavour === "bert")) throw unlike();
  }
  if (norm !== undefined) {
    if (norm.kind !== "norm" || norm.norm.kind !== "layer-norm") throw unlike();
    if (norm.norm.bias !== undefined)
      throw refusal(description, "llama.cpp drops the bias of its head's norm");
    tensors.push(exact("cls.norm.weight", norm.norm.weight));
  }
  tensors.push(...outputTensors(last.linear, positive));
  return { poolingType: poolingTypes.rank, tensors, foldedTwoClass: positive };
}

/**
 * `cls.output`. node-llama-cpp's ranking gives the first output alone, so two classes become their difference, which
 * is linear and all that the profile's head asks for.
 */
function outputTensors({ weight, bias }: Linear, positive: 0 | 1 | undefined): PlannedTensor[] {
  const one = (given: Weight): Weight =>
    positive === undefined ? given : differenceOfRows(given, positive, 1 - positive);
  const tensors = [exact("cls.output.weight", one(weight))];
  if (bias !== undefined) tensors.push(exact("cls.output.bias", one(bias)));
  return tensors;
}
