import { InvalidArgumentError, Option } from "commander";
import { backendNames, parseBackend } from "./backend-names.js";
import type { ModelOptions } from "./model.js";

/** What the commands that run a model have in common. */
export interface BackendChoice {
  readonly name: string;
  readonly dtype: string | undefined;
}

/** What the commands that read a model have in common. */
export interface ProfiledModelOptions extends ModelOptions {
  /** Path of a crossrank.json. */
  readonly profile?: string;
}

export function modelOptions(): Option[] {
  return [
    new Option("--revision <name>", "branch, tag or commit of the repository"),
    new Option("--offline", "use what is in the cache, download nothing"),
    new Option("--lock <file>", "lock file that pins the model's revision and hashes"),
    new Option(
      "--base <model>",
      "model whose configuration and tokenizer belong to an artifact that has none",
    ),
    new Option("--profile <file>", "crossrank.json whose facts override the model's own"),
  ];
}

/** Of the commands that run a model. */
export function conversionOption(): Option {
  return new Option(
    "--no-convert",
    "do not convert a model that has weights (safetensors) and no file for the backend; by default that is done once, into the cache",
  );
}

/** Of the commands that run one model on one backend. */
export function fileOption(): Option {
  return new Option(
    "--file <path>",
    "the artifact to run, relative to the model, e.g. onnx/model_O3.onnx, whatever its name; overrides the precision",
  );
}

export function backendOption(): Option {
  return new Option(
    "-b, --backend <name>",
    `runtime, also with a precision as in onnx:int8; known: ${backendNames.join(", ")}; or the file of a backend (./mine.mjs) or an npm package (default: the first that runs here and that the model has files for; never a reference)`,
  ).argParser((value): BackendChoice => {
    const backend = parseBackend(value);
    if (backend === undefined) throw new InvalidArgumentError(`Known backends: ${backendNames.join(", ")}.`);
    return backend;
  });
}

export function tableOrJson(): Option {
  return new Option("-f, --format <format>", "table for people, json for programs")
    .choices(["table", "json"])
    .default("table");
}

export function wholeNumber(value: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number) || number < 1) {
    throw new InvalidArgumentError("It must be a whole number above 0.");
  }
  return number;
}

export function positiveNumber(value: string): number {
  const number = Number(value);
  if (value.trim() === "" || !Number.isFinite(number) || number <= 0) {
    throw new InvalidArgumentError("It must be a number above 0.");
  }
  return number;
}
