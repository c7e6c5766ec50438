import type { LongDocumentSettings, LongDocuments } from "@crossrank/core";
import { Option } from "commander";
import { UsageError } from "./failure.js";
import { wholeNumber } from "./options.js";

/** What of long documents can be chosen on the command line. */
export interface LongDocumentChoices {
  readonly longDocuments?: "truncate" | "chunk";
  readonly aggregate?: NonNullable<LongDocumentSettings["aggregate"]>;
  readonly topPassages?: number;
  readonly passageTokens?: number;
  readonly overlapTokens?: number;
  readonly maxPassages?: number;
}

/** Of the commands that score documents. */
export function longDocumentOptions(): Option[] {
  return [
    new Option(
      "--long-documents <way>",
      "truncate: cut documents that are longer than the model (default); chunk: score them passage by passage",
    ).choices(["truncate", "chunk"]),
    new Option(
      "--aggregate <way>",
      "with chunk, what the scores of passages become: the best, the mean of the best, or the first (default: max)",
    ).choices(["max", "mean-of-top", "first"]),
    new Option("--top-passages <n>", "passages of --aggregate mean-of-top (default: 3)").argParser(
      wholeNumber,
    ),
    new Option(
      "--passage-tokens <n>",
      "with chunk, most tokens of a passage (default: what the model has room for)",
    ).argParser(wholeNumber),
    new Option(
      "--overlap-tokens <n>",
      "with chunk, most tokens that a passage repeats of the one before (default: 64)",
    ).argParser((value) => (value === "0" ? 0 : wholeNumber(value))),
    new Option("--max-passages <n>", "with chunk, most passages of a document (default: 256)").argParser(
      wholeNumber,
    ),
  ];
}

/** @throws {UsageError} where a setting of passages stands without them. */
export function longDocumentsOf(choices: LongDocumentChoices): LongDocuments | undefined {
  const { longDocuments, aggregate, topPassages: top, passageTokens, overlapTokens, maxPassages } = choices;
  const settings = { aggregate, top, passageTokens, overlapTokens, maxPassages };
  const given = (Object.keys(settings) as (keyof typeof settings)[]).filter(
    (name) => settings[name] !== undefined,
  );
  const [first] = given;
  if (first === undefined) return longDocuments;
  if (longDocuments !== "chunk") {
    throw new UsageError(
      `${longDocumentFlags[first]} says how passages are scored. Add --long-documents chunk`,
    );
  }
  if (top !== undefined && aggregate !== "mean-of-top") {
    throw new UsageError("--top-passages goes with --aggregate mean-of-top");
  }
  return Object.fromEntries(given.map((name) => [name, settings[name]]));
}

/** Flags of the settings, by their name in the API. */
export const longDocumentFlags: Readonly<Record<string, string>> = {
  aggregate: "--aggregate",
  top: "--top-passages",
  passageTokens: "--passage-tokens",
  overlapTokens: "--overlap-tokens",
  maxPassages: "--max-passages",
};
