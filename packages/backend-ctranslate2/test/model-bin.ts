/** A model.bin in parts, to be changed and put together again, also where the result is none. */
export interface ModelBin {
  version: number;
  spec: string;
  revision: number;
  variables: { name: string; shape: number[]; type: number; bytes: number; data: Buffer }[];
  aliases: { alias: string; name: string }[];
  tail: Buffer;
}

export function takeApart(file: Buffer): ModelBin {
  let at = 0;
  const number = (width: 1 | 2 | 4): number => {
    const value = file.readUIntLE(at, width);
    at += width;
    return value;
  };
  const text = (): string => {
    const length = number(2);
    const value = file.toString("latin1", at, at + length - 1);
    at += length;
    return value;
  };
  const version = number(4);
  const spec = text();
  const revision = number(4);
  const variables = Array.from({ length: number(4) }, () => {
    const name = text();
    const shape = Array.from({ length: number(1) }, () => number(4));
    const type = number(1);
    const bytes = number(4);
    const data = Buffer.from(file.subarray(at, at + bytes));
    at += bytes;
    return { name, shape, type, bytes, data };
  });
  const aliases = Array.from({ length: number(4) }, () => ({ alias: text(), name: text() }));
  return { version, spec, revision, variables, aliases, tail: file.subarray(at) };
}

export function putTogether({ version, spec, revision, variables, aliases, tail }: ModelBin): Buffer {
  const number = (width: 1 | 2 | 4, value: number): Buffer => {
    const bytes = Buffer.alloc(width);
    bytes.writeUIntLE(value, 0, width);
    return bytes;
  };
  const text = (value: string): Buffer[] => [
    number(2, value.length + 1),
    Buffer.from(value, "latin1"),
    Buffer.alloc(1),
  ];
  return Buffer.concat([
    number(4, version),
    ...text(spec),
    number(4, revision),
    number(4, variables.length),
    ...variables.flatMap(({ name, shape, type, bytes, data }) => [
      ...text(name),
      number(1, shape.length),
      ...shape.map((length) => number(4, length)),
      number(1, type),
      number(4, bytes),
      data,
    ]),
    number(4, aliases.length),
    ...aliases.flatMap(({ alias, name }) => [...text(alias), ...text(name)]),
    tail,
  ]);
}

/** A copy of a file with one change. */
export function changed(file: Buffer, change: (model: ModelBin) => void): Buffer {
  const model = takeApart(file);
  change(model);
  return putTogether(model);
}

/** One of its variables. */
export function variable({ variables }: ModelBin, name: string): ModelBin["variables"][number] {
  const found = variables.find((one) => one.name === name);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}
