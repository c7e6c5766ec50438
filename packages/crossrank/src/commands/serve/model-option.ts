import { InvalidArgumentError } from "commander";
import { parseBackend } from "../../backend-names.js";
import { positiveWhole } from "./numbers.js";

/** A model as `--model` describes it: where it comes from, its name, and how it runs. */
export interface ServedModelChoice {
  readonly name: string;
  readonly reference: string;
  /** In the order in which they are tried; none for the default. */
  readonly backends: readonly string[];
  readonly dtype?: string;
  /** The artifact to run, relative to the model. */
  readonly file?: string;
  readonly convert?: boolean;
  readonly revision?: string;
  readonly base?: string;
  readonly lock?: string;
  readonly profile?: string;
  readonly instruction?: string;
  readonly truncation?: "document-only" | "longest-first";
  readonly threads?: number;
  readonly workers?: number;
  readonly maxLength?: number;
}

/** What may stand behind a model's reference, as `,KEY=VALUE`. */
export const modelKeys: readonly string[] = [
  "backend",
  "dtype",
  "file",
  "convert",
  "revision",
  "base",
  "lock",
  "profile",
  "instruction",
  "truncation",
  "threads",
  "workers",
  "max-length",
];

const numeric: readonly string[] = ["threads", "workers", "max-length"];

/**
 * `REF`, or `NAME=REF`, each also with settings: `small=nano,backend=onnx:int8,threads=2`. A comma that no key follows
 * belongs to what is before it. Without a name a model has that of its reference.
 *
 * @throws {InvalidArgumentError}
 */
export function parseModelChoice(value: string): ServedModelChoice {
  const [first = "", ...settings] = value.split(new RegExp(`,(?=(?:${modelKeys.join("|")})=)`));
  const [, name, named] = /^([\w./:@-]+)=(.+)$/s.exec(first) ?? [];
  const reference = named ?? first;
  if (reference === "") throw new InvalidArgumentError("Give NAME=MODEL, or MODEL alone.");
  const choice: Record<string, unknown> = { name: name ?? reference, reference };
  const backends: string[] = [];
  for (const setting of settings) {
    const at = setting.indexOf("=");
    const key = setting.slice(0, at);
    const text = setting.slice(at + 1);
    if (text === "" && key !== "instruction") throw new InvalidArgumentError(`${key}= has no value.`);
    if (key === "backend") {
      if (parseBackend(text) === undefined) throw new InvalidArgumentError(`There is no backend ${text}.`);
      backends.push(text);
      continue;
    }
    if (key === "truncation" && text !== "document-only" && text !== "longest-first") {
      throw new InvalidArgumentError("truncation= is document-only or longest-first.");
    }
    if (key === "convert" && text !== "true" && text !== "false") {
      throw new InvalidArgumentError("convert= is true or false.");
    }
    const field = key === "max-length" ? "maxLength" : key;
    if (Object.hasOwn(choice, field)) throw new InvalidArgumentError(`${key}= is given twice.`);
    choice[field] = numeric.includes(key)
      ? positiveWhole(text, key)
      : key === "convert"
        ? text === "true"
        : text;
  }
  return { ...choice, backends } as unknown as ServedModelChoice;
}
