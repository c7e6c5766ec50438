import { describeModel, type ModelDescription, UnsupportedConversionError } from "@crossrank/convert";
import {
  CrossrankError,
  IncompatibleModelError,
  type LoadRequest,
  ModelLoadError,
  ModelProfileError,
  type OutputRequest,
} from "@crossrank/core";
import type { Choice } from "./artifact.js";
import type { GraphChanges } from "./graph/changes.js";
import { emitGraph, type GraphOutput, type ProgramWeight } from "./graph/emit.js";
import { longestSequence } from "./graph/places.js";
import { fileLoadError } from "./load-error.js";
import type { AddonModelFacts } from "./native.js";
import { planWeights } from "./weights/plan-weights.js";

/** What a session knows of its model. */
export interface ModelPlan {
  readonly output: GraphOutput;
  /** Ids of the markers, of `marked-states`. */
  readonly tokens: readonly number[];
  readonly vocabularySize: number;
  /** Rows of the table of segments; 0 without one. */
  readonly segments: number;
  readonly longest: number;
  /** The smallest reach of a layer; undefined where every token sees all. */
  readonly reach: number | undefined;
  /** What of the last hidden states is read. */
  readonly reads: "first" | "last" | "all" | "marks";
  /** Of `last`: the last token that is not this one. */
  readonly passedOver: number | undefined;
}

export interface PreparedModel {
  readonly plan: ModelPlan;
  /** Files by their paths in the model. */
  readonly paths: readonly string[];
  readonly facts: Omit<AddonModelFacts, "files">;
  readonly description: ModelDescription;
  /** As `facts` has them. */
  readonly weights: readonly ProgramWeight[];
  /** Where layers and the head begin in the program. */
  readonly parts: readonly number[];
}

/**
 * The model's program and where its weights are. Reads headers alone.
 *
 * @param change what is computed beside what the model's files say.
 * @throws {ModelLoadError} when the model is not one that is known here, or a file is damaged.
 * @throws {IncompatibleModelError} when it gives none of the outputs asked for.
 */
export async function prepareModel(
  choice: Choice,
  { profile, output, signal }: LoadRequest,
  change: (description: ModelDescription) => Promise<GraphChanges> = async () => ({}),
): Promise<PreparedModel> {
  const { files, path } = choice;
  try {
    const description = await describeModel(files, profile, { signal });
    const given = givenBy(description);
    const kind = output.kinds.find((candidate): candidate is GraphOutput =>
      given.includes(candidate as GraphOutput),
    );
    if (kind === undefined) {
      throw new IncompatibleModelError({
        model: files.id,
        backend: "mlx",
        capability: "output",
        wanted: output.kinds.join('" or "'),
        supported: given,
      });
    }
    const changes = await change(description);
    const { weights, program, parts } = emitGraph(description, kind, output.tokens, changes);
    const planned = await planWeights(weights, choice);
    return {
      plan: planOf(description, kind, output),
      paths: planned.paths,
      facts: { weights: planned.weights, program },
      ...{ description, weights, parts },
    };
  } catch (cause) {
    signal?.throwIfAborted();
    throw refusal(cause, files.id, path);
  }
}

function refusal(cause: unknown, model: string, path: string): unknown {
  if (UnsupportedConversionError.isInstance(cause)) {
    const fix = "Use the model with another backend";
    return new ModelLoadError({ model, backend: "mlx", file: path, problem: cause.problem, fix }, { cause });
  }
  if (ModelProfileError.isInstance(cause)) return fileLoadError(model, path, cause);
  if (CrossrankError.isInstance(cause) || !(cause instanceof RangeError)) return cause;
  const fix = "Check the profile, and take the tokenizer and the weights of one model";
  return new ModelLoadError({ model, backend: "mlx", file: path, problem: cause.message, fix }, { cause });
}

function givenBy({ head }: ModelDescription): readonly GraphOutput[] {
  return [
    ...(head.kind === "classifier" ? (["class-logits"] as const) : []),
    ...(head.kind === "vocabulary" ? (["token-logits"] as const) : []),
    "hidden-states",
    "marked-states",
  ];
}

function planOf(
  description: ModelDescription,
  output: GraphOutput,
  { tokens = [] }: OutputRequest,
): ModelPlan {
  const { head, layers, embeddings, vocabularySize } = description;
  const reaches = layers.flatMap(({ attention: { reach } }) => (reach === undefined ? [] : [reach]));
  return {
    output,
    tokens: output === "marked-states" ? tokens : [],
    vocabularySize,
    segments: embeddings.segment?.shape[0] ?? 0,
    longest: longestSequence(description),
    reach: reaches.length === 0 ? undefined : Math.min(...reaches),
    reads: readsOf(description, output),
    passedOver: head.kind === "classifier" ? head.passedOver : undefined,
  };
}

function readsOf({ head }: ModelDescription, output: GraphOutput): ModelPlan["reads"] {
  if (output === "token-logits") return "last";
  if (output === "marked-states") return "marks";
  if (output === "hidden-states" || head.kind !== "classifier" || head.pooling === "mean") return "all";
  return head.pooling === "last" ? "last" : "first";
}
