import { type OptionNames, requireKnownOptions } from "../call/option-names.js";
import { InvalidInputError } from "../contract/errors.js";
import type {
  Aggregate,
  ChunkingProvenance,
  LongDocumentSettings,
  LongDocuments,
} from "../contract/long-documents.js";

/** What a call that chunks has to know. */
export interface Chunking extends ChunkingProvenance {
  /** Most spans of a document's result. */
  readonly spans: number;
}

/** Most passages of a document, and most that any count of them may be. */
const most = 65_536;

const leastPassage = 8;
const defaultOverlap = 64;
const defaultPassages = 256;
const defaultTop = 3;

const aggregates: readonly Aggregate[] = ["max", "mean-of-top", "first"];

const names: OptionNames<LongDocumentSettings> = {
  aggregate: true,
  top: true,
  passageTokens: true,
  overlapTokens: true,
  maxPassages: true,
  spans: true,
};

/**
 * What an option `longDocuments` says; undefined where it says nothing, and `"truncate"` where documents are cut.
 *
 * @throws {InvalidInputError}
 */
export function readLongDocuments(
  given: LongDocuments | null | undefined,
  path = "longDocuments",
): Chunking | "truncate" | undefined {
  if (given === undefined || given === null) return undefined;
  if (given === "truncate") return "truncate";
  if (given === "chunk") return chunkingOf({}, path);
  if (typeof given !== "object") {
    throw new InvalidInputError(
      path,
      `must be "truncate", "chunk" or an object of settings, not ${typeof given === "string" ? JSON.stringify(String(given).slice(0, 40)) : typeof given}`,
    );
  }
  requireKnownOptions(given, names, "longDocuments", path, '{ aggregate: "max" }');
  return chunkingOf(given, path);
}

/** What stands in results and in keys. */
export function provenanceOf(chunking: Chunking): ChunkingProvenance {
  const { spans: _spans, ...provenance } = chunking;
  return provenance;
}

function chunkingOf(given: LongDocumentSettings, path: string): Chunking {
  // Each property is read once.
  const { aggregate = "max", top, passageTokens, overlapTokens, maxPassages, spans } = given;
  if (!aggregates.includes(aggregate)) {
    throw new InvalidInputError(
      `${path}.aggregate`,
      `must be one of ${aggregates.join(", ")}, not ${String(aggregate)}`,
    );
  }
  if (top !== undefined && aggregate !== "mean-of-top") {
    throw new InvalidInputError(`${path}.top`, `goes with the aggregate mean-of-top, not with ${aggregate}`);
  }
  requireWhole(top, `${path}.top`, 1, most);
  requireWhole(passageTokens, `${path}.passageTokens`, leastPassage, Number.MAX_SAFE_INTEGER);
  requireWhole(overlapTokens, `${path}.overlapTokens`, 0, Number.MAX_SAFE_INTEGER);
  requireWhole(maxPassages, `${path}.maxPassages`, 1, most);
  requireWhole(spans, `${path}.spans`, 0, most);
  const deciding = aggregate === "mean-of-top" ? (top ?? defaultTop) : 1;
  return {
    aggregate,
    ...(aggregate === "mean-of-top" ? { top: deciding } : {}),
    ...(passageTokens === undefined ? {} : { passageTokens }),
    overlapTokens: overlapTokens ?? defaultOverlap,
    maxPassages: maxPassages ?? defaultPassages,
    spans: spans ?? deciding,
  };
}

function requireWhole(value: unknown, path: string, least: number, largest: number): void {
  if (value === undefined) return;
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= largest) return;
  const shown = typeof value === "number" ? value : typeof value;
  throw new InvalidInputError(
    path,
    largest === Number.MAX_SAFE_INTEGER
      ? `must be a whole number of ${least} or more, not ${shown}`
      : `must be a whole number from ${least} to ${largest}, not ${shown}`,
  );
}
