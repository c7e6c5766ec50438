/** A blob that tells, while it is read as a stream, how many bytes went out. Its content is the other's. */
export class WatchedBlob extends Blob {
  override readonly size: number;
  override readonly type: string;
  readonly #source: Blob;
  readonly #onBytes: (bytes: number) => void;

  constructor(source: Blob, onBytes: (bytes: number) => void) {
    super([]);
    this.#source = source;
    this.#onBytes = onBytes;
    this.size = source.size;
    this.type = source.type;
  }

  override slice(start?: number, end?: number, contentType?: string): Blob {
    return this.#source.slice(start, end, contentType);
  }

  override arrayBuffer(): Promise<ArrayBuffer> {
    return this.#source.arrayBuffer();
  }

  override text(): Promise<string> {
    return this.#source.text();
  }

  override stream(): ReturnType<Blob["stream"]> {
    const onBytes = this.#onBytes;
    const watch = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        onBytes(chunk.byteLength);
        controller.enqueue(chunk);
      },
    });
    return this.#source.stream().pipeThrough(watch as never) as ReturnType<Blob["stream"]>;
  }
}
