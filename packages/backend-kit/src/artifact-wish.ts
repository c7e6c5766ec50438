import { InvalidInputError, type LoadRequest, ModelFileNotFoundError } from "@crossrank/core";

/** Which artifact to take: `file` before `dtype` before `defaultDtype`, undefined where nobody said. */
export interface ArtifactWish {
  /** A file of the model, by the backend's option of that name. */
  readonly file: string | undefined;
  /** Precision that the caller asked for. */
  readonly dtype: string | undefined;
  /** The profile's. It may be the name of another format's precision. */
  readonly defaultDtype: string | undefined;
}

export function artifactWish(file: string | undefined, { dtype, profile }: LoadRequest): ArtifactWish {
  return { file, dtype, defaultDtype: profile.defaultDtype };
}

/** The error for a precision that the format does not have. */
export function unknownDtypeError(dtype: string, dtypes: readonly string[]): InvalidInputError {
  return new InvalidInputError("dtype", `must be one of ${dtypes.join(", ")}, not ${JSON.stringify(dtype)}`);
}

/**
 * Precisions to look for, in order: the one asked for alone; else the profile's default, then the format's in its order.
 *
 * @throws {InvalidInputError} when the one asked for is not among `dtypes`.
 */
export function dtypesToTry(
  { dtype, defaultDtype }: ArtifactWish,
  dtypes: readonly string[],
): readonly string[] {
  if (dtype === undefined) return [...dtypes.filter((name) => name === defaultDtype), ...dtypes];
  if (!dtypes.includes(dtype)) throw unknownDtypeError(dtype, dtypes);
  return [dtype];
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
}

/** The error for a precision that the model does not have: says which others are there, or what else is. */
export function artifactNotFoundError(missed: MissedArtifact): ModelFileNotFoundError {
  const { model, expected, dtypes, find, found, fixes } = missed;
  const others = dtypes.filter((dtype) => find(dtype).length > 0);
  if (others.length > 0) {
    const fix = `Ask for dtype ${others.join(" or ")}.`;
    return new ModelFileNotFoundError({ model, expected, found: others.flatMap(find), fix });
  }
  const fix = found.length > 0 ? fixes.named : fixes.none;
  return new ModelFileNotFoundError({ model, expected, found, fix });
}
