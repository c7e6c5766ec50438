import { readFile } from "node:fs/promises";
import { CommandError, describeSystemError } from "../../failure.js";

/**
 * Lines of a file, or of standard input for `"-"`: UTF-8, without a byte order mark.
 * @throws {CommandError}
 */
export async function readLines(
  source: string,
  signal: AbortSignal,
): Promise<{ readonly lines: readonly string[]; readonly name: string }> {
  const name = source === "-" ? "standard input" : source;
  let bytes: Buffer;
  try {
    bytes = source === "-" ? await readStandardInput(signal) : await readFile(source, { signal });
  } catch (cause) {
    signal.throwIfAborted();
    throw new CommandError(
      `cannot read ${name}: ${describeSystemError(cause)}. Pass --pairs a JSONL file, or - for standard input`,
      { cause },
    );
  }
  try {
    return { lines: new TextDecoder("utf-8", { fatal: true }).decode(bytes).split("\n"), name };
  } catch (cause) {
    throw new CommandError(`${name} is not valid UTF-8; nothing was scored. Convert it, e.g. with iconv`, {
      cause,
    });
  }
}

async function readStandardInput(signal: AbortSignal): Promise<Buffer> {
  const chunks: Buffer[] = [];
  // A read that waits for the terminal does not see the signal by itself.
  const stop = (): void => {
    process.stdin.destroy(signal.reason);
  };
  signal.addEventListener("abort", stop, { once: true });
  try {
    for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  } finally {
    signal.removeEventListener("abort", stop);
  }
  return Buffer.concat(chunks);
}
