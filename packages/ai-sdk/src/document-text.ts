import type { JSONObject } from "@ai-sdk/provider";
import { InvalidInputError } from "crossrank";

/**
 * What of an object is ranked: the name of its field; names, whose texts are joined by a line's end in this order; or a
 * function of the object.
 */
export type DocumentText = string | readonly string[] | ((document: JSONObject) => string);

/**
 * The texts of objects. Nothing is guessed: an object as JSON would be scored, and the number would say little.
 *
 * @throws {InvalidInputError} when nothing says which field is the text, or an object has no text there.
 */
export function textsOf(documents: readonly JSONObject[], text: DocumentText | undefined): string[] {
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
  throw new InvalidInputError(path, `must be a string, not ${kind}. Name another field, or give a function`);
}
