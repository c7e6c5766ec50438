/** Of a batch whose size an artifact fixes, what a memory holds: its arrays are made before anything runs. */
const mostRows = 4096;
const mostColumns = 1 << 20;
const mostTokens = 1 << 22;

/**
 * Whether an artifact may fix its batches to this size.
 *
 * @param size undefined where it leaves a dimension free.
 * @returns what is wrong, as a clause; undefined when nothing is.
 */
export function batchSizeProblem(size: {
  readonly rows?: number | undefined;
  readonly columns?: number | undefined;
}): string | undefined {
  const { rows = 1, columns = 1 } = size;
  for (const [what, number, most] of [
    ["rows", rows, mostRows],
    ["tokens", columns, mostColumns],
  ] as const) {
    if (!(Number.isSafeInteger(number) && number >= 1 && number <= most)) {
      return `its batches are fixed to ${number} ${what}, and 1 to ${most} can be run`;
    }
  }
  if (rows * columns <= mostTokens) return undefined;
  return `its batches are fixed to ${rows} rows of ${columns} tokens, more than ${mostTokens} together`;
}
