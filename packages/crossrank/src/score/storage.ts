/** What of an input changes when its content does, as far as its place tells without reading it. */
export type InputMark =
  | { readonly modified: number; readonly etag?: never }
  | { readonly etag: string; readonly modified?: never };

/** A file of pairs, read in ranges. */
export interface InputFile {
  /** Absolute path, or `s3://bucket/key`. */
  readonly place: string;
  /** Bytes. */
  readonly size: number;
  readonly mark: InputMark;
  /** Bytes from `start` to before `end`, in pieces. */
  read(start: number, end: number, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Whether it is still the file that was opened, as far as its place tells. */
  isSame(): Promise<boolean>;
}

/** The folder of a job. Names are relative, with `/` between folders. */
export interface OutputFolder {
  /** Absolute path, or `s3://bucket/prefix`. */
  readonly place: string;
  /** A whole file of at most `mostBytes`; undefined where there is none. */
  read(name: string, mostBytes: number): Promise<Uint8Array | undefined>;
  /** A file in pieces. */
  stream(name: string, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  has(name: string): Promise<boolean>;
  /** Files in a folder, and in folders in it. */
  names(folder: string): AsyncIterable<string>;
  /** Writes a file in whole or not at all; what was there is replaced. */
  write(name: string, pieces: Pieces): Promise<void>;
  /** The same where nobody has written it yet: who comes second changes nothing, and hears nothing of it. */
  writeOnce(name: string, pieces: Pieces): Promise<void>;
  /** Removes what killed writers left in a folder and those in it; `.` is the job's own. */
  removeUnfinished(folder: string): Promise<void>;
}

export type Pieces = Iterable<string | Uint8Array> | AsyncIterable<string | Uint8Array>;

/** Where files lie. */
export interface Storage {
  openInput(place: string): Promise<InputFile>;
  openOutput(place: string): Promise<OutputFolder>;
}
