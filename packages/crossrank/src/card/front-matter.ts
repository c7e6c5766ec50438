import { CardError } from "./markers.js";

/** The YAML by which the hub knows a model, and what stands behind it. */
export interface FrontMatter {
  /** Without the lines around it; undefined where there is none. */
  readonly yaml: string | undefined;
  readonly rest: string;
}

/** @throws {CardError} where it begins and does not end. */
export function splitFrontMatter(text: string, card: string): FrontMatter {
  const opening = /^\ufeff?---[ \t]*\r?\n/.exec(text)?.[0];
  if (opening === undefined) return { yaml: undefined, rest: text };
  const body = text.slice(opening.length);
  const end = /^---[ \t]*(?:\r?\n|$)/m.exec(body);
  if (end === null) {
    throw new CardError({
      card,
      line: 1,
      problem: "the front matter begins and does not end",
      fix: "Write --- behind it",
    });
  }
  return { yaml: body.slice(0, end.index), rest: body.slice(end.index + end[0].length) };
}

/** Values of a key of the first level: a text, or a list in a line or of lines. */
export function valuesOf(yaml: string | undefined, key: string): string[] {
  const lines = (yaml ?? "").split(/\r?\n/);
  const at = lines.findIndex((line) => line.startsWith(`${key}:`));
  if (at < 0) return [];
  const unquote = (text: string): string =>
    text
      .trim()
      .replace(/\s+#.*$/, "")
      .replace(/^(["'])(.*)\1$/, "$2");
  const own = (lines[at] as string).slice(key.length + 1).trim();
  if (own.startsWith("["))
    return own
      .replace(/^\[|\].*$/g, "")
      .split(",")
      .map(unquote)
      .filter((one) => one !== "");
  if (own !== "" && !own.startsWith("#")) return [unquote(own)];
  const found: string[] = [];
  for (const line of lines.slice(at + 1)) {
    const item = /^\s*-\s+(.*)$/.exec(line)?.[1];
    if (item === undefined) break;
    found.push(unquote(item));
  }
  return found;
}

/** The licence that the front matter names; what YAML reads as no text names none. */
export function licenceOf(yaml: string | undefined): string | undefined {
  return valuesOf(yaml, "license").find(
    (name) => !/^(?:|~|null|true|false|\{.*|todo|tbd|none)$/i.test(name.trim()),
  );
}

/** Adds the keys that are not there; those of the author stay as they are. */
export function withKeys(
  yaml: string | undefined,
  keys: readonly (readonly [key: string, value: string | undefined])[],
  lineEnd: string,
): string {
  let lines = (yaml ?? "").replace(/(?:\r?\n)+$/, "");
  for (const [key, value] of keys) {
    if (value === undefined || new RegExp(`^${key}[ \\t]*:`, "m").test(lines)) continue;
    lines += `${lines === "" ? "" : lineEnd}${key}: ${value}`;
  }
  return `---${lineEnd}${lines}${lineEnd}---${lineEnd}`;
}

/** A plain YAML text, in quotation marks where it could be read as something else. */
export function yamlText(text: string): string {
  return /^[A-Za-z][\w./-]*$/.test(text) && !/^(?:true|false|yes|no|on|off|null|y|n)$/i.test(text)
    ? text
    : JSON.stringify(text);
}
