import type { TokenizerConfig, TokenizerJson } from "./reading.js";

/** Of each setting, where tokenizer.json has a direction that stands where tokenizer_config.json says nothing. */
const parts = { truncation_side: "truncation", padding_side: "padding" } as const;

/**
 * Where a tokenizer's files say that it cuts, or fills up, at the left; undefined where it does so at the right. Which
 * side it is is transformers' (5.3.0): tokenizer_config.json's word, else the direction in tokenizer.json.
 */
export function leftSide(
  { json, config }: { readonly json: TokenizerJson; readonly config: TokenizerConfig },
  name: keyof typeof parts,
): { readonly file: string; readonly entry: string; readonly side: string } | undefined {
  const part = parts[name];
  const ofConfig = config[name] ?? undefined;
  const settings = json[part];
  const ofJson: unknown =
    typeof settings === "object" && settings !== null ? Reflect.get(settings, "direction") : undefined;
  const side = ofConfig ?? ofJson;
  if (typeof side !== "string" || side.toLowerCase() !== "left") return undefined;
  return ofConfig === undefined
    ? { file: "tokenizer.json", entry: `${part}.direction`, side }
    : { file: "tokenizer_config.json", entry: name, side };
}
