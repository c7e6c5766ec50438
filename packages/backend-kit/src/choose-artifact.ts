import { InvalidInputError, type LoadRequest, ModelFileNotFoundError } from "@crossrank/core";
import type { BackendDescriptor, FoundArtifact } from "./descriptor.js";

/** Which artifact to take: `file` before `dtype` before `defaultDtype`, undefined where nobody said. */
export interface ArtifactWish {
  /** A file of the model, by the backend's option of that name. */
  readonly file: string | undefined;
  /** Precision that the caller asked for, a publisher's own name for an artifact, or an artifact itself. */
  readonly dtype: string | undefined;
  /** The profile's. It may be the name of another format's precision. */
  readonly defaultDtype: string | undefined;
}

export function artifactWish(file: string | undefined, { dtype, profile }: LoadRequest): ArtifactWish {
  return { file, dtype, defaultDtype: profile.defaultDtype };
}

/** What the choice has to know of a format; the first three as the backend's descriptor gives them. */
export interface ArtifactFormat extends Pick<BackendDescriptor, "dtypes" | "artifacts" | "candidates"> {
  /** Where the artifact of a precision belongs, relative to the model, best first. For messages. */
  readonly expected: (dtype: string) => readonly string[];
  /** Whether the option `file` may name this path. Default: whether it is among the candidates. */
  readonly accepts?: ((path: string) => boolean) | undefined;
  /** What to do, as a sentence: where only names that say no precision are there, and where nothing is there. */
  readonly fixes: { readonly named: string; readonly none: string };
}

export interface ChosenArtifact {
  /** Undefined where the name does not say it: for the option `file`, and for artifacts of dtype `"?"`. */
  readonly dtype: string | undefined;
  /** Every path that the format lists for the precision, best first; one for the option `file`. Never empty. */
  readonly paths: readonly [string, ...string[]];
}

/**
 * The one rule for which artifact runs: the file that the option `file` names; else the first precision of
 * {@link dtypesToTry} that the model has; else an artifact whose name says no precision.
 *
 * @param model id or folder, for messages.
 * @param paths every file of the model.
 * @throws {InvalidInputError} when the precision asked for is none of the format's.
 * @throws {ModelFileNotFoundError} when nothing fits, with what is there instead.
 */
export function chooseArtifact(
  model: string,
  paths: readonly string[],
  wish: ArtifactWish,
  format: ArtifactFormat,
): ChosenArtifact {
  const { dtypes, expected, fixes } = format;
  const candidates = format.candidates(paths);
  // A precision's place may hold the artifact itself: `onnx:onnx/model_custom.onnx`.
  if (wish.file === undefined && wish.dtype !== undefined && candidates.includes(wish.dtype)) {
    return { dtype: undefined, paths: [wish.dtype] };
  }
  if (wish.file !== undefined) {
    const accepts = format.accepts ?? ((path: string) => candidates.includes(path));
    if ((paths.includes(wish.file) || candidates.includes(wish.file)) && accepts(wish.file)) {
      return { dtype: undefined, paths: [wish.file] };
    }
    const fix = candidates.length > 0 ? "Name one of these in the option `file`." : fixes.none;
    throw new ModelFileNotFoundError({ model, expected: [wish.file], found: candidates, fix });
  }
  const artifacts = format.artifacts(paths);
  const named = artifactByAlias(artifacts, wish.dtype, dtypes);
  if (named !== undefined) {
    return { dtype: named.dtype === "?" ? undefined : named.dtype, paths: [named.path] };
  }
  const find = (dtype: string): readonly string[] =>
    artifacts.flatMap((artifact) =>
      artifact.dtype === dtype && artifact.onlyByName === undefined ? [artifact.path] : [],
    );
  for (const dtype of [...dtypesToTry(wish, dtypes), "?"]) {
    const [first, ...others] = find(dtype);
    if (first !== undefined) return { dtype: dtype === "?" ? undefined : dtype, paths: [first, ...others] };
  }
  const wanted = knownDtype(wish.dtype ?? "", dtypes) ?? dtypes[0] ?? "";
  const reserved = artifacts.filter(
    ({ dtype, onlyByName }) => onlyByName !== undefined && (wish.dtype === undefined || dtype === wanted),
  );
  throw artifactNotFoundError({
    model,
    expected: expected(wanted),
    dtypes,
    find,
    found: candidates,
    fixes,
    reserved,
  });
}

/** The artifact that a publisher's own name means, where it is no precision of the format. */
function artifactByAlias(
  artifacts: readonly FoundArtifact[],
  name: string | undefined,
  dtypes: readonly string[],
): FoundArtifact | undefined {
  if (name === undefined || knownDtype(name, dtypes) !== undefined) return undefined;
  return artifacts.find(({ aliases = [] }) =>
    aliases.some((alias) => alias.toLowerCase() === name.toLowerCase()),
  );
}

/**
 * The precision as the format spells it, whatever the case: `"q8_0"` → `"Q8_0"`. Of floats with and without the P, which
 * publishers leave out and put in: `"FP16"` → `"F16"`. Undefined when it has none such.
 */
export function knownDtype(name: string, dtypes: readonly string[]): string | undefined {
  const plain = (dtype: string): string => dtype.toLowerCase().replace(/^(b?)fp?(?=\d+$)/, "$1f");
  return (
    dtypes.find((dtype) => dtype.toLowerCase() === name.toLowerCase()) ??
    dtypes.find((dtype) => plain(dtype) === plain(name))
  );
}

/** The error for a precision that the format does not have. */
export function unknownDtypeError(dtype: string, dtypes: readonly string[]): InvalidInputError {
  return new InvalidInputError("dtype", `must be one of ${dtypes.join(", ")}, not ${JSON.stringify(dtype)}`);
}

/**
 * Precisions to look for, in order: the one asked for alone; else the profile's default, then the format's in its
 * order. Names are compared without regard to case. A default that the format does not have is skipped: it is the name
 * of another format's precision.
 *
 * @returns names as the format spells them, each once.
 * @throws {InvalidInputError} when the one asked for is not among `dtypes`.
 */
export function dtypesToTry(
  { dtype, defaultDtype }: ArtifactWish,
  dtypes: readonly string[],
): readonly string[] {
  if (dtype === undefined) {
    const preferred = knownDtype(defaultDtype ?? "", dtypes);
    return [...new Set([...(preferred === undefined ? [] : [preferred]), ...dtypes])];
  }
  const known = knownDtype(dtype, dtypes);
  if (known === undefined) throw unknownDtypeError(dtype, dtypes);
  return [known];
}

/** What was looked for in vain, and what is there instead. */
export interface MissedArtifact {
  readonly model: string;
  /** Paths that would have been taken, best first. */
  readonly expected: readonly string[];
  /** Precisions of the format. */
  readonly dtypes: readonly string[];
  /** Artifacts of a precision that are there. */
  readonly find: (dtype: string) => readonly string[];
  /** Every artifact of the format that is there, whatever its name. */
  readonly found: readonly string[];
  /** What to do where there is one by a name that says no precision, and where there is none. */
  readonly fixes: { readonly named: string; readonly none: string };
  /** Artifacts of the precision that are taken only where they are named themselves. */
  readonly reserved?: readonly FoundArtifact[] | undefined;
}

/** The error for a precision that the model does not have: says which others are there, or what else is. */
export function artifactNotFoundError(missed: MissedArtifact): ModelFileNotFoundError {
  const { model, expected, dtypes, find, found, fixes, reserved = [] } = missed;
  const others = dtypes.filter((dtype) => find(dtype).length > 0);
  const [only] = reserved;
  if (only !== undefined) {
    const instead = others.length > 0 ? `Ask for dtype ${others.join(" or ")}, or name` : "Name";
    const fix = `${instead} the file in the option \`file\`: ${only.path} ${only.onlyByName}.`;
    const paths = [...others.flatMap(find), ...reserved.map(({ path }) => path)];
    return new ModelFileNotFoundError({ model, expected, found: paths, fix });
  }
  if (others.length > 0) {
    const fix = `Ask for dtype ${others.join(" or ")}.`;
    return new ModelFileNotFoundError({ model, expected, found: others.flatMap(find), fix });
  }
  const fix = found.length > 0 ? fixes.named : fixes.none;
  return new ModelFileNotFoundError({ model, expected, found, fix });
}
