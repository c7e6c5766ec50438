import { readFile } from "node:fs/promises";
import { inspect } from "node:util";
import { CrossrankError } from "@crossrank/core";
import { Command, CommanderError } from "commander";
import { addCiCommand } from "./commands/ci.js";
import { addCompareCommand } from "./commands/compare.js";
import { addConvertCommand } from "./commands/convert.js";
import { addDoctorCommand } from "./commands/doctor.js";
import { addEvalCommand } from "./commands/eval.js";
import { addInspectCommand } from "./commands/inspect.js";
import { addRerankCommand } from "./commands/rerank.js";
import { addResidencyCommand } from "./commands/residency.js";
import { addScoringProcessCommand } from "./commands/scoring-process.js";
import { addVerifyCommand } from "./commands/verify.js";
import type { Context } from "./context.js";
import { CommandError, exitCodes, Interruption, UsageError } from "./failure.js";
import { toSingleLine } from "./text.js";

let verbose = false;

const interruption = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) {
  process.on(name, () => {
    const reason = new Interruption(name);
    // Whoever asks twice does not want to wait for the batch under way.
    if (interruption.signal.aborted) process.exit(reason.exitCode);
    interruption.abort(reason);
  });
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

process.exitCode = await run(process.argv.slice(2));

/** @returns the exit code. Everything that goes wrong ends here, in one line on standard error. */
async function run(argv: readonly string[]): Promise<number> {
  const context: Context = {
    signal: interruption.signal,
    log: (message) => {
      if (verbose) process.stderr.write(`crossrank: ${toSingleLine(message)}\n`);
    },
  };
  try {
    const program = await createProgram(context);
    program.on("option:verbose", () => {
      verbose = true;
    });
    if (argv.length === 0) program.help({ error: true });
    await program.parseAsync(argv, { from: "user" });
    return exitCodes.success;
  } catch (error) {
    if (interruption.signal.aborted) return (interruption.signal.reason as Interruption).exitCode;
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.success : exitCodes.usage;
    report(error, argv);
    return error instanceof UsageError ? exitCodes.usage : exitCodes.failed;
  }
}

async function createProgram(context: Context): Promise<Command> {
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

Exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.`,
    );
  const version = manifest.version;
  addRerankCommand(program, context);
  addInspectCommand(program, context);
  addVerifyCommand(program, context);
  addConvertCommand(program, context);
  addCompareCommand(program, context);
  addEvalCommand(program, context);
  addCiCommand(program, context);
  addResidencyCommand(program, context);
  addDoctorCommand(program, version);
  addScoringProcessCommand(program);
  for (const command of [program, ...program.commands]) {
    command.configureOutput({
      outputError: (message, write) => {
        const line = withPeriod(toSingleLine(message.replace(/^error: /, "")));
        write(`crossrank: ${line} ${helpHint(command === program ? "" : command.name())}\n`);
      },
    });
  }
  return program;
}

/** Writes one line that says what is wrong, and the rest only for `--verbose`. */
function report(error: unknown, argv: readonly string[]): void {
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
