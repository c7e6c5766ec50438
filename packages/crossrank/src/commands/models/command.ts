import { type Command, InvalidArgumentError, Option } from "commander";
import { backendNames } from "../../backend-names.js";
import type { Context } from "../../context.js";
import type { ModelsCommandOptions } from "./run.js";

const help = `
A model is listed for what is held of it:
  scores     scores that others have published, against which \`crossrank verify\` holds it
  catalogue  its prompt, which its files leave out, from its card or its code
  form       its files were seen, and a model of this form runs in the tests
  embedded   it is part of crossrank

Languages and sizes are those that its publisher wrote into its name. A dash is what is
not held; such a model is left out where the option asks for it. --json has the source of
each fact. Other models of the same forms run, too.

Examples:
  $ crossrank models --language ja
  $ crossrank models --max-size 1B --licence apache-2.0
  $ crossrank models --backend llamacpp --json

Exit code: 0 listed, 2 wrong usage.`;

export function addModelsCommand(program: Command, context: Context): void {
  program
    .command("models")
    .summary("list published models of which something certain is known")
    .description("Lists models by language, size, licence and backend, each with what is held of it.")
    .option("--language <code>", "two letters, e.g. ja; multilingual models count as every language")
    .addOption(
      new Option("--max-size <parameters>", "most parameters, e.g. 150M or 1B").argParser(parameters),
    )
    .option("--licence <name>", "as its card says it, e.g. apache-2.0; several with commas between")
    .addOption(
      new Option(
        "-b, --backend <name>",
        "has a file that it runs, or weights that are converted to one",
      ).choices(backendNames.filter((name) => !name.includes(":"))),
    )
    .addOption(new Option("--json", "for programs"))
    .addHelpText("after", help)
    .action(async (options: ModelsCommandOptions) => {
      // Loaded when it is asked for: --help has no use for it.
      const { runModelsCommand } = await import("./run.js");
      await runModelsCommand(options, context);
    });
}

/** In millions. */
function parameters(value: string): number {
  const found = /^(\d+(?:\.\d+)?)([mb]?)$/i.exec(value);
  if (found === null) throw new InvalidArgumentError("It must be a number, also with M or B behind it.");
  const millions = { m: 1, b: 1000, "": 1e-6 }[(found[2] ?? "").toLowerCase()] ?? 1;
  return Number(found[1]) * millions;
}
