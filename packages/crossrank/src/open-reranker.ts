import { BackendNotInstalledError, type CommonBackendOptions } from "@crossrank/backend-kit";
import {
  type Backend,
  type CreateRerankerOptions,
  createFallbackReranker,
  createReranker,
  type FallbackOptions,
  type FallbackReranker,
  InvalidInputError,
  type ModelFiles,
  type Reranker,
  type TimeBudget,
  type Variant,
} from "@crossrank/core";
import { BackendModuleError } from "./backend-errors.js";
import { type ModelSourceOptions, openModelSource } from "./model-source.js";
import { defaultBackend, findBackend, makeBackend } from "./registry.js";

/** What can be chosen for each variant. */
export interface RunOptions
  extends Omit<CreateRerankerOptions, "model" | "backend" | "signal" | "onProgress">,
    Pick<CommonBackendOptions, "threads" | "workers"> {
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
    Pick<CreateRerankerOptions, "onProgress"> {
  /** Of every call that gives none. Default: no limit. */
  readonly timeBudget?: TimeBudget | undefined;
}

/** One way to run a model. What it leaves out is as in the options around it. */
export interface VariantOptions extends RunOptions, Omit<ModelSourceOptions, "signal"> {
  /** Stands in results. Unique, not empty. Default: the backend's string with its precision. */
  readonly name?: string | undefined;
  /** Another model than the chain's. */
  readonly model?: string | ModelFiles | undefined;
}

export interface OpenFallbackOptions
  extends Omit<OpenRerankerOptions, "signal">,
    Pick<FallbackOptions, "whenExhausted" | "onFallback"> {
  /** The preferred one first; each is opened when all before it have fallen out. */
  readonly variants: readonly VariantOptions[];
}

/**
 * Opens a model on a runtime, with the defaults of the command `crossrank`.
 *
 * @param model `"nano"`, the embedded model; a folder (`"./my-model"`); a repository id (`"owner/name"`); or files.
 * @returns with `variants` a chain of them, of which none is loaded before the first call or `load()`.
 * @throws {InvalidInputError} when the model's name or an option is wrong.
 * @throws {UnknownBackendError} {BackendModuleError} when the backend's name is that of none.
 * @throws {BackendNotInstalledError} with the npm packages to install; {BackendUnavailableError} on another system.
 * @throws what `openModel` of @crossrank/hub throws when the model cannot be had, and `createReranker` of
 * @crossrank/core when it cannot be loaded.
 */
export async function openReranker(
  model: string | ModelFiles,
  options: OpenFallbackOptions,
): Promise<FallbackReranker>;
export async function openReranker(
  model: string | ModelFiles,
  options?: OpenRerankerOptions & { readonly variants?: undefined },
): Promise<Reranker>;
export async function openReranker(
  model: string | ModelFiles,
  options: OpenRerankerOptions | OpenFallbackOptions = {},
): Promise<Reranker | FallbackReranker> {
  return "variants" in options && options.variants !== undefined
    ? openChain(model, options)
    : openOne(model, options);
}

/**
 * The backend of a model, with its precision: the one that is asked for, else the default.
 *
 * @throws {InvalidInputError} when backend and `dtype` ask for two precisions.
 */
export async function openBackend(
  files: ModelFiles,
  { backend, dtype, threads, workers }: Pick<RunOptions, "backend" | "dtype" | "threads" | "workers">,
  signal?: AbortSignal,
): Promise<{ readonly backend: Backend; readonly dtype: string | undefined }> {
  if (backend !== undefined && typeof backend !== "string") return { backend, dtype };
  const asked = backend ?? (await defaultName(files, dtype, signal));
  const found = await findBackend(asked);
  if (found.dtype !== undefined && dtype !== undefined && found.dtype !== dtype) {
    throw new InvalidInputError("dtype", `is ${dtype}, and the backend asks for ${asked}. Give one of them`);
  }
  return { backend: await makeBackend(found.backend, { threads, workers }), dtype: dtype ?? found.dtype };
}

async function openOne(model: string | ModelFiles, options: OpenRerankerOptions): Promise<Reranker> {
  const { signal, onProgress, timeBudget } = options;
  const files = await openFiles(model, options);
  const { backend, dtype } = await openBackend(files, options, signal);
  const reranker = await createReranker({
    ...loadOptions(options),
    model: files,
    backend,
    dtype,
    signal,
    onProgress,
  });
  return timeBudget === undefined ? reranker : withTimeBudget(reranker, timeBudget);
}

async function openChain(
  model: string | ModelFiles,
  options: OpenFallbackOptions,
): Promise<FallbackReranker> {
  const { variants, whenExhausted, onFallback, onProgress, timeBudget, ...shared } = options;
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
  return timeBudget === undefined ? chain : withTimeBudget(chain, timeBudget);
}

async function toVariant(
  model: string | ModelFiles,
  shared: RunOptions & ModelSourceOptions,
  variant: VariantOptions,
): Promise<Variant> {
  // A precision belongs to its backend: a variant that names one of the two takes neither from around it.
  const { backend: _backend, dtype: _dtype, ...common } = shared;
  const hasOwn = variant.backend !== undefined || variant.dtype !== undefined;
  const own = { ...(hasOwn ? common : shared), ...variant };
  const { backend } = own;
  const dtype = own.dtype ?? (typeof backend === "string" ? await dtypeIn(backend) : undefined);
  const label = typeof backend === "string" ? backend : backend?.name;
  let files: Promise<ModelFiles> | undefined;
  const open = (signal?: AbortSignal): Promise<ModelFiles> => {
    files ??= openFiles(variant.model ?? model, { ...own, signal });
    return files;
  };
  return {
    ...loadOptions(own),
    dtype,
    name: variant.name ?? ([label, own.dtype].filter((part) => part !== undefined).join(":") || "default"),
    model: ({ signal }) => open(signal),
    backend: async () => (await openBackend(await open(), own)).backend,
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

/** The same reranker, whose calls have a budget where they give none. */
function withTimeBudget<Opened extends Reranker | FallbackReranker>(
  opened: Opened,
  timeBudget: TimeBudget,
): Opened {
  const limited = <Options extends { readonly timeBudget?: TimeBudget | undefined }>(
    options: Options,
  ): Options => ({
    ...options,
    timeBudget: options.timeBudget ?? timeBudget,
  });
  const calls: Pick<Reranker, "rerank" | "score"> = {
    rerank: (options) => opened.rerank(limited(options)) as ReturnType<typeof calls.rerank<never>>,
    score: (pairs, options = {}) => opened.score(pairs, limited(options)) as ReturnType<Reranker["score"]>,
  };
  return new Proxy(opened, {
    get(target, property) {
      if (property === "rerank" || property === "score") return calls[property];
      const value: unknown = Reflect.get(target, property, target);
      // Bound, since private fields are the target's.
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Of core's options those that are neither model nor backend. */
function loadOptions(options: RunOptions): Omit<RunOptions, "backend" | "threads" | "workers"> {
  const { dtype, maxLength, truncation, instruction, profile, probe } = options;
  return { dtype, maxLength, truncation, instruction, profile, probe };
}

async function openFiles(model: string | ModelFiles, options: ModelSourceOptions): Promise<ModelFiles> {
  return typeof model === "string" ? openModelSource(model, options) : model;
}

async function defaultName(
  files: ModelFiles,
  dtype: string | undefined,
  signal: AbortSignal | undefined,
): Promise<string> {
  const listed = await files.list({ signal });
  return defaultBackend(
    listed.map(({ path }) => path),
    dtype,
  );
}
