/** The commands of a shell block, each as its words. Comments are left out, and lines that go on are joined. */
export function commandsOf(text: string): string[][] {
  return text
    .replace(/\\\n/g, " ")
    .split("\n")
    .flatMap((line) => splitLine(line))
    .filter((words) => words.length > 0);
}

/** @returns the commands of one line, which `&&` and `;` part. */
function splitLine(line: string): string[][] {
  const commands: string[][] = [[]];
  for (const [, double, single, bare] of line.matchAll(/"([^"]*)"|'([^']*)'|([^\s"']+)/g)) {
    if (bare?.startsWith("#")) break;
    if (bare === "&&" || bare === ";") commands.push([]);
    else commands.at(-1)?.push(double ?? single ?? bare ?? "");
  }
  return commands;
}
