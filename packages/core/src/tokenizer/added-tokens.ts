import { TokenTrie } from "./trie.js";
import { type InTurns, partLength, type Turns, withTurns } from "./turns.js";
import { asSeenByRegex, leadingSpace, trailingSpace } from "./unicode.js";

/** An entry of tokenizer.json's `added_tokens`. */
export interface AddedTokenJson {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
  readonly single_word?: boolean;
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
  readonly normalized?: boolean;
}

/** A part of a text: an added token's id, or text between added tokens, never empty. */
export type Section = number | string;

/**
 * Cuts added tokens out of a text: the leftmost, and of these the longest (`tokenizer/added_vocabulary.rs`).
 *
 * @param spelling how a token is looked for, e.g. normalized.
 */
export function createAddedTokenSplitter(
  tokens: readonly AddedTokenJson[],
  spelling: (token: AddedTokenJson) => string,
): InTurns<[text: string], readonly Section[]> {
  if (tokens.length === 0) {
    // biome-ignore lint/correctness/useYield: there is nothing to interrupt
    const none = function* (text: string): Turns<readonly Section[]> {
      return [text];
    };
    return withTurns((text) => [text], none);
  }
  const trie = new TokenTrie();
  tokens.forEach((token, index) => {
    if (spelling(token) !== "") trie.set(spelling(token), index);
  });

  /** Looks for tokens up to a position. */
  const goOn = (text: string, scan: Scan, until: number): void => {
    const { sections } = scan;
    while (scan.position < until) {
      const match = longestAt(trie, text, scan.position);
      const token = tokens[match.value];
      if (token === undefined) {
        scan.position += 1;
        continue;
      }
      let start = scan.position;
      let { end } = match;
      // Also when it turns out not to count, the search goes on behind it.
      scan.position = end;
      if (token.single_word && (endsWithWord(text.slice(0, start)) || startsWithWord(text.slice(end))))
        continue;
      if (token.lstrip) start = trailingSpace(text.slice(0, start), scan.copied);
      if (token.rstrip) end = leadingSpace(text, end);
      if (start > scan.copied) sections.push(text.slice(scan.copied, start));
      sections.push(token.id);
      scan.copied = end;
    }
    const isOver = scan.position >= text.length;
    if (isOver && scan.copied < text.length) sections.push(text.slice(scan.copied));
  };
  return withTurns(
    (text) => {
      const scan: Scan = { position: 0, copied: 0, sections: [] };
      goOn(text, scan, text.length);
      return scan.sections;
    },
    function* (text) {
      const scan: Scan = { position: 0, copied: 0, sections: [] };
      while (scan.position < text.length) {
        goOn(text, scan, Math.min(text.length, scan.position + partLength));
        yield;
      }
      return scan.sections;
    },
  );
}

/** How far a text has been looked through. */
interface Scan {
  position: number;
  /** Where what belongs to no section yet begins. */
  copied: number;
  readonly sections: Section[];
}

function longestAt(trie: TokenTrie, text: string, start: number): { value: number; end: number } {
  let value = -1;
  let end = start;
  let node = 0;
  for (let position = start; position < text.length; position += 1) {
    node = trie.step(node, text.charCodeAt(position));
    if (node === 0) break;
    const here = trie.values[node] as number;
    if (here >= 0) [value, end] = [here, position + 1];
  }
  return { value, end };
}

/** `\w` of Rust's regex crate. */
const word = "[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\u200c\\u200d]";
const endsWithWord = (text: string): boolean => isWord(text.slice(-2), new RegExp(`${word}$`, "u"));
const startsWithWord = (text: string): boolean => isWord(text.slice(0, 2), new RegExp(`^${word}`, "u"));

function isWord(text: string, expression: RegExp): boolean {
  return expression.test(asSeenByRegex(text));
}
