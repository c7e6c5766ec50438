import { readFile } from "node:fs/promises";
import { inspect } from "node:util";
import { Command, CommanderError } from "commander";
import type { Context } from "./context.js";
import { exitCodes, exitCodeTable } from "./exit-codes.js";
import { CommandError, Interruption, isInvalidInput, translateInputError, UsageError } from "./failure.js";
import { acceptModelBothWays } from "./model-argument.js";
import { scoringCommand } from "./scoring-process.js";
import { refuseRepeats } from "./single-valued.js";
import { toSingleLine } from "./text.js";

let verbose = false;

/** Milliseconds that a command has to end by itself once it is asked to. */
const patience = 3000;

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
  void report(error, []).finally(() => process.exit(exitCodes.failed));
});

/** @returns the exit code. Everything that goes wrong ends here, in one line on standard error. */
async function run(argv: readonly string[]): Promise<number> {
  const context: Context = {
    signal: interruption.signal,
    log: (message) => {
      if (verbose) process.stderr.write(`crossrank: ${toSingleLine(message)}\n`);
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
    const translated = withFlag(
      error,
      program?.commands.find((command) => argv.includes(command.name())),
    );
    await report(translated, argv);
    return translated instanceof UsageError ? exitCodes.usage : exitCodes.failed;
  }
}

type AddCommand = (program: Command, context: Context, version: string) => void;

/** In the order of `--help`. Each is loaded when it is asked for, or when all are listed. */
const commands: Readonly<Record<string, () => Promise<AddCommand>>> = {
  rerank: async () => (await import("./commands/rerank/command.js")).addRerankCommand,
  inspect: async () => (await import("./commands/inspect/command.js")).addInspectCommand,
  verify: async () => (await import("./commands/verify.js")).addVerifyCommand,
  convert: async () => (await import("./commands/convert.js")).addConvertCommand,
  compare: async () => (await import("./commands/compare/command.js")).addCompareCommand,
  eval: async () => (await import("./commands/eval/command.js")).addEvalCommand,
  ci: async () => (await import("./commands/ci/command.js")).addCiCommand,
  residency: async () => (await import("./commands/residency/command.js")).addResidencyCommand,
  doctor: async () => (await import("./commands/doctor/command.js")).addDoctorCommand,
  [scoringCommand]: async () => (await import("./commands/scoring-process.js")).addScoringProcessCommand,
};

/** Commands that compare backends, and read the descriptors of all. */
const comparing: readonly string[] = ["compare", "eval", "ci"];

async function createProgram(argv: readonly string[], context: Context): Promise<Command> {
  const manifest = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8")) as {
    version: string;
    description: string;
  };
  const program = new Command("crossrank")
    .description(manifest.description)
    .version(manifest.version, "-V, --version")
    .option("--verbose", "say what is being done; show an error's stack and causes")
    .exitOverride()
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      `
Examples:
  $ crossrank rerank --query "how do vaccines work" --documents passages.txt
  $ crossrank inspect
  $ crossrank convert ./my-model --to onnx --dtype int8
  $ crossrank verify ./my-model --backend onnx:fp32
  $ crossrank eval --task ./scifact --backend onnx:fp32 --backend onnx:int8
  $ crossrank ci --config crossrank.config.json
  $ crossrank doctor

Exit codes:
${exitCodeTable.map(([code, meaning]) => `  ${String(code).padEnd(5)}${meaning}`).join("\n")}`,
    );
  for (const add of await asked(argv)) add(program, context, manifest.version);
  for (const command of [program, ...program.commands]) {
    acceptModelBothWays(command);
    refuseRepeats(command);
    if (comparing.includes(command.name())) {
      command.hook("preAction", async () => {
        await (await import("./backends.js")).loadBackends();
      });
    }
    command.configureOutput({
      outputError: (message, write) => {
        const line = withPeriod(toSingleLine(message.replace(/^error: /, "")));
        write(`crossrank: ${line} ${helpHint(command === program ? "" : command.name())}\n`);
      },
    });
  }
  return program;
}

/** The command that is named, none for the version alone, else all. */
async function asked(argv: readonly string[]): Promise<readonly AddCommand[]> {
  const name = argv.find((word) => !word.startsWith("-"));
  const load = name === undefined || !Object.hasOwn(commands, name) ? undefined : commands[name];
  if (load !== undefined) return [await load()];
  if (name === undefined && argv.some((word) => word === "-V" || word === "--version")) return [];
  return Promise.all(Object.values(commands).map((one) => one()));
}

/** A library's complaint about an argument of its own, under the flag that set it. */
function withFlag(error: unknown, command: Command | undefined): unknown {
  if (!isInvalidInput(error) || command === undefined) return error;
  const option = command.options.find((one) => one.attributeName() === error.path);
  const isGiven = option !== undefined && command.getOptionValueSource(error.path) === "cli";
  return isGiven ? translateInputError(error, { [error.path]: option.long ?? option.flags }) : error;
}

/** Writes one line that says what is wrong, and the rest only for `--verbose`. */
async function report(error: unknown, argv: readonly string[]): Promise<void> {
  // Loaded by whoever threw one of its errors.
  const { CrossrankError } = await import("@crossrank/core");
  const line = toSingleLine(error instanceof Error ? error.message || error.name : String(error));
  const expected =
    CrossrankError.isInstance(error) || error instanceof CommandError || error instanceof UsageError;
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

function helpHint(command: string): string {
  return `See: crossrank ${/^\w+$/.test(command) ? `${command} ` : ""}--help`;
}

function withPeriod(line: string): string {
  return /[.!?)]$/.test(line) ? line : `${line}.`;
}

process.exitCode = await run(process.argv.slice(2));
