/** One phrase for a caught value; `fetch failed` alone says nothing, its cause does. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause instanceof Error) {
    const code = (error.cause as NodeJS.ErrnoException).code;
    return error.cause.message || code || error.message;
  }
  return error.message;
}
