import * as z from "zod/mini";
import type { Calibration } from "../contract/calibration.js";
import { greatest } from "./calibration.js";

const positive = z.number().check(z.gte(1 / greatest), z.lte(greatest));
const bounded = z.number().check(z.gte(-greatest), z.lte(greatest));
const count = z.int().check(z.gte(0), z.lte(2 ** 32));
const text = z.string().check(z.maxLength(1000));

const measure = z.strictObject({
  logLoss: z.number().check(z.gte(0)),
  calibrationError: z.number().check(z.gte(0), z.lte(1)),
});

const fit = z.optional(
  z.strictObject({
    pairs: count,
    relevant: count,
    before: z.nullable(measure),
    after: measure,
    heldOut: z.nullable(measure),
    source: z.optional(text),
    of: z.optional(text),
  }),
);

/** Checks a calibration of a `crossrank.json`. The types and their meaning are in `contract/calibration.ts`. */
export const calibrationSchema: z.ZodMiniType<Calibration> = z.discriminatedUnion("method", [
  z.strictObject({ method: z.literal("temperature"), temperature: positive, fit }),
  z.strictObject({ method: z.literal("platt"), slope: positive, intercept: bounded, fit }),
]);
