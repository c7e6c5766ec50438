import * as z from "zod/mini";
import type { AttentionPositions } from "./description.js";
import { shortened } from "./shortened.js";
import { rotaryBase, type Source, unsupported } from "./source.js";

/** Rotary settings of transformers 5 (`modeling_rope_utils.py`, RopeParameters) and `rope_scaling` of transformers 4. */
const schema = z.strictObject({
  rope_type: z.nullish(z.string()),
  /** The name of `rope_type` before transformers 4.43. */
  type: z.nullish(z.string()),
  rope_theta: z.nullish(rotaryBase),
  partial_rotary_factor: z.nullish(z.number()),
});

/**
 * The base of plain rotary positions from one of config.json's objects; undefined when it does not say.
 *
 * @param where the setting's name, for messages.
 * @throws {UnsupportedConversionError} for scaled or partial ones, and for an entry that is not known.
 */
export function plainTheta(source: Source, where: string, given: unknown): number | undefined {
  if (given === undefined || given === null) return undefined;
  const parsed = schema.safeParse(given);
  const problem = `config.json has ${where} ${shortened(JSON.stringify(given))}, and only plain rotary positions are supported`;
  if (!parsed.success) throw unsupported(source, problem);
  const { rope_type, type, rope_theta, partial_rotary_factor } = parsed.data;
  if ((rope_type ?? type ?? "default") !== "default" || (partial_rotary_factor ?? 1) !== 1)
    throw unsupported(source, problem);
  return rope_theta ?? undefined;
}

type RotaryPositions = Extract<AttentionPositions, { kind: "rotary" | "scaled-rotary" }>;

const factor = z.number().check(z.gte(1), z.lte(1e6));

/** What Llama 3.1 and later, and others after it, say of their positions. */
const scalings = z.discriminatedUnion("rope_type", [
  z.strictObject({ rope_type: z.literal("linear"), factor, rope_theta: z.nullish(rotaryBase) }),
  z.strictObject({
    rope_type: z.literal("llama3"),
    factor,
    low_freq_factor: z.number().check(z.positive(), z.lte(1e6)),
    high_freq_factor: z.number().check(z.positive(), z.lte(1e6)),
    original_max_position_embeddings: z.int().check(z.positive(), z.lte(2 ** 24)),
    rope_theta: z.nullish(rotaryBase),
  }),
]);

/**
 * Rotary positions as config.json says them: `rope_scaling` beside `rope_theta` (transformers 4), or `rope_parameters`
 * with both (transformers 5). Scaled ones are those of `linear` and `llama3`, computed in float32 as transformers 5.24.0
 * does (`modeling_rope_utils.py`).
 *
 * @param settings where config.json may say it, with what it says there.
 * @throws {UnsupportedConversionError} for other scalings.
 */
export function rotaryPositions(
  source: Source,
  theta: number,
  headSize: number,
  settings: readonly (readonly [where: string, given: unknown])[] = [
    ["rope_scaling", source.config["rope_scaling"]],
    ["rope_parameters", source.config["rope_parameters"]],
  ],
): RotaryPositions {
  for (const [where, given] of settings) {
    const named =
      typeof given === "object" && given !== null
        ? {
            ...given,
            rope_type: Reflect.get(given, "rope_type") ?? Reflect.get(given, "type"),
            type: undefined,
          }
        : given;
    const parsed = scalings.safeParse(JSON.parse(JSON.stringify(named ?? null)));
    if (!parsed.success) continue;
    const scaling = parsed.data;
    if (scaling.rope_type === "llama3" && scaling.high_freq_factor <= scaling.low_freq_factor)
      throw unsupported(
        source,
        `config.json has ${where} with high_freq_factor ${scaling.high_freq_factor}, not above low_freq_factor ${scaling.low_freq_factor}`,
      );
    const plain = plainFrequencies(scaling.rope_theta ?? theta, headSize);
    const frequencies = plain.map((frequency) =>
      scaling.rope_type === "linear" ? Math.fround(frequency / scaling.factor) : ofLlama3(frequency, scaling),
    );
    return { kind: "scaled-rotary", frequencies };
  }
  const plain = settings.map(([where, given]) => plainTheta(source, where, given));
  return { kind: "rotary", theta: plain.find((found) => found !== undefined) ?? theta };
}

/** Radians a place, rounded to float32 as the models' own code rounds them. */
function plainFrequencies(theta: number, headSize: number): number[] {
  return Array.from({ length: headSize / 2 }, (_, index) =>
    Math.fround(1 / Math.fround(theta ** Math.fround((2 * index) / headSize))),
  );
}

/** Radians a place of either kind of rotary positions. */
export function frequenciesOf(positions: RotaryPositions, headSize: number): readonly number[] {
  return positions.kind === "rotary" ? plainFrequencies(positions.theta, headSize) : positions.frequencies;
}

/** Slow turns are slowed by the factor, fast ones are kept, and between them it changes by degrees. */
function ofLlama3(
  frequency: number,
  {
    factor,
    low_freq_factor: low,
    high_freq_factor: high,
    original_max_position_embeddings: places,
  }: Extract<z.infer<typeof scalings>, { rope_type: "llama3" }>,
): number {
  const { fround, PI } = Math;
  const wavelength = fround((2 * PI) / frequency);
  if (wavelength < places / high) return frequency;
  if (wavelength > places / low) return fround(frequency / factor);
  const kept = fround(fround(fround(places / wavelength) - low) / (high - low));
  const slowed = fround(fround(fround(1 - kept) * frequency) / factor);
  return fround(slowed + fround(kept * frequency));
}
