import * as z from "zod";
import type { CrossrankConfig, IncludeEntry, ModelEntry, TaskEntry } from "./config.js";

const text = z.string().min(1, "must not be empty");
const count = z.int("must be a whole number above 0").min(1, "must be a whole number above 0");
const names = z.array(text).min(1, "must name at least one");
/** Looked at by the gate file's own reader. */
const gates = z.custom<CrossrankConfig["gates"]>(
  (value) => value === false || typeof value === "number" || (typeof value === "object" && value !== null),
  "must be a number, an object or false",
);

const cascade = z.strictObject({
  model: text,
  keep: count,
  name: text.optional(),
  backend: text.optional(),
  large: names.optional(),
  revision: text.optional(),
  lock: text.optional(),
  base: text.optional(),
  convert: z.boolean().optional(),
  profile: text.optional(),
  maxLength: count.optional(),
  truncation: z.enum(["document-only", "longest-first"]).optional(),
  threads: count.optional(),
  workers: count.optional(),
});

const model = z.strictObject({
  model: text,
  name: text.optional(),
  backends: names.optional(),
  reference: text.optional(),
  revision: text.optional(),
  lock: text.optional(),
  offline: z.boolean().optional(),
  base: text.optional(),
  convert: z.boolean().optional(),
  profile: text.optional(),
  maxLength: count.optional(),
  truncation: z.enum(["document-only", "longest-first"]).optional(),
  longDocuments: z.enum(["truncate", "chunk"]).optional(),
  instruction: z.string().optional(),
  threads: count.optional(),
  workers: count.optional(),
  cascade: cascade.optional(),
});

const task = z.strictObject({
  task: text,
  name: text.optional(),
  split: text.optional(),
  subset: text.optional(),
  candidates: text.optional(),
  depth: count.optional(),
  retrieve: z.boolean().optional(),
  excludeIdenticalIds: z.boolean().optional(),
  limit: count.optional(),
  metrics: names.optional(),
  gates: gates.optional(),
});

/** A text stands for an entry with nothing but its source. A union's own message would name neither field nor fault. */
const entry = <Shape extends typeof model | typeof task>(shape: Shape, key: "model" | "task") =>
  z.preprocess((value) => (typeof value === "string" ? { [key]: value } : value), shape);

const schema = z.strictObject({
  models: z.array(entry(model, "model")).min(1, "must name at least one").optional(),
  backends: names.optional(),
  reference: text.optional(),
  tasks: z.array(entry(task, "task")).min(1, "must name at least one"),
  metrics: names.optional(),
  gates: gates.optional(),
  include: z
    .array(
      z.strictObject({
        model: entry(model, "model"),
        task: entry(task, "task"),
        backends: names.optional(),
      }),
    )
    .optional(),
  exclude: z
    .array(
      z
        .strictObject({ model: text.optional(), task: text.optional(), backend: text.optional() })
        .refine((value) => Object.keys(value).length > 0, "must name a model, a task or a backend"),
    )
    .optional(),
  report: text.optional(),
  baseline: text.optional(),
  seed: count.optional(),
});

/** The configuration with every model and task written out. */
export interface CheckedConfig extends Omit<CrossrankConfig, "models" | "tasks" | "include"> {
  readonly models?: readonly ModelEntry[] | undefined;
  readonly tasks: readonly TaskEntry[];
  readonly include?:
    | readonly (Omit<IncludeEntry, "model" | "task"> & {
        readonly model: ModelEntry;
        readonly task: TaskEntry;
      })[]
    | undefined;
}

/** The faults, each with its place, e.g. `"tasks[0].limit must be a whole number above 0"`. */
export function checkShape(value: unknown): { config: CheckedConfig } | { faults: readonly string[] } {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return { config: result.data };
  return { faults: result.error.issues.map((issue) => `${placeOf(issue.path)} ${problemOf(issue)}`) };
}

function placeOf(path: readonly PropertyKey[]): string {
  const place = path
    .map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`))
    .join("")
    .replace(/^\./, "");
  return place === "" ? "the configuration" : place;
}

function problemOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "unrecognized_keys": {
      const { keys } = issue;
      return `has ${keys.map((key) => JSON.stringify(key)).join(", ")}, which ${keys.length === 1 ? "is" : "are"} not known`;
    }
    case "invalid_type":
      if (issue.input === undefined) return "is missing";
      // A whole number is no type to whoever writes JSON.
      return issue.message.startsWith("must ")
        ? issue.message
        : `must be ${typeNames[issue.expected] ?? issue.expected}, found ${shown(issue.input)}`;
    case "invalid_value":
      return `must be one of ${issue.values.join(", ")}, found ${shown(issue.input)}`;
    default:
      return `${issue.message}${issue.input === undefined ? "" : `, found ${shown(issue.input)}`}`;
  }
}

const typeNames: Readonly<Record<string, string>> = {
  string: "a text",
  array: "a list",
  object: "an object",
  boolean: "true or false",
  number: "a number",
};

function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? String(value);
  return json.length > 60 ? `${json.slice(0, 59)}…` : json;
}
