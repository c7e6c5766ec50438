import type { Linear, ModelDescription, Norm, Weight } from "@crossrank/convert";

/** What a projection of a layer does. */
export type Projection = "query" | "key" | "value" | "output" | "up" | "gate" | "down";

export const projections: readonly Projection[] = ["query", "key", "value", "output", "up", "gate", "down"];

/** A weight of a model, and where it stands. */
export type ModelWeight = {
  readonly weight: Weight;
} & (
  | { readonly part: "projection"; readonly projection: Projection; readonly isBias: boolean }
  | { readonly part: "head" }
  | { readonly part: "other" }
);

/** Every weight that a model's graph reads, each once, in the order of computation. */
export function modelWeights({
  embeddings,
  layers,
  finalNorm,
  head,
}: ModelDescription): readonly ModelWeight[] {
  const found = new Map<Weight, ModelWeight>();
  const add = (one: ModelWeight): void => {
    if (!found.has(one.weight)) found.set(one.weight, one);
  };
  const other = (weight: Weight | undefined): void => {
    if (weight !== undefined) add({ weight, part: "other" });
  };
  const norm = (one: Norm | undefined): void => {
    other(one?.weight);
    other(one?.bias);
  };
  const linear = (one: Linear | undefined): void => {
    other(one?.weight);
    other(one?.bias);
  };
  const projected = (projection: Projection, one: Linear | undefined): void => {
    if (one === undefined) return;
    add({ weight: one.weight, part: "projection", projection, isBias: false });
    if (one.bias !== undefined) add({ weight: one.bias, part: "projection", projection, isBias: true });
  };
  for (const table of [embeddings.word, embeddings.position, embeddings.segment]) other(table);
  norm(embeddings.norm);
  linear(embeddings.projection);
  for (const layer of layers) {
    const { attention, attentionNorm, feedForward, feedForwardNorm } = layer;
    norm(attentionNorm);
    for (const name of ["query", "key", "value", "output"] as const) projected(name, attention[name]);
    norm(attention.queryNorm);
    norm(attention.keyNorm);
    const { positions } = attention;
    if (positions.kind === "disentangled") {
      other(positions.relative);
      norm(positions.relativeNorm);
      linear(positions.key);
      linear(positions.query);
    } else if (positions.kind === "bucketed") other(positions.bias);
    for (const name of ["up", "gate", "down"] as const) projected(name, feedForward[name]);
    norm(layer.attentionAfter);
    norm(feedForwardNorm);
    norm(layer.feedForwardAfter);
  }
  norm(finalNorm);
  if (head.kind === "classifier") {
    for (const step of head.steps) {
      const { weight, bias } = step.kind === "norm" ? step.norm : step.linear;
      add({ weight, part: "head" });
      if (bias !== undefined) add({ weight: bias, part: "head" });
    }
  } else if (head.kind === "vocabulary" && !head.tied) other(head.projection);
  return [...found.values()];
}
