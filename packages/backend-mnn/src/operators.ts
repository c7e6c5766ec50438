import { open } from "node:fs/promises";

/** What a normalisation or a softmax of a .mnn file says of itself. */
export interface MnnOperator {
  readonly kind: "layer-norm" | "softmax";
  /** As MNN reads it: 0 where the file leaves it out. */
  readonly value: number;
  readonly stated: boolean;
}

/**
 * Places in the file's tables (FlatBuffers, MNN 3.6.1's schema/current/MNN_generated.h), and numbers of kinds
 * (`enum OpType`, `union OpParameter`).
 */
const net = { operators: 10, subgraphs: 24 };
const subgraph = { nodes: 12 };
const operator = { parameterKind: 6, parameter: 8, kind: 14 };
const kinds = { softmax: 85, layerNorm: 603 };
const parameters = { axis: 4, layerNorm: 88 };
const axis = { axis: 4 };
const layerNorm = { epsilon: 6 };

const mostOperators = 1 << 18;
const windowBytes = 64 << 10;

/** The file's tables lie where no table can be. */
class UnreadableTables extends Error {}

/**
 * Reads normalisations and softmaxes out of a .mnn file, without MNN and without trust, and steps over its weights.
 *
 * @returns none where the file cannot be followed: MNN itself then says what is wrong with it.
 */
export async function readOperators(path: string): Promise<readonly MnnOperator[]> {
  const handle = await open(path);
  try {
    const { size } = await handle.stat();
    const tables = new Tables(size, async (start, end) => {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(end - start), 0, end - start, start);
      return buffer.subarray(0, bytesRead);
    });
    return await operatorsOf(tables);
  } catch (error) {
    if (error instanceof UnreadableTables) return [];
    throw error;
  } finally {
    await handle.close();
  }
}

async function operatorsOf(tables: Tables): Promise<readonly MnnOperator[]> {
  const root = await tables.follow(0);
  const found: MnnOperator[] = [];
  const places = [...(await tables.tablesAt(root, net.operators))];
  for (const place of await tables.tablesAt(root, net.subgraphs)) {
    places.push(...(await tables.tablesAt(place, subgraph.nodes)));
    if (places.length > mostOperators) throw new UnreadableTables();
  }
  for (const place of places) {
    const kind = await tables.int32(place, operator.kind);
    const isNorm = kind === kinds.layerNorm;
    if (!isNorm && kind !== kinds.softmax) continue;
    const wanted = isNorm ? parameters.layerNorm : parameters.axis;
    const field = await tables.field(place, operator.parameter);
    if (field === undefined || (await tables.uint8(place, operator.parameterKind)) !== wanted) continue;
    const parameter = await tables.follow(field);
    const number = isNorm
      ? await tables.float32(parameter, layerNorm.epsilon)
      : await tables.int32(parameter, axis.axis);
    const name = isNorm ? "layer-norm" : "softmax";
    found.push({ kind: name, value: number ?? 0, stated: number !== undefined });
  }
  return found;
}

/** FlatBuffers' tables, read in windows. */
class Tables {
  readonly #size: number;
  readonly #read: (start: number, end: number) => Promise<Buffer>;
  #start = 0;
  #bytes: Buffer = Buffer.alloc(0);

  constructor(size: number, read: (start: number, end: number) => Promise<Buffer>) {
    this.#size = size;
    this.#read = read;
  }

  /** The place that an offset at this place leads to. */
  async follow(place: number): Promise<number> {
    return place + (await this.#at(place, 4)).readUInt32LE();
  }

  /** Where a table has a field; undefined where the file leaves it out. */
  async field(table: number, slot: number): Promise<number | undefined> {
    const slots = table - (await this.#at(table, 4)).readInt32LE();
    const length = (await this.#at(slots, 2)).readUInt16LE();
    if (slot + 2 > length) return undefined;
    const offset = (await this.#at(slots + slot, 2)).readUInt16LE();
    return offset === 0 ? undefined : table + offset;
  }

  async int32(table: number, slot: number): Promise<number | undefined> {
    const place = await this.field(table, slot);
    return place === undefined ? undefined : (await this.#at(place, 4)).readInt32LE();
  }

  async float32(table: number, slot: number): Promise<number | undefined> {
    const place = await this.field(table, slot);
    return place === undefined ? undefined : (await this.#at(place, 4)).readFloatLE();
  }

  async uint8(table: number, slot: number): Promise<number | undefined> {
    const place = await this.field(table, slot);
    return place === undefined ? undefined : (await this.#at(place, 1)).readUInt8();
  }

  /** Places of a list's tables. */
  async tablesAt(table: number, slot: number): Promise<readonly number[]> {
    const place = await this.field(table, slot);
    if (place === undefined) return [];
    const list = await this.follow(place);
    const length = (await this.#at(list, 4)).readUInt32LE();
    if (length > mostOperators) throw new UnreadableTables();
    const places: number[] = [];
    for (let index = 0; index < length; index += 1) places.push(await this.follow(list + 4 + 4 * index));
    return places;
  }

  async #at(place: number, length: number): Promise<Buffer> {
    const end = place + length;
    if (!(place >= 0 && end <= this.#size)) throw new UnreadableTables();
    if (place < this.#start || end > this.#start + this.#bytes.length) {
      const start = Math.max(0, place - windowBytes / 2);
      this.#bytes = await this.#read(start, Math.min(this.#size, start + windowBytes));
      this.#start = start;
      if (end > this.#start + this.#bytes.length) throw new UnreadableTables();
    }
    return this.#bytes.subarray(place - this.#start, end - this.#start);
  }
}
