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
  const lines = frontMatter(card);
  return {
    models: [...new Set(valuesOf(lines, "base_model"))].filter((id) => /^[\w.-]+\/[\w.-]+$/.test(id)),
    relation: valuesOf(lines, "base_model_relation")[0],
  };
}

/** `pipeline_tag`: what a card says that its model is for, such as `text-ranking`. */
export function readCardTask(card: string): string | undefined {
  return valuesOf(frontMatter(card), "pipeline_tag")[0];
}

/** Tags with which training libraries mark what they trained. */
const trainedTag = /^(?:fine-?tun(?:e|ed|ing)|generated_from_trainer|trl|sft|lora|adapter|merge)$/i;

/**
 * Whether a card says that its model was trained on, by a tag, in its title, or in the sentence that training libraries
 * write: a model's own card may speak of fine-tuning for other reasons.
 */
export function saysTrained(card: string): boolean {
  const title = /^#[ \t]+(.*)$/m.exec(card)?.[1] ?? "";
  return (
    valuesOf(frontMatter(card), "tags").some((tag) => trainedTag.test(tag)) ||
    /fine-?\s?tun(?:e\b|ed)/i.test(title) ||
    /\bfine-?\s?tuned\s+(?:version\s+of|from)\b/i.test(card.slice(0, 2 ** 20))
  );
}

function frontMatter(card: string): string[] {
  const front = /^\uFEFF?---[ \t]*\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/.exec(card)?.[1] ?? "";
  return front.split(/\r?\n/);
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
