import { BackendNotInstalledError, type CommonBackendOptions } from "@crossrank/backend-kit";
import {
  type ActivationChoice,
  type Backend,
  type CascadeReranker,
  type CreateRerankerOptions,
  cascade,
  createFallbackReranker,
  createReranker,
  type FallbackOptions,
  type FallbackReranker,
  InvalidInputError,
  ModelFileNotFoundError,
  type ModelFiles,
  type OptionNames,
  type Reranker,
  readLongDocuments,
  requireBackend,
  requireKnownOptions,
  requireModelFiles,
  type TimeBudget,
  type Variant,
} from "@crossrank/core";
import { type AutoConversionOptions, convertedModel } from "./auto-conversion.js";
import { BackendModuleError } from "./backend-errors.js";
import { originOf, type TakenBase } from "./model-origin.js";
import { type ModelSourceOptions, openModelSource } from "./model-source.js";
import {
  artifactsOf,
  defaultBackend,
  findBackend,
  type KnownBackend,
  makeBackend,
  precisionsAmong,
} from "./registry.js";

/** What can be chosen for each variant. */
export interface RunOptions
  extends Omit<CreateRerankerOptions, "model" | "backend" | "signal" | "onProgress">,
    Pick<CommonBackendOptions, "threads" | "workers" | "file"> {
  /**
   * `"onnx"`, `"llamacpp"`, `"mnn"`, `"coreml"`, the path of a backend's file (`"./mine.mjs"`) or an npm package; also
   * with a precision, as in `"onnx:int8"`. Or a backend that was made already, which has its own threads and workers.
   * Default: the first that works here and that the model has files for, of those that have the precision asked for.
   */
  readonly backend?: string | Backend | undefined;
}

export interface OpenRerankerOptions
  extends RunOptions,
    ModelSourceOptions,
    AutoConversionOptions,
    Pick<CreateRerankerOptions, "onProgress"> {
  /** Of every call that gives none. Default: no limit. */
  readonly timeBudget?: TimeBudget | undefined;
  /** Of every call that gives none. Default `"model"`. */
  readonly activation?: ActivationChoice | undefined;
  /**
   * A model that scores all documents first, so that this one scores the best of them alone. Both are disposed together.
   * Default: none.
   */
  readonly cascade?: FirstStageOptions | undefined;
}

/** The first stage of a cascade. What it leaves out of how it runs is the model's own, save threads and workers. */
export interface FirstStageOptions
  extends Omit<RunOptions, "instruction" | "longDocuments" | "scoreCache">,
    Pick<ModelSourceOptions, "revision" | "lock" | "base">,
    Pick<AutoConversionOptions, "convert"> {
  /** As of `openReranker`: a small one, such as `"nano"`. */
  readonly model: string | ModelFiles;
  /** How many documents of a query go on to the other model, 1 or more. */
  readonly keep: number;
}

/** One way to run a model. What it leaves out is as in the options around it. */
export interface VariantOptions
  extends RunOptions,
    Omit<ModelSourceOptions, "signal" | "onNotice">,
    Pick<AutoConversionOptions, "convert"> {
  /** Stands in results. Unique, not empty. Default: the backend's string with its precision. */
  readonly name?: string | undefined;
  /** Another model than the chain's. */
  readonly model?: string | ModelFiles | undefined;
}

export interface OpenFallbackOptions
  extends Omit<OpenRerankerOptions, "signal" | "cascade">,
    Pick<FallbackOptions, "whenExhausted" | "onFallback"> {
  /** The preferred one first; each is opened when all before it have fallen out. */
  readonly variants: readonly VariantOptions[];
}

/**
 * Opens a model on a runtime, with the defaults of the command `crossrank`. A model with weights alone (safetensors) is
 * converted once, into the cache, and held against its weights before it runs.
 *
 * @param model `"nano"`, the embedded model; a folder (`"./my-model"`); a repository id (`"owner/name"`); or files.
 * @returns with `variants` a chain of them, of which none is loaded before the first call or `load()`.
 * @throws {InvalidInputError} when the model's name or an option is wrong.
 * @throws {UnknownBackendError} {BackendModuleError} when the backend's name is that of none.
 * @throws {BackendNotInstalledError} with the npm packages to install; {BackendUnavailableError} on another system.
 * @throws {NotConvertedError} when a model with weights alone may not be converted; what `convert` of @crossrank/convert
 * throws when it cannot be.
 * @throws what `openModel` of @crossrank/hub throws when the model cannot be had, and `createReranker` of
 * @crossrank/core when it cannot be loaded.
 */
export async function openReranker(
  model: string | ModelFiles,
  options: OpenFallbackOptions,
): Promise<FallbackReranker>;
export async function openReranker(
  model: string | ModelFiles,
  options: OpenRerankerOptions & { readonly variants?: undefined; readonly cascade: FirstStageOptions },
): Promise<CascadeReranker>;
export async function openReranker(
  model: string | ModelFiles,
  options?: OpenRerankerOptions & { readonly variants?: undefined },
): Promise<Reranker>;
export async function openReranker(
  model: string | ModelFiles,
  options: OpenRerankerOptions | OpenFallbackOptions = {},
): Promise<Reranker | FallbackReranker> {
  requireModel(model, "model");
  if (
    typeof options === "object" &&
    options !== null &&
    "variants" in options &&
    options.variants !== undefined
  ) {
    requireKnownOptions(options, chainNames, "openReranker with variants");
    requireDefaults(options);
    return openChain(model, options);
  }
  requireKnownOptions(options, { ...openNames, variants: true }, "openReranker");
  requireDefaults(options);
  requireBackendOption(options.backend, "backend");
  const { cascade: first } = options as OpenRerankerOptions;
  if (first !== undefined && first !== null) return openStages(model, options, first);
  return openOne(model, options);
}

const runNames: OptionNames<RunOptions> = {
  backend: true,
  dtype: "name",
  maxLength: true,
  truncation: true,
  instruction: true,
  longDocuments: true,
  scoreCache: true,
  profile: "object",
  probe: "boolean",
  threads: true,
  workers: true,
  file: "name",
};

const openNames: OptionNames<OpenRerankerOptions> = {
  ...runNames,
  revision: "string",
  offline: "boolean",
  lock: "name",
  base: "name",
  cacheFolder: "string",
  convert: "boolean",
  timeBudget: true,
  activation: true,
  signal: "AbortSignal",
  onProgress: "function",
  onNotice: "function",
  onConversion: "function",
  cascade: true,
};

const { signal: _signal, cascade: _cascade, ...namesWithoutSignal } = openNames;

/** Every option of opening, of one reranker or of a chain. */
export const chainNames: OptionNames<OpenFallbackOptions> = {
  ...namesWithoutSignal,
  variants: true,
  whenExhausted: true,
  onFallback: "function",
};

const budgetNames: OptionNames<TimeBudget> = { milliseconds: "number", whenExceeded: true };

const variantNames: OptionNames<VariantOptions> = {
  ...runNames,
  name: "name",
  model: true,
  revision: "string",
  offline: "boolean",
  lock: "name",
  base: "name",
  cacheFolder: "string",
  convert: "boolean",
};

const firstStageNames: OptionNames<FirstStageOptions> = {
  model: true,
  keep: true,
  backend: true,
  dtype: "name",
  maxLength: true,
  truncation: true,
  profile: "object",
  probe: "boolean",
  threads: true,
  workers: true,
  file: "name",
  revision: "string",
  lock: "name",
  base: "name",
  convert: "boolean",
};

/** @throws {InvalidInputError} that says what to write in its place. */
function requireModel(model: string | ModelFiles, path: string): void {
  if (typeof model === "string") return;
  const given: unknown = model;
  if (given === undefined || given === null) {
    throw new InvalidInputError(path, 'is missing: write openReranker("nano"), or the name of another model');
  }
  if (typeof given === "object" && !("list" in given) && "model" in given) {
    throw new InvalidInputError(path, 'stands before the options: write openReranker("nano", { … })');
  }
  requireModelFiles(model, path);
}

/** Calls read them again; here nothing is loaded before it is told. @throws {InvalidInputError} */
function requireDefaults({
  timeBudget: budget,
  activation,
  longDocuments,
}: Pick<OpenRerankerOptions, "timeBudget" | "activation" | "longDocuments">): void {
  if (!["model", "probability", undefined].includes(activation)) {
    throw new InvalidInputError("activation", `must be model or probability, not ${String(activation)}`);
  }
  readLongDocuments(longDocuments);
  if (budget === undefined || budget === null) return;
  const form = '{ milliseconds: 500, whenExceeded: "partial" }';
  requireKnownOptions(budget, budgetNames, "a time budget", "timeBudget", form);
}

/** @throws {InvalidInputError} that says what to write in its place. */
function requireBackendOption(backend: string | Backend | undefined, path: string): void {
  if (backend === "")
    throw new InvalidInputError(path, 'is an empty string: write backend: "onnx", or leave it out');
  if (backend !== undefined && typeof backend !== "string") requireBackend(backend, path);
}

/** What {@link openBackend} has to know. */
export type OpenBackendOptions = Pick<
  RunOptions,
  "backend" | "dtype" | "threads" | "workers" | "file" | "profile"
> &
  Pick<ModelSourceOptions, "offline" | "cacheFolder"> &
  AutoConversionOptions;

/** A model on its backend, before it is loaded. */
export interface OpenedBackend {
  /** The model's, with an artifact beside its weights where it was converted. */
  readonly files: ModelFiles;
  readonly backend: Backend;
  readonly dtype: string | undefined;
}

/**
 * The backend of a model, with its precision: the one that is asked for, else the default. A model that has weights and
 * no file for it is converted.
 *
 * @throws {InvalidInputError} when backend and `dtype` ask for two precisions.
 */
export async function openBackend(
  files: ModelFiles,
  options: OpenBackendOptions,
  signal?: AbortSignal,
): Promise<OpenedBackend> {
  const { backend, dtype, threads, workers, file, profile, convert, offline, cacheFolder, onConversion } =
    options;
  if (backend !== undefined && typeof backend !== "string") {
    if (file === undefined) return { files, backend, dtype };
    throw new InvalidInputError("file", "is an option of the backend, which was made already: give it there");
  }
  const named = backend === undefined ? undefined : await findBackend(backend);
  if (named?.dtype !== undefined && dtype !== undefined && named.dtype !== dtype) {
    throw new InvalidInputError(
      "dtype",
      `is ${dtype}, and the backend asks for ${backend}. Give one of them`,
    );
  }
  const origin = originOf(files);
  const ofName = dtype === undefined && named?.dtype === undefined ? origin?.dtype : undefined;
  const wanted = dtype ?? named?.dtype ?? ofName;
  // Who names a file wants it, and nothing that is made of the weights.
  const shared = { offline, cacheFolder, profile, threads, convert, onConversion, signal };
  const converted =
    file === undefined
      ? await convertedModel(files, { ...shared, named: named?.backend, dtype: wanted }).catch(
          (error: unknown) => {
            // Nobody gave the option: the precision stands behind the model's name.
            if (ofName === undefined || !InvalidInputError.isInstance(error) || error.path !== "dtype")
              throw error;
            const problem = error.message.slice(`dtype is ${ofName}, and `.length);
            throw new InvalidInputError("model", `${origin?.model} asks for ${ofName}, and ${problem}`, {
              cause: error,
            });
          },
        )
      : undefined;
  if (named !== undefined && file === undefined && converted === undefined) {
    await requireOwnFormat(files, named.backend, signal);
  }
  const found =
    converted?.backend ??
    named?.backend ??
    (await findBackend(await defaultName(files, { dtype: wanted, file }, signal))).backend;
  const opened = converted?.files ?? files;
  const run = file ?? (wanted === undefined ? await onlyFile(opened, found, signal) : undefined);
  return {
    files: opened,
    backend: await makeBackend(found, { threads, workers, file: run }),
    dtype: wanted,
  };
}

/**
 * That a backend is asked for whose format the model does not have is said here, where the others' are known.
 *
 * @throws {ModelFileNotFoundError} where there are artifacts of other backends alone, and no weights to convert.
 */
async function requireOwnFormat(
  files: ModelFiles,
  { name, descriptor }: KnownBackend,
  signal: AbortSignal | undefined,
): Promise<void> {
  const paths = (await files.list({ signal })).map(({ path }) => path);
  if (artifactsOf(descriptor, paths).length > 0 || (descriptor.candidates?.(paths) ?? []).length > 0) return;
  if (paths.some((path) => /\.(safetensors|bin)$/.test(path))) return;
  const others = await precisionsAmong(paths);
  if (others.length === 0) return;
  const backends = [...new Set(others.map(({ backend }) => backend))];
  throw new ModelFileNotFoundError({
    model: files.id,
    expected: [`file of the format ${descriptor.format}, which ${name} runs`],
    found: others.map(({ path }) => path),
    fix: `Choose the backend ${backends.join(" or ")}, or a model that has ${descriptor.format} or the safetensors of which \`crossrank convert\` writes it: here are none.`,
  });
}

/** The one file of the backend's format, where its name says nothing of a precision: there is no other to take. */
async function onlyFile(
  files: ModelFiles,
  { descriptor }: KnownBackend,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const paths = (await files.list({ signal })).map(({ path }) => path);
  if (descriptor.artifacts(paths).length > 0) return undefined;
  const [only, ...others] = descriptor.candidates?.(paths) ?? [];
  return others.length === 0 ? only : undefined;
}

async function openOne(model: string | ModelFiles, options: OpenRerankerOptions): Promise<Reranker> {
  const { signal, onProgress, timeBudget, activation } = options;
  const source = await openFiles(model, options);
  const { files, backend, dtype } = await openBackend(source, options, signal);
  const reranker = await createReranker({
    ...loadOptions(options),
    model: files,
    backend,
    dtype,
    signal,
    onProgress,
  });
  return wrapped(reranker, { timeBudget, activation, base: originOf(source)?.taken });
}

/** A small model before the one that was named. */
async function openStages(
  model: string | ModelFiles,
  options: OpenRerankerOptions,
  given: FirstStageOptions,
): Promise<CascadeReranker> {
  const form = '{ model: "nano", keep: 30 }';
  requireKnownOptions(given, firstStageNames, "a cascade", "cascade", form);
  const { model: small, keep, ...own } = given;
  requireModel(small, "cascade.model");
  requireBackendOption(own.backend, "cascade.backend");
  // Before anything is downloaded.
  if (!(Number.isSafeInteger(keep) && keep > 0)) {
    throw new InvalidInputError(
      "cascade.keep",
      `must be a whole number above 0, not ${String(keep)}: write ${form}`,
    );
  }
  const { timeBudget, activation, cascade: _cascade, ...large } = options;
  const { offline, cacheFolder, signal, onProgress, onNotice, onConversion, convert } = large;
  const { scoreCache, longDocuments, threads, workers } = large;
  const first = await openOne(small, {
    ...{ offline, cacheFolder, signal, onProgress, onNotice, onConversion, convert },
    ...{ scoreCache, longDocuments, threads, workers },
    ...Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined)),
  });
  try {
    const last = await openOne(model, large);
    const both = cascade([first, last], { keep, disposeStages: true });
    return wrapped(both, { timeBudget, activation });
  } catch (error) {
    await first.dispose();
    throw error;
  }
}

async function openChain(
  model: string | ModelFiles,
  options: OpenFallbackOptions,
): Promise<FallbackReranker> {
  const { variants, whenExhausted, onFallback, onProgress, timeBudget, activation, ...shared } = options;
  requireBackendOption(shared.backend, "backend");
  if (!Array.isArray(variants)) {
    throw new InvalidInputError(
      "variants",
      'must be an array, as in [{ backend: "mnn" }, { backend: "onnx" }]',
    );
  }
  for (const [index, variant] of (variants as readonly VariantOptions[]).entries()) {
    const path = `variants[${index}]`;
    requireKnownOptions(variant, variantNames, "a variant", path, '{ backend: "onnx" }');
    if (variant.model !== undefined) requireModel(variant.model, `${path}.model`);
    requireBackendOption(variant.backend, `${path}.backend`);
  }
  const chain = createFallbackReranker({
    whenExhausted,
    onFallback,
    variants: await Promise.all(
      variants.map(async (variant) => ({
        ...(await toVariant(model, shared, variant)),
        onProgress,
      })),
    ),
  });
  return wrapped(chain, { timeBudget, activation });
}

async function toVariant(
  model: string | ModelFiles,
  shared: RunOptions & ModelSourceOptions & AutoConversionOptions,
  variant: VariantOptions,
): Promise<Variant> {
  // A precision belongs to its backend: a variant that names one of the two takes neither from around it.
  const { backend: _backend, dtype: _dtype, file: _file, ...common } = shared;
  const hasOwn = variant.backend !== undefined || variant.dtype !== undefined || variant.file !== undefined;
  const own = { ...(hasOwn ? common : shared), ...variant };
  const { backend } = own;
  const dtype = own.dtype ?? (typeof backend === "string" ? await dtypeIn(backend) : undefined);
  const label = typeof backend === "string" ? backend : backend?.name;
  let opened: Promise<OpenedBackend> | undefined;
  const open = (signal?: AbortSignal): Promise<OpenedBackend> => {
    opened ??= openFiles(variant.model ?? model, { ...own, signal }).then((files) =>
      openBackend(files, own, signal),
    );
    return opened;
  };
  return {
    ...loadOptions(own),
    dtype,
    name:
      variant.name ??
      ([label, own.file ?? own.dtype].filter((part) => part !== undefined).join(":") || "default"),
    model: async ({ signal }) => (await open(signal)).files,
    backend: async () => (await open()).backend,
  };
}

/**
 * The precision in a backend's string. That the backend is not there is the variant's to say, in its turn.
 *
 * @throws {UnknownBackendError}
 */
async function dtypeIn(backend: string): Promise<string | undefined> {
  try {
    return (await findBackend(backend)).dtype;
  } catch (error) {
    if (BackendNotInstalledError.isInstance(error) || BackendModuleError.isInstance(error)) return undefined;
    throw error;
  }
}

/** What calls have that give none of their own. */
type CallDefaults = Pick<OpenRerankerOptions, "timeBudget" | "activation">;

/** The same reranker, whose calls have defaults, and whose results say which base was taken. */
function wrapped<Opened extends Reranker | FallbackReranker>(
  opened: Opened,
  { base, ...defaults }: CallDefaults & { readonly base?: TakenBase | undefined },
): Opened {
  const { timeBudget, activation } = defaults;
  if (timeBudget === undefined && activation === undefined && base === undefined) return opened;
  const withDefaults = <Options extends CallDefaults>(options: Options): Options => ({
    ...options,
    ...(timeBudget === undefined ? {} : { timeBudget: options.timeBudget ?? timeBudget }),
    ...(activation === undefined ? {} : { activation: options.activation ?? activation }),
  });
  const told = <Result>(result: Result): Result => {
    const model: unknown = Reflect.get(result as object, "model");
    return base === undefined || typeof model !== "object"
      ? result
      : { ...result, model: { ...model, base } };
  };
  const calls: Pick<Reranker, "rerank" | "rerankMany" | "score"> = {
    rerank: async (options) =>
      told(await (opened.rerank(withDefaults(options)) as ReturnType<typeof calls.rerank<never>>)),
    rerankMany: async (options) =>
      told(await (opened.rerankMany(withDefaults(options)) as ReturnType<typeof calls.rerankMany<never>>)),
    score: async (pairs, options = {}) =>
      told(await (opened.score(pairs, withDefaults(options)) as ReturnType<Reranker["score"]>)),
  };
  return new Proxy(opened, {
    get(target, property) {
      if (property === "rerank" || property === "rerankMany" || property === "score") return calls[property];
      const value: unknown = Reflect.get(target, property, target);
      // Bound, since private fields are the target's.
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Of core's options those that are neither model nor backend. */
function loadOptions(options: RunOptions): Omit<RunOptions, "backend" | "threads" | "workers" | "file"> {
  const { dtype, maxLength, truncation, instruction, longDocuments, scoreCache, profile, probe } = options;
  return { dtype, maxLength, truncation, instruction, longDocuments, scoreCache, profile, probe };
}

async function openFiles(model: string | ModelFiles, options: ModelSourceOptions): Promise<ModelFiles> {
  return typeof model === "string" ? openModelSource(model, options) : model;
}

async function defaultName(
  files: ModelFiles,
  { dtype, file }: Pick<RunOptions, "dtype" | "file">,
  signal: AbortSignal | undefined,
): Promise<string> {
  if (file !== undefined) return defaultBackend([file]);
  const listed = await files.list({ signal });
  return defaultBackend(
    listed.map(({ path }) => path),
    dtype,
  );
}
