import { parse } from "yaml";

/** What a dataset card (README.md) says, as far as it matters here. */
export interface DatasetCard {
  readonly license: string | undefined;
  readonly name: string | undefined;
  readonly citation: string | undefined;
  /** Config name → split → path patterns. Empty where the card lists none. */
  readonly configs: ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;
}

/**
 * Reads a card by the hub's rules (https://huggingface.co/docs/datasets/repository_structure): YAML front matter,
 * `configs` with `data_files` as a path, a list of paths, or a list of `{ split, path }`. A file without a split is of
 * `train`. The citation is the first BibTeX entry in a fenced block. A card that is not well formed says nothing.
 */
export function readCard(text: string): DatasetCard {
  const front = /^\uFEFF?---\r?\n([\s\S]*?)\r?\n---[ \t]*(?:\r?\n|$)/.exec(text);
  const data = parseYaml(front?.[1]);
  const license = data["license_name"] ?? data["license"];
  return {
    license: Array.isArray(license)
      ? license.filter((entry) => typeof entry === "string").join(", ") || undefined
      : textOf(license),
    name: textOf(data["pretty_name"]),
    citation: readCitation(text.slice(front?.[0].length ?? 0)),
    configs: readConfigs(data["configs"]),
  };
}

function parseYaml(text: string | undefined): Record<string, unknown> {
  if (text === undefined) return {};
  try {
    const value: unknown = parse(text, { schema: "core" });
    return isRecord(value) ? value : {};
  } catch {
    return {};
  }
}

function readCitation(body: string): string | undefined {
  for (const block of body.matchAll(/^(`{3,})[^\n`]*\n([\s\S]*?)\n\1[ \t]*$/gm)) {
    const content = block[2]?.trim() ?? "";
    if (/^@[A-Za-z]+\s*\{/.test(content)) return content;
  }
  return undefined;
}

function readConfigs(value: unknown): Map<string, Map<string, string[]>> {
  const configs = new Map<string, Map<string, string[]>>();
  if (!Array.isArray(value)) return configs;
  for (const entry of value) {
    if (!isRecord(entry)) continue;
    const name = textOf(entry["config_name"]);
    if (name === undefined) continue;
    const folder = textOf(entry["data_dir"]);
    const splits = new Map<string, string[]>();
    const add = (split: string, patterns: unknown): void => {
      for (const pattern of Array.isArray(patterns) ? patterns : [patterns]) {
        if (typeof pattern !== "string") continue;
        const path = (folder === undefined ? pattern : `${folder}/${pattern}`).replace(/^\.\//, "");
        splits.set(split, [...(splits.get(split) ?? []), path]);
      }
    };
    const files = entry["data_files"] ?? (folder === undefined ? undefined : "**");
    for (const item of Array.isArray(files) ? files : [files]) {
      if (isRecord(item)) add(textOf(item["split"]) ?? "train", item["path"]);
      else add("train", item);
    }
    if (splits.size > 0) configs.set(name, splits);
  }
  return configs;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value.trim() !== "" ? value.trim() : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
