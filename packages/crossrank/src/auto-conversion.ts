import { knownDtype } from "@crossrank/backend-kit";
import type { ArtifactWriter, ConversionProgress, WriterDescriptor } from "@crossrank/convert";
import { type Backend, type CrossrankJson, InvalidInputError, type ModelFiles } from "@crossrank/core";
import { BackendUnavailableError } from "./backend-errors.js";
import { outsiderOf, registeredNames } from "./backend-names.js";
import { NotConvertedError } from "./conversion-errors.js";
import { originOf, profileFileOf } from "./model-origin.js";
import { defaultOutput } from "./reference.js";
import {
  artifactsOf,
  defaultBackend,
  findBackend,
  importOutsider,
  isAskedFor,
  type KnownBackend,
  makeBackend,
  precisionsAmong,
  works,
} from "./registry.js";

/** What stands in for the file that a model with weights alone does not have. */
export interface ConvertedArtifact {
  readonly step: "converted";
  /** Model id or folder. */
  readonly model: string;
  readonly format: string;
  readonly dtype: string;
  /** Where it is kept. */
  readonly folder: string;
  /** Whether an earlier run made it. */
  readonly reused: boolean;
}

export type AutoConversionProgress = ConversionProgress | ConvertedArtifact;

/** How a model with weights alone is made to run. */
export interface AutoConversionOptions {
  /**
   * Converts the weights of a model that has no file for the backend, once, into the cache. Default true. False, and
   * offline, take what an earlier run converted.
   */
  readonly convert?: boolean | undefined;
  /** Told of every step of a conversion, and last of what runs in place of the weights. */
  readonly onConversion?: ((progress: AutoConversionProgress) => void) | undefined;
}

interface Wish extends AutoConversionOptions {
  /** Undefined for the first that works here. */
  readonly named: KnownBackend | undefined;
  readonly dtype: string | undefined;
  readonly offline: boolean | undefined;
  readonly cacheFolder: string | undefined;
  readonly profile: CrossrankJson | undefined;
  readonly threads: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** What a model's weights would be converted to. */
export interface PlannedConversion {
  readonly backend: KnownBackend;
  readonly writer: ArtifactWriter;
  readonly dtype: string;
  readonly descriptor: WriterDescriptor;
}

/**
 * A model with weights and no file that the backend runs, with an artifact that was made of them. It is written once, held
 * against the weights, and kept in the cache; the model's own folder is left alone.
 *
 * @returns undefined where the model has a file for the backend, or no weights, or nothing writes the backend's format.
 * @throws {NotConvertedError} where it may not be converted, with the command that does it.
 * @throws what `convert` of @crossrank/convert throws.
 */
export async function convertedModel(
  files: ModelFiles,
  wish: Wish,
): Promise<{ readonly files: ModelFiles; readonly backend: KnownBackend } | undefined> {
  const { signal } = wish;
  const paths = (await files.list({ signal })).map(({ path }) => path);
  const plans = conversionPlans(paths, wish);
  let first: unknown;
  for await (const plan of plans) {
    try {
      return { files: await run(files, plan, wish), backend: plan.backend };
    } catch (error) {
      // What one format cannot hold, another may.
      if (wish.named !== undefined || Reflect.get(error as object, "code") !== "unsupported-conversion")
        throw error;
      first ??= error;
    }
  }
  if (first !== undefined) throw first;
  return undefined;
}

/**
 * What a model of these files would be converted to before it runs, best first; nothing where it runs as it is.
 *
 * @throws {InvalidInputError} when no format has the precision.
 */
export async function* conversionPlans(
  paths: readonly string[],
  { named, dtype }: Pick<Wish, "named" | "dtype">,
): AsyncGenerator<PlannedConversion> {
  if (!paths.some(isWeights)) return;
  const runs =
    named === undefined ? await runsAsItIs(paths) : artifactsOf(named.descriptor, paths).length > 0;
  // Weights can be had in a precision that no artifact has.
  if (runs && (dtype === undefined || !paths.some(isSafetensors) || (await mayHave(paths, named, dtype)))) {
    return;
  }
  const candidates = named === undefined ? await installedBackends() : [named];
  const missed: string[] = [];
  for (const backend of candidates) {
    const descriptor = await writerFor(backend);
    if (descriptor === undefined) continue;
    const writer = await descriptor.create({});
    const chosen =
      dtype === undefined ? (writer.defaultDtype ?? writer.dtypes[0]) : knownDtype(dtype, writer.dtypes);
    if (chosen === undefined) missed.push(`${writer.dtypes.join(", ")} for ${backend.name}`);
    else if (named !== undefined || (await works(backend.name))) {
      yield { backend, descriptor, writer, dtype: chosen };
      missed.length = 0;
      if (named !== undefined) return;
    }
  }
  // Where there are artifacts, their backend says which precisions there are.
  if (missed.length > 0 && !runs) {
    throw new InvalidInputError(
      "dtype",
      `is ${dtype}, and the model has weights alone, which can be converted to ${missed.join(", ")}`,
    );
  }
}

/** At the root: what lies deeper is a module's, or another artifact's. */
export function isWeights(path: string): boolean {
  return /^[^/]+\.safetensors$|^pytorch_model[^/]*\.bin$/.test(path);
}

function isSafetensors(path: string): boolean {
  return isWeights(path) && path.endsWith(".safetensors");
}

/** Whether an artifact has the precision, is named by it, or may have it by its content. */
async function mayHave(
  paths: readonly string[],
  named: KnownBackend | undefined,
  asked: string,
): Promise<boolean> {
  const own =
    named === undefined
      ? await precisionsAmong(paths)
      : named.descriptor.artifacts(paths).map((one) => ({ backend: named.name, ...one }));
  // Coarser than what is there is made by hand, where it is seen how far it is from the weights.
  if (!/^b?fp?\d+$/i.test(asked)) return true;
  if (own.length === 0 || paths.some((path) => path === asked || path.startsWith(`${asked}/`))) return true;
  return own.some(
    (one) =>
      one.dtype === "?" ||
      isAskedFor(one, asked) ||
      // Also what is taken only by its name: the refusal says so.
      knownDtype(asked, [one.dtype]) !== undefined,
  );
}

async function runsAsItIs(paths: readonly string[]): Promise<boolean> {
  try {
    const { backend } = await findBackend(await defaultBackend(paths));
    return artifactsOf(backend.descriptor, paths).length > 0;
  } catch (error) {
    if (BackendUnavailableError.isInstance(error)) return false;
    throw error;
  }
}

async function installedBackends(): Promise<KnownBackend[]> {
  const found: KnownBackend[] = [];
  for (const name of registeredNames) {
    const known = await findBackend(name).catch(() => undefined);
    if (known !== undefined) found.push(known.backend);
  }
  return found;
}

/** Of ours, or of the backend's own package or file. */
async function writerFor({ name, descriptor }: KnownBackend): Promise<WriterDescriptor | undefined> {
  const { writers } = await import("@crossrank/convert/writers");
  const exports = outsiderOf(name) === undefined ? {} : await importOutsider(name);
  const theirs: unknown = Reflect.get(exports, "writers");
  const all = [...(Array.isArray(theirs) ? (theirs as readonly WriterDescriptor[]) : []), ...writers];
  return all.find(({ format }) => format === descriptor.format);
}

async function run(files: ModelFiles, plan: PlannedConversion, wish: Wish): Promise<ModelFiles> {
  const origin = originOf(files);
  const { readEnvironment } = await import("@crossrank/hub");
  // Loaded where something is converted: most models have no use for it.
  const { ConversionCache, keyOf, withConverted } = await import("./conversion-cache.js");
  const environment = await readEnvironment();
  const cache = new ConversionCache(wish.cacheFolder ?? origin?.cacheFolder ?? environment.cacheFolder);
  const { writer, dtype } = plan;
  const { profile, signal, onConversion } = wish;
  const facts = { format: writer.format, dtype, profile };
  const key = await keyOf(files, facts, cache, { signal, onProgress: onConversion });
  let reused = true;
  let found = await cache.find(key);
  if (found === undefined) {
    // A folder needs no network: an environment without one says nothing against it.
    const inHub = files.revision !== undefined;
    const offline = wish.offline ?? origin?.offline ?? (environment.offline && inHub);
    const mayConvert = wish.convert ?? origin?.convert ?? true;
    if (!mayConvert || offline) {
      throw new NotConvertedError({
        model: files.id,
        format: writer.format,
        dtype,
        ...(await byHand(files, plan, wish)),
        why: mayConvert
          ? "what is offline converts nothing and takes what an earlier run converted"
          : "converting it was forbidden (--no-convert, convert: false)",
      });
    }
    const { convert, SourceChangedError } = await import("@crossrank/convert");
    const judges = await judgesOf(plan, wish.threads);
    found = await cache.make(key, { model: files.id, signal }, async (output) => {
      reused = false;
      await convert({
        model: files,
        to: writer,
        dtype,
        output,
        backend: judges,
        profile,
        signal,
        onProgress: onConversion,
      });
      // Somebody may have written to a folder since its files were hashed for the key.
      if ((await keyOf(files, facts, cache, { signal, onProgress: undefined })) !== key) {
        throw new SourceChangedError({ model: files.id, path: "model.safetensors" });
      }
    });
  }
  onConversion?.({
    step: "converted",
    model: files.id,
    format: writer.format,
    dtype,
    folder: found.folder,
    reused,
  });
  return withConverted(files, found, signal);
}

async function judgesOf(
  { backend, descriptor, dtype }: PlannedConversion,
  threads: number | undefined,
): Promise<readonly Backend[]> {
  const names = descriptor.judges?.(dtype) ?? [];
  const judges: Backend[] = [];
  for (const name of names.length === 0 ? [backend.name] : names) {
    const known = name === backend.name ? backend : (await findBackend(name)).backend;
    judges.push(await makeBackend(known, { threads }));
  }
  return judges;
}

/** The same by hand: every option that the key of a conversion, or what is converted, depends on. */
async function byHand(
  files: ModelFiles,
  { writer, dtype, backend }: PlannedConversion,
  wish: Wish,
): Promise<{ readonly command: string; readonly hints: readonly string[] }> {
  const { profile } = wish;
  const origin = originOf(files);
  const model = origin?.model ?? files.id;
  const hints: string[] = [];
  const profileFile = profile === undefined ? undefined : (profileFileOf(profile) ?? "profile.json");
  if (profile !== undefined && profileFileOf(profile) === undefined) {
    hints.push("Write the profile that was given to a file, here profile.json.");
  }
  // A folder lies where it lies.
  const folder = wish.cacheFolder ?? origin?.cacheFolder;
  const usesHub = files.revision !== undefined || origin?.base !== undefined;
  if (folder !== undefined && usesHub) {
    hints.push(`Set HF_HUB_CACHE to ${folder}, where the model was looked for.`);
  }
  if (files.revision !== undefined) {
    hints.push(`It writes a folder, ${await defaultOutput(model)}: name that as the model from then on.`);
  }
  const options = [
    ["--to", writer.format],
    ["--dtype", wish.dtype === undefined ? undefined : dtype],
    ["--backend", outsiderOf(backend.name) === undefined ? undefined : backend.name],
    ["--revision", origin === undefined ? files.revision : origin.revision],
    ["--lock", origin?.lock],
    ["--base", origin?.base],
    ["--profile", profileFile],
  ].flatMap(([name, value]) => (value === undefined ? [] : [name as string, value]));
  const offline = (wish.offline ?? origin?.offline) === true ? ["--offline"] : [];
  return {
    command: ["crossrank", "convert", model, ...options, ...offline].map(quoted).join(" "),
    hints,
  };
}

/** For a shell. */
function quoted(word: string): string {
  return /^[\w@%+=:,./\\-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
