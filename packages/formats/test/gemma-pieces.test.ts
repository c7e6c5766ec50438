import { createTextTokenizer } from "@crossrank/core/encoding";
import { expect, test } from "vitest";
import type { GgufArray, GgufValue } from "../src/gguf/index.js";
import { tokenizerOfGguf } from "../src/tokenizer/index.js";

const list = (
  strings: readonly string[],
  numbers: readonly number[],
  elementType: "string" | "float32" | "int32",
) =>
  ({
    elementType,
    length: Math.max(strings.length, numbers.length),
    strings: () => strings,
    numbers: () => numbers,
  }) satisfies GgufArray;

const [control, normal, userDefined] = [3, 1, 4];
const pieces: readonly (readonly [string, number])[] = [
  ["<pad>", control],
  ["<eos>", control],
  ["<bos>", control],
  ["<unk>", control],
  ["<mask>", control],
  ["[multimodal]", userDefined],
  ["<unused0>", control],
  ["<start_of_turn>", control],
  ["▁", normal],
  ["a", normal],
  ["b", normal],
  ["▁a", normal],
];

// A real Gemma 3 file has these types (its converter goes by the looks of a token), and transformers' tokenizer of the
// same model finds <mask>, [multimodal] and <unused0> in a text: 1,517 of 1,517 texts have the same ids, of 1,512 before.
test("what only looks special to llama.cpp's converter is found in a text, as by Gemma's own tokenizer", () => {
  const metadata = new Map<string, GgufValue>([
    ["tokenizer.ggml.model", "llama"],
    [
      "tokenizer.ggml.tokens",
      list(
        pieces.map(([piece]) => piece),
        [],
        "string",
      ),
    ],
    [
      "tokenizer.ggml.token_type",
      list(
        [],
        pieces.map(([, type]) => type),
        "int32",
      ),
    ],
    [
      "tokenizer.ggml.scores",
      list(
        [],
        pieces.map((_, id) => -id),
        "float32",
      ),
    ],
    ["tokenizer.ggml.unknown_token_id", 3],
    ["tokenizer.ggml.padding_token_id", 0],
    ["tokenizer.ggml.bos_token_id", 2],
    ["tokenizer.ggml.eos_token_id", 1],
    ["tokenizer.ggml.add_space_prefix", false],
  ]);
  const made = tokenizerOfGguf(metadata);
  const ids = (text: string): readonly number[] => createTextTokenizer(made, "gemma").encode(text, 100).ids;
  expect(ids("a <mask> b<unused0>[multimodal]")).toEqual([9, 8, 4, 8, 10, 6, 5]);
  // A user's text has no control tokens in it.
  for (const special of ["<bos>", "<start_of_turn>"]) {
    expect(ids(special)).not.toContain(pieces.findIndex(([piece]) => piece === special));
  }
  const specials = made.added_tokens.filter(({ special }) => special).map(({ content }) => content);
  expect(specials).toEqual(["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>"]);
});
