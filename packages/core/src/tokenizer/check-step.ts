import { isCount, isRecord, show } from "./check-model.js";

/** What a field of a normalizer or pre-tokenizer holds. */
export type FieldKind = "text" | "character" | "switch" | "count" | "list" | "anything";

/** Characters of a text of a step. */
const longestText = 100_000;

const holds: Readonly<Record<FieldKind, (value: unknown) => boolean>> = {
  text: (value) => typeof value === "string" && value.length <= longestText,
  // A code point, as Rust's char.
  character: (value) => typeof value === "string" && [...value].length === 1,
  switch: (value) => typeof value === "boolean",
  count: (value) => isCount(value) && value > 0,
  list: (value) => Array.isArray(value) && value.length <= 1000,
  anything: () => true,
};

/**
 * Checks a normalizer or pre-tokenizer of tokenizer.json: every field that is there holds what it should.
 *
 * @param required fields that its kind cannot do without.
 * @throws {Error} that names the field.
 */
export function checkStep(
  json: unknown,
  kinds: Readonly<Record<string, FieldKind>>,
  required: Readonly<Record<string, readonly string[]>>,
): void {
  if (!isRecord(json) || typeof json["type"] !== "string")
    throw new Error(`${show(json)} is no step with a type`);
  const { type } = json;
  for (const [name, kind] of Object.entries(kinds)) {
    const value = Object.hasOwn(json, name) ? json[name] : undefined;
    if (value === undefined || (value === null && mayBeNull.has(name))) continue;
    if (!holds[kind](value)) throw new Error(`${name} of ${type} is ${show(value)}`);
  }
  for (const name of Object.hasOwn(required, type) ? (required[type] as readonly string[]) : []) {
    if (!Object.hasOwn(json, name)) throw new Error(`${type} has no ${name}`);
  }
}

const mayBeNull: ReadonlySet<string> = new Set(["strip_accents", "precompiled_charsmap"]);
