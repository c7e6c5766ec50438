import type { Weight } from "@crossrank/convert";
import type { FileRequestOptions, ModelFiles } from "@crossrank/core";
import { openSafetensors } from "@crossrank/core/files";

/** The tensor of a file that a weight is, or whose rows it is. */
export interface TensorPlace {
  /** Relative to the model. */
  readonly path: string;
  readonly name: string;
  /** Of the whole tensor. */
  readonly shape: readonly number[];
  /** As safetensors calls it. */
  readonly dtype: string;
  /** The weight's first row, and the number of its rows. */
  readonly row: number;
  readonly rows: number;
  /** The weight's first byte in the file, and that behind its last. */
  readonly start: number;
  readonly end: number;
  /** What was added to the file's numbers. */
  readonly plus: number;
}

/**
 * Which tensors weights are. Reads headers alone.
 *
 * @returns nothing for a weight that no file holds as it is.
 * @throws {ModelProfileError} when a file is damaged.
 */
export async function findTensors(
  files: ModelFiles,
  weights: readonly Weight[],
  options: FileRequestOptions = {},
): Promise<ReadonlyMap<Weight, TensorPlace>> {
  const found = new Map<Weight, TensorPlace>();
  const headers = new Map<string, Promise<readonly Omit<TensorPlace, "row" | "rows" | "plus">[]>>();
  const headerOf = async (path: string): Promise<readonly Omit<TensorPlace, "row" | "rows" | "plus">[]> => {
    const file = await openSafetensors(files, path, options);
    const tensors = file.names.map((name) => ({
      path,
      name,
      shape: file.shape(name),
      dtype: file.dtype(name),
      ...file.place(name),
    }));
    return tensors.sort((one, other) => one.start - other.start);
  };
  for (const weight of weights) {
    const stored = weight.stored?.();
    if (stored === undefined) continue;
    const { path, start, end, plus } = stored;
    const known = headers.get(path) ?? headerOf(path);
    headers.set(path, known);
    const tensor = holding(await known, start, end);
    if (tensor === undefined) continue;
    const width = (tensor.end - tensor.start) / (tensor.shape[0] ?? 1);
    const [row, rows] = [(start - tensor.start) / width, (end - start) / width];
    if (Number.isInteger(row) && Number.isInteger(rows))
      found.set(weight, { ...tensor, row, rows, start, end, plus });
  }
  return found;
}

function holding<Tensor extends { readonly start: number; readonly end: number }>(
  tensors: readonly Tensor[],
  start: number,
  end: number,
): Tensor | undefined {
  let [low, high] = [0, tensors.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((tensors[middle] as Tensor).end <= start) low = middle + 1;
    else high = middle;
  }
  const tensor = tensors[low];
  return tensor !== undefined && tensor.start <= start && end <= tensor.end ? tensor : undefined;
}
