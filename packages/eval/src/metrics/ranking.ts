/**
 * How scores are compared. `float32`: rounded to single precision first, as trec_eval up to 9.0.8 stores them, and
 * so pytrec_eval and MTEB's nDCG and MAP; scores that differ only beyond it are ties. `float64`: as trec_eval 10.0.
 */
export type ScorePrecision = "float32" | "float64";

/** A run of equal scores, as positions in the ranking from 0; `end` is exclusive. */
export interface TieGroup {
  readonly start: number;
  readonly end: number;
}

/** One query's documents in trec_eval's order. */
export interface Ranking {
  readonly documents: readonly string[];
  /** All positions, in order; a document without a tie is a group of one. */
  readonly groups: readonly TieGroup[];
}

/**
 * Score descending, and among equal scores document id descending by the bytes of its UTF-8 form: trec_eval's order
 * (its comparison function of results ends in strcmp).
 */
export function rank(scores: ReadonlyMap<string, number>, precision: ScorePrecision): Ranking {
  const rows = Array.from(scores, ([document, score]) => ({
    document,
    score: precision === "float32" ? Math.fround(score) : score,
  }));
  // Compared with < and not by difference: single precision may turn a large score into an infinity.
  rows.sort((a, b) =>
    a.score > b.score ? -1 : a.score < b.score ? 1 : compareBytes(b.document, a.document),
  );
  const groups: TieGroup[] = [];
  let start = 0;
  for (let index = 1; index <= rows.length; index++) {
    if (index < rows.length && rows[index]?.score === rows[start]?.score) continue;
    groups.push({ start, end: index });
    start = index;
  }
  return { documents: rows.map((row) => row.document), groups };
}

/**
 * Order of two strings by the bytes of their UTF-8 form, which is that of their code points. JavaScript's own order
 * is by UTF-16 units and puts U+FF5E above an emoji. A lone surrogate counts as its code point.
 */
export function compareBytes(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left !== right) return codePointOrder(left) - codePointOrder(right);
  }
  return a.length - b.length;
}

/** Moves surrogates above the rest of the units, so that units compare as the code points that they begin. */
function codePointOrder(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
