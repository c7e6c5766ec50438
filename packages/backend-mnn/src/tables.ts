const windowBytes = 64 << 10;
/** Entries of a list, of which a graph of an encoder has some thousands. */
const mostEntries = 1 << 18;
const longestText = 4096;

/** The file's tables lie where no table can be. */
export class UnreadableTables extends Error {}

/** FlatBuffers' tables, read in windows. */
export class Tables {
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
    const { start, length } = await this.#list(table, slot);
    const places: number[] = [];
    for (let index = 0; index < length; index += 1) places.push(await this.follow(start + 4 * index));
    return places;
  }

  /** A list of numbers. */
  async int32s(table: number, slot: number): Promise<readonly number[]> {
    const { start, length } = await this.#list(table, slot);
    const numbers: number[] = [];
    for (let index = 0; index < length; index += 1) {
      numbers.push((await this.#at(start + 4 * index, 4)).readInt32LE());
    }
    return numbers;
  }

  /** A list of texts, each cut off where it is too long. */
  async textsAt(table: number, slot: number): Promise<readonly string[]> {
    const texts: string[] = [];
    for (const place of await this.tablesAt(table, slot)) {
      const length = (await this.#at(place, 4)).readUInt32LE();
      texts.push((await this.#at(place + 4, Math.min(length, longestText))).toString("utf8"));
    }
    return texts;
  }

  async #list(table: number, slot: number): Promise<{ readonly start: number; readonly length: number }> {
    const place = await this.field(table, slot);
    if (place === undefined) return { start: 0, length: 0 };
    const list = await this.follow(place);
    const length = (await this.#at(list, 4)).readUInt32LE();
    if (length > mostEntries) throw new UnreadableTables();
    return { start: list + 4, length };
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
