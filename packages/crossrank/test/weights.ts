// Safetensors files in the forms in which repositories hold them.

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

function read(file: Buffer): { readonly entries: [string, Entry][]; readonly data: Buffer } {
  const length = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString("utf8", 8, 8 + length)) as Record<string, Entry>;
  return {
    entries: Object.entries(header).filter(([name]) => name !== "__metadata__"),
    data: file.subarray(8 + length),
  };
}

function write(tensors: readonly (readonly [string, Omit<Entry, "data_offsets">, Buffer])[]): Buffer {
  let at = 0;
  const header: Record<string, Entry> = {};
  for (const [name, facts, bytes] of tensors) {
    header[name] = { ...facts, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...tensors.map(([, , bytes]) => bytes)]);
}

/** The same file with its fp32 tensors in bf16: the upper half of each number's bits. */
export function bfloat16(file: Buffer): Buffer {
  const { entries, data } = read(file);
  return write(
    entries.map(
      ([
        name,
        {
          dtype,
          shape,
          data_offsets: [start, end],
        },
      ]) => {
        const bytes = data.subarray(start, end);
        if (dtype !== "F32") return [name, { dtype, shape }, bytes];
        const halves = Buffer.alloc(bytes.length / 2);
        for (let at = 0; at < halves.length; at += 2) bytes.copy(halves, at, at * 2 + 2, at * 2 + 4);
        return [name, { dtype: "BF16", shape }, halves];
      },
    ),
  );
}

/** The same tensors in several files and their index, by name. */
export function shards(file: Buffer, count: number): Record<string, Buffer> {
  const { entries, data } = read(file);
  const names = Array.from(
    { length: count },
    (_, index) =>
      `model-${String(index + 1).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.safetensors`,
  );
  const map = Object.fromEntries(entries.map(([name], index) => [name, names[index % count] as string]));
  const files = names.map((part) => [
    part,
    write(
      entries
        .filter(([name]) => map[name] === part)
        .map(
          ([
            name,
            {
              dtype,
              shape,
              data_offsets: [start, end],
            },
          ]) => [name, { dtype, shape }, data.subarray(start, end)],
        ),
    ),
  ]);
  const index = { metadata: { total_size: data.length }, weight_map: map };
  return {
    ...(Object.fromEntries(files) as Record<string, Buffer>),
    "model.safetensors.index.json": Buffer.from(JSON.stringify(index)),
  };
}
