import { CommandError } from "../failure.js";
import { type Cell, nameOfCell } from "./cell.js";

export interface Pair {
  readonly query: string;
  readonly document: string;
}

/** Tokens of one pair as the model reads it, and how many were cut off. */
export type CountTokens = (pair: Pair) => Promise<{ readonly tokens: number; readonly cut: number }>;

const query = "how long does it take to learn a language";

/** What most vocabularies have as one piece, the likeliest first. */
const words = ["time", "water", "people", "music", "the", "and", "a", "i", "e", "1", ".", ","];

/** So many different ones, so that the rows of a batch are not all alike. */
const kinds = 4;

/**
 * Pairs of exactly `length` tokens each.
 *
 * @throws {CommandError} where the model cuts pairs below that length, or no text adds up to it.
 */
export async function pairsOf(cell: Cell, count: CountTokens): Promise<Pair[]> {
  const documents: string[] = [];
  for (const word of words) {
    if (documents.length === Math.min(kinds, cell.batch)) break;
    const document = await documentOf(word, cell, count);
    if (document !== undefined) documents.push(document);
  }
  if (documents.length === 0) {
    throw new CommandError(
      `no text has ${cell.length} tokens a pair in this model (${nameOfCell(cell)}): its prompt alone may have more. Choose a greater --length`,
    );
  }
  return Array.from({ length: cell.batch }, (_, row) => ({
    query,
    document: documents[row % documents.length] as string,
  }));
}

/** The word so often that the pair has the cell's length; undefined where it has several pieces, or does not add up. */
async function documentOf(word: string, cell: Cell, count: CountTokens): Promise<string | undefined> {
  const textOf = (repeats: number): string => Array(repeats).fill(word).join(" ");
  const one = await count({ query, document: textOf(1) });
  if (one.cut > 0) throw tooLong(one.tokens, cell);
  const repeats = 1 + cell.length - one.tokens;
  if (repeats < 1) return undefined;
  const document = textOf(repeats);
  const { tokens, cut } = await count({ query, document });
  // One that is cut has the length of the limit, whatever it is made of.
  if (cut > 0 && tokens < cell.length) throw tooLong(tokens, cell);
  return tokens === cell.length && cut === 0 ? document : undefined;
}

function tooLong(most: number, cell: Cell): CommandError {
  return new CommandError(
    `the model reads at most ${most} tokens a pair, and the cell (${nameOfCell(cell)}) needs ${cell.length}. Leave the length out, or give --max-length where the model can read more`,
  );
}
