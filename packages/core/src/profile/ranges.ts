import * as z from "zod/mini";

/** Largest id of a token, plus one. The largest vocabulary that is published has some 260,000 tokens. */
const mostTokens = 2 ** 24;
/** Largest length of a sequence, in tokens; the largest that is published is 10 million. */
export const mostPositions: number = 2 ** 24;

const within = (least: number, most: number): z.ZodMiniNumberFormat =>
  z.int().check(z.gte(least), z.lte(most));

export const tokenId: z.ZodMiniNumberFormat = within(0, mostTokens - 1);
/** Size of a vocabulary. */
export const tokenCount: z.ZodMiniNumberFormat = within(1, mostTokens);
/** Length of a sequence or of a position table, in tokens. */
export const positionCount: z.ZodMiniNumberFormat = within(1, mostPositions);
/** Kinds of segments, labels of a head: few. */
export const fewKinds: z.ZodMiniNumberFormat = within(0, 100_000);
/** One of the two segments that are told apart. */
export const segment: z.ZodMiniUnion<[z.ZodMiniLiteral<0>, z.ZodMiniLiteral<1>]> = z.union([
  z.literal(0),
  z.literal(1),
]);

/** A sentence of a prompt, in UTF-16 code units. */
export const wording: z.ZodMiniString = z.string().check(z.maxLength(100_000));
/** Pieces of a template. */
export const mostPieces = 1000;
