import { stat } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, isAbsolute, join, relative, resolve, sep } from "node:path";
import { parseMetric } from "../metrics/metric-names.js";
import { GateRulesError } from "../run/errors.js";
import { type GateFile, marginGate, readGateFile } from "../run/gate-rules.js";
import { defaultMetrics } from "../run/run-evaluation.js";
import { cascadeSystem, readCascadeSystem } from "./cascade-system.js";
import type { CascadeEntry, Gates, ModelEntry, TaskEntry } from "./config.js";
import { MatrixConfigError } from "./errors.js";
import { type CheckedConfig, checkShape } from "./schema.js";

/** What a caller knows of models and backends. */
export interface MatrixRules {
  /** Folder that paths of the configuration are relative to. Default: the working directory. */
  readonly folder?: string | undefined;
  /** How messages call the configuration. Default `"the configuration"`. */
  readonly path?: string | undefined;
  /** Taken where the configuration names none, and names of models that are no folder and no repository. */
  readonly defaultModel?: string | undefined;
  /** Taken where the configuration names none. */
  readonly defaultBackend?: string | undefined;
  /** What is wrong with a backend's name, e.g. `"known backends: onnx"`; undefined where nothing is. */
  readonly checkBackend?: ((label: string) => string | undefined) | undefined;
  /** Whether a baseline is named elsewhere, so that a gate's margin has a use without a second backend. */
  readonly hasBaseline?: boolean | undefined;
}

/** A matrix that can be run. */
export interface Matrix {
  readonly cells: readonly PlannedCell[];
  /** Paths, from the working directory. */
  readonly report: string;
  readonly baseline: string | undefined;
  /** Where a baseline is written when none is named. */
  readonly defaultBaseline: string;
  readonly seed: number | undefined;
}

/** A model on a task. Paths are from the working directory. */
export interface PlannedCell {
  /** E.g. `"nano on scifact"`. */
  readonly name: string;
  /** Of its reports, within the report's folder. */
  readonly folder: string;
  readonly model: Omit<ModelEntry, "backends" | "reference" | "name" | "cascade"> & {
    readonly cascade?: PlannedCascade | undefined;
  };
  readonly task: Omit<TaskEntry, "metrics" | "gates" | "name">;
  /** Backends as they were named, e.g. `"onnx:int8"`, and cascades by their own names; the reference first. */
  readonly systems: readonly string[];
  readonly metrics: readonly string[];
  /** For every backend of the matrix, whether it is in this cell or not; undefined where nothing is judged. */
  readonly gates: GateFile | undefined;
}

/** The small model of a cell's cascades. */
export interface PlannedCascade extends Omit<CascadeEntry, "name"> {
  readonly name: string;
}

interface NamedModel {
  readonly place: string;
  readonly name: string;
  readonly backends: readonly string[];
  readonly reference: string;
  readonly settings: PlannedCell["model"];
}

interface NamedTask {
  readonly place: string;
  readonly name: string;
  readonly metrics: readonly string[];
  readonly gates: Gates;
  /** Where the gates are written. */
  readonly gatesPlace: string;
  readonly settings: PlannedCell["task"];
}

/**
 * Checks a configuration and writes out its cells. Nothing is opened; that files and folders are there is looked at.
 *
 * @param config of any content, e.g. what a JSON file holds.
 * @throws {MatrixConfigError} with everything that is wrong, each with its place.
 */
export async function planMatrix(config: unknown, rules: MatrixRules = {}): Promise<Matrix> {
  const { path = "the configuration" } = rules;
  const shape = checkShape(config);
  if ("faults" in shape) throw new MatrixConfigError(path, shape.faults);
  const planner = new Planner(shape.config, rules);
  const matrix = await planner.plan();
  if (planner.faults.length === 0) return matrix;
  throw new MatrixConfigError(path, planner.faults);
}

class Planner {
  readonly faults: string[] = [];
  readonly #config: CheckedConfig;
  readonly #rules: MatrixRules;
  readonly #folder: string;
  readonly #hasBaseline: boolean;

  constructor(config: CheckedConfig, rules: MatrixRules) {
    this.#rules = rules;
    this.#folder = resolve(rules.folder ?? ".");
    this.#config = withBackends(config, (label) => (isPath(label) ? this.#path(label) : label));
    this.#hasBaseline = rules.hasBaseline === true || config.baseline !== undefined;
  }

  async plan(): Promise<Matrix> {
    const config = this.#config;
    this.#checkBackends(config.backends, "backends");
    this.#checkBackends(config.reference === undefined ? [] : [config.reference], "reference");
    this.#checkMetrics(config.metrics, "metrics");
    const models: NamedModel[] = [];
    const { defaultModel } = this.#rules;
    const standard = defaultModel === undefined ? [] : [{ model: defaultModel }];
    if (config.models === undefined && defaultModel === undefined) this.faults.push("models is missing");
    for (const [index, model] of (config.models ?? standard).entries()) {
      models.push(await this.#model(model, `models[${index}]`));
    }
    const tasks: NamedTask[] = [];
    for (const [index, task] of config.tasks.entries()) {
      tasks.push(await this.#task(task, `tasks[${index}]`));
    }
    this.#checkNames(models);
    this.#checkNames(tasks);
    const chosen = await this.#choose(models, tasks);
    const cells = this.#cells(chosen);
    this.#checkGates(chosen, cells);
    if (cells.length === 0 && this.faults.length === 0) this.faults.push("exclude leaves nothing to run");
    return {
      cells,
      report: this.#path(config.report ?? "crossrank-report"),
      baseline: config.baseline === undefined ? undefined : this.#path(config.baseline),
      defaultBaseline: this.#path("crossrank.baseline.json"),
      seed: config.seed,
    };
  }

  async #model(entry: ModelEntry, place: string): Promise<NamedModel> {
    const { name, backends, reference, cascade, ...settings } = entry;
    const { lock, profile, base } = settings;
    this.#checkBackends(backends, `${place}.backends`);
    this.#checkBackends(reference === undefined ? [] : [reference], `${place}.reference`);
    const { defaultBackend } = this.#rules;
    const all = backends ?? this.#config.backends ?? (defaultBackend === undefined ? [] : [defaultBackend]);
    const first = reference ?? (backends === undefined ? this.#config.reference : undefined) ?? all[0];
    if (first === undefined) this.#fault("backends is missing");
    const model = await this.#source(entry.model, `${place}.model`, "model");
    const before = cascade === undefined ? undefined : await this.#cascade(cascade, `${place}.cascade`);
    const alone = withReference(all, first ?? "");
    for (const [index, backend] of (cascade?.large ?? []).entries()) {
      if (alone.includes(backend)) continue;
      const known = alone.join(", ");
      this.faults.push(`${place}.cascade.large[${index}] is ${backend}, and the model has ${known}`);
    }
    return {
      place,
      name: name ?? nameOf(entry.model, this.#folder),
      backends: before === undefined ? all : withCascades(alone, before),
      reference: first ?? "",
      settings: {
        ...settings,
        model,
        // A lock file is written when there is none.
        ...(lock === undefined ? {} : { lock: this.#path(lock) }),
        ...(base === undefined ? {} : { base: await this.#source(base, `${place}.base`, "model") }),
        ...(profile === undefined ? {} : { profile: await this.#existing(profile, `${place}.profile`) }),
        ...(before === undefined ? {} : { cascade: before }),
      },
    };
  }

  async #cascade(entry: CascadeEntry, place: string): Promise<PlannedCascade> {
    const { name, backend, lock, profile, base } = entry;
    this.#checkBackends(backend === undefined ? [] : [backend], `${place}.backend`);
    const { defaultBackend } = this.#rules;
    return {
      ...entry,
      model: await this.#source(entry.model, `${place}.model`, "model"),
      name: name ?? `${nameOf(entry.model, this.#folder)}${backend === undefined ? "" : ` on ${backend}`}`,
      backend: backend ?? defaultBackend,
      ...(lock === undefined ? {} : { lock: this.#path(lock) }),
      ...(base === undefined ? {} : { base: await this.#source(base, `${place}.base`, "model") }),
      ...(profile === undefined ? {} : { profile: await this.#existing(profile, `${place}.profile`) }),
    };
  }

  async #task(entry: TaskEntry, place: string): Promise<NamedTask> {
    const { name, metrics, gates, ...settings } = entry;
    const { candidates } = settings;
    this.#checkMetrics(metrics, `${place}.metrics`);
    if (settings.retrieve && candidates !== undefined) {
      this.faults.push(
        `${place}.retrieve searches the whole corpus and ${place}.candidates gives documents to rerank: keep one`,
      );
    }
    return {
      place,
      name: name ?? nameOf(entry.task, this.#folder),
      metrics: metrics ?? this.#config.metrics ?? defaultMetrics,
      gates: gates ?? this.#config.gates ?? {},
      gatesPlace: gates === undefined ? "gates" : `${place}.gates`,
      settings: {
        ...settings,
        task: await this.#source(entry.task, `${place}.task`, "task"),
        ...(candidates === undefined
          ? {}
          : { candidates: await this.#existing(candidates, `${place}.candidates`) }),
      },
    };
  }

  /** Each cell's model, task and backends, in the order of the configuration. */
  async #choose(models: readonly NamedModel[], tasks: readonly NamedTask[]): Promise<Choice[]> {
    const { exclude = [], include = [] } = this.#config;
    this.#checkExclude(exclude, models, tasks);
    const used = new Set<number>();
    const choices: Choice[] = [];
    for (const model of models) {
      for (const task of tasks) {
        const backends = withReference(model.backends, model.reference).filter((backend) => {
          const out = exclude.flatMap((rule, index) =>
            (rule.model ?? model.name) === model.name &&
            (rule.task ?? task.name) === task.name &&
            (rule.backend ?? backend) === backend
              ? [index]
              : [],
          );
          for (const index of out) used.add(index);
          return out.length === 0;
        });
        if (backends.length === 0) continue;
        if (!backends.includes(model.reference)) {
          this.faults.push(
            `exclude takes the reference ${model.reference} out of ${model.name} on ${task.name}; name another reference, or exclude the model or the task`,
          );
        }
        choices.push({ model, task, backends });
      }
    }
    for (const index of exclude.keys()) {
      if (!used.has(index)) this.faults.push(`exclude[${index}] takes out nothing`);
    }
    for (const [index, rule] of include.entries()) {
      const place = `include[${index}]`;
      this.#checkBackends(rule.backends, `${place}.backends`);
      const model =
        models.find(({ name }) => rule.model.model === name) ??
        (await this.#model(rule.model, `${place}.model`));
      const task =
        tasks.find(({ name }) => rule.task.task === name) ?? (await this.#task(rule.task, `${place}.task`));
      const { cascade } = model.settings;
      const backends =
        rule.backends === undefined || cascade === undefined
          ? (rule.backends ?? model.backends)
          : withCascades(withReference(rule.backends, model.reference), cascade);
      const there = choices.find((one) => one.model.name === model.name && one.task.name === task.name);
      if (there === undefined) {
        choices.push({ model, task, backends: withReference(backends, model.reference) });
      } else {
        if (there.model !== model || there.task !== task) {
          this.faults.push(`${place} is ${model.name} on ${task.name}, which is there already; name it anew`);
        }
        there.backends = withReference([...there.backends, ...backends], model.reference);
      }
    }
    return choices;
  }

  #cells(choices: readonly Choice[]): PlannedCell[] {
    const taken = new Map<string, string>();
    return choices.map(({ model, task, backends }) => {
      const name = `${model.name} on ${task.name}`;
      const folder = folderOf(name);
      const other = taken.get(folder);
      if (other !== undefined) {
        this.faults.push(`${name} and ${other} would have the same folder, ${folder}; give one another name`);
      }
      taken.set(folder, name);
      return {
        name,
        folder,
        model: model.settings,
        task: task.settings,
        systems: backends,
        metrics: task.metrics,
        gates: this.#readGates(task),
      };
    });
  }

  #readGates({ gates, gatesPlace }: NamedTask): GateFile | undefined {
    if (gates === false) return undefined;
    if (typeof gates === "number") {
      if (gates >= 0 && gates <= 1) return marginGate(gates);
      this.#fault(`${gatesPlace} must be a loss from 0 to 1, found ${gates}`);
      return undefined;
    }
    try {
      return readGateFile(gates);
    } catch (error) {
      if (!GateRulesError.isInstance(error)) throw error;
      const { field, message } = error;
      // "The gate's margin must be…" names no place in this file.
      const problem = message.replace(/^The gate's \S+ /, "").replace(/\.$/, "");
      this.#fault(`${gatesPlace}${field === "" ? "" : `.${field}`} ${problem}`);
      return undefined;
    }
  }

  /** A gate that judges nothing anywhere would pass for ever. */
  #checkGates(choices: readonly Choice[], cells: readonly PlannedCell[]): void {
    const places = new Map<string, { gates: Gates; candidates: Set<string> }>();
    for (const [index, { task }] of choices.entries()) {
      const known = places.get(task.gatesPlace) ?? { gates: task.gates, candidates: new Set<string>() };
      for (const label of cells[index]?.systems.slice(1) ?? []) known.candidates.add(label);
      places.set(task.gatesPlace, known);
    }
    for (const [place, { gates, candidates }] of places) {
      const written = place !== "gates" || this.#config.gates !== undefined;
      if (gates === false || !written) continue;
      if (candidates.size === 0) {
        if (this.#hasBaseline) continue;
        this.#fault(`${place} judges nothing: no model has a second backend to hold against its reference`);
        continue;
      }
      const systems = typeof gates === "number" ? undefined : gates.systems;
      if (typeof systems !== "object" || systems === null) continue;
      const isCascade = (name: string): boolean =>
        choices.some(({ model }) => readCascadeSystem(name, model.settings.cascade).isCascade);
      for (const [name, rules] of Object.entries(systems)) {
        if (candidates.has(name) && typeof rules?.scores === "object" && isCascade(name)) {
          this.#fault(
            `${place}.systems.${name}.scores would judge a score for every document, and a cascade has one for those that go on alone; judge its loss: margin`,
          );
        }
        if (candidates.has(name)) continue;
        this.#fault(
          `${place}.systems.${name} names no backend that is judged; there is: ${[...candidates].join(", ")}`,
        );
      }
    }
  }

  #checkExclude(
    exclude: NonNullable<CheckedConfig["exclude"]>,
    models: readonly NamedModel[],
    tasks: readonly NamedTask[],
  ): void {
    const known = {
      model: models.map(({ name }) => name),
      task: tasks.map(({ name }) => name),
      backend: [...new Set(models.flatMap(({ backends, reference }) => withReference(backends, reference)))],
    };
    for (const [index, rule] of exclude.entries()) {
      for (const key of ["model", "task", "backend"] as const) {
        const name = rule[key];
        if (name !== undefined && !known[key].includes(name)) {
          this.faults.push(
            `exclude[${index}].${key} is ${name}, which is not there; known: ${known[key].join(", ")}`,
          );
        }
      }
    }
  }

  #checkNames(entries: readonly (NamedModel | NamedTask)[]): void {
    for (const [index, { name, place }] of entries.entries()) {
      const first = entries.slice(0, index).find((other) => other.name === name);
      if (first !== undefined)
        this.faults.push(`${place} has the name of ${first.place}, ${name}; give it one of its own`);
    }
  }

  #checkBackends(labels: readonly string[] | undefined, place: string): void {
    for (const [index, label] of (labels ?? []).entries()) {
      const at = place.endsWith("backends") ? `${place}[${index}]` : place;
      const problem = this.#rules.checkBackend?.(label);
      if (problem !== undefined) this.faults.push(`${at} is ${label}; ${problem}`);
      if (labels?.indexOf(label) !== index) this.faults.push(`${at} is ${label} for the second time`);
    }
  }

  #checkMetrics(metrics: readonly string[] | undefined, place: string): void {
    for (const [index, metric] of (metrics ?? []).entries()) {
      try {
        parseMetric(metric);
      } catch (error) {
        this.faults.push(`${place}[${index}]: ${(error as Error).message.replace(/\.$/, "")}`);
      }
    }
  }

  async #source(source: string, place: string, what: "model" | "task"): Promise<string> {
    if (what === "model" && source === this.#rules.defaultModel) return source;
    const absolute = resolve(this.#folder, expandHome(source));
    if (await isFolder(absolute)) return fromHere(absolute);
    // An artifact by itself.
    if (what === "model" && (await isFile(absolute))) return fromHere(absolute);
    if (isPath(source)) this.faults.push(`${place} is ${source}, and there is no such folder`);
    else if (!(what === "model" ? /^[^/\\\s]+\/[^\\\s]+$/ : /^[^/\\\s]+\/[^/\\\s]+$/).test(source)) {
      this.faults.push(
        `${place} is ${source}, which is neither a folder beside the configuration nor a repository id (owner/name)`,
      );
    }
    return source;
  }

  async #existing(path: string, place: string): Promise<string> {
    if (!(await isFile(resolve(this.#folder, expandHome(path))))) {
      this.faults.push(`${place} is ${path}, and there is no such file`);
    }
    return this.#path(path);
  }

  #path(path: string): string {
    return fromHere(resolve(this.#folder, expandHome(path)));
  }

  /** Said once, however many cells it is of. */
  #fault(text: string): void {
    if (!this.faults.includes(text)) this.faults.push(text);
  }
}

/** The configuration with every backend's name, also where a gate or an exclusion names it, as `rename` gives it. */
function withBackends(config: CheckedConfig, rename: (label: string) => string): CheckedConfig {
  const named = <Entry extends { readonly backends?: readonly string[] | undefined }>(entry: Entry): Entry =>
    entry.backends === undefined ? entry : { ...entry, backends: entry.backends.map(rename) };
  const staged = <Entry extends { readonly cascade?: CascadeEntry | undefined }>(entry: Entry): Entry => {
    const { cascade } = entry;
    if (cascade === undefined) return entry;
    const { backend, large } = cascade;
    const own = { backend: backend === undefined ? undefined : rename(backend), large: large?.map(rename) };
    return { ...entry, cascade: { ...cascade, ...own } };
  };
  const referring = <Entry extends { readonly reference?: string | undefined }>(entry: Entry): Entry =>
    entry.reference === undefined ? entry : { ...entry, reference: rename(entry.reference) };
  const gated = <Entry extends { readonly gates?: Gates | undefined }>(entry: Entry): Entry => {
    const { gates } = entry;
    // Of any content still: the gate file's own reader looks at it.
    const rules: unknown = typeof gates === "object" ? gates.systems : undefined;
    if (typeof gates !== "object" || typeof rules !== "object" || rules === null || Array.isArray(rules))
      return entry;
    const systems = Object.fromEntries(Object.entries(rules).map(([label, one]) => [rename(label), one]));
    return { ...entry, gates: { ...gates, systems } };
  };
  return gated(
    referring(
      named({
        ...config,
        models: config.models?.map((model) => staged(referring(named(model)))),
        tasks: config.tasks.map(gated),
        include: config.include?.map((rule) => ({
          ...named(rule),
          model: staged(referring(named(rule.model))),
          task: gated(rule.task),
        })),
        exclude: config.exclude?.map((rule) =>
          rule.backend === undefined ? rule : { ...rule, backend: rename(rule.backend) },
        ),
      }),
    ),
  );
}

interface Choice {
  readonly model: NamedModel;
  readonly task: NamedTask;
  /** The reference first. */
  backends: readonly string[];
}

/** The reference first, each once. */
function withReference(backends: readonly string[], reference: string): readonly string[] {
  return [...new Set([reference, ...backends])];
}

/** Backends, and the cascades of those that stand behind the small model. */
function withCascades(backends: readonly string[], cascade: PlannedCascade): readonly string[] {
  const behind = backends.filter((backend) => cascade.large?.includes(backend) ?? true);
  return [...backends, ...behind.map((backend) => cascadeSystem(backend, cascade))];
}

/** A folder by its own name, so that it is the same on every machine; a repository by its id. */
function nameOf(source: string, folder: string): string {
  return isPath(source) ? basename(resolve(folder, expandHome(source))) : source;
}

function isPath(source: string): boolean {
  return isAbsolute(source) || /^(?:\.{1,2}|~)(?:$|[/\\])/.test(source);
}

function expandHome(path: string): string {
  return /^~(?=$|[/\\])/.test(path) ? join(homedir(), path.slice(1)) : path;
}

/** From the working directory where it is below it, so that reports name no folder of the machine. */
function fromHere(absolute: string): string {
  const path = relative(process.cwd(), absolute);
  if (path === "") return ".";
  if (isAbsolute(path)) return path;
  return path.startsWith("..") ? path : `.${sep}${path}`;
}

/** A name that every file system takes. */
function folderOf(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^\p{L}\p{N}._-]+/gu, "-")
    .replace(/^[-.]+|[-.]+$/g, "");
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
}
