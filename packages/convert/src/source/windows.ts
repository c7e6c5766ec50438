import { shortened } from "./shortened.js";
import { type Source, unsupported } from "./source.js";

/**
 * Names of settings that say which other tokens a token sees, or in which layers: those of transformers 4.57.6 and 5.24.0
 * (lab/convert/window_settings.py lists them), and whatever else is called like them.
 */
const windowSetting: RegExp =
  /sliding|window|local_att|global_att|rope_local|(?:^|_)layer_types$|(?:^|_)swa(?:_|$)|att(?:n|ention)_(?:chunk|types$|pattern)/;

/** Called alike, and about something else: the kinds of the feed-forward layers, and what only training reads. */
const others: RegExp = /mlp_layer_types$|dropout/;

/**
 * A window that an architecture's own code would leave aside, or that is not known here, is refused: a model that was
 * trained with it gives other numbers without it.
 *
 * @param known settings that the architecture's description reads.
 * @throws {UnsupportedConversionError} naming the setting.
 */
export function refuseUnknownWindows(
  source: Pick<Source, "model" | "config">,
  known: readonly string[],
): void {
  for (const [name, value] of Object.entries(source.config)) {
    if (!windowSetting.test(name) || others.test(name) || known.includes(name)) continue;
    if (isWithout(source, name, value)) continue;
    throw unsupported(
      source,
      `config.json has ${shortened(name)} ${shortened(JSON.stringify(value) ?? "")}, and windows of ` +
        `${String(source.config["model_type"])} are not known under this name`,
    );
  }
}

/** Settings that say nothing where there is no window. */
const details: ReadonlySet<string> = new Set(["sliding_window", "max_window_layers"]);

/** Whether a setting leaves every token in sight of every other. */
function isWithout({ config }: Pick<Source, "config">, name: string, value: unknown): boolean {
  if (value === false || value === 0) return true;
  if (Array.isArray(value)) return value.every((entry) => entry === "full_attention");
  if (details.has(name) && config["use_sliding_window"] === false) return true;
  // Of how many layers there would be a window, without one.
  if (name === "max_window_layers" && config["use_sliding_window"] === undefined)
    return config["sliding_window"] === undefined;
  const places = config["max_position_embeddings"];
  return (
    typeof value === "number" && typeof places === "number" && value >= 2 * places && /window$/.test(name)
  );
}

/** What `layer_types` calls a layer. */
export const layerTypes = ["full_attention", "sliding_attention"] as const;

export type LayerType = (typeof layerTypes)[number];

/**
 * The type of each layer.
 *
 * @param given `layer_types` of config.json.
 * @param otherwise where it has none.
 * @throws {UnsupportedConversionError} for another number of types than of layers.
 */
export function layerTypesOf(
  source: Source,
  layers: number,
  given: readonly LayerType[] | undefined,
  otherwise: (layer: number) => LayerType,
): readonly LayerType[] {
  if (given === undefined) return Array.from({ length: layers }, (_, index) => otherwise(index));
  if (given.length === layers) return given;
  throw unsupported(source, `config.json has ${given.length} layer_types and ${layers} num_hidden_layers`);
}
