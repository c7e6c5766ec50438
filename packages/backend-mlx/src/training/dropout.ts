import type { ModelFiles } from "@crossrank/core";
import type { DropoutChances } from "../graph/changes.js";
import { UntrainableError } from "./errors.js";

/** What config.json calls a chance, and what transformers takes where it says nothing; several: the first that is there. */
type Named = readonly (readonly [key: string, otherwise: number | null])[];
type Places = Readonly<Partial<Record<keyof DropoutChances, Named>>>;

const hidden = [["hidden_dropout_prob", 0.1]] as const;
const ofHead = [["classifier_dropout", null], ...hidden] as const;
const bert: Places = {
  embeddings: hidden,
  shares: [["attention_probs_dropout_prob", 0.1]],
  attention: hidden,
  feedForward: hidden,
  head: ofHead,
};
const roberta: Places = { ...bert, headInput: ofHead };
const decoder: Places = { shares: [["attention_dropout", 0]] };

/** Where transformers' classes drop, by model_type. */
const placesByType: Readonly<Record<string, Places>> = {
  bert,
  roberta,
  "xlm-roberta": roberta,
  camembert: roberta,
  modernbert: {
    embeddings: [["embedding_dropout", 0]],
    shares: [["attention_dropout", 0]],
    attention: [["attention_dropout", 0]],
    inner: [["mlp_dropout", 0]],
    head: [["classifier_dropout", 0]],
  },
  qwen2: decoder,
  qwen3: decoder,
};

const none: DropoutChances = {
  ...{ embeddings: 0, shares: 0, attention: 0, inner: 0, feedForward: 0, headInput: 0, head: 0 },
};

/**
 * The chances of a model's own dropouts, where its class in transformers has them.
 *
 * @param dropout a chance for all of them, 0 to below 1; or `"model"`: those of config.json.
 * @throws {UntrainableError} for `"model"` where the class is not known here, or config.json has no such chance.
 */
export async function dropoutOf(
  files: ModelFiles,
  dropout: number | "model",
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<DropoutChances> {
  if (dropout === 0) return none;
  const config: unknown = JSON.parse(await files.readText("config.json", { signal }));
  const settingOf = (key: string): unknown =>
    typeof config === "object" && config !== null && Object.hasOwn(config, key)
      ? Reflect.get(config, key)
      : undefined;
  const type = settingOf("model_type");
  const places =
    typeof type === "string" && Object.hasOwn(placesByType, type) ? placesByType[type] : undefined;
  if (dropout !== "model") return chancesAt(places ?? bert, () => dropout);
  if (places === undefined)
    throw new UntrainableError({
      model: files.id,
      problem: `is a ${JSON.stringify(type)}, and what such models drop is not known here`,
      fix: "Name a number as the option dropout",
    });
  return chancesAt(places, (names) => {
    for (const [key, otherwise] of names) {
      const value = settingOf(key) ?? otherwise;
      if (value === null) continue;
      if (typeof value === "number" && value >= 0 && value < 1) return value;
      throw new UntrainableError({
        model: files.id,
        problem: `has ${JSON.stringify(value)} as ${key}, which is no chance`,
        fix: "Name a number of 0 to below 1 as the option dropout",
      });
    }
    return 0;
  });
}

function chancesAt(places: Places, chanceOf: (names: Named) => number): DropoutChances {
  const entries = Object.entries(places).map(([place, names]) => [place, chanceOf(names)] as const);
  return { ...none, ...Object.fromEntries(entries) };
}
