import type { Problem } from "@crossrank/backend-kit";
import type { EncoderActivation, EncoderFacts } from "./encoder.js";

/** A config.json, parsed. */
export type Config = Readonly<Record<string, unknown>>;

const others =
  "Take the artifact that belongs to this model, or write it anew with `crossrank convert --to ctranslate2`";

/** Names of transformers' activations, as CTranslate2's own converter maps them. */
const activationNames: Readonly<Record<string, EncoderActivation>> = {
  gelu: "gelu",
  gelu_python: "gelu",
  gelu_new: "gelu-tanh",
  gelu_fast: "gelu-tanh",
  gelu_pytorch_tanh: "gelu-tanh",
  quick_gelu: "gelu-sigmoid",
  relu: "relu",
  silu: "silu",
  swish: "silu",
  tanh: "tanh",
};

/** Places count from behind the padding's in these. */
const shifted: ReadonlySet<unknown> = new Set(["roberta", "xlm-roberta", "camembert", "mpnet"]);

/**
 * Holds the file against the model's own config.json: an artifact of another model, and one that a converter wrote
 * with its places unshifted, give numbers that look like scores.
 *
 * @returns what is wrong; undefined where nothing is.
 */
export function judgeConfig(facts: EncoderFacts, config: Config): Problem | undefined {
  const find = (...names: readonly string[]): unknown =>
    names.map((name) => config[name]).find((value) => value !== undefined);
  const sizes: readonly (readonly [string, unknown, number])[] = [
    ["rows in its table of tokens", find("vocab_size"), facts.vocabulary],
    ["numbers a token", find("hidden_size", "dim"), facts.hidden],
    ["layers", find("num_hidden_layers", "n_layers"), facts.layers],
    ["heads", find("num_attention_heads", "n_heads"), facts.heads],
  ];
  for (const [what, wanted, found] of sizes) {
    if (typeof wanted === "number" && wanted !== found) {
      return { problem: `it has ${found} ${what}, and the model's config.json says ${wanted}`, fix: others };
    }
  }
  const named = find("hidden_act", "activation");
  const activation = typeof named === "string" ? activationNames[named] : undefined;
  if (activation !== undefined && activation !== facts.activation) {
    return {
      problem: `its activation is ${facts.activation}, and the model's config.json says ${JSON.stringify(named)}`,
      fix: others,
    };
  }
  const places = find("max_position_embeddings");
  const padding = find("pad_token_id") ?? 1;
  if (shifted.has(config["model_type"]) && typeof places === "number" && typeof padding === "number") {
    const wanted = places - padding - 1;
    if (facts.longest !== wanted) {
      return {
        problem: `it has places for ${facts.longest} tokens, and this model for ${wanted}: they begin behind the padding's`,
        fix: others,
      };
    }
  }
  return undefined;
}

/**
 * What norms add to a variance: as the file's own config.json says, else as the model's does. CTranslate2 itself would
 * take 1e-5 where its file says nothing.
 */
export function epsilonOf(own: Config | undefined, model: Config | undefined): number | Problem {
  const said = numberIn(own, "layer_norm_epsilon");
  const wanted =
    numberIn(model, "layer_norm_eps") ?? (model?.["model_type"] === "distilbert" ? 1e-12 : undefined);
  const epsilon = said ?? wanted;
  if (epsilon === undefined) {
    return {
      problem:
        "neither its config.json (layer_norm_epsilon) nor the model's (layer_norm_eps) says what its norms add",
      fix: "Put the config.json beside it that its converter wrote",
    };
  }
  if (!(epsilon > 1e-30 && epsilon < 1)) {
    return { problem: `its norms add ${epsilon}, which is no epsilon`, fix: others };
  }
  if (wanted !== undefined && Math.abs(epsilon - wanted) > 1e-6 * Math.max(epsilon, wanted)) {
    return { problem: `its norms add ${epsilon}, and the model's config.json says ${wanted}`, fix: others };
  }
  return epsilon;
}

function numberIn(config: Config | undefined, name: string): number | undefined {
  const value = config?.[name];
  return typeof value === "number" ? value : undefined;
}
