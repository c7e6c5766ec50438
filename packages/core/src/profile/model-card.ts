/** What a model card (README.md) says about the model that this one was made from. */
export interface CardBase {
  /** Repository ids; several where it was merged, or made of more than one. */
  readonly models: readonly string[];
  /** How it was made: `quantized`, `finetune`, `adapter`, `merge`. Undefined where the card does not say. */
  readonly relation: string | undefined;
}

/**
 * Reads `base_model` and `base_model_relation` of the YAML front matter by which the hub knows a model, in the forms in
 * which cards write them: a text, or a list in a line or of lines. What is written otherwise says nothing.
 */
export function readCardBase(card: string): CardBase {
  const front = /^\uFEFF?---[ \t]*\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/.exec(card)?.[1] ?? "";
  const lines = front.split(/\r?\n/);
  return {
    models: [...new Set(valuesOf(lines, "base_model"))].filter((id) => /^[\w.-]+\/[\w.-]+$/.test(id)),
    relation: valuesOf(lines, "base_model_relation")[0],
  };
}

function valuesOf(lines: readonly string[], key: string): string[] {
  const at = lines.findIndex((line) => line.startsWith(`${key}:`));
  if (at < 0) return [];
  const own = withoutComment((lines[at] as string).slice(key.length + 1));
  if (own.startsWith("["))
    return own
      .replace(/^\[|\]$/g, "")
      .split(",")
      .map(unquoted)
      .filter(isText);
  if (own !== "") return [unquoted(own)].filter(isText);
  const found: string[] = [];
  for (const line of lines.slice(at + 1)) {
    const entry = /^\s*-\s+(.*)$/.exec(line)?.[1];
    if (entry === undefined) {
      if (withoutComment(line) === "") continue;
      break;
    }
    found.push(unquoted(withoutComment(entry)));
  }
  return found.filter(isText);
}

function withoutComment(text: string): string {
  return text.replace(/(^|\s)#.*$/, "").trim();
}

function unquoted(text: string): string {
  return /^(["'])(.*)\1$/.exec(text.trim())?.[2] ?? text.trim();
}

function isText(value: string): boolean {
  return value !== "" && value !== "null" && value !== "~";
}
