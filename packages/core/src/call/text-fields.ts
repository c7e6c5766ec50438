import { InvalidInputError } from "../contract/errors.js";
import type { TextOf } from "../contract/reranker.js";
import type { TextSource } from "../contract/result.js";
import { nameOf } from "./option-types.js";

/** Most fields of a document. */
const mostFields = 64;

/** How the texts of a call's documents are found. */
export interface TextReader {
  /** @throws {InvalidInputError} */
  read(document: unknown, path: string): string;
  /** For the result; undefined where the texts are the documents' own. */
  readonly source: TextSource | undefined;
}

/** @throws {InvalidInputError} */
export function readTextOption(given: TextOf<never> | null | undefined): TextReader {
  if (given === undefined || given === null) return { read: textOf, source: undefined };
  if (typeof given === "function") {
    return {
      source: { kind: "function" },
      read(document, path) {
        const text: unknown = (given as (document: unknown) => unknown)(document);
        if (typeof text === "string") return text;
        throw new InvalidInputError(
          path,
          `has no text: the function text gave ${nameOf(text)}, not a string`,
        );
      },
    };
  }
  const fields = readFields(given);
  return {
    source: { kind: "fields", fields, separator: " " },
    read(document, path) {
      if (typeof document !== "object" || document === null || Array.isArray(document)) {
        throw new InvalidInputError(path, `must be an object with ${named(fields)}, not ${nameOf(document)}`);
      }
      return joinFields(document, fields, (field, problem) => {
        throw new InvalidInputError(field === undefined ? path : `${path}.${field}`, problem);
      });
    },
  };
}

/**
 * The text of a document with fields: those that are there and not blank, in the order asked for, with a space between
 * them, without white space at its ends. For a title and a text that is what BEIR does, `(title + " " + text).trim()`.
 * One field alone is the text as it is.
 *
 * @param refuse told of a field that is no text, or of none at all. Throws.
 */
export function joinFields(
  document: object,
  fields: readonly string[],
  refuse: (field: string | undefined, problem: string) => never,
): string {
  const texts: string[] = [];
  let isThere = false;
  for (const field of fields) {
    const value: unknown = Object.hasOwn(document, field) ? Reflect.get(document, field) : undefined;
    if (value === undefined || value === null) continue;
    if (typeof value !== "string") return refuse(field, `must be a string, not ${nameOf(value)}`);
    if (fields.length === 1) return value;
    isThere = true;
    if (value.trim() !== "") texts.push(value);
  }
  if (!isThere) return refuse(undefined, `has none of the fields ${named(fields)}`);
  return texts.join(" ").trim();
}

/** @throws {InvalidInputError} */
function readFields(given: unknown): readonly string[] {
  if (!Array.isArray(given)) {
    throw new InvalidInputError(
      "text",
      `must be a list of fields, such as ["title", "body"], or a function, not ${nameOf(given)}`,
    );
  }
  const { length } = given;
  if (length === 0 || length > mostFields)
    throw new InvalidInputError("text", `must name 1 to ${mostFields} fields`);
  const fields = Array.from(given as readonly unknown[]);
  return fields.map((field, index) => {
    if (typeof field !== "string" || field === "")
      throw new InvalidInputError(
        `text[${index}]`,
        "must be the name of a field, a string that is not empty",
      );
    if (fields.indexOf(field) !== index)
      throw new InvalidInputError(`text[${index}]`, `names ${field} again`);
    return field;
  });
}

function named(fields: readonly string[]): string {
  return fields.map((field) => JSON.stringify(field.slice(0, 80))).join(", ");
}

function textOf(document: unknown, path: string): string {
  if (typeof document === "string") return document;
  if (typeof document === "object" && document !== null) {
    const { text } = document as { text?: unknown };
    if (typeof text === "string") return text;
    throw new InvalidInputError(`${path}.text`, `must be a string, not ${nameOf(text)}`);
  }
  throw new InvalidInputError(path, `must be a string or an object with a text, not ${nameOf(document)}`);
}
