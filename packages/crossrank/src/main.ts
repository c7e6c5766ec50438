import { inspect } from "node:util";
import { type Command, CommanderError } from "commander";
import type { Context } from "./context.js";
import { exitCodes } from "./exit-codes.js";
import {
  CommandError,
  describeSystemCall,
  Interruption,
  isInvalidInput,
  isTyped,
  translateInputError,
  UsageError,
} from "./failure.js";
import { createProgram, helpHint, withPeriod } from "./program.js";
import { toSingleLine } from "./text.js";

let verbose = false;

/** Milliseconds that a command has to end by itself once it is asked to. */
let patience = 3000;

const interruption = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => {
    // Whoever asks twice does not want to wait for the batch under way.
    if (interruption.signal.aborted) return end(name);
    interruption.abort(new Interruption(name));
    // Neither a pipe that nobody reads nor a file that gives nothing sees the abort. What has ended by then, or loses
    // its last work, is not kept from it.
    setTimeout(() => end(name), patience).unref();
  });
}

/** Ends by the signal itself, which shells report as 128 and its number: `process.exit` waits for system calls under way. */
function end(name: NodeJS.Signals): void {
  process.removeAllListeners(name);
  process.kill(process.pid, name);
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // `| head` has seen enough: not a failure. `print` reports the other errors.
  if (error.code === "EPIPE") process.exit(exitCodes.success);
});
// There is nowhere left to report that reports cannot be written.
process.stderr.on("error", () => undefined);

process.on("uncaughtException", (error) => {
  report(error, []);
  process.exit(exitCodes.failed);
});

/** @returns the exit code. Everything that goes wrong ends here, in one line on standard error. */
async function run(argv: readonly string[]): Promise<number> {
  const context: Context = {
    signal: interruption.signal,
    log: (message) => {
      if (verbose) process.stderr.write(`crossrank: ${toSingleLine(message)}\n`);
    },
    endWithin: (milliseconds) => {
      patience = milliseconds;
    },
  };
  let program: Command | undefined;
  try {
    program = await createProgram(argv, context);
    program.on("option:verbose", () => {
      verbose = true;
    });
    if (argv.length === 0) program.help({ error: true });
    await program.parseAsync(argv, { from: "user" });
    return exitCodes.success;
  } catch (error) {
    if (interruption.signal.aborted) return (interruption.signal.reason as Interruption).exitCode;
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.success : exitCodes.usage;
    const command = program?.commands.find((one) => argv.includes(one.name()));
    const translated = withFlag(error, command);
    report(translated, argv, command);
    return translated instanceof UsageError ? exitCodes.usage : exitCodes.failed;
  }
}

/** A library's complaint about an argument of its own, under the flag that set it. */
function withFlag(error: unknown, command: Command | undefined): unknown {
  if (!isInvalidInput(error) || command === undefined) return error;
  const option = command.options.find((one) => one.attributeName() === error.path);
  const isGiven = option !== undefined && command.getOptionValueSource(error.path) === "cli";
  return isGiven ? translateInputError(error, { [error.path]: option.long ?? option.flags }) : error;
}

/** A library calls an option by its name, since who calls it may have no command line; here it has a flag. */
function nameFlags(message: string, command: Command | undefined): string {
  return message.replace(/\bthe option `(\w+)`/g, (whole, name: string) => {
    const option = command?.options.find((one) => one.attributeName() === name);
    return option?.long ?? whole;
  });
}

/** Writes one line that says what is wrong, and the rest only for `--verbose`. */
function report(error: unknown, argv: readonly string[], command?: Command): void {
  const systemCall = describeSystemCall(error);
  const message = systemCall ?? (error instanceof Error ? error.message || error.name : String(error));
  const line = toSingleLine(nameFlags(message, command));
  const expected = isTyped(error) || error instanceof CommandError || error instanceof UsageError;
  const hint =
    error instanceof UsageError
      ? helpHint(argv[0] ?? "")
      : expected
        ? ""
        : "This was not expected; --verbose shows where it comes from.";
  // No period after a message that may end with a command to copy.
  process.stderr.write(`crossrank: ${hint === "" ? line : `${withPeriod(line)} ${hint}`}\n`);
  if (verbose) process.stderr.write(`${inspect(error)}\n`);
}

process.exitCode = await run(process.argv.slice(2));
