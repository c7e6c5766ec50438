import { CommandError } from "./failure.js";

/** What every command gets from the program. */
export interface Context {
  /** Aborts when the user stops the program. */
  readonly signal: AbortSignal;
  /** Says what is being done, on standard error, when `--verbose` asks for it. */
  readonly log: (message: string) => void;
  /** Gives the command so many milliseconds to end once it is asked to, in place of three seconds. */
  readonly endWithin: (milliseconds: number) => void;
}

/** Writes to standard output and waits until it is out, so that the end of the process cuts nothing off. */
export function print(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    if (text === "") resolve();
    else {
      process.stdout.write(text, (error) => {
        if (error) reject(new CommandError(`cannot write the output: ${error.message}`, { cause: error }));
        else resolve();
      });
    }
  });
}
