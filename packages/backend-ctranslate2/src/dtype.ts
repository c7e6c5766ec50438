/**
 * Precision's name → what stands between `model` and `.ctranslate2` in the folder's name, most precise first. fp16 says
 * how weights are stored: CTranslate2 computes in float32 from them on a processor. int8 is computed in integers.
 */
const suffixes: Readonly<Record<string, string>> = { fp32: "", fp16: "_fp16", int8: "_int8" };

/** Names of all precisions, most precise first. */
export const dtypes: readonly string[] = Object.keys(suffixes);

export const modelFile = "model.bin";

/** Where the artifact of a precision may be, best first, relative to the model. */
export function artifactPaths(dtype: string): readonly string[] {
  const folder = `model${suffixes[dtype] ?? `_${dtype}`}.ctranslate2`;
  return [`ctranslate2/${folder}/${modelFile}`, `${folder}/${modelFile}`];
}
