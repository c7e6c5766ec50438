// One query and documents of English-like text, the same in every run.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { randomNumbers } from "./random.mjs";

const queryWords = 7;
/** [CLS], [SEP], [SEP] and the query's words and question mark. */
const tokensAroundDocument = 3 + queryWords + 1;
const shortest = 15;
const longest = 512;

/**
 * Lengths of whole pairs in tokens: log-logistic, which is close to log-normal, cut off at both ends; mean about
 * 178 for any number of documents, because the quantiles are spread evenly. In random order.
 *
 * @param {number} count
 * @returns {number[]}
 */
export function pairLengths(count) {
  const random = randomNumbers("lengths");
  return Array.from({ length: count }, (_, index) => {
    const share = (index + 0.5) / count;
    const length = Math.round(140 * (share / (1 - share)) ** 0.45);
    return { length: Math.min(longest, Math.max(shortest, length)), place: random() };
  })
    .sort((left, right) => left.place - right.place)
    .map(({ length }) => length);
}

/**
 * Texts of common words of a tokenizer, which makes their length in tokens known.
 *
 * @param {string} tokenizerFolder folder of a tokenizer.json whose vocabulary has whole lower-case words
 * @param {number} count
 * @returns {Promise<{ query: string, documents: string[] }>}
 */
export async function makeDocuments(tokenizerFolder, count) {
  const words = await readWords(tokenizerFolder);
  const random = randomNumbers("words");
  /** Frequent words more often, as Zipf has it. */
  const word = () => /** @type {string} */ (words[Math.floor(words.length ** random()) - 1]);
  const query = `${capital(Array.from({ length: queryWords }, word).join(" "))}?`;
  const documents = pairLengths(count).map((length) => {
    let rest = length - tokensAroundDocument;
    /** @type {string[]} */
    const sentences = [];
    while (rest > 0) {
      // Its full stop is a token too.
      const size = Math.min(rest, 6 + Math.floor(15 * random()));
      rest -= size;
      sentences.push(
        `${capital(Array.from({ length: Math.max(1, size - 1) }, word).join(" "))}${size > 1 ? "." : ""}`,
      );
    }
    return sentences.join(" ");
  });
  return { query, documents };
}

/**
 * @param {string} folder
 * @returns {Promise<string[]>} in the order of their ids, which in a trained vocabulary is roughly by frequency
 */
async function readWords(folder) {
  /** @type {{ model: { vocab: Record<string, number> } }} */
  const { model } = JSON.parse(await readFile(join(folder, "tokenizer.json"), "utf8"));
  const words = Object.entries(model.vocab)
    .filter(([token]) => /^[a-z]{2,}$/.test(token))
    .sort(([, left], [, right]) => left - right)
    .map(([token]) => token);
  if (words.length < 20) {
    throw new Error(
      `${join(folder, "tokenizer.json")} has ${words.length} whole words, too few to write texts with`,
    );
  }
  return words;
}

/** @param {string} text */
function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
