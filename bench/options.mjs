// What the command takes.
import { parseArgs } from "node:util";
import { contestantNames } from "./contestants/contestants.mjs";
import { engineNames } from "./engines/engines.mjs";

/** Parts of the bench, in the order of the page. */
export const partNames = /** @type {const} */ (["encoders", "mnn", "causal", "start", "latency", "defaults"]);

export const help = `Holds crossrank beside every engine that does the same work, on one machine, in one run.

npm run bench -- [options]
  --only A,B         parts: ${partNames.join(", ")} (default: all)
  --engines A,B      of encoders and mnn these alone, and their references: ${engineNames.join(", ")};
                     of defaults these alone: ${contestantNames.join(", ")}
  --documents N      default 16; of start 10, of defaults 200
  --rounds N         rounds in turn, after one warm-up (default 7; of start 15)
  --quick            8 documents, 3 rounds: a look, no measurement
  --python PYTHON    that has the engines of Python (default: the variable PYTHON, else what --install-python made, else python3)
  --install-python   makes an environment of bench/requirements.txt in the cache first: some 6 GB
  --output FILE      writes the page there; parts that did not run keep what the page says
  --write            the same as --output docs/bench.md, and adds a line to bench/history
  --json FILE        writes everything that was measured
  --help

Engines that are not here are named in the page, and on standard error. MNN's files are made with Python.
`;

/**
 * @typedef {object} Options
 * @property {readonly (typeof partNames)[number][]} parts
 * @property {readonly string[] | undefined} engines
 * @property {number | undefined} documents undefined for the part's own
 * @property {number | undefined} rounds
 * @property {string | undefined} python
 * @property {boolean} installPython
 * @property {string | undefined} output
 * @property {boolean} write
 * @property {string | undefined} json
 * @property {"minilm" | "tiny"} shape
 * @property {boolean} help
 */

/**
 * @param {string[]} args
 * @returns {Options}
 * @throws {Error} naming the option at fault
 */
export function readOptions(args) {
  const { values } = parseArgs({
    args,
    options: {
      only: { type: "string", default: partNames.join(",") },
      engines: { type: "string" },
      documents: { type: "string" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      python: { type: "string" },
      "install-python": { type: "boolean", default: false },
      output: { type: "string" },
      write: { type: "boolean", default: false },
      json: { type: "string" },
      help: { type: "boolean", default: false },
      // For the tests: a model of this shape.
      shape: { type: "string", default: "minilm" },
    },
  });
  const { quick, shape } = values;
  if (shape !== "minilm" && shape !== "tiny") throw new Error(`--shape must be minilm or tiny, not ${shape}`);
  const known = [...engineNames, ...contestantNames];
  return {
    parts: /** @type {Options["parts"]} */ (readNames("only", values.only, partNames)),
    engines: values.engines === undefined ? undefined : readNames("engines", values.engines, known),
    documents:
      values.documents === undefined ? (quick ? 8 : undefined) : readCount("documents", values.documents),
    rounds: values.rounds === undefined ? (quick ? 3 : undefined) : readCount("rounds", values.rounds),
    python: values.python,
    installPython: values["install-python"],
    output: values.output,
    write: values.write,
    json: values.json,
    shape,
    help: values.help,
  };
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
 * @param {string} option
 * @param {string} value
 * @param {readonly string[]} known
 * @throws {Error} naming the known ones
 */
function readNames(option, value, known) {
  const names = value.split(",");
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw new Error(`--${option} knows ${known.join(", ")}, not ${unknown}`);
  return names;
}
