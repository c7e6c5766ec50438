import { InvalidArgumentError, Option } from "commander";
import { parseModelChoice, type ServedModelChoice } from "./commands/serve/model-option.js";
import { UsageError } from "./failure.js";
import { readProfileFile } from "./model.js";
import type { FirstStageOptions } from "./open-reranker.js";
import { wholeNumber } from "./options.js";

/** A small model before the command's own, said alike in every command. */
export interface CascadeChoices {
  readonly cascade?: ServedModelChoice;
  readonly keep?: number;
}

export function cascadeOptions(): Option[] {
  return [
    new Option(
      "--cascade <model>",
      "small model that scores all documents first, also with settings as in nano,backend=onnx:int8; --model then scores the best --keep of them alone",
    ).argParser(parseFirstStage),
    new Option("--keep <n>", "documents of a query that go on from the --cascade to the --model").argParser(
      wholeNumber,
    ),
  ];
}

export function parseFirstStage(value: string): ServedModelChoice {
  const choice = parseModelChoice(value);
  if (choice.backends.length > 1) throw new InvalidArgumentError("Give one backend: a stage is no chain.");
  if (choice.instruction !== undefined) {
    throw new InvalidArgumentError("instruction= is the command's: --instruction.");
  }
  return choice;
}

/** Of a command that runs one cascade. @throws {UsageError} where one of the two options is there alone. */
export function requireWholeCascade({ cascade, keep }: CascadeChoices): void {
  if (cascade !== undefined && keep === undefined) {
    throw new UsageError(
      `--cascade ${cascade.reference} needs --keep, how many documents go on; crossrank eval --cascade finds the smallest that is safe`,
    );
  }
  if (cascade === undefined && keep !== undefined) {
    throw new UsageError("--keep goes with --cascade, the model that scores all documents first");
  }
}

/** As `openReranker` takes it; undefined where there is no cascade. */
export async function firstStageOf({
  cascade,
  keep,
}: CascadeChoices): Promise<FirstStageOptions | undefined> {
  if (cascade === undefined || keep === undefined) return undefined;
  const { name: _name, reference, backends, profile, instruction: _instruction, ...own } = cascade;
  return { ...own, model: reference, keep, backend: backends[0], profile: await readProfileFile(profile) };
}
