import { knownDtype } from "@crossrank/backend-kit";
import type { GgufHeader, GgufTensor } from "@crossrank/formats/gguf";

/**
 * Precisions as GGUF names them, most precise first, with their number in `general.file_type` (`enum llama_ftype` of
 * llama.cpp's `include/llama.h`). A `variant` is none of the quantiser's: it stands beside the precision of which
 * publishers keep some tensors more precise (embeddings and output as `_L`, parts of layers too as `_XL`).
 */
const precisions: Readonly<Record<string, { readonly fileType: number } | { readonly variant: string }>> = {
  F32: { fileType: 0 },
  BF16: { fileType: 32 },
  F16: { fileType: 1 },
  Q8_0: { fileType: 7 },
  Q8_K_XL: { variant: "Q8_0" },
  Q6_K_XL: { variant: "Q6_K" },
  Q6_K_L: { variant: "Q6_K" },
  Q6_K: { fileType: 18 },
  Q5_K_XL: { variant: "Q5_K_M" },
  Q5_K_L: { variant: "Q5_K_M" },
  Q5_K_M: { fileType: 17 },
  Q5_K_S: { fileType: 16 },
  Q5_1: { fileType: 9 },
  Q5_0: { fileType: 8 },
  Q4_K_XL: { variant: "Q4_K_M" },
  Q4_K_L: { variant: "Q4_K_M" },
  Q4_K_M: { fileType: 15 },
  Q4_K_S: { fileType: 14 },
  Q4_1: { fileType: 3 },
  Q4_0: { fileType: 2 },
  IQ4_NL: { fileType: 25 },
  IQ4_XS: { fileType: 30 },
  MXFP4: { fileType: 38 },
  NVFP4: { fileType: 39 },
  Q3_K_XL: { variant: "Q3_K_L" },
  Q3_K_L: { fileType: 13 },
  Q3_K_M: { fileType: 12 },
  Q3_K_S: { fileType: 11 },
  IQ3_M: { fileType: 27 },
  IQ3_S: { fileType: 26 },
  IQ3_XS: { fileType: 22 },
  IQ3_XXS: { fileType: 23 },
  Q2_K_XL: { variant: "Q2_K" },
  Q2_K_L: { variant: "Q2_K" },
  Q2_K: { fileType: 10 },
  Q2_K_S: { fileType: 21 },
  IQ2_M: { fileType: 29 },
  IQ2_S: { fileType: 28 },
  IQ2_XS: { fileType: 20 },
  IQ2_XXS: { fileType: 19 },
  Q2_0: { fileType: 41 },
  TQ2_0: { fileType: 37 },
  TQ1_0: { fileType: 36 },
  IQ1_M: { fileType: 31 },
  IQ1_S: { fileType: 24 },
  Q1_0: { fileType: 40 },
};

/** Names of all precisions, most precise first. */
export const dtypes: readonly string[] = Object.keys(precisions);

/** Precisions without blocks of shared scales, whose bounds and whose size for a default are their own. */
const floats: readonly string[] = ["F32", "BF16", "F16"];

export function isFloat(dtype: string): boolean {
  return floats.includes(dtype);
}

/** What llama.cpp's quantiser, and publishers after it, call otherwise. */
const otherNames: Readonly<Record<string, string>> = {
  Q3_K: "Q3_K_M",
  Q4_K: "Q4_K_M",
  Q5_K: "Q5_K_M",
  Q8_K: "Q8_0",
  MXFP4_MOE: "MXFP4",
};

/**
 * What a file's name, or the name of its folder, says of its precision: `"gguf/model-Q8_0.gguf"` → `"Q8_0"`. Whatever
 * else publishers write around it counts for nothing: `UD-`, `i1-`, the number of a part, the name of a tool.
 */
export function dtypeOfPath(path: string): string | undefined {
  const parts = path
    .replace(/\.gguf$/i, "")
    .split("/")
    .slice(-2);
  return parts
    .reverse()
    .map(dtypeOfName)
    .find((dtype) => dtype !== undefined);
}

/** The last precision between marks of a name: what was made of a file is written behind what it was made of. */
function dtypeOfName(name: string): string | undefined {
  const words = name.slice(0, 255).split(/[-. +]/);
  for (const word of words.reverse()) {
    // An underscore parts words too, and stands within names of precisions.
    const pieces = word.split("_");
    for (let first = pieces.length - 1; first >= 0; first -= 1) {
      for (let end = pieces.length; end > first; end -= 1) {
        const found = precisionNamed(pieces.slice(first, end).join("_"));
        // "Q4_K_M" has no "K_M", and "Q4_0_4_8" is none of llama.cpp's any more.
        if (found !== undefined && !isRepacked(pieces, first)) return found;
      }
    }
  }
  return undefined;
}

/** Layouts for one kind of processor (`Q4_0_4_8`), which llama.cpp does not read any more. */
function isRepacked(pieces: readonly string[], first: number): boolean {
  return /^i?q4_(?:0|nl)_[48]_[48]$/i.test(pieces.slice(first, first + 4).join("_"));
}

/** The precision as it is spelt here; undefined when llama.cpp has none of this name. */
export function precisionNamed(name: string): string | undefined {
  const plain = name.replace(/^(?:ud|i1)-/i, "");
  const other = Object.entries(otherNames).find(([spelled]) => spelled.toLowerCase() === plain.toLowerCase());
  return other?.[1] ?? knownDtype(plain, dtypes);
}

/**
 * What the file itself says: `general.file_type` where its weights bear it out, else the type that most of them have.
 * Undefined when that is none of the list.
 */
export function dtypeOfHeader({
  metadata,
  tensors,
}: Pick<GgufHeader, "metadata" | "tensors">): string | undefined {
  const declared = metadata.get("general.file_type");
  const named = declared === undefined ? undefined : dtypes.find((dtype) => fileTypeOf(dtype) === declared);
  const most = mostUsed(tensors);
  if (most === undefined) return named;
  const held = precisionNamed(most.name);
  return named !== undefined && bearsOut(named, most) ? named : held;
}

/**
 * The precision to show: the file's own. Of its variants (`Q6_K_L`) the file knows nothing but that it is of the family,
 * so which it is stands in its name.
 */
export function shownDtype(ofHeader: string | undefined, ofName: string | undefined): string {
  if (ofHeader === undefined) return ofName ?? "unknown";
  return ofName !== undefined && isVariantOf(ofName, ofHeader) ? ofName : ofHeader;
}

function isVariantOf(name: string, dtype: string): boolean {
  const precision = precisions[name];
  if (precision === undefined || !("variant" in precision)) return false;
  return familyOf(precision.variant) === familyOf(dtype);
}

/** `"Q4_K_M"` → `"Q4_K"`. */
function familyOf(dtype: string): string {
  return dtype.replace(/_(?:S|M|L)$/, "");
}

function fileTypeOf(dtype: string): number | undefined {
  const precision = precisions[dtype];
  return precision !== undefined && "fileType" in precision ? precision.fileType : undefined;
}

interface Used {
  readonly name: string;
  /** Of all weights in blocks, or of those of this type. */
  readonly bitsPerWeight: number;
}

/**
 * The type of most weights. Layers count alone where there are any: the quantiser keeps embeddings and output more
 * precise, and of a small model they are most of the file.
 */
function mostUsed(tensors: ReadonlyMap<string, GgufTensor>): Used | undefined {
  const matrices = [...tensors].filter(([, { dimensions }]) => dimensions.length > 1);
  const layers = matrices.filter(([name]) => name.startsWith("blk."));
  const counted = layers.length > 0 ? layers : matrices;
  const weights = new Map<string, number>();
  for (const [, { dimensions, type }] of counted) {
    weights.set(type.name, (weights.get(type.name) ?? 0) + sizeOf(dimensions));
  }
  const [most] = [...weights].sort(([, left], [, right]) => right - left);
  if (most === undefined) return undefined;
  const [name] = most;
  // What was left as it is, for its rows fill no blocks, says nothing of how the others were rounded.
  const inBlocks = counted.filter(([, { type }]) => type.blockNumbers > 1 || type.name === name);
  const bytes = inBlocks.reduce((sum, [, { byteLength }]) => sum + byteLength, 0);
  const numbers = inBlocks.reduce((sum, [, { dimensions }]) => sum + sizeOf(dimensions), 0);
  return { name, bitsPerWeight: (8 * bytes) / numbers };
}

function sizeOf(dimensions: readonly number[]): number {
  return dimensions.reduce((product, size) => product * size, 1);
}

/**
 * Bits of a weight on average, at least and at most, by the beginning of a precision's name. The quantiser puts a more
 * precise type where a row does not fit its blocks, and all of a model that has no experts in a file of their types.
 */
const expectedBits: readonly (readonly [RegExp, number, number])[] = [
  [/^Q8/, 8, 16],
  [/^Q6/, 6, 9],
  [/^Q5/, 5, 8],
  [/^(?:Q4|IQ4)/, 4, 8],
  [/^(?:MXFP4|NVFP4)/, 4, 9],
  [/^(?:Q3|IQ3)/, 3, 7],
  [/^(?:Q2|IQ2|TQ2)/, 2, 6],
  [/^(?:Q1|IQ1|TQ1)/, 1, 6],
];

/** A file that says of itself another precision than its weights have is called by theirs. */
function bearsOut(named: string, most: Used): boolean {
  const held = precisionNamed(most.name);
  if (isFloat(named) || (held !== undefined && isFloat(held))) return named === held;
  const [, least = 0, greatest = 0] = expectedBits.find(([pattern]) => pattern.test(named)) ?? [];
  return most.bitsPerWeight >= least && most.bitsPerWeight <= greatest;
}
