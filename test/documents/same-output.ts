/**
 * Whether a program printed what the document says, line by line. Others may stand between (a test reporter has more to
 * say). Words must be equal, numbers close: another processor rounds otherwise, and what is timed is not compared.
 *
 * @returns the first line that was not printed.
 */
export function missingLine(expected: string, printed: string): string | undefined {
  const actual = printed.split("\n").map(wordsOf);
  let from = 0;
  for (const line of expected.split("\n")) {
    const words = wordsOf(line);
    const at = actual.findIndex((one, index) => index >= from && isSame(words, one));
    if (at === -1) return line;
    from = at + 1;
  }
  return undefined;
}

function wordsOf(line: string): string[] {
  const untimed = line
    .replace(/in [\d.]+ s( \([\d,.]+ documents\/s\))?$/, "in a time")
    // Node's test reporter, by version.
    .replace(/^(#|ℹ) /, "")
    // Of a table that is as wide as its numbers.
    .replace(/…\s*$/, "");
  return untimed.split(/[\s,;()[\]]+/).filter((word) => word !== "");
}

function isSame(expected: readonly string[], actual: readonly string[]): boolean {
  return (
    expected.length === actual.length &&
    expected.every((word, index) => {
      const other = actual[index] as string;
      if (word === other) return true;
      const [wanted, found] = [word, other].map((one) => Number(one.replace(/'/g, "").replace("−", "-")));
      if (wanted === undefined || found === undefined || Number.isNaN(wanted) || Number.isNaN(found))
        return false;
      return Math.abs(wanted - found) <= 0.02 + 0.02 * Math.abs(wanted);
    })
  );
}
