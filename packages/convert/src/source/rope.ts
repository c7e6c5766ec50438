import * as z from "zod/mini";
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
