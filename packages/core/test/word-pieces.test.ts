import fc from "fast-check";
import { expect, test } from "vitest";
import { createTextTokenizer } from "../src/tokenizer/tokenizer.js";

/** Few characters, so that tokens begin alike, and one that takes two units. */
const letters = ["a", "b", "#", "\u{1f600}"];
const text = fc.array(fc.constantFrom(...letters), { maxLength: 9 }).map((found) => found.join(""));

/** The longest token that fits, from left to right; a word that does not come out even is unknown. */
function pieces(word: string, vocabulary: ReadonlyMap<string, number>): readonly number[] {
  const ids: number[] = [];
  for (let start = 0; start < word.length; ) {
    let end = word.length;
    const at = (): number | undefined => vocabulary.get((start > 0 ? "##" : "") + word.slice(start, end));
    while (end > start && at() === undefined) end -= 1;
    if (end === start) return [0];
    ids.push(at() as number);
    start = end;
  }
  return ids;
}

test("word pieces are the longest ones, whichever of the vocabulary a text comes to first", () => {
  fc.assert(
    fc.property(fc.array(text, { maxLength: 60 }), fc.array(text, { maxLength: 8 }), (tokens, words) => {
      const vocabulary = new Map(
        ["[UNK]", ...new Set(tokens.filter((token) => token !== ""))].map((token, id) => [token, id]),
      );
      const tokenizer = createTextTokenizer(
        {
          model: {
            type: "WordPiece",
            unk_token: "[UNK]",
            continuing_subword_prefix: "##",
            max_input_chars_per_word: 100,
            vocab: Object.fromEntries(vocabulary),
          },
        },
        "a model",
      );
      for (const word of words.filter((one) => one !== ""))
        expect(tokenizer.encode(word, 100).ids).toEqual(pieces(word, vocabulary));
    }),
    { numRuns: 200 },
  );
});
