import type { Command, Option } from "commander";

/**
 * Makes an option that is given twice wrong usage, unless it collects: commander would take the last one in silence. An
 * option collects when what it makes of a value depends on what was given before.
 */
export function refuseRepeats(command: Command): void {
  for (const option of command.options) {
    if (option.isBoolean() || option.negate) continue;
    const usage = { times: 0, collects: option.variadic };
    watch(option, usage);
    command.on(`option:${option.name()}`, () => {
      usage.times += 1;
      if (usage.times > 1 && !usage.collects) {
        command.error(`error: option '${option.flags}' is given ${usage.times} times; give it once`);
      }
    });
  }
}

function watch(option: Option, usage: { times: number; collects: boolean }): void {
  const { parseArg } = option;
  if (parseArg === undefined) return;
  option.parseArg = <Value>(value: string, previous: Value): Value => {
    const parsed = parseArg(value, previous);
    // The first time, `previous` is the default.
    if (usage.times > 0) {
      usage.collects = JSON.stringify(parsed) !== JSON.stringify(parseArg(value, undefined as never));
    }
    return parsed;
  };
}
