// Takes a GGUF file apart and puts it together again, changed. For small and sound files alone.

/** A metadata entry; the value as its bytes, behind the type. */
export interface Entry {
  readonly key: string;
  readonly type: number;
  readonly value: Buffer;
}

export interface StoredTensor {
  readonly name: string;
  readonly dimensions: readonly bigint[];
  readonly type: number;
  readonly data: Buffer;
}

export interface Contents {
  readonly entries: readonly Entry[];
  readonly tensors: readonly StoredTensor[];
}

const alignment = 32;
const sizes: Readonly<Record<number, number>> = {
  0: 1,
  1: 1,
  2: 2,
  3: 2,
  4: 4,
  5: 4,
  6: 4,
  7: 1,
  10: 8,
  11: 8,
  12: 8,
};
const stringType = 8;
const arrayType = 9;

export function editGguf(bytes: Buffer, edit: (contents: Contents) => Contents): Buffer {
  return write(edit(read(bytes)));
}

/** The value of a string. */
export function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes.length));
  return Buffer.concat([length, bytes]);
}

export function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

/** The strings of an array's value, and back. */
export function stringsOf(value: Buffer): string[] {
  const strings: string[] = [];
  for (let at = 12; at < value.length; ) {
    const length = Number(value.readBigUInt64LE(at));
    strings.push(value.toString("utf8", at + 8, at + 8 + length));
    at += 8 + length;
  }
  return strings;
}

export function arrayOf(strings: readonly string[]): Buffer {
  const head = Buffer.alloc(12);
  head.writeUInt32LE(stringType);
  head.writeBigUInt64LE(BigInt(strings.length), 4);
  return Buffer.concat([head, ...strings.map(text)]);
}

function read(bytes: Buffer): Contents {
  let at = 8;
  const number = (): number => {
    at += 8;
    return Number(bytes.readBigUInt64LE(at - 8));
  };
  const small = (): number => {
    at += 4;
    return bytes.readUInt32LE(at - 4);
  };
  const string = (): string => {
    const length = number();
    at += length;
    return bytes.toString("utf8", at - length, at);
  };
  const skip = (type: number): void => {
    if (type === stringType) string();
    else if (type === arrayType) {
      const element = small();
      for (let left = number(); left > 0; left -= 1) skip(element);
    } else at += sizes[type] ?? Number.NaN;
  };
  const [tensorCount, entryCount] = [number(), number()];
  const entries = Array.from({ length: entryCount }, (): Entry => {
    const [key, type] = [string(), small()];
    const start = at;
    skip(type);
    return { key, type, value: bytes.subarray(start, at) };
  });
  const infos = Array.from({ length: tensorCount }, () => {
    const name = string();
    const dimensions = Array.from({ length: small() }, () => BigInt(number()));
    return { name, dimensions, type: small(), offset: number() };
  });
  const start = Math.ceil(at / alignment) * alignment;
  const tensors = infos.map(({ offset, ...info }, index): StoredTensor => {
    const end = infos[index + 1]?.offset ?? bytes.length - start;
    return { ...info, data: bytes.subarray(start + offset, start + end) };
  });
  return { entries, tensors };
}

function write({ entries, tensors }: Contents): Buffer {
  const big = (value: bigint): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(value);
    return bytes;
  };
  const padded = (bytes: Buffer): Buffer =>
    Buffer.concat([bytes, Buffer.alloc((alignment - (bytes.length % alignment)) % alignment)]);
  let offset = 0;
  const infos = tensors.map(({ name, dimensions, type, data }) => {
    const info = [
      text(name),
      uint32(dimensions.length),
      ...dimensions.map(big),
      uint32(type),
      big(BigInt(offset)),
    ];
    offset += padded(data).length;
    return Buffer.concat(info);
  });
  const head = Buffer.concat([
    Buffer.from("GGUF"),
    uint32(3),
    big(BigInt(tensors.length)),
    big(BigInt(entries.length)),
    ...entries.flatMap(({ key, type, value }) => [text(key), uint32(type), value]),
    ...infos,
  ]);
  return Buffer.concat([padded(head), ...tensors.map(({ data }) => padded(data))]);
}
