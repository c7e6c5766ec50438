import { openFixtures } from "@crossrank/conformance";
import { type ModelFile, ModelFileNotFoundError, type ModelFiles } from "@crossrank/core";

/** A tensor as a safetensors file holds it. */
export interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export type StoredTensors = Map<string, StoredTensor>;

/** A fixture's files in memory, to be changed. */
export interface EditableModel {
  readonly files: ModelFiles;
  readonly config: Record<string, unknown>;
  readonly tensors: StoredTensors;
}

/** The fixture's model as Hugging Face files alone. */
export async function readFixture(name: string): Promise<EditableModel> {
  const [fixture] = openFixtures([name]);
  if (fixture === undefined) throw new Error(`no fixture ${name}`);
  const { files } = fixture;
  const { size = 0 } = (await files.list()).find(({ path }) => path === "model.safetensors") ?? {};
  const bytes = await files.readBytes("model.safetensors", { start: 0, end: size });
  return {
    files,
    config: JSON.parse(await files.readText("config.json")) as Record<string, unknown>,
    tensors: parse(bytes),
  };
}

/**
 * The model's files, some in another form.
 * @param changes by path; undefined takes a file away.
 */
export function withFiles(
  { files }: EditableModel,
  changes: Readonly<Record<string, Uint8Array | string | undefined>>,
): ModelFiles {
  const changed = new Map(
    Object.entries(changes).map(([path, content]) => [
      path,
      typeof content === "string" ? new TextEncoder().encode(content) : content,
    ]),
  );
  const find = (path: string): Uint8Array | undefined => {
    const content = changed.get(path);
    if (changed.has(path) && content === undefined)
      throw new ModelFileNotFoundError({ model: files.id, expected: [path], fix: "It was taken away." });
    return content;
  };
  return {
    id: files.id,
    revision: undefined,
    async list(options) {
      options?.signal?.throwIfAborted();
      const kept = (await files.list()).filter(({ path }) => !changed.has(path));
      const added = [...changed].flatMap(([path, content]): ModelFile[] =>
        content === undefined ? [] : [{ path, size: content.length }],
      );
      return [...kept, ...added];
    },
    async readText(path, options) {
      options?.signal?.throwIfAborted();
      const content = find(path);
      return content === undefined ? files.readText(path) : new TextDecoder().decode(content);
    },
    async readBytes(path, range, options) {
      options?.signal?.throwIfAborted();
      return find(path)?.subarray(range.start, range.end) ?? files.readBytes(path, range);
    },
    localPath: (path) => files.localPath(path),
  };
}

/** The model with other settings; undefined takes one away. */
export function withConfig(model: EditableModel, settings: Readonly<Record<string, unknown>>): ModelFiles {
  return withFiles(model, { "config.json": JSON.stringify({ ...model.config, ...settings }) });
}

/** The model with its tensors changed in place by `change`. */
export function withTensors(model: EditableModel, change: (tensors: StoredTensors) => void): ModelFiles {
  const tensors = new Map(model.tensors);
  change(tensors);
  return withFiles(model, { "model.safetensors": serialize(tensors) });
}

export function serialize(tensors: ReadonlyMap<string, StoredTensor>): Uint8Array {
  const header: Record<string, unknown> = {};
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const result = new Uint8Array(8 + text.length + offset);
  new DataView(result.buffer).setBigUint64(0, BigInt(text.length), true);
  result.set(text, 8);
  offset = 8 + text.length;
  for (const { bytes } of tensors.values()) {
    result.set(bytes, offset);
    offset += bytes.length;
  }
  return result;
}

function parse(file: Uint8Array): StoredTensors {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, start))) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >;
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== "__metadata__")
      .map(
        ([
          name,
          {
            dtype,
            shape,
            data_offsets: [from, to],
          },
        ]) => [name, { dtype, shape, bytes: file.slice(start + from, start + to) }],
      ),
  );
}

export function floatTensor(shape: readonly number[], values: ArrayLike<number>): StoredTensor {
  return { dtype: "F32", shape, bytes: new Uint8Array(Float32Array.from(values).buffer) };
}

export function zeros(...shape: number[]): StoredTensor {
  return floatTensor(shape, new Float32Array(shape.reduce((product, size) => product * size, 1)));
}

export function numbersOf({ bytes }: StoredTensor): Float32Array {
  return new Float32Array(bytes.slice().buffer);
}
