import { knownDtype } from "@crossrank/backend-kit";
import { type ModelFile, ModelFileNotFoundError, type ModelFiles, type ModelProfile } from "@crossrank/core";
import { conversionPlans, isWeights } from "../../auto-conversion.js";
import { originOf } from "../../model-origin.js";
import {
  defaultBackend,
  findBackend,
  isAskedFor,
  type KnownBackend,
  precisionsAmong,
} from "../../registry.js";
import { defaultOf, type Found } from "../inspect/artifacts.js";

/** What a run takes of a model's repository. */
export interface NeededFiles {
  /** The one that runs it, or that will. */
  readonly backend: string;
  /** As the artifact's name says it, or the precision that the weights are converted to; `"?"` where nothing says it. */
  readonly dtype: string;
  /** Relative to the model; the artifact's or the weights' own, without what belongs to it besides. */
  readonly paths: readonly string[];
  /** The weights are converted by the first run. */
  readonly isConverted: boolean;
}

interface Asked {
  readonly backend: string | undefined;
  readonly dtype: string | undefined;
  readonly file: string | undefined;
  readonly profile: ModelProfile;
}

/**
 * The artifact that a run with these options takes, as `openReranker` chooses it, or the weights that it converts.
 *
 * @throws {ModelFileNotFoundError} when there is none.
 */
export async function neededFiles(
  model: ModelFiles,
  listed: readonly ModelFile[],
  { backend, dtype: asked, file, profile }: Asked,
): Promise<NeededFiles> {
  const paths = listed.map(({ path }) => path);
  const named = backend === undefined ? undefined : (await findBackend(backend)).backend;
  const dtype = asked ?? originOf(model)?.dtype;
  if (file === undefined) {
    for await (const plan of conversionPlans(paths, { named, dtype })) {
      return {
        backend: plan.backend.name,
        dtype: plan.dtype,
        paths: weightsAmong(paths),
        isConverted: true,
      };
    }
  }
  const known =
    named ?? (await findBackend(await defaultBackend(file === undefined ? paths : [file], dtype))).backend;
  const found = await artifactOf(known, paths, { dtype, file, profile });
  const within = paths.filter((path) => path === found?.path || path.startsWith(`${found?.path}/`));
  if (found === undefined || within.length === 0) {
    const own = known.descriptor.candidates(paths);
    throw new ModelFileNotFoundError({
      model: model.id,
      expected: [file ?? `artifact of ${dtype ?? known.descriptor.format} for ${known.name}`],
      found: own.length > 0 ? own : (await precisionsAmong(paths)).map(({ path }) => path),
      fix: "Name one of these in the option `file`.",
    });
  }
  return { backend: known.name, dtype: found.dtype, paths: within, isConverted: false };
}

/** Safetensors where there are any, with their index: the same weights in two forms are read from one. */
function weightsAmong(paths: readonly string[]): readonly string[] {
  const weights = paths.filter(isWeights);
  const safe = weights.filter((path) => path.endsWith(".safetensors"));
  const taken = safe.length > 0 ? safe : weights;
  const indices = paths.filter((path) => taken.some((weight) => path.startsWith(weight.split("-")[0] ?? "")));
  return [...new Set([...taken, ...indices.filter((path) => path.endsWith(".index.json"))])];
}

async function artifactOf(
  { name, descriptor }: KnownBackend,
  paths: readonly string[],
  { dtype, file, profile }: Pick<Asked, "dtype" | "file" | "profile">,
): Promise<Pick<Found, "dtype" | "path"> | undefined> {
  const own = descriptor.artifacts(paths).map((one): Found => ({ backend: name, ...one }));
  if (file !== undefined) return own.find(({ path }) => path === file) ?? { dtype: "?", path: file };
  if (dtype !== undefined) {
    return (
      own.find((one) => isAskedFor(one, dtype)) ??
      // Spelt as another format spells it.
      own.find((one) => one.onlyByName === undefined && knownDtype(dtype, [one.dtype]) !== undefined)
    );
  }
  const all: readonly Found[] = await precisionsAmong(paths);
  // The one file of the format, where its name says nothing of a precision.
  const candidates = descriptor.candidates(paths);
  const [only] = candidates;
  const single = only === undefined || candidates.length > 1 ? undefined : { dtype: "?", path: only };
  return defaultOf(own, all, profile) ?? single;
}
