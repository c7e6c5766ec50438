/** @import { ParseArgsConfig } from "node:util" */
import { parseArgs } from "node:util";
import { contestantNames } from "./contestants/contestants.mjs";

export const help = `Compares rerankers on the same documents and the same model file, in one run.

npm run bench -- [options]
  --model NAME       minilm (6 layers × 384, random weights, made on the spot), nano, or both (default)
  --documents N      default 200
  --repeat N         timed runs of each contestant, after one warm-up (default 5)
  --only A,B         of ${contestantNames.join(", ")}
  --batches A,B      batch sizes of the raw sweep (default 1,2,4,8,16,32)
  --json FILE        write everything that was measured
  --write            put the tables into bench/README.md
  --help

sentence-transformers runs where $PYTHON, or python3, has it.
`;

/** @type {ParseArgsConfig["options"] & {}} */
const flags = {
  model: { type: "string", default: "both" },
  documents: { type: "string", default: "200" },
  repeat: { type: "string", default: "5" },
  only: { type: "string", default: contestantNames.join(",") },
  batches: { type: "string", default: "1,2,4,8,16,32" },
  json: { type: "string" },
  write: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
  // For the tests: a model of this shape alone.
  shape: { type: "string" },
};

/**
 * @typedef {object} Options
 * @property {readonly ("minilm" | "tiny" | "nano")[]} models
 * @property {number} documents
 * @property {number} repeat
 * @property {readonly string[]} only
 * @property {readonly number[]} batches
 * @property {string | undefined} json
 * @property {boolean} write
 * @property {boolean} help
 */

/**
 * @param {string[]} args
 * @returns {Options}
 * @throws {Error} naming the option at fault
 */
export function readOptions(args) {
  /** @type {Record<string, string | boolean | (string | boolean)[] | undefined>} */
  const values = parseArgs({ args, options: flags }).values;
  const text = (/** @type {string} */ name) => String(values[name]);
  return {
    models: readModels(values["shape"] === undefined ? text("model") : text("shape")),
    documents: readCount("documents", text("documents")),
    repeat: readCount("repeat", text("repeat")),
    only: readNames(text("only"), contestantNames),
    batches: text("batches")
      .split(",")
      .map((size) => readCount("batches", size)),
    json: values["json"] === undefined ? undefined : text("json"),
    write: values["write"] === true,
    help: values["help"] === true,
  };
}

/**
 * @param {string} name
 * @returns {Options["models"]}
 */
function readModels(name) {
  if (name === "both") return ["minilm", "nano"];
  if (name === "minilm" || name === "nano" || name === "tiny") return [name];
  throw new Error(`--model must be minilm, nano or both, not ${name}`);
}

/**
 * @param {string} name
 * @param {string} value
 * @throws {Error} naming the option
 */
export function readCount(name, value) {
  if (!/^[1-9]\d*$/.test(value)) throw new Error(`--${name} must be a whole number above 0, not ${value}`);
  return Number(value);
}

/**
 * @param {string} value
 * @param {readonly string[]} known
 * @throws {Error} naming the known ones
 */
export function readNames(value, known) {
  const names = value.split(",");
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`--only knows ${known.join(", ")}, not ${unknown}`);
  return names;
}
