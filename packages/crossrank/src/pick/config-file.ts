import { readFile } from "node:fs/promises";
import { isAbsolute, join, relative, resolve, sep } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { writeWholeFile } from "@crossrank/disk";
import { type EvaluationSubject, type IncludeEntry, MatrixConfigError, planMatrix } from "@crossrank/eval";
import { configNames } from "../config/read-config.js";
import { describeSystemError, UsageError } from "../failure.js";
import type { FirstStage } from "./pick-cascade.js";
import type { PickReport } from "./report.js";

/** What a pick would write. */
export interface ConfigProposal {
  /** As it is told: relative to the working directory. */
  readonly path: string;
  /** What happens to it: `same` where it says all of that already. */
  readonly change: "new" | "merged" | "same" | "by-hand";
  /** The file as it would be; of one that is code, the entry to put there. */
  readonly content: string;
}

/**
 * What to keep of a pick, so that `crossrank ci` goes on holding it: the model with the recommended system against the
 * reference, on the task, with the loss that is accepted. What a file already says stays; the pick is one more entry of
 * its `include`.
 *
 * @param folder where configurations are looked for.
 * @param first the small model that was tried.
 * @throws {UsageError} for a file that is no JSON, or that would not be a configuration with the entry.
 */
export async function proposeConfig(
  report: PickReport,
  subject: EvaluationSubject,
  folder = ".",
  first?: FirstStage | undefined,
): Promise<ConfigProposal | undefined> {
  if (report.choice === null) return undefined;
  const path = join(folder, "crossrank.config.json");
  const entry = entryOf(report, subject, resolve(folder), first);
  const code = await firstThere(
    configNames.filter((name) => !name.endsWith(".json")).map((name) => join(folder, name)),
  );
  if (code !== undefined) {
    return {
      path: code,
      change: "by-hand",
      content: `${JSON.stringify({ include: [entry] }, undefined, 2)}\n`,
    };
  }
  let text: string | undefined;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "ENOENT")
      throw new UsageError(`cannot read ${path}: ${describeSystemError(cause)}`, { cause });
  }
  if (text === undefined) {
    const { model, task, backends } = entry;
    const { reference, ...settings } = model as Exclude<typeof model, string>;
    const config = { models: [{ ...settings, backends, reference }], tasks: [task] };
    await requireValid(config, path, folder);
    return { path, change: "new", content: `${JSON.stringify(config, undefined, 2)}\n` };
  }
  return merge(path, text, entry, folder);
}

/** Writes it, unless there is nothing to write. By temporary name and rename. */
export async function writeConfig({ path, change, content }: ConfigProposal): Promise<boolean> {
  if (change === "by-hand" || change === "same") return false;
  await writeWholeFile(path, content);
  return true;
}

async function merge(
  path: string,
  text: string,
  entry: IncludeEntry,
  folder: string,
): Promise<ConfigProposal> {
  const isMarked = text.startsWith("\ufeff");
  let config: unknown;
  try {
    config = JSON.parse(isMarked ? text.slice(1) : text);
  } catch (cause) {
    throw new UsageError(`${path} is no JSON (${(cause as Error).message}). Mend it, then run this again`, {
      cause,
    });
  }
  if (typeof config !== "object" || config === null || Array.isArray(config))
    throw new UsageError(`${path} is no configuration: it holds no object. Mend it, then run this again`);
  const include: unknown = Reflect.get(config, "include");
  if (include !== undefined && !Array.isArray(include))
    throw new UsageError(`${path} is no configuration: its include is no list. Mend it, then run this again`);
  const before = (include ?? []) as readonly unknown[];
  const says =
    coveredBy(config as Readonly<Record<string, unknown>>, entry) ||
    before.some((one) => isDeepStrictEqual(one, entry));
  if (says) return { path, change: "same", content: text };
  // An earlier pick of the same model on the same task is taken back: it is what this one replaces.
  const others = before.filter((one) => !isOfPick(one, entry));
  const merged = replacesNew(config as Readonly<Record<string, unknown>>, entry) ?? {
    ...config,
    include: [...others, entry],
  };
  await requireValid(merged, path, folder);
  const indent = /^\{\r?\n([ \t]+)/.exec(isMarked ? text.slice(1) : text)?.[1] ?? "  ";
  const content = `${isMarked ? "\ufeff" : ""}${JSON.stringify(merged, undefined, indent)}\n`;
  return { path, change: "merged", content };
}

/** @throws {UsageError} with everything that is wrong. */
async function requireValid(config: unknown, path: string, folder: string): Promise<void> {
  try {
    await planMatrix(config, { folder, path, defaultModel: "nano", defaultBackend: "onnx" });
  } catch (cause) {
    if (!MatrixConfigError.isInstance(cause)) throw cause;
    throw new UsageError(`with the pick, ${cause.message}`, { cause });
  }
}

/** Whether the configuration has the same model, task and system, as a pick writes it into a new file. */
function coveredBy({ models, tasks }: Readonly<Record<string, unknown>>, entry: IncludeEntry): boolean {
  const { reference, ...model } = entry.model as Exclude<typeof entry.model, string>;
  const wanted = { ...model, backends: entry.backends, reference };
  const has = (list: unknown, one: unknown): boolean =>
    Array.isArray(list) && list.some((item) => isDeepStrictEqual(item, one));
  return has(models, wanted) && has(tasks, entry.task);
}

/** The file as an earlier pick made it, with this pick in its place; undefined where it is not such a file. */
function replacesNew(config: Readonly<Record<string, unknown>>, entry: IncludeEntry): object | undefined {
  const { models, tasks } = config;
  if (!Array.isArray(models) || !Array.isArray(tasks) || models.length !== 1 || tasks.length !== 1)
    return undefined;
  if (!isOfPick({ model: { ...models[0], backends: undefined }, task: tasks[0] }, withoutBackends(entry)))
    return undefined;
  const { reference, ...settings } = entry.model as Exclude<typeof entry.model, string>;
  return { ...config, models: [{ ...settings, backends: entry.backends, reference }], tasks: [entry.task] };
}

function withoutBackends(entry: IncludeEntry): IncludeEntry {
  const model = entry.model as Exclude<typeof entry.model, string>;
  return { ...entry, model: { ...model, backends: undefined } } as IncludeEntry;
}

/** An entry that a pick of the same model and task wrote: equal but for its systems and the loss. */
function isOfPick(one: unknown, entry: IncludeEntry): boolean {
  const identity = (value: unknown): unknown => {
    const { model, task } = (value ?? {}) as Partial<IncludeEntry>;
    if (typeof model !== "object" || typeof task !== "object") return undefined;
    const { reference: _reference, cascade: _cascade, ...settings } = model;
    const { gates: _gates, ...rest } = task;
    return [settings, rest];
  };
  const found = identity(one);
  return found !== undefined && isDeepStrictEqual(found, identity(entry));
}

function entryOf(
  report: PickReport,
  { model, task }: EvaluationSubject,
  folder: string,
  first: FirstStage | undefined,
): IncludeEntry {
  const { choice, cascade, reference, maxLoss } = report;
  const recommended = choice?.recommended ?? reference;
  const place = (value: string | undefined): string | undefined =>
    value === undefined ? undefined : placeIn(value, folder);
  return defined({
    model: defined({
      ...model,
      model: placeIn(model.model, folder),
      // A default is not written.
      convert: model.convert === false ? false : undefined,
      lock: place(model.lock),
      profile: place(model.profile),
      base: place(model.base),
      name: `${lastPart(model.model)} as picked`,
      reference,
      cascade:
        first !== undefined && cascade?.recommended === true && cascade.keep !== null
          ? defined({
              ...first,
              model: placeIn(first.model, folder),
              convert: first.convert === false ? false : undefined,
              lock: place(first.lock),
              profile: place(first.profile),
              base: place(first.base),
              backend: cascade.backend ?? undefined,
              keep: cascade.keep,
              large: [cascade.large],
            })
          : undefined,
    }),
    task: defined({
      ...task,
      task: placeIn(task.task, folder),
      candidates: place(task.candidates),
      name: `${lastPart(task.task)} for the pick`,
      // Alone, a system is held against nothing.
      gates: recommended === reference && cascade?.recommended !== true ? undefined : maxLoss,
    }),
    backends: recommended === reference ? [reference] : [reference, recommended],
  }) as IncludeEntry;
}

function lastPart(source: string): string {
  return (
    source
      .split(/[\\/]/)
      .filter((part) => part !== "" && part !== "." && part !== "..")
      .at(-1) ?? source
  );
}

/** A path from the configuration's folder; a name of a repository stays. */
function placeIn(source: string, folder: string): string {
  if (!isAbsolute(source) && !/^\.{1,2}([\\/]|$)/.test(source)) return source;
  const from = relative(folder, resolve(source)).split(sep).join("/");
  if (isAbsolute(from) || from.startsWith("../../..")) return resolve(source).split(sep).join("/");
  return from.startsWith("..") ? from : `./${from}`;
}

function defined<Value extends object>(value: Value): Value {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Value;
}

async function firstThere(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const found = await readFile(path).catch(() => undefined);
    if (found !== undefined) return path;
  }
  return undefined;
}
