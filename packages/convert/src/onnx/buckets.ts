import type { AttentionPositions } from "../source/description.js";
import { relativeBucket } from "../source/relative-bucket.js";
import type { Emitter } from "./emitter.js";
import type { Sequence } from "./sequence.js";

type Bucketed = Extract<AttentionPositions, { kind: "bucketed" }>;

/**
 * MPNet's bias of two tokens' distance, once for all layers: (1, heads, length, length), or of the first token's row
 * alone (1, heads, 1, length). In float32 at every precision: it is small, and added to the scores.
 */
export function bucketScores(
  emitter: Emitter,
  sequence: Sequence,
  positions: Bucketed,
  keepsFirst: boolean,
): string {
  const { graph } = emitter;
  if (keepsFirst) {
    const whole = bucketScores(emitter, sequence, positions, false);
    const bounds = [graph.integers([0]), graph.integers([1])] as const;
    return sequence.shared(`${whole}.first`, () => emitter.slice(whole, bounds, 2, `${whole}.first`));
  }
  return sequence.shared("buckets", () => {
    // From here on every distance has the bucket of the ends.
    const reach = positions.maxDistance;
    const rows = Array.from({ length: 2 * reach + 1 }, (_, index) =>
      relativeBucket(index - reach, positions),
    );
    const bias = emitter.vector(positions.bias, "buckets.bias");
    const low = graph.node("Max", [sequence.placesAhead, emitter.number(-reach)], "buckets.low");
    const bounded = graph.node("Min", [low, emitter.number(reach)], "buckets.bounded");
    const index = graph.node("Add", [bounded, emitter.number(reach)], "buckets.index");
    const distance = emitter.cast(index, "int64", "buckets.distance");
    // The numbers of each distance first: one lookup of the places then, and none that goes by way of another.
    const byDistance = graph.node(
      "Gather",
      [bias, emitter.integerTable("buckets.table", rows)],
      "buckets.byDistance",
    );
    const placed = graph.node("Gather", [byDistance, distance], "buckets.placed");
    const turned = emitter.transpose(placed, [2, 0, 1], "buckets.turned");
    return graph.node("Unsqueeze", [turned, graph.integers([0])], "buckets");
  });
}
