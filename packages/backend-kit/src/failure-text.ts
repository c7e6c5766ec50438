/** What a failure says, as a clause for a message: one line, without its full stop. */
export function problemOf(failure: unknown): string {
  return messageOf(failure).trim().replace(/\s+/g, " ").replace(/\.$/, "");
}

/** The first line of what a failure says. */
export function firstLine(failure: unknown): string {
  return messageOf(failure).split("\n", 1)[0] ?? "";
}

/**
 * What a thread or process that did not start says of a limit of the system; undefined where it is none. Node has it in
 * the message alone ("Worker initialization failure: EMFILE").
 */
export function shortageOf(failure: unknown): string | undefined {
  const code = /\bE(?:MFILE|NFILE)\b/.exec(messageOf(failure))?.[0];
  return code === undefined ? undefined : `too many files are open (${code})`;
}

export function messageOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}
