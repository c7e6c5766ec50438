import type { ModelProfile } from "@crossrank/core";
import type { Graph } from "@crossrank/formats/onnx";
import type { Activation, Layer, ModelDescription, OutputHead } from "../source/description.js";
import { attend, firstOf } from "./attention.js";
import { type Activations, type Dtype, Emitter, type Operators, zeroOf } from "./emitter.js";
import { Sequence } from "./sequence.js";

export interface EncoderRequest {
  readonly description: ModelDescription;
  readonly profile: ModelProfile;
  readonly dtype: Dtype;
  readonly operators: Operators;
  /** Of no account but in int8. */
  readonly activations: Activations;
  readonly inputType: "int32" | "int64";
}

/** What the graph gives. */
export type EncoderOutput =
  /** `logits` (batch, classes). */
  | Extract<OutputHead, { kind: "classifier" }>
  /** `sentence_embedding` (batch, hidden), pooled and not normalised. */
  | { readonly kind: "pooled"; readonly pooling: "cls" | "mean" }
  /** `last_hidden_state` (batch, sequence, hidden). */
  | { readonly kind: "hidden-states" };

/**
 * A vector per text where that is the end of the model: core computes modules that follow a pooling, in float64, and
 * finds the last token itself.
 */
export function outputOf({ head }: ModelDescription, profile: ModelProfile): EncoderOutput {
  if (head.kind === "classifier") return head;
  if (profile.head.kind === "cosine" && (profile.head.modules ?? []).length === 0) {
    const { pooling } = profile.head;
    if (pooling !== "last-token") return { kind: "pooled", pooling };
  }
  return { kind: "hidden-states" };
}

/** input_ids, attention_mask and, where the model has segments, token_type_ids → the output. */
export function encoderGraph(request: EncoderRequest): Graph {
  const { description, dtype, operators, inputType } = request;
  const emitter = new Emitter(dtype, operators, request.activations);
  const sequence = new Sequence(emitter);
  const { graph } = emitter;
  const output = outputOf(description, request.profile);

  const names = ["input_ids", "attention_mask", ...(takesSegments(description) ? ["token_type_ids"] : [])];
  graph.inputs.push(...names.map((name) => ({ name, type: inputType, shape: ["batch", "sequence"] })));

  let hidden = embed(emitter, sequence, description);
  const firstAlone = "pooling" in output && output.pooling === "cls";
  for (const [index, layer] of description.layers.entries()) {
    // Nothing but the first token is read behind the last attention.
    const keepsFirst = firstAlone && index === description.layers.length - 1;
    hidden = layerOf({ emitter, sequence, layer, keepsFirst, name: `layer.${index}` }, hidden);
  }
  if (firstAlone && description.layers.length === 0) hidden = firstOf(emitter, sequence, hidden);
  if (description.finalNorm !== undefined) hidden = emitter.norm(hidden, description.finalNorm, "final.norm");
  finish(emitter, sequence, hidden, output, description.hiddenSize);
  return graph;
}

/** A table with one row is a constant. */
function takesSegments({ embeddings }: ModelDescription): boolean {
  return (embeddings.segment?.shape[0] ?? 0) > 1;
}

function embed(emitter: Emitter, sequence: Sequence, description: ModelDescription): string {
  const { graph } = emitter;
  const { word, position, segment, norm, projection, scale, zeroPadding } = description.embeddings;
  let sum = emitter.rows(word, "input_ids", "embeddings.word");
  if (segment !== undefined) {
    const rows = takesSegments(description)
      ? graph.node(
          "Gather",
          [emitter.vector(segment, "embeddings.segment"), "token_type_ids"],
          "embeddings.segment.rows",
        )
      : emitter.vector(segment, "embeddings.segment");
    sum = graph.node("Add", [sum, rows], "embeddings.sum.segment");
  }
  if (position !== undefined) {
    const rows = emitter.rows(position, sequence.positions, "embeddings.position");
    sum = graph.node("Add", [sum, rows], "embeddings.sum.position");
  }
  if (scale !== undefined && scale !== 1) {
    sum = graph.node("Mul", [sum, emitter.number(scale)], "embeddings.scaled");
  }
  if (norm !== undefined) sum = emitter.norm(sum, norm, "embeddings.norm");
  if (zeroPadding === true) {
    const weights = graph.node("Unsqueeze", [sequence.tokenWeights, graph.integers([2])], "mask.columns");
    sum = graph.node("Mul", [sum, weights], "embeddings.tokens");
  }
  if (projection !== undefined) sum = emitter.linear(sum, projection, "embeddings.projection");
  return sum;
}

interface LayerPlace {
  readonly emitter: Emitter;
  readonly sequence: Sequence;
  readonly layer: Layer;
  readonly keepsFirst: boolean;
  readonly name: string;
}

function layerOf(place: LayerPlace, x: string): string {
  const { emitter, sequence, layer, keepsFirst, name } = place;
  const { graph } = emitter;
  const { attention, attentionNorm, attentionAfter, feedForwardNorm, feedForwardAfter, placement } = layer;
  const normed =
    placement !== "post" && attentionNorm !== undefined
      ? emitter.norm(x, attentionNorm, `${name}.attention.norm`)
      : x;
  const mixed = attend({ emitter, sequence, attention, x: normed, keepsFirst, name: `${name}.attention` });
  const residual = keepsFirst ? firstOf(emitter, sequence, x) : x;
  let attended = emitter.linear(mixed, attention.output, `${name}.attention.output`);
  if (attentionAfter !== undefined)
    attended = emitter.norm(attended, attentionAfter, `${name}.attention.after`);
  let hidden = graph.node("Add", [attended, residual], `${name}.attention.sum`);
  if (placement === "post" && attentionNorm !== undefined) {
    hidden = emitter.norm(hidden, attentionNorm, `${name}.attention.norm`);
  }
  const input =
    placement === "post" ? hidden : emitter.norm(hidden, feedForwardNorm, `${name}.feedForward.norm`);
  let fed = feedForward(place, input, `${name}.feedForward`);
  if (feedForwardAfter !== undefined) fed = emitter.norm(fed, feedForwardAfter, `${name}.feedForward.after`);
  const sum = graph.node("Add", [fed, hidden], `${name}.sum`);
  return placement === "post" ? emitter.norm(sum, feedForwardNorm, `${name}.feedForward.norm`) : sum;
}

/** No activation is below: GELU's least is -0.16997, that of its approximation by tanh -0.17004. */
const lowestOf: Partial<Record<Activation, number>> = { gelu: 0.171, "gelu-tanh": 0.171 };

function feedForward({ emitter, sequence, layer, keepsFirst }: LayerPlace, x: string, name: string): string {
  const { up, gate, down, activation } = layer.feedForward;
  const { graph } = emitter;
  if (gate === undefined) {
    const upBias = emitter.bias([up], `${name}.up.bias`);
    if (!emitter.byRow) {
      const product = emitter.product(x, [up], `${name}.up`);
      return emitter.linear(
        emitter.activate(product, activation, `${name}.up`, upBias),
        down,
        `${name}.down`,
      );
    }
    const rows = emitter.reshape(x, [-1, up.weight.shape[1] as number], `${name}.x.rows`);
    const lowest = lowestOf[activation];
    const zerosFor = (least: number | undefined): string => sequence.zeroPoints(zeroOf(least), keepsFirst);
    const places = { name: `${name}.up`, lowest: undefined, zeros: zerosFor(undefined) };
    const product = emitter.productOfRows(rows, up, places);
    const active = emitter.activate(product, activation, `${name}.up`, upBias);
    const fed = emitter.productOfRows(active, down, {
      name: `${name}.down`,
      lowest,
      zeros: zerosFor(lowest),
    });
    const apart = graph.node(
      "Reshape",
      [fed, sequence.shapeOf(down.weight.shape[0] as number, keepsFirst)],
      `${name}.down.apart`,
    );
    const bias = emitter.bias([down], `${name}.down.bias`);
    return bias === undefined ? apart : graph.node("Add", [apart, bias], `${name}.down.output`);
  }
  const [gated, upper] = emitter.linears(x, [gate, up], `${name}.gateUp`, [`${name}.gate`, `${name}.up`]);
  const active = emitter.activate(gated, activation, `${name}.gate`);
  return emitter.linear(graph.node("Mul", [active, upper], `${name}.inner`), down, `${name}.down`);
}

function finish(
  emitter: Emitter,
  sequence: Sequence,
  hidden: string,
  output: EncoderOutput,
  hiddenSize: number,
): void {
  const { graph } = emitter;
  const give = (name: string, from: string, shape: readonly (number | string)[]): void => {
    graph.node("Identity", [from], name);
    graph.outputs.push({ name, type: "float32", shape });
  };
  if (output.kind === "hidden-states") {
    give("last_hidden_state", hidden, ["batch", "sequence", hiddenSize]);
    return;
  }
  let vector = pooledBy(emitter, sequence, hidden, output);
  if (output.kind === "pooled") {
    give("sentence_embedding", vector, ["batch", hiddenSize]);
    return;
  }
  for (const [index, step] of output.steps.entries()) {
    const name = `head.${index}`;
    vector =
      step.kind === "norm"
        ? emitter.norm(vector, step.norm, name)
        : emitter.activate(emitter.exactLinear(vector, step.linear, name), step.activation, name);
  }
  give("logits", vector, ["batch", output.classes]);
}

function pooledBy(
  emitter: Emitter,
  sequence: Sequence,
  hidden: string,
  output: Exclude<EncoderOutput, { kind: "hidden-states" }>,
): string {
  switch (output.pooling) {
    case "cls":
      return emitter.graph.node("Squeeze", [hidden, emitter.graph.integers([1])], "pooled");
    case "mean":
      return meanOf(emitter, sequence, hidden);
    case "last":
      return lastOf(emitter, sequence, hidden, output.passedOver);
  }
}

/**
 * The last token that is real and not the one that is passed over, of a row without one the first: chosen by a product
 * with 1 at its place and 0 elsewhere, which every runtime has.
 */
function lastOf(
  emitter: Emitter,
  sequence: Sequence,
  hidden: string,
  passedOver: number | undefined,
): string {
  const { graph } = emitter;
  let flags = sequence.tokenWeights;
  if (passedOver !== undefined) {
    const ids = emitter.cast("input_ids", "float32", "last.ids");
    const apart = graph.node("Sub", [ids, emitter.number(passedOver)], "last.apart");
    const distance = graph.node("Abs", [apart], "last.distance");
    const others = graph.node("Min", [distance, emitter.number(1)], "last.others");
    flags = graph.node("Mul", [flags, others], "last.flags");
  }
  const places = emitter.cast(sequence.positions, "float32", "last.positions");
  const counted = graph.node("Mul", [flags, places], "last.places");
  const last = graph.node("ReduceMax", [counted, graph.integers([1])], "last.place");
  // 1 where the distance from the last place is 0: places are whole numbers.
  const beyond = graph.node("Abs", [graph.node("Sub", [places, last], "last.beyond")], "last.away");
  const near = graph.node("Min", [beyond, emitter.number(1)], "last.elsewhere");
  const chosen = graph.node("Sub", [emitter.number(1), near], "last.chosen");
  const weights = graph.node("Unsqueeze", [chosen, graph.integers([1])], "last.weights");
  const vector = graph.node("MatMul", [weights, hidden], "last.vector");
  return graph.node("Squeeze", [vector, graph.integers([1])], "pooled");
}

/** The mean over real tokens; of a row of padding, zeros. */
function meanOf(emitter: Emitter, sequence: Sequence, hidden: string): string {
  const { graph } = emitter;
  const weights = graph.node("Unsqueeze", [sequence.tokenWeights, graph.integers([1])], "pooled.weights");
  const sums = graph.node("MatMul", [weights, hidden], "pooled.sums");
  const sum = graph.node("Squeeze", [sums, graph.integers([1])], "pooled.sum");
  const counts = graph.node("ReduceSum", [sequence.tokenWeights, graph.integers([1])], "pooled.counts");
  const count = graph.node("Max", [counts, emitter.number(1)], "pooled.count");
  return graph.node("Div", [sum, count], "pooled");
}
