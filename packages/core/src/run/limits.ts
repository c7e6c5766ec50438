import type { BatchPreference, Capabilities, OutputKind, RawOutput } from "../contract/backend.js";
import { InvalidInputError } from "../contract/errors.js";

/** Longest sequence of a batch, in tokens: beyond any model's context. */
export const mostColumns: number = 2 ** 22;

/** Most rows × columns of a batch: 200 MB of token ids, masks and segments. */
export const mostCells: number = 2 ** 24;

/** Most rows that an artifact may want in every batch, filled or not. */
const mostExactRows = 2 ** 16;

/** Most lengths that an artifact may list. */
const mostLengths = 4096;

const mostConcurrentRuns = 2 ** 16;

type Limits = Pick<Capabilities, "sequenceLengths" | "batchSize" | "batchPreference">;

/** Everything that a session declares by a number or a flag. Each property is read once. @throws {InvalidInputError} */
export function readCapabilities(declared: Capabilities): Capabilities {
  requireRecord(declared, "capabilities");
  const { output, maxSequenceLength, segmentIds, rowsAffectScores, concurrentRuns, cancelsWithinBatch } =
    declared;
  const { unattendedStates = false } = declared;
  if (maxSequenceLength !== undefined)
    requireWhole(maxSequenceLength, "capabilities.maxSequenceLength", Number.MAX_SAFE_INTEGER);
  requireWhole(concurrentRuns, "capabilities.concurrentRuns", mostConcurrentRuns);
  for (const [name, flag] of Object.entries({
    ...{ segmentIds, rowsAffectScores, unattendedStates, cancelsWithinBatch },
  })) {
    if (typeof flag !== "boolean")
      throw new InvalidInputError(`capabilities.${name}`, `must be true or false, not ${shown(flag)}`);
  }
  return {
    ...readLimits(declared, "capabilities."),
    ...{ output, maxSequenceLength, segmentIds, rowsAffectScores, concurrentRuns, cancelsWithinBatch },
    ...(unattendedStates ? { unattendedStates } : {}),
  };
}

/** Within what batches are cut. Each property is read once. @throws {InvalidInputError} */
export function readLimits(declared: Limits, prefix = ""): Limits {
  const limits: Limits = {
    sequenceLengths: readLengths(declared.sequenceLengths, `${prefix}sequenceLengths`),
    batchSize: readBatchSize(declared.batchSize, `${prefix}batchSize`),
    batchPreference: readBatchPreference(declared.batchPreference, `${prefix}batchPreference`),
  };
  const { sequenceLengths, batchSize } = limits;
  if (sequenceLengths !== "any" && "exactly" in batchSize) {
    const longest = Math.max(...sequenceLengths);
    requireRoom(batchSize.exactly, longest, `${prefix}batchSize.exactly`);
  }
  return limits;
}

/** @throws {InvalidInputError} when a batch of this form is larger than any may be. */
export function requireRoom(rows: number, columns: number, path: string): void {
  if (rows * columns <= mostCells) return;
  throw new InvalidInputError(
    path,
    `is ${rows}, and so many rows of ${columns} tokens are more than the ${mostCells} that a batch may have`,
  );
}

/** @throws {InvalidInputError} */
export function readBatchPreference(declared: BatchPreference, path: string): BatchPreference {
  requireRecord(declared, path);
  const { rows, tokens, padding } = declared;
  requireWhole(rows, `${path}.rows`, Number.MAX_SAFE_INTEGER);
  requireWhole(tokens, `${path}.tokens`, Number.MAX_SAFE_INTEGER);
  if (!(typeof padding === "number" && padding >= 0 && padding <= 1))
    throw new InvalidInputError(`${path}.padding`, `must be a number from 0 to 1, not ${shown(padding)}`);
  return { rows, tokens, padding };
}

function readBatchSize(declared: Capabilities["batchSize"], path: string): Capabilities["batchSize"] {
  requireRecord(declared, path);
  if ("exactly" in declared) {
    const { exactly } = declared;
    requireWhole(exactly, `${path}.exactly`, mostExactRows);
    return { exactly };
  }
  const { max } = declared;
  requireWhole(max, `${path}.max`, Number.MAX_SAFE_INTEGER);
  return { max };
}

function readLengths(
  declared: Capabilities["sequenceLengths"],
  path: string,
): Capabilities["sequenceLengths"] {
  if (declared === "any") return "any";
  if (!Array.isArray(declared) || declared.length === 0 || declared.length > mostLengths) {
    throw new InvalidInputError(path, `must be "any" or 1 to ${mostLengths} lengths, ascending`);
  }
  const lengths = Array.from(declared as readonly number[]);
  lengths.forEach((length, index) => {
    requireWhole(length, `${path}[${index}]`, mostColumns);
    if (index > 0 && length <= (lengths[index - 1] as number))
      throw new InvalidInputError(`${path}[${index}]`, `is ${length}, and lengths must ascend`);
  });
  return lengths;
}

/** Numbers of an output's shape, by kind. */
const ranks: Readonly<Record<OutputKind, number>> = {
  "class-logits": 2,
  pooled: 2,
  "token-logits": 2,
  "hidden-states": 3,
  "marked-states": 3,
};

/** What is wrong with what a runtime gave for a batch, as a clause; undefined where nothing is. */
export function problemOfOutput(
  output: RawOutput,
  wanted: { readonly kind: OutputKind; readonly rows: number; readonly columns: number },
): string | undefined {
  if (typeof output !== "object" || output === null) return `returned ${shown(output)} instead of an output`;
  const { kind, data, shape } = output;
  if (kind !== wanted.kind) return `returned ${shown(kind)}, and its session declares ${wanted.kind}`;
  if (Object.prototype.toString.call(data) !== "[object Float32Array]")
    return "returned numbers that are no Float32Array";
  const isShape = Array.isArray(shape) && shape.every((size) => Number.isSafeInteger(size) && size >= 0);
  if (!isShape) return "returned a shape that is no list of sizes";
  const fits =
    shape.length === ranks[kind] &&
    shape[0] === wanted.rows &&
    (kind !== "hidden-states" || shape[1] === wanted.columns) &&
    data.length === shape.reduce((a, b) => a * b, 1);
  return fits
    ? undefined
    : `returned shape (${shape.join(", ")}) with ${data.length} numbers for a batch of ${wanted.rows}`;
}

/** @throws {InvalidInputError} */
function requireWhole(value: unknown, path: string, most: number): void {
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= most) return;
  throw new InvalidInputError(path, `must be a whole number from 1 to ${most}, not ${shown(value)}`);
}

/** @throws {InvalidInputError} */
function requireRecord(value: unknown, path: string): void {
  if (typeof value === "object" && value !== null) return;
  throw new InvalidInputError(path, `must be an object, not ${shown(value)}`);
}

function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 60)) : String(value).slice(0, 60);
}
