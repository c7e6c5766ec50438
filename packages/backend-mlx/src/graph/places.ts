import {
  type AttentionPositions,
  type ModelDescription,
  relativeBucket,
  relativeRow,
} from "@crossrank/convert";

export type RotaryPositions = Extract<AttentionPositions, { kind: "rotary" | "scaled-rotary" }>;

/** Tables of distances are not made for longer sequences, whatever config.json says. */
const mostDistances = 2 ** 16;

/** The longest sequence, in tokens, that a model's program takes. */
export function longestSequence({ maxPositions, layers }: ModelDescription): number {
  const hasTable = layers.some(
    ({ attention: { positions } }) => !["absolute", "rotary", "scaled-rotary"].includes(positions.kind),
  );
  return hasTable ? Math.min(maxPositions, mostDistances) : maxPositions;
}

/** Periods of rotary positions, rounded to float32 as the models' own code rounds them. MLX divides 1 by each. */
export function rotaryPeriods(positions: RotaryPositions, headSize: number): Float32Array {
  if (positions.kind === "scaled-rotary")
    return Float32Array.from(positions.frequencies, (frequency) => 1 / frequency);
  const { theta } = positions;
  return Float32Array.from(
    { length: headSize / 2 },
    (_, index) => theta ** Math.fround((2 * index) / headSize),
  );
}

/** By the distance from query to key, from -(longest - 1) to longest - 1: the row of DeBERTa's table. */
export function relativeTable(
  positions: Extract<AttentionPositions, { kind: "disentangled" }>,
  longest: number,
): Int32Array {
  return byDistance(longest, (distance) => relativeRow(distance, positions));
}

/** The same for MPNet's buckets, which count from query to key the other way round. */
export function bucketTable(
  positions: Extract<AttentionPositions, { kind: "bucketed" }>,
  longest: number,
): Int32Array {
  return byDistance(longest, (distance) => relativeBucket(-distance, positions));
}

function byDistance(longest: number, rowOf: (distance: number) => number): Int32Array {
  return Int32Array.from({ length: 2 * longest - 1 }, (_, index) => rowOf(index - (longest - 1)));
}
