import { knownDtype } from "@crossrank/backend-kit";
import type { GgufHeader } from "@crossrank/formats/gguf";

/**
 * Precisions as GGUF names them, most precise first, with their number in `general.file_type` (`enum llama_ftype` of
 * llama.cpp's `include/llama.h`).
 */
const fileTypes: Readonly<Record<string, number>> = {
  F32: 0,
  BF16: 32,
  F16: 1,
  Q8_0: 7,
  Q6_K: 18,
  Q5_K_M: 17,
  Q5_K_S: 16,
  Q5_1: 9,
  Q5_0: 8,
  Q4_K_M: 15,
  Q4_K_S: 14,
  Q4_1: 3,
  Q4_0: 2,
  IQ4_NL: 25,
  IQ4_XS: 30,
  MXFP4: 38,
  Q3_K_L: 13,
  Q3_K_M: 12,
  Q3_K_S: 11,
  IQ3_M: 27,
  IQ3_S: 26,
  IQ3_XS: 22,
  IQ3_XXS: 23,
  Q2_K: 10,
  Q2_K_S: 21,
  IQ2_M: 29,
  IQ2_S: 28,
  IQ2_XS: 20,
  IQ2_XXS: 19,
  TQ2_0: 37,
  TQ1_0: 36,
  IQ1_M: 31,
  IQ1_S: 24,
};

/** Names of all precisions, most precise first. */
export const dtypes: readonly string[] = Object.keys(fileTypes);

/** What a file's name says of its precision: `"gguf/model-Q8_0.gguf"` → `"Q8_0"`. */
export function dtypeOfPath(path: string): string | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/\.gguf$/i, "");
  const [, last = name] = /[-_.]((?:i?q\d|tq\d|b?fp?\d|mxfp).*)$/i.exec(name) ?? [];
  // llama.cpp's quantiser takes Q4_K for Q4_K_M, and publishers name files so.
  return knownDtype(last, dtypes) ?? (/^q\d_k$/i.test(last) ? knownDtype(`${last}_M`, dtypes) : undefined);
}

/**
 * What the file itself says: `general.file_type`, else the type that most of its weights have.
 * Undefined when that is none of the list.
 */
export function dtypeOfHeader({ metadata, tensors }: GgufHeader): string | undefined {
  const declared = metadata.get("general.file_type");
  const named = dtypes.find((dtype) => fileTypes[dtype] === declared);
  if (named !== undefined) return named;
  const bytes = new Map<string, number>();
  for (const { type, byteLength } of tensors.values()) {
    bytes.set(type.name, (bytes.get(type.name) ?? 0) + byteLength);
  }
  const [most] = [...bytes].sort(([, left], [, right]) => right - left);
  return most === undefined ? undefined : knownDtype(most[0], dtypes);
}
