import {
  type ArtifactDescription,
  type BackendDescriptor,
  type FoundArtifact,
  knownDtype,
} from "@crossrank/backend-kit";
import {
  CrossrankError,
  type DeclaredClasses,
  type ModelFile,
  ModelFileNotFoundError,
  type ModelFiles,
  type ModelProfile,
} from "@crossrank/core";
import { conversionPlans } from "../../auto-conversion.js";
import { backendNames } from "../../backend-names.js";
import { type Precision, precisionsAmong } from "../../backends.js";
import { artifactOfPrecision, hasArtifact } from "../../reference.js";
import { defaultBackend, findBackend, isAskedFor, makeBackend } from "../../registry.js";

/** A precision as a backend's descriptor gives it. */
export type Found = Precision & FoundArtifact;

/** A file or package that a backend may run, and what is known of it. */
export interface InspectedArtifact extends Found {
  /** Bytes, of all in a package. */
  readonly size: number;
  /** How it comes to run: as asked, with nothing said, by its precision, by its path alone, or not at all. */
  readonly taken: "asked" | "default" | "dtype" | "file" | "never";
  /** Why it is not taken where nothing is said; undefined of the default. */
  readonly reason: string | undefined;
  /** From its content; undefined where the backend does not say, or the file is not on this machine. */
  readonly description: ArtifactDescription | undefined;
  /** Why its content is not described. */
  readonly undescribed: string | undefined;
}

/** Of a hub's file so many bytes are fetched to describe it: a graph whose weights are beside it. */
const largestFetched = 4_000_000;

/** Every artifact that a backend of this installation knows as its own, in the order of the registry. */
export async function inspectArtifacts(
  model: ModelFiles,
  listed: readonly ModelFile[],
  {
    asked,
    profile,
    offline,
    signal,
  }: {
    asked: string | undefined;
    /** Undefined where it was refused. */
    profile: ModelProfile | undefined;
    offline: boolean;
    signal: AbortSignal;
  },
): Promise<readonly InspectedArtifact[]> {
  const paths = listed.map(({ path }) => path);
  const precisions: readonly Found[] = await precisionsAmong(paths);
  const inspected: InspectedArtifact[] = [];
  for (const name of backendNames) {
    const own = precisions.filter(({ backend }) => backend === name);
    const descriptor = await descriptorOf(name);
    const known = new Set(own.map(({ path }) => path));
    const others = (descriptor?.isReference === true ? [] : (descriptor?.candidates(paths) ?? []))
      .filter((path) => !known.has(path))
      .map((path) => ({ backend: name, dtype: "?", path }));
    const chosen = defaultOf(own, precisions, profile);
    for (const precision of [...own, ...others]) {
      const { path } = precision;
      const size = sizeWithin(listed, path);
      const standing = standingOf(precision, { own, asked, chosen, descriptor, profile });
      inspected.push({
        ...precision,
        size,
        ...standing,
        ...(isAtHand(model, size, offline)
          ? await describe(model, path, descriptor, signal)
          : { description: undefined, undescribed: "not on this machine" }),
      });
    }
  }
  return inspected.map((one) => withoutTie(one, inspected));
}

/** Of files whose names say nothing the content decides, and of those that are alike in it none is taken. */
function withoutTie(one: InspectedArtifact, all: readonly InspectedArtifact[]): InspectedArtifact {
  const { backend, dtype, path, description, taken } = one;
  const isTied = all.some(
    (other) =>
      other.backend === backend &&
      other.path !== path &&
      other.dtype === "?" &&
      other.description?.dtype === description?.dtype,
  );
  if (taken !== "default" || dtype !== "?" || !isTied) return one;
  return { ...one, taken: "file", reason: `its name says no precision; --file ${path}` };
}

/**
 * The artifact that `--file` or `--dtype` means, as rerank takes them; undefined where nothing is asked, or the weights
 * are converted to the precision.
 *
 * @throws {ModelFileNotFoundError} where there is none.
 */
export async function askedArtifact(
  model: ModelFiles,
  listed: readonly ModelFile[],
  {
    file,
    dtype,
    offline,
    signal,
  }: {
    file: string | undefined;
    dtype: string | undefined;
    offline: boolean;
    signal: AbortSignal;
  },
): Promise<string | undefined> {
  const paths = listed.map(({ path }) => path);
  if (file !== undefined) {
    if (paths.some((path) => path === file || path.startsWith(`${file}/`))) return file;
    const found = paths.filter((path) => hasArtifact([path]));
    const fix = "Name one of these in the option `file`.";
    throw new ModelFileNotFoundError({ model: model.id, expected: [file], found, fix });
  }
  if (dtype === undefined) return undefined;
  const precisions = await precisionsAmong(paths);
  const named =
    precisions.find((one) => isAskedFor(one, dtype)) ?? (await artifactOfPrecision(precisions, dtype));
  if (named !== undefined) return named.path;
  const alike: string[] = [];
  for (const { backend, path } of precisions.filter((one) => one.dtype === "?")) {
    if (!isAtHand(model, sizeWithin(listed, path), offline)) continue;
    const { description } = await describe(model, path, await descriptorOf(backend), signal);
    if (description?.dtype !== undefined && knownDtype(dtype, [description.dtype]) !== undefined) {
      alike.push(path);
    }
  }
  if (alike.length === 1) return alike[0];
  for await (const _plan of conversionPlans(paths, { named: undefined, dtype })) return undefined;
  throw new ModelFileNotFoundError({
    model: model.id,
    expected: [alike.length > 1 ? `single artifact of ${dtype}` : `artifact of ${dtype}`],
    found: precisions.map(({ path }) => path),
    fix: "Name one of these in the option `file`.",
  });
}

/**
 * How many class logits the artifact gives that would run, for a configuration that does not say what the model is; without
 * loading it. Undefined where that would fetch weights from a hub.
 */
export async function classesOfArtifact(
  model: ModelFiles,
  { asked, offline, signal }: { asked: string | undefined; offline: boolean; signal: AbortSignal },
): Promise<DeclaredClasses | undefined> {
  const listed = await model.list({ signal });
  const paths = listed.map(({ path }) => path);
  const found: readonly Pick<Precision, "backend" | "path">[] =
    asked === undefined
      ? await precisionsAmong(paths)
      : [{ backend: await defaultBackend([asked]), path: asked }];
  for (const name of new Set(found.map(({ backend }) => backend))) {
    const own = found.filter(({ backend }) => backend === name);
    if (!own.every(({ path }) => isAtHand(model, sizeWithin(listed, path), offline))) continue;
    const backend = await makeBackend((await findBackend(name)).backend, { file: asked }).catch(
      () => undefined,
    );
    const declared = await backend?.declaredClasses?.({ files: model, dtype: undefined, signal });
    if (declared !== undefined) return declared;
  }
  return undefined;
}

/** Whether a file's content may be read: those of a folder, and of a hub the small ones. */
function isAtHand({ revision }: ModelFiles, size: number, offline: boolean): boolean {
  return revision === undefined || offline || size <= largestFetched;
}

/** The precision that a backend takes where nobody names one. */
export function defaultOf(
  own: readonly Found[],
  all: readonly Found[],
  profile: ModelProfile | undefined,
): Found | undefined {
  const wanted = profile?.defaultDtype?.toLowerCase();
  const isWanted = ({ dtype }: Found): boolean => dtype.toLowerCase() === wanted;
  const free = own.filter(({ onlyByName }) => onlyByName === undefined);
  // What is another format's precision says nothing about this one.
  const isElsewhere = wanted === undefined || (!free.some(isWanted) && all.some(isWanted));
  return isElsewhere ? free[0] : free.find(isWanted);
}

function standingOf(
  precision: Found,
  {
    own,
    asked,
    chosen,
    descriptor,
    profile,
  }: {
    own: readonly Found[];
    asked: string | undefined;
    chosen: Found | undefined;
    descriptor: BackendDescriptor | undefined;
    profile: ModelProfile | undefined;
  },
): Pick<InspectedArtifact, "taken" | "reason"> {
  const { backend, dtype, path, onlyByName } = precision;
  if (descriptor === undefined) return { taken: "never", reason: `${backend} is not installed` };
  if (profile !== undefined && !descriptor.families.includes(profile.family)) {
    return { taken: "never", reason: `${backend} runs no ${profile.family}` };
  }
  const { only } = descriptor;
  if (only !== undefined && only.platform !== process.platform) {
    return { taken: "never", reason: only.elsewhere };
  }
  if (descriptor.onlyByName !== undefined) {
    return { taken: "file", reason: `it ${descriptor.onlyByName}; --backend ${backend}` };
  }
  if (path === asked) return { taken: "asked", reason: undefined };
  if (precision === chosen && asked === undefined) return { taken: "default", reason: undefined };
  const named = `--file ${path}`;
  if (onlyByName !== undefined) return { taken: "file", reason: `it ${onlyByName}; ${named}` };
  if (precision === chosen) return { taken: "dtype", reason: "the default" };
  const first = own.find((one) => one.dtype === dtype && one.onlyByName === undefined);
  if (dtype === "?") return { taken: "file", reason: `its name says no precision; ${named}` };
  if (first !== precision) {
    return { taken: "file", reason: `${first?.path ?? "another"} goes first; ${named}` };
  }
  return { taken: "dtype", reason: `with --dtype ${dtype}` };
}

async function descriptorOf(name: string): Promise<BackendDescriptor | undefined> {
  try {
    return (await findBackend(name)).backend.descriptor;
  } catch (error) {
    if (CrossrankError.isInstance(error)) return undefined;
    throw error;
  }
}

async function describe(
  model: ModelFiles,
  path: string,
  descriptor: BackendDescriptor | undefined,
  signal: AbortSignal,
): Promise<Pick<InspectedArtifact, "description" | "undescribed">> {
  if (descriptor?.describe === undefined) return { description: undefined, undescribed: undefined };
  try {
    return { description: await descriptor.describe(model, path, { signal }), undescribed: undefined };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof Error)) throw error;
    return { description: undefined, undescribed: error.message };
  }
}

/** Bytes of a file, or of all in a folder. */
function sizeWithin(files: readonly ModelFile[], of: string): number {
  return files
    .filter(({ path }) => path === of || path.startsWith(`${of}/`))
    .reduce((sum, { size }) => sum + size, 0);
}
