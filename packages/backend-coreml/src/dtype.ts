/**
 * Precision's name → name of the package without its ending, in the order in which they are taken. Half precision comes
 * first: it is the one that the Neural Engine computes, and fp32 there runs elsewhere.
 */
const stems = { fp16: "model", fp32: "model_fp32" } as const;

type Dtype = keyof typeof stems;

/** Names of all precisions, the default first. */
export const dtypes: readonly string[] = Object.keys(stems);

/** Where the package of a precision may be, best first, relative to the model. */
export function artifactPaths(dtype: string): readonly string[] {
  const name = `${stemOf(dtype)}.mlpackage`;
  return [`mlpackage/${name}`, name];
}

/**
 * Packages of one length each, as systems before macOS 15 need them: `model_128.mlpackage`, `model_256.mlpackage`. In
 * one folder, by ascending length.
 */
export function lengthPaths(dtype: string, packages: readonly string[]): readonly string[] {
  for (const folder of ["mlpackage/", ""]) {
    const prefix = `${folder}${stemOf(dtype)}_`;
    const found = packages.flatMap((path) => {
      const length = path.startsWith(prefix) ? /^(\d+)\.mlpackage$/.exec(path.slice(prefix.length)) : null;
      return length === null ? [] : [{ path, length: Number(length[1]) }];
    });
    if (found.length > 0) return found.sort((a, b) => a.length - b.length).map(({ path }) => path);
  }
  return [];
}

/** Precision of a package that the caller named: by the table, else the name's own words. */
export function dtypeOfPackage(path: string): string {
  const name = path
    .slice(path.lastIndexOf("/") + 1)
    .replace(/\.mlpackage$/, "")
    .replace(/_\d+$/, "");
  return dtypes.find((dtype) => stemOf(dtype) === name) ?? name.replace(/^model[_-]/, "");
}

function stemOf(dtype: string): string {
  return stems[dtype as Dtype] ?? `model_${dtype}`;
}
