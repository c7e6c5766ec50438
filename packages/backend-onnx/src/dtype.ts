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

/**
 * Precision of a file that the caller named: by the table, else the file name's own words
 * (`onnx/model_qint8_avx512_vnni.onnx` → `qint8_avx512_vnni`).
 */
export function dtypeOfFile(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.onnx$/, "");
  const suffix = name.startsWith("model") ? name.slice("model".length) : `_${name}`;
  const known = dtypes.find((dtype) => dtypeSuffixes[dtype] === suffix);
  return known ?? suffix.replace(/^[_-]/, "");
}

/**
 * Whether activations are quantised as a whole batch, so that a score depends on its neighbours, as far as the
 * precision's name says: for files whose operators cannot be read.
 */
export function namesQuantisedActivations(dtype: string): boolean {
  return /int8|q8/.test(dtype);
}
