/** Whether everything is tried, and not a sample: `.ci/long` sets CROSSRANK_LONG. */
export const isLong: boolean = process.env["CROSSRANK_LONG"] !== undefined;

/** CROSSRANK_SEED: which sample is tried. CI's second run takes another one than its first. */
const seed = Number(process.env["CROSSRANK_SEED"] ?? 0);

/** A whole number of a name and the seed, so that samples of different names are not all the same places. */
export function placeOf(name: string): number {
  return [...name].reduce((sum, letter) => sum + (letter.codePointAt(0) as number), seed);
}

/**
 * One of every few rows, in their order: those whose number is one remainder of the name and the seed. With
 * CROSSRANK_LONG every row.
 *
 * @param options.name of the sample.
 * @param options.every how many rows one stands for, from 1.
 * @param options.always rows that are always there: those that a fault once hid in.
 */
export function sampleOf<const Row>(
  rows: readonly Row[],
  {
    name,
    every,
    always = () => false,
  }: { readonly name: string; readonly every: number; readonly always?: (row: Row) => boolean },
): Row[] {
  const remainder = placeOf(name) % every;
  return rows.filter((row, index) => isLong || index % every === remainder || always(row));
}
