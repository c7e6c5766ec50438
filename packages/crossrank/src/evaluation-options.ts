import type { TruncationStrategy } from "@crossrank/core";
import type { EvaluationSubject } from "@crossrank/eval";
import { type Command, InvalidArgumentError, Option } from "commander";
import { backendNames, parseBackend } from "./backend-names.js";
import { UsageError } from "./failure.js";
import {
  conversionOption,
  fileOption,
  modelOptions,
  type ProfiledModelOptions,
  wholeNumber,
} from "./options.js";

/** A backend with a precision, and the name by which reports call it. */
export interface SystemChoice {
  /** As it was asked for, e.g. `"onnx:int8"`. */
  readonly label: string;
  readonly name: string;
  readonly dtype: string | undefined;
}

const longDocumentsChoices = ["truncate", "chunk"] as const;
export type LongDocumentsChoice = (typeof longDocumentsChoices)[number];

/** What `eval` and `compare` have in common. */
export interface EvaluationOptions extends ProfiledModelOptions {
  readonly task?: string;
  readonly split?: string;
  readonly subset?: string;
  readonly candidates?: string;
  readonly model: string;
  readonly backend?: readonly SystemChoice[];
  readonly reference?: SystemChoice;
  readonly file?: string;
  readonly limit?: number;
  readonly maxLength?: number;
  readonly truncation?: TruncationStrategy;
  readonly longDocuments?: readonly LongDocumentsChoice[];
  readonly instruction?: string;
  readonly threads?: number;
  readonly workers?: number;
}

/** The model and the task of the options, without what is of one command alone. */
export function subjectOf(options: EvaluationOptions, task: string): EvaluationSubject {
  const { revision, offline, lock, base, convert, profile, maxLength, truncation, instruction } = options;
  const { model, threads, workers, split, subset, candidates, limit } = options;
  // Of several choices each system has its own.
  const [longDocuments, ...others] = options.longDocuments ?? [];
  return {
    model: {
      ...{ model, revision, offline, lock, base, convert, profile },
      ...{ maxLength, truncation, instruction, threads, workers },
      ...(longDocuments === undefined || others.length > 0 ? {} : { longDocuments }),
    },
    task: { task, split, subset, candidates, limit },
  };
}

export function addTaskOptions(command: Command): Command {
  return command
    .option("--split <name>", "split of the judgements (default: test, else the only one)")
    .option("--subset <name>", "subset of a dataset that has several, e.g. a language")
    .option("--candidates <file>", "TREC run whose documents to score, in place of the task's own");
}

export function addSystemOptions(command: Command): Command {
  command
    .option(
      "-b, --backend <name>",
      `runtime, also with a precision as in onnx:int8; or the file (./mine.mjs) or npm package of another backend; give it several times; known: ${backendNames.join(", ")} (default: the first that runs here and that the model has files for; never a reference)`,
      (value: string, before: readonly SystemChoice[] = []) => [...before, parseSystem(value)],
    )
    .option(
      "--reference <name>",
      "the backend that the others are held against (default: the first --backend)",
      parseSystem,
    );
  for (const option of [...modelOptions(), conversionOption(), fileOption()]) command.addOption(option);
  return command
    .option("--instruction <text>", 'what counts as relevant; "" for none (default: the model\'s own)')
    .option("--max-length <n>", "longest sequence in tokens (default: the model's own)", wholeNumber)
    .addOption(
      new Option(
        "--truncation <strategy>",
        "what to cut when a pair is too long (default: document-only)",
      ).choices(["document-only", "longest-first"]),
    )
    .addOption(
      new Option(
        "--long-documents <how>",
        "truncate, or chunk: score a document that is longer than the model by passages, the best one counts; both, to hold them against each other (default: truncate)",
      ).argParser((value: string, before: readonly LongDocumentsChoice[] | undefined) => {
        const how = longDocumentsChoices.find((one) => one === value);
        if (how === undefined) {
          throw new InvalidArgumentError(`Known: ${longDocumentsChoices.join(", ")}.`);
        }
        return [...(before ?? []), how];
      }),
    )
    .option("--limit <n>", "only the first n queries, in the task's order", wholeNumber)
    .option("--threads <n>", "threads of each worker (default: from the machine)", wholeNumber)
    .option("--workers <n>", "workers of a backend (default: from the model)", wholeNumber);
}

function parseSystem(value: string): SystemChoice {
  const backend = parseBackend(value);
  if (backend === undefined)
    throw new InvalidArgumentError(
      `Known backends: ${backendNames.join(", ")}; or the path of a backend's file (./mine.mjs), or an npm package that is installed.`,
    );
  return { label: value, ...backend };
}

/**
 * The reference first; it need not be among the backends. Of several ways with long documents each backend has one
 * system.
 *
 * @param chooseDefault the backend to take where none is named.
 */
export async function systemsOf(
  options: EvaluationOptions,
  chooseDefault: () => Promise<string>,
): Promise<{ readonly systems: readonly SystemChoice[]; readonly reference: string }> {
  const { systems, reference } = await backendsOf(options, chooseDefault);
  const { longDocuments = [] } = options;
  if (longDocuments.length < 2) return { systems, reference };
  const repeated = longDocuments.find((how, index) => longDocuments.indexOf(how) !== index);
  if (repeated !== undefined) throw new UsageError(`--long-documents ${repeated} is given twice`);
  const each = systems.flatMap((system) =>
    longDocuments.map((how) => ({ ...system, label: withLongDocuments(system.label, how) })),
  );
  return { systems: each, reference: withLongDocuments(reference, longDocuments[0] ?? "truncate") };
}

const chunked = " in passages";

/** Name of a system where a backend stands once for each way with long documents. */
function withLongDocuments(label: string, how: LongDocumentsChoice): string {
  return how === "chunk" ? `${label}${chunked}` : label;
}

/** The backend in a system's name, and what its name says of long documents. */
export function readSystemName(name: string): { readonly backend: string; readonly longDocuments?: "chunk" } {
  return name.endsWith(chunked)
    ? { backend: name.slice(0, -chunked.length), longDocuments: "chunk" }
    : { backend: name };
}

async function backendsOf(
  { backend = [], reference, file }: EvaluationOptions,
  chooseDefault: () => Promise<string>,
): Promise<{ readonly systems: readonly SystemChoice[]; readonly reference: string }> {
  const nameDefault = async (): Promise<string> =>
    file === undefined ? chooseDefault() : (await import("./registry.js")).defaultBackend([file]);
  const asked =
    backend.length === 0 && reference === undefined ? [parseSystem(await nameDefault())] : backend;
  if (file !== undefined) {
    const [only, ...others] = asked;
    if (only === undefined || others.length > 0 || reference !== undefined) {
      throw new UsageError(
        `--file names what one backend runs, and there are several; write each as --backend ${only?.name ?? "onnx"}:${file}`,
      );
    }
    const system = { label: `${only.name}:${file}`, name: only.name, dtype: file };
    return { systems: [system], reference: system.label };
  }
  const labels = asked.map(({ label }) => label);
  const twice = labels.find((label, index) => labels.indexOf(label) !== index);
  if (twice !== undefined) throw new UsageError(`--backend ${twice} is given twice`);
  const first = reference ?? (asked[0] as SystemChoice);
  return { systems: [first, ...asked.filter(({ label }) => label !== first.label)], reference: first.label };
}
