import type { Problem } from "@crossrank/backend-kit";
import type { StatedDefault } from "./operators.js";

const epsilonNames = ["layer_norm_eps", "norm_eps", "rms_norm_eps", "layer_norm_epsilon"];

/** Smaller ones than this change nothing: a variance is larger. */
const negligible = 1e-6;

const fix =
  "Convert the model again from its weights with `crossrank convert --to mnn`, or with a converter that writes it";

/**
 * Holds what MNN takes for what the file leaves out against the model's config.json.
 *
 * @param config the parsed config.json; undefined where there is none.
 * @returns what is wrong; undefined where nothing is.
 */
export function judgeDefaults(defaults: readonly StatedDefault[], config: unknown): Problem | undefined {
  const wanted = epsilonIn(config);
  for (const { kind, value, stated } of defaults) {
    if (stated) continue;
    if (kind === "softmax") {
      const problem = "one of its Softmax has no axis, for which MNN takes the first: the rows of a batch";
      return { problem, fix };
    }
    if (wanted !== undefined && wanted >= negligible) {
      const problem = `one of its LayerNorm has no epsilon, for which MNN takes ${value}, and config.json has ${wanted}`;
      return { problem, fix };
    }
  }
  return undefined;
}

function epsilonIn(config: unknown): number | undefined {
  if (typeof config !== "object" || config === null) return undefined;
  return epsilonNames
    .map((name): unknown => Reflect.get(config, name))
    .find((value) => typeof value === "number");
}
