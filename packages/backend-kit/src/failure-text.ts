/** What a failure says, as a clause for a message: one line, without its full stop. */
export function problemOf(failure: unknown): string {
  return messageOf(failure).trim().replace(/\s+/g, " ").replace(/\.$/, "");
}

/** The first line of what a failure says. */
export function firstLine(failure: unknown): string {
  return messageOf(failure).split("\n", 1)[0] ?? "";
}

export function messageOf(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}
