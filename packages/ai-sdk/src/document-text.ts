import type { JSONObject } from "@ai-sdk/provider";
import { InvalidInputError } from "crossrank";

/**
 * What of an object is ranked: the name of its field; names, whose texts are joined by a line's end in this order; or a
 * function of the object.
 */
export type DocumentText = string | readonly string[] | ((document: JSONObject) => string);

/** @throws {InvalidInputError} */
export function requireDocumentText(text: unknown): void {
  if (text === undefined || typeof text === "string" || typeof text === "function") return;
  if (Array.isArray(text) && text.every((name) => typeof name === "string")) return;
  throw new InvalidInputError(
    "documentText",
    "must be a field's name, an array of names, or a function of a document",
  );
}

/**
 * Texts as they are. The AI SDK looks at the first alone.
 *
 * @throws {InvalidInputError} when another is none.
 */
export function requireTexts(texts: readonly unknown[]): string[] {
  return texts.map((text, index) => requireText(text, `documents[${index}]`));
}

/**
 * The texts of objects. Nothing is guessed: an object as JSON would be scored, and the number would say little.
 *
 * @throws {InvalidInputError} when nothing says which field is the text, or an object has no text there.
 */
export function textsOf(documents: readonly JSONObject[], text: DocumentText | undefined): string[] {
  for (const [index, document] of documents.entries()) {
    if (typeof document === "object" && document !== null) continue;
    const kind = document === null ? "null" : typeof document;
    throw new InvalidInputError(`documents[${index}]`, `must be an object, as the first one is, not ${kind}`);
  }
  if (text === undefined) {
    const [first = {}] = documents;
    throw new InvalidInputError(
      "documents",
      `are objects (${Object.keys(first).slice(0, 8).join(", ")}), and nothing says which field is their text. ` +
        'Give documentText to the model, or providerOptions: { crossrank: { documentText: "body" } } to the call',
    );
  }
  if (typeof text === "function") {
    return documents.map((document, index) =>
      requireText(text(document), `documentText(documents[${index}])`),
    );
  }
  const fields = typeof text === "string" ? [text] : text;
  if (fields.length === 0) throw new InvalidInputError("documentText", "names no field. Name at least one");
  return documents.map((document, index) =>
    fields
      .map((field) =>
        requireText(
          Object.hasOwn(document, field) ? document[field] : undefined,
          `documents[${index}].${field}`,
        ),
      )
      .join("\n"),
  );
}

function requireText(value: unknown, path: string): string {
  if (typeof value === "string") return value;
  const kind = value === null ? "null" : typeof value;
  throw new InvalidInputError(
    path,
    `must be a string, not ${kind}. Give a text, or name where one is in documentText`,
  );
}
