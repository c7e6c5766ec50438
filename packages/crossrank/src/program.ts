import { readFile } from "node:fs/promises";
import { Command } from "commander";
import type { Context } from "./context.js";
import { exitCodeTable } from "./exit-codes.js";
import { acceptModelBothWays } from "./model-argument.js";
import { shardCommand } from "./score/shard-protocol.js";
import { scoringCommand } from "./scoring-process.js";
import { refuseRepeats } from "./single-valued.js";
import { toSingleLine } from "./text.js";

type AddCommand = (program: Command, context: Context, version: string) => void;

/** In the order of `--help`. Each is loaded when it is asked for, or when all are listed. */
const commands: Readonly<Record<string, () => Promise<AddCommand>>> = {
  rerank: async () => (await import("./commands/rerank/command.js")).addRerankCommand,
  score: async () => (await import("./commands/score/command.js")).addScoreCommand,
  worker: async () => (await import("./commands/worker/command.js")).addWorkerCommand,
  pull: async () => (await import("./commands/pull/command.js")).addPullCommand,
  models: async () => (await import("./commands/models/command.js")).addModelsCommand,
  inspect: async () => (await import("./commands/inspect/command.js")).addInspectCommand,
  consumer: async () => (await import("./commands/consumer/command.js")).addConsumerCommand,
  verify: async () => (await import("./commands/verify/command.js")).addVerifyCommand,
  convert: async () => (await import("./commands/convert/command.js")).addConvertCommand,
  compare: async () => (await import("./commands/compare/command.js")).addCompareCommand,
  eval: async () => (await import("./commands/eval/command.js")).addEvalCommand,
  bench: async () => (await import("./commands/bench/command.js")).addBenchCommand,
  card: async () => (await import("./commands/card/command.js")).addCardCommand,
  publish: async () => (await import("./commands/publish/command.js")).addPublishCommand,
  pick: async () => (await import("./commands/pick/command.js")).addPickCommand,
  train: async () => (await import("./commands/train/command.js")).addTrainCommand,
  mine: async () => (await import("./commands/mine/command.js")).addMineCommand,
  calibrate: async () => (await import("./commands/calibrate/command.js")).addCalibrateCommand,
  ci: async () => (await import("./commands/ci/command.js")).addCiCommand,
  serve: async () => (await import("./commands/serve/command.js")).addServeCommand,
  residency: async () => (await import("./commands/residency/command.js")).addResidencyCommand,
  doctor: async () => (await import("./commands/doctor/command.js")).addDoctorCommand,
  [scoringCommand]: async () => (await import("./commands/scoring-process.js")).addScoringProcessCommand,
  [shardCommand]: async () => (await import("./commands/shard-process.js")).addShardProcessCommand,
};

/** Commands that compare backends, and read the descriptors of all. */
const comparing: readonly string[] = ["compare", "eval", "bench", "ci"];

/** @param argv decides which commands are loaded. */
export async function createProgram(argv: readonly string[], context: Context): Promise<Command> {
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
  $ crossrank pick ./my-model --task ./scifact
  $ crossrank calibrate ./my-model --pairs judged.jsonl
  $ crossrank ci --config crossrank.config.json
  $ crossrank serve --port 8080
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

/** Where the usage is explained. */
export function helpHint(command: string): string {
  return `See: crossrank ${/^\w+$/.test(command) ? `${command} ` : ""}--help`;
}

export function withPeriod(line: string): string {
  return /[.!?)]$/.test(line) ? line : `${line}.`;
}
