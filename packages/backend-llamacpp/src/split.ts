import { GgufFormatError, type GgufHeader, type GgufTensor } from "@crossrank/formats/gguf";
import { Metadata } from "./metadata.js";
import { Refusal } from "./refusal.js";

/** More than any model is cut into. */
const mostParts = 1000;

/** A part of a split file by its name, which is how llama.cpp finds the others. */
export interface SplitName {
  readonly first: string;
  readonly count: number;
}

/** `"model-00002-of-00003.gguf"`: undefined for any other name. */
export function splitName(path: string): SplitName | undefined {
  const [, stem, part, of, ending] = /^(.*)-(\d{5})-of-(\d{5})(\.gguf)$/i.exec(path) ?? [];
  const [number, count] = [Number(part), Number(of)];
  if (stem === undefined || !(number >= 1 && number <= count && count <= mostParts)) return undefined;
  return { first: `${stem}-00001-of-${of}${ending}`, count };
}

/** The file, or the parts of the split one that it is the first of, whether they are there or not. */
export function partsOf(path: string, paths: readonly string[]): readonly string[] {
  const split = splitName(path);
  if (split === undefined || (split.first !== path && !paths.includes(split.first))) return [path];
  if (split.first !== path) return partsOf(split.first, paths);
  return Array.from({ length: split.count }, (_, index) =>
    path.replace(/-00001-of-(?=\d{5}\.gguf$)/i, `-${String(index + 1).padStart(5, "0")}-of-`),
  );
}

/**
 * Of parts the metadata of the first and the tensors of all, as llama.cpp reads them.
 *
 * @throws {GgufFormatError} when they are not the parts of one file, in their order.
 */
export function joinHeaders(headers: readonly GgufHeader[]): GgufHeader {
  const [first, ...others] = headers;
  if (first === undefined) throw new GgufFormatError("it has no parts");
  if (others.length === 0) return first;
  const tensors = new Map<string, GgufTensor>();
  for (const [index, header] of headers.entries()) {
    const { number, count } = splitKeys(header);
    if (number !== index || count !== headers.length) {
      throw new GgufFormatError(
        `its part ${index + 1} of ${headers.length} says that it is part ${(number ?? 0) + 1} of ${count ?? 1}`,
      );
    }
    for (const [name, tensor] of header.tensors) {
      if (tensors.has(name)) throw new GgufFormatError("two of its parts have a tensor of one name");
      tensors.set(name, tensor);
    }
  }
  const promised = splitKeys(first).tensors;
  if (promised !== undefined && promised !== tensors.size) {
    throw new GgufFormatError(`its parts have ${tensors.size} tensors, and it promises ${promised}`);
  }
  const metadata = new Map([...first.metadata].filter(([key]) => !key.startsWith("split.")));
  return { ...first, metadata, tensors };
}

function splitKeys({ metadata }: GgufHeader): {
  readonly number: number | undefined;
  readonly count: number | undefined;
  readonly tensors: number | undefined;
} {
  const keys = new Metadata(metadata);
  try {
    return {
      number: keys.count("split.no"),
      count: keys.count("split.count"),
      tensors: keys.count("split.tensors.count"),
    };
  } catch (cause) {
    if (cause instanceof Refusal) throw new GgufFormatError(cause.problem);
    throw cause;
  }
}
