/**
 * Precision's name → what stands between `model` and `.mnn` in the file's name, most precise first. fp16 and int8 say
 * how weights are stored: MNN computes in float32 from both, unless `memory` or `precision` say otherwise.
 */
const suffixes: Readonly<Record<string, string>> = { fp32: "", fp16: "_fp16", int8: "_int8" };

/** Names of all precisions, most precise first. */
export const dtypes: readonly string[] = Object.keys(suffixes);

/** Where the artifact of a precision may be, best first, relative to the model. */
export function artifactPaths(dtype: string): readonly string[] {
  const name = `model${suffixes[dtype] ?? `_${dtype}`}.mnn`;
  return [`mnn/${name}`, name];
}

/** Precision of a file that the caller named: by the table, else the file name's own words. */
export function dtypeOfFile(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.mnn$/, "");
  const suffix = name.startsWith("model") ? name.slice("model".length) : `_${name}`;
  const known = dtypes.find((dtype) => suffixes[dtype] === suffix);
  return known ?? suffix.replace(/^[_-]/, "");
}
