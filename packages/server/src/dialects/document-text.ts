import { RequestRefusedError } from "../refusal.js";

/**
 * The text of a document: a string, `{text}`, `{content}` with a string or Dify's parts, or the fields that
 * `rank_fields` names, each on a line of its own, in that order.
 *
 * @param place as the refusal names it, e.g. `documents[3]`.
 * @throws {RequestRefusedError} 422.
 */
export function documentText(value: unknown, place: string, rankFields?: readonly string[]): string {
  if (typeof value === "string") return value;
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(place, "must be a string, or an object with a text");
  }
  const document = value as Readonly<Record<string, unknown>>;
  if (rankFields !== undefined && rankFields.length > 0) return fieldsText(document, place, rankFields);
  const field = ["text", "content"].find((name) => Object.hasOwn(document, name) && document[name] !== null);
  if (field === undefined) {
    throw wrong(place, 'has neither "text" nor "content". Name its fields in "rank_fields"');
  }
  const content = document[field];
  if (typeof content === "string") return content;
  if (field === "content" && Array.isArray(content)) return partsText(content, `${place}.content`);
  throw wrong(`${place}.${field}`, "must be a string");
}

function fieldsText(
  document: Readonly<Record<string, unknown>>,
  place: string,
  rankFields: readonly string[],
): string {
  const lines = rankFields
    .filter((name) => Object.hasOwn(document, name) && document[name] !== null)
    .map((name) => {
      const value = document[name];
      return typeof value === "string" ? value : JSON.stringify(value);
    });
  if (lines.length === 0) throw wrong(place, 'has none of the fields that "rank_fields" names');
  return lines.join("\n");
}

/** Texts alone: no model here sees pictures, and one left out in silence would make the score another. */
function partsText(parts: readonly unknown[], place: string): string {
  return parts
    .map((part, index) => {
      const { type = "text", text } = (part ?? {}) as { readonly type?: unknown; readonly text?: unknown };
      if (type !== "text")
        throw wrong(`${place}[${index}]`, "is no text, and no model here reads anything else");
      if (typeof text !== "string") throw wrong(`${place}[${index}].text`, "must be a string");
      return text;
    })
    .join("\n");
}

function wrong(place: string, problem: string): RequestRefusedError {
  return new RequestRefusedError(422, `${place} ${problem}`);
}
