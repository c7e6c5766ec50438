import { TokenTrie } from "./trie.js";
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
): (text: string) => readonly Section[] {
  if (tokens.length === 0) return (text) => [text];
  const trie = new TokenTrie();
  tokens.forEach((token, index) => {
    if (spelling(token) !== "") trie.set(spelling(token), index);
  });

  return (text) => {
    const sections: Section[] = [];
    let copied = 0;
    for (let position = 0; position < text.length; ) {
      const match = longestAt(trie, text, position);
      const token = tokens[match.value];
      if (token === undefined) {
        position += 1;
        continue;
      }
      let start = position;
      let { end } = match;
      // Also when it turns out not to count, the search goes on behind it.
      position = end;
      if (token.single_word && (endsWithWord(text.slice(0, start)) || startsWithWord(text.slice(end))))
        continue;
      if (token.lstrip) start = trailingSpace(text.slice(0, start), copied);
      if (token.rstrip) end = leadingSpace(text, end);
      if (start > copied) sections.push(text.slice(copied, start));
      sections.push(token.id);
      copied = end;
    }
    if (copied < text.length) sections.push(text.slice(copied));
    return sections;
  };
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
