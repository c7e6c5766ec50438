import { classDefaults, flagsIn, numberIn } from "./config-values.js";
import type { Metadata } from "./metadata.js";
import { Refusal } from "./refusal.js";

/** Models some of whose layers see a window alone: where config.json says so, and what llama.cpp takes. */
const windowed: Readonly<
  Record<
    string,
    {
      readonly size: readonly string[];
      readonly period: readonly string[];
      /** llama.cpp's, for a file that names a window and no pattern. */
      readonly assumedPeriod: number;
      /** llama.cpp's window, for a file that names none; undefined: no window then. */
      readonly assumedSize?: number;
      /** Whether the layer that sees everything is the first of a period, or its last. */
      readonly fullFirst: boolean;
    }
  >
> = {
  "modern-bert": {
    size: ["local_attention"],
    period: ["global_attn_every_n_layers"],
    assumedPeriod: 3,
    fullFirst: true,
  },
  gemma2: {
    size: ["sliding_window"],
    // Its class reads none from config.json.
    period: [],
    assumedPeriod: 2,
    assumedSize: 4096,
    fullFirst: false,
  },
  gemma3: {
    size: ["sliding_window"],
    period: ["sliding_window_pattern", "_sliding_window_pattern"],
    assumedPeriod: 6,
    fullFirst: false,
  },
};

/**
 * Holds which layers see a window, and how large it is, against config.json. A file without a window has none in
 * llama.cpp, and all its layers the rotary base of those that see everything.
 *
 * @throws {Refusal} where they differ.
 */
export function compareLayout(metadata: Metadata, architecture: string, config: object): void {
  const rule = windowed[architecture];
  const layers = metadata.count(`${architecture}.block_count`);
  if (rule === undefined || layers === undefined || layers > 10_000) return;
  const patternOf = (period: number): boolean[] =>
    Array.from({ length: layers }, (_, layer) =>
      period < 1 ? true : rule.fullFirst ? layer % period !== 0 : layer % period < period - 1,
    );
  const standing = classDefaults(config, architecture);
  const size = numberIn(config, rule.size) ?? numberIn(standing, rule.size);
  const period =
    numberIn(config, rule.period) ?? numberIn(standing, ["sliding_window_pattern", ...rule.period]);
  const listed = flagsIn(config, ["layer_types"], "sliding_attention");
  const wanted = listed ?? (period === undefined ? undefined : patternOf(period));
  if (wanted === undefined || size === undefined) return;

  const key = `${architecture}.attention.sliding_window`;
  const stated = metadata.count(key) ?? rule.assumedSize;
  const found =
    (stated ?? 0) === 0 ? patternOf(1).map(() => false) : patternIn(metadata, key, rule.assumedPeriod);
  // A window that reaches the file's whole context is none.
  const context = metadata.count(`${architecture}.context_length`) ?? Number.POSITIVE_INFINITY;
  if (!rule.fullFirst && !wanted.includes(true) && (stated ?? 0) >= context) return;
  const pattern = typeof found === "number" ? patternOf(found) : found;
  const differs = wanted.findIndex((windows, layer) => layer < layers && windows !== pattern[layer]);
  if (differs >= 0) {
    const sees = (windows: boolean | undefined): string => (windows === true ? "a window" : "everything");
    const why = stated === undefined ? `its metadata have no "${key}", so that ` : "by its metadata ";
    throw new Refusal(
      `${why}layer ${differs} sees ${sees(pattern[differs])}, and by config.json ${sees(wanted[differs])}`,
      "Convert it again with a converter that writes the key, such as `crossrank convert --to gguf`, or put the file beside the model that it was made from",
    );
  }
  // Half of it to each side, for an encoder: an odd one is as good as the even one below.
  const reach = (window: number): number => (rule.fullFirst ? Math.floor(window / 2) : window);
  if (wanted.includes(true) && stated !== undefined && reach(stated) !== reach(size)) {
    throw new Refusal(
      `"${key}" of its metadata is ${stated}, and config.json has ${size}`,
      "The file is damaged or of another model: put it beside the model that it was made from",
    );
  }
}

/**
 * llama.cpp ends the process over a decoder with windows of which no layer has one.
 *
 * @throws {Refusal}
 */
export function requireSomeWindow(metadata: Metadata, architecture: string): void {
  const rule = windowed[architecture];
  if (rule === undefined || rule.fullFirst) return;
  const key = `${architecture}.attention.sliding_window`;
  if ((metadata.count(key) ?? rule.assumedSize ?? 0) === 0) return;
  const pattern = patternIn(metadata, key, rule.assumedPeriod);
  const hasSome =
    typeof pattern === "number"
      ? pattern !== 1 && metadata.count(`${architecture}.block_count`) !== 0
      : pattern.includes(true);
  if (hasSome) return;
  throw new Refusal(
    `by "${key}_pattern" of its metadata none of its layers has the window that "${key}" names, and llama.cpp ends over such a file`,
    "Use another format of this model, such as ONNX",
  );
}

/** A period, or a flag for each layer. */
function patternIn(metadata: Metadata, window: string, assumed: number): number | readonly boolean[] {
  const key = `${window}_pattern`;
  return metadata.flags(key) ?? metadata.count(key) ?? assumed;
}
