import type { ByteSource } from "../byte-source.js";

/** A field of a protobuf message. */
export interface Field {
  readonly number: number;
  /** Of a varint; NaN for the other wire types, and beyond 2^53. */
  readonly value: number;
  /** Where a length-delimited field's content lies in the file; `start` is `end` for the other wire types. */
  readonly start: number;
  readonly end: number;
}

/** The bytes are no message that can be followed to its end, or a larger one than any model has. */
export class UnreadableMessage extends Error {}

/** Bytes that are read ahead: heads of fields lie close together, and what they hold may be gigabytes. */
const windowBytes = 64 << 10;

/** The largest published graphs have some hundred thousand fields. */
const mostFields = 1 << 22;
/** Of all reads together. Weights are stepped over. */
const mostBytes = 512 << 20;

/** Reads messages of a file in windows, and steps over what nobody asks for. */
export class MessageReader {
  readonly #source: ByteSource;
  #start = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #fields = 0;
  #read = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  /**
   * Fields from `start` to `end`, as many at once as one window holds.
   * @throws {UnreadableMessage}
   */
  async *fields(start: number, end: number): AsyncGenerator<readonly Field[]> {
    for (let place = start; place < end; ) {
      // A tag and a length, or a number, are ten bytes each at most.
      const window = await this.#window(place, Math.min(end, place + 20));
      const found: Field[] = [];
      const last = Math.min(end, this.#start + this.#bytes.length);
      const safe = last === end ? end : last - 20;
      do {
        const { field, next } = fieldAt(window, place, end);
        found.push(field);
        place = next;
      } while (place < safe);
      this.#fields += found.length;
      if (this.#fields > mostFields) throw new UnreadableMessage("it has more fields than any model");
      yield found;
    }
  }

  /** The content of a field. @throws {UnreadableMessage} when it is longer than `most` bytes. */
  async bytes({ start, end }: Field, most: number): Promise<Uint8Array> {
    if (end - start > most) throw new UnreadableMessage(`a text has ${end - start} bytes`);
    const window = await this.#window(start, end);
    return window.bytes.subarray(start - window.start, end - window.start);
  }

  async text(field: Field, most: number): Promise<string> {
    return new TextDecoder().decode(await this.bytes(field, most));
  }

  /** Bytes that hold `start` to `end`. */
  async #window(start: number, end: number): Promise<{ readonly start: number; readonly bytes: Uint8Array }> {
    if (start < this.#start || end > this.#start + this.#bytes.length) {
      const to = Math.min(this.#source.size, Math.max(end, start + windowBytes));
      this.#read += to - start;
      if (this.#read > mostBytes) throw new UnreadableMessage("its graph is larger than any model's");
      this.#bytes = await this.#source.read(start, to);
      this.#start = start;
      if (this.#bytes.length < end - start) throw new UnreadableMessage("it ends too early");
    }
    return { start: this.#start, bytes: this.#bytes };
  }
}

function fieldAt(
  window: { readonly start: number; readonly bytes: Uint8Array },
  place: number,
  end: number,
): { readonly field: Field; readonly next: number } {
  const tag = varintAt(window.bytes, place - window.start);
  const number = Math.floor(tag.value / 8);
  let next = place + tag.bytes;
  let value = Number.NaN;
  let start = next;
  switch (tag.value % 8) {
    case 0: {
      const varint = varintAt(window.bytes, next - window.start);
      value = varint.value > Number.MAX_SAFE_INTEGER ? Number.NaN : varint.value;
      next += varint.bytes;
      start = next;
      break;
    }
    case 1:
      next += 8;
      start = next;
      break;
    case 2: {
      const length = varintAt(window.bytes, next - window.start);
      start = next + length.bytes;
      next = start + length.value;
      break;
    }
    case 5:
      next += 4;
      start = next;
      break;
    default:
      throw new UnreadableMessage("a field has a wire type that there is none of");
  }
  if (!(next <= end && number > 0)) throw new UnreadableMessage("a field ends behind its message");
  return { field: { number, value, start, end: next }, next };
}

/** Seven bits a byte, the lowest first. */
export function varintAt(
  bytes: Uint8Array,
  start: number,
): { readonly value: number; readonly bytes: number } {
  let value = 0;
  for (let count = 0; count < 10; count += 1) {
    const byte = bytes[start + count];
    if (byte === undefined) break;
    value += (byte & 0x7f) * 128 ** count;
    if (byte < 0x80) return { value, bytes: count + 1 };
  }
  throw new UnreadableMessage("a number does not end");
}
