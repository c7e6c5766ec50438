import { type Command, InvalidArgumentError } from "commander";
import { backendNames, parseBackend } from "../../backend-names.js";
import { tableOrJson } from "../../options.js";

const help = `
Exit code: 0 when at least one backend works here, else 1.

Examples:
  $ crossrank doctor
  $ crossrank doctor --format json
  $ crossrank doctor --backend ./my-backend.mjs`;

export function addDoctorCommand(program: Command, _context: unknown, version: string): void {
  program
    .command("doctor")
    .summary("show which backends work on this machine, and why others do not")
    .description("Examines this machine: Node, memory, the model cache, and every backend.")
    .addOption(tableOrJson())
    .option(
      "-b, --backend <name>",
      "examine this backend too: the file of one (./my-backend.mjs) or an npm package; give it several times",
      (value: string, before: readonly string[] = []) => [...before, requireBackend(value)],
    )
    .addHelpText("after", help)
    .action(async ({ format, backend = [] }: { format: "table" | "json"; backend?: readonly string[] }) => {
      // Loaded when it is asked for: --help has no use for it.
      const { examine } = await import("./run.js");
      await examine(version, format, backend);
    });
}

function requireBackend(value: string): string {
  const backend = parseBackend(value);
  if (backend !== undefined && backend.dtype === undefined) return backend.name;
  throw new InvalidArgumentError(
    `Name a backend without a precision: ${backendNames.join(", ")}, or a file.`,
  );
}
