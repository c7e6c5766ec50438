import type { Command } from "commander";
import { UsageError } from "./failure.js";

/**
 * Lets a command take its model as an argument and as `--model`, whichever of the two it declares, so that all commands
 * take it alike. Both at once must be the same.
 */
export function acceptModelBothWays(command: Command): void {
  const [argument] = command.registeredArguments;
  const option = command.options.find(({ long }) => long === "--model");
  if (argument?.name() === "model") {
    if (option === undefined) command.option("-m, --model <source>", "the model, as the argument");
    command.hook("preAction", () => {
      const { model } = command.opts<{ readonly model?: string }>();
      const [given] = command.args;
      if (model === undefined) return;
      refuseTwo(given, model);
      command.processedArgs[0] = model;
    });
  } else if (option !== undefined && argument === undefined) {
    // Not declared, since the action takes its options first.
    command.allowExcessArguments().usage("[options] [model]");
    command.hook("preAction", () => {
      const [given, ...more] = command.args;
      if (more.length > 0) {
        command.error(`error: too many arguments. Expected at most the model but got ${more.length + 1}.`);
      }
      if (given === undefined) return;
      const isChosen = command.getOptionValueSource("model") === "cli";
      refuseTwo(given, isChosen ? String(command.getOptionValue("model")) : undefined);
      command.setOptionValueWithSource("model", given, "cli");
    });
  }
}

/** @throws {UsageError} */
function refuseTwo(argument: string | undefined, option: string | undefined): void {
  if (argument === undefined || option === undefined || argument === option) return;
  throw new UsageError(`the model is given twice, as ${argument} and as --model ${option}; give one of them`);
}
