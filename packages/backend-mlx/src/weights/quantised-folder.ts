import { type FileRequestOptions, type ModelFile, type ModelFiles, ModelProfileError } from "@crossrank/core";
import { openSafetensors, type TensorFile } from "@crossrank/core/files";

/** How a matrix is quantised: numbers of so many bits, with a scale and a bias for each group of columns. */
export interface Quantisation {
  readonly bits: number;
  readonly group: number;
}

/** Where a part of a quantised matrix is: whole rows of it. */
export interface StoredRows {
  readonly path: string;
  readonly dtype: string;
  /** The first byte of row 0, and bytes of a row. */
  readonly start: number;
  readonly row: number;
  /** Numbers of a row. */
  readonly columns: number;
}

export interface QuantisedMatrix extends Quantisation {
  /** Packed numbers, scales and biases. */
  readonly tensors: readonly [StoredRows, StoredRows, StoredRows];
}

/**
 * A folder that MLX has quantised, as if it had not: each matrix of packed numbers looks like one of float32, whose
 * numbers are nowhere. A description of the model is made from it as from any other, and says by its places which matrix
 * it means.
 */
export interface QuantisedFolder {
  readonly files: ModelFiles;
  /** The least bits of a matrix. */
  readonly bits: number;
  /** The matrix that seems to be at a place, and the place's first row; undefined for what is stored as it seems. */
  matrixAt(
    path: string,
    start: number,
  ): { readonly matrix: QuantisedMatrix; readonly row: number } | undefined;
  /** Where a byte of what is stored as it seems is in its file. */
  placeOf(path: string, start: number): number;
}

const supportedBits: readonly number[] = [2, 3, 4, 5, 6, 8];
const supportedGroups: readonly number[] = [32, 64, 128];
const floats: ReadonlySet<string> = new Set(["F32", "F16", "BF16"]);

/** `quantization` of config.json; undefined where MLX has not quantised the model. */
export function quantisationOf(config: unknown): Readonly<Record<string, unknown>> | undefined {
  const given = asObject(asObject(config)?.["quantization"]);
  return given !== undefined && "bits" in given ? given : undefined;
}

/**
 * @param config config.json, for which `quantisationOf` gives something.
 * @throws {ModelProfileError} when packed numbers, scales and biases are not of one matrix, or are packed in another way.
 */
export async function openQuantisedFolder(
  files: ModelFiles,
  config: Readonly<Record<string, unknown>>,
  options: FileRequestOptions,
): Promise<QuantisedFolder> {
  const settings = quantisationOf(config) ?? {};
  const problem = (file: string, what: string): ModelProfileError =>
    new ModelProfileError({
      model: files.id,
      file,
      problem: what,
      fix: "Take a folder that mlx-lm wrote with 2 to 8 bits in groups of 32, 64 or 128 (mode affine), or the model's own weights",
    });
  const mode = settings["mode"];
  if (mode !== undefined && mode !== "affine")
    throw problem("config.json", `is quantised by MLX in mode ${shown(mode)}`);
  const listed = await files.list(options);
  const weights = listed.filter(({ path }) => /^[^/]+\.safetensors$/.test(path));
  const opened = new Map<string, TensorFile>();
  for (const { path } of weights) opened.set(path, await openSafetensors(files, path, options));
  const where = new Map<string, string>();
  for (const [path, { names }] of opened) for (const name of names) where.set(name, path);

  const views = new Map<string, FileView>();
  const hidden = new Set<string>();
  let least = Number.POSITIVE_INFINITY;
  for (const [path, file] of opened) {
    const view = new FileView();
    for (const name of file.names) {
      const base = /^(.+)\.weight$/.exec(name)?.[1];
      if (base === undefined || file.dtype(name) !== "U32") continue;
      const matrix = matrixOf(base, { opened, where, settings, problem });
      hidden.add(`${base}.scales`).add(`${base}.biases`);
      least = Math.min(least, matrix.bits);
      view.addMatrix(name, matrix, file.shape(name)[0] as number);
    }
    views.set(path, view);
  }
  for (const [path, file] of opened) {
    for (const name of file.names) {
      if (hidden.has(name) || views.get(path)?.has(name)) continue;
      views.get(path)?.addStored(name, file);
    }
    views.get(path)?.finish();
  }
  if (!Number.isFinite(least)) throw problem("config.json", "has `quantization`, and no tensor is packed");
  return {
    files: viewed(files, { config, listed, views, hidden }),
    bits: least,
    matrixAt: (path, start) => views.get(path)?.matrixAt(start),
    placeOf: (path, start) => views.get(path)?.placeOf(start) ?? start,
  };
}

function matrixOf(
  base: string,
  given: {
    readonly opened: ReadonlyMap<string, TensorFile>;
    readonly where: ReadonlyMap<string, string>;
    readonly settings: Readonly<Record<string, unknown>>;
    readonly problem: (file: string, what: string) => ModelProfileError;
  },
): QuantisedMatrix {
  const { opened, where, settings, problem } = given;
  const [packed, scales, biases] = ["weight", "scales", "biases"].map((part) => {
    const name = `${base}.${part}`;
    const path = where.get(name);
    const file = path === undefined ? undefined : opened.get(path);
    if (path === undefined || file === undefined)
      throw problem("config.json", `has \`quantization\`, and there is no tensor ${name}`);
    const [rows = 0, columns = 0, ...more] = file.shape(name);
    const { start, end } = file.place(name);
    const dtype = file.dtype(name);
    const width = dtype === "U32" || dtype === "F32" ? 4 : 2;
    const isKnown = part === "weight" ? dtype === "U32" : floats.has(dtype);
    if (!isKnown || rows < 1 || columns < 1 || more.length > 0 || end - start !== rows * columns * width)
      throw problem(
        path,
        `tensor ${name} (${dtype}, ${file.shape(name).join(" × ")}) is no part of a matrix`,
      );
    return { path, dtype, start, row: columns * width, columns, rows };
  }) as [StoredRows & { rows: number }, StoredRows & { rows: number }, StoredRows & { rows: number }];
  // Of a layer of its own, else of all.
  const own = asObject(settings[base]) ?? {};
  const bits = own["bits"] ?? settings["bits"];
  const group = own["group_size"] ?? settings["group_size"] ?? 64;
  if (own["mode"] !== undefined && own["mode"] !== "affine")
    throw problem("config.json", `quantises ${base} in mode ${shown(own["mode"])}`);
  if (!supportedBits.includes(bits as number) || !supportedGroups.includes(group as number))
    throw problem("config.json", `quantises ${base} to ${shown(bits)} bits in groups of ${shown(group)}`);
  const columns = (packed.columns * 32) / (bits as number);
  if (
    !Number.isInteger(columns) ||
    packed.rows !== scales.rows ||
    packed.rows !== biases.rows ||
    scales.columns !== biases.columns ||
    scales.dtype !== biases.dtype ||
    scales.columns * (group as number) !== columns
  )
    throw problem(
      packed.path,
      `tensor ${base}.weight, its scales and its biases are not of one matrix of ${shown(bits)} bits in groups of ${shown(group)}`,
    );
  return { bits: bits as number, group: group as number, tensors: [packed, scales, biases] };
}

interface ViewedTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly matrix?: QuantisedMatrix;
  /** In the file. */
  readonly start?: number;
}

/** A safetensors file as it would be without quantisation: a header, and where each of its tensors really is. */
class FileView {
  readonly #tensors: ViewedTensor[] = [];
  #header: Uint8Array = new Uint8Array();
  #starts: readonly number[] = [];
  size = 0;

  has(name: string): boolean {
    return this.#tensors.some((tensor) => tensor.name === name);
  }

  addMatrix(name: string, matrix: QuantisedMatrix, rows: number): void {
    const columns = (matrix.tensors[0].columns * 32) / matrix.bits;
    const bytes = rows * columns * 4;
    this.#tensors.push({ name, dtype: "F32", shape: [rows, columns], bytes, matrix });
  }

  addStored(name: string, file: TensorFile): void {
    const { start, end } = file.place(name);
    this.#tensors.push({ name, dtype: file.dtype(name), shape: file.shape(name), bytes: end - start, start });
  }

  finish(): void {
    let at = 0;
    const entries: Record<string, unknown> = {};
    const starts: number[] = [];
    for (const { name, dtype, shape, bytes } of this.#tensors) {
      entries[name] = { dtype, shape, data_offsets: [at, at + bytes] };
      starts.push(at);
      at += bytes;
    }
    const json = new TextEncoder().encode(JSON.stringify(entries));
    const header = new Uint8Array(8 + json.length);
    new DataView(header.buffer).setBigUint64(0, BigInt(json.length), true);
    header.set(json, 8);
    this.#header = header;
    this.#starts = starts.map((start) => header.length + start);
    this.size = header.length + at;
  }

  matrixAt(start: number): { readonly matrix: QuantisedMatrix; readonly row: number } | undefined {
    const found = this.#at(start);
    if (found?.tensor.matrix === undefined) return undefined;
    const [, columns = 1] = found.tensor.shape;
    return { matrix: found.tensor.matrix, row: found.offset / (4 * columns) };
  }

  placeOf(start: number): number | undefined {
    const found = this.#at(start);
    return found?.tensor.start === undefined ? undefined : found.tensor.start + found.offset;
  }

  /** @returns undefined for bytes of a matrix, which are nowhere. */
  async read(
    start: number,
    end: number,
    stored: (start: number, end: number) => Promise<Uint8Array>,
  ): Promise<Uint8Array | undefined> {
    const until = Math.min(end, this.size);
    if (until <= this.#header.length) return this.#header.slice(start, until);
    const found = this.#at(start);
    // The last byte is asked for to see that it is there.
    if (found === undefined || until - start <= 1) return new Uint8Array(Math.max(0, until - start));
    const place = this.placeOf(start);
    return place === undefined ? undefined : stored(place, place + until - start);
  }

  #at(start: number): { readonly tensor: ViewedTensor; readonly offset: number } | undefined {
    const index = this.#starts.findLastIndex((first) => first <= start);
    const [tensor, first] = [this.#tensors[index], this.#starts[index]];
    if (tensor === undefined || first === undefined || start >= first + tensor.bytes) return undefined;
    return { tensor, offset: start - first };
  }
}

function viewed(
  files: ModelFiles,
  {
    config,
    listed,
    views,
    hidden,
  }: {
    readonly config: Readonly<Record<string, unknown>>;
    readonly listed: readonly ModelFile[];
    readonly views: ReadonlyMap<string, FileView>;
    readonly hidden: ReadonlySet<string>;
  },
): ModelFiles {
  const { quantization: _quantization, quantization_config: _config, ...others } = config;
  return {
    id: files.id,
    revision: files.revision,
    list: async () =>
      listed.map((file) => ({ path: file.path, size: views.get(file.path)?.size ?? file.size })),
    async readText(path, options) {
      if (path === "config.json") return JSON.stringify(others);
      const text = await files.readText(path, options);
      if (path !== "model.safetensors.index.json") return text;
      return withoutHidden(text, hidden);
    },
    async readBytes(path, range, options) {
      const view = views.get(path);
      if (view === undefined) return files.readBytes(path, range, options);
      const found = await view.read(range.start, range.end, (start, end) =>
        files.readBytes(path, { start, end }, options),
      );
      if (found !== undefined) return found;
      throw new ModelProfileError({
        model: files.id,
        file: path,
        problem: "holds packed numbers where floats are read",
        fix: "Take the model's own weights",
      });
    },
    localPath: (path, options) => files.localPath(path, options),
  };
}

/** The index without scales and biases, which no longer are tensors. What cannot be read is left for others to refuse. */
function withoutHidden(text: string, hidden: ReadonlySet<string>): string {
  try {
    const index = asObject(JSON.parse(text)) ?? {};
    const map = Object.entries(asObject(index["weight_map"]) ?? {}).filter(([name]) => !hidden.has(name));
    return JSON.stringify({ ...index, weight_map: Object.fromEntries(map) });
  } catch {
    return text;
  }
}

function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : undefined;
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? "nothing").slice(0, 40);
}
