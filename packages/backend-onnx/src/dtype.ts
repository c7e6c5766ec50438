/**
 * Precision's usual name → what stands between `model` and `.onnx` in the file's name, most precise first.
 * As transformers.js 4.3.1 has it: `DEFAULT_DTYPE_SUFFIX_MAPPING` in its `src/utils/dtypes.js`.
 */
export const dtypeSuffixes: Readonly<Record<string, string>> = {
  fp32: "",
  fp16: "_fp16",
  int8: "_int8",
  uint8: "_uint8",
  q8: "_quantized",
  q4: "_q4",
  q4f16: "_q4f16",
  bnb4: "_bnb4",
  q2: "_q2",
  q2f16: "_q2f16",
  q1: "_q1",
  q1f16: "_q1f16",
};

/** Names of all precisions, most precise first. */
export const dtypes: readonly string[] = Object.keys(dtypeSuffixes);

/** Where the artifact of a precision may be, best first, relative to the model. */
export function artifactPaths(dtype: string): readonly string[] {
  const name = `model${dtypeSuffixes[dtype] ?? `_${dtype}`}.onnx`;
  return [`onnx/${name}`, name];
}

/** Precision of a file by its name, where that is one of the table's. */
export function usualDtype(path: string): string | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.onnx$/, "");
  return dtypes.find((dtype) => name === `model${dtypeSuffixes[dtype]}`);
}

/** Precision of a file whose content does not say it: by the table, else the file name's own words. */
export function dtypeOfFile(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.onnx$/i, "");
  return usualDtype(path) ?? (name.replace(/^model[_-]?/, "") || name);
}

/**
 * Whether activations are quantised as a whole batch, so that a score depends on its neighbours, as far as the
 * precision's name says: for files whose operators cannot be read.
 */
export function namesQuantisedActivations(dtype: string): boolean {
  return /int8|q8/.test(dtype);
}
