/** One file of a model. */
export interface ModelFile {
  /** Path relative to the model's root, with forward slashes, e.g. `"2_Dense/model.safetensors"`. */
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Lower-case hex, where the source knows it without reading the file (LFS files on the hub). */
  readonly sha256?: string | undefined;
}

/** Progress of a download. `total` is in bytes, undefined when the source does not say. */
export interface FileProgress {
  readonly path: string;
  readonly loaded: number;
  readonly total: number | undefined;
}

export interface FileRequestOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: FileProgress) => void) | undefined;
}

/**
 * A model's files, wherever they are: a folder, the hub's cache, or something that a browser fetches. Core
 * reads the small ones through it; a backend asks for the local path of the large ones. Nothing is
 * downloaded before it is asked for.
 */
export interface ModelFiles {
  /** Repository id (`"BAAI/bge-reranker-base"`) or folder, as it should stand in results and messages. */
  readonly id: string;
  /** Commit hash; undefined for a plain folder. */
  readonly revision: string | undefined;
  /** Repository of which somebody says that these files are another form of it, e.g. `"Qwen/Qwen3-Reranker-0.6B"`. */
  readonly base?: string | undefined;
  /** All files, in any order. */
  list(options?: FileRequestOptions): Promise<readonly ModelFile[]>;
  /** @throws {ModelFileNotFoundError} when there is no such file. */
  readText(path: string, options?: FileRequestOptions): Promise<string>;
  /**
   * Part of a file: bytes `start` to `end` (not included), or to the file's end if it ends before.
   * @throws {ModelFileNotFoundError} when there is no such file.
   */
  readBytes(
    path: string,
    range: { readonly start: number; readonly end: number },
    options?: FileRequestOptions,
  ): Promise<Uint8Array>;
  /**
   * Absolute path of a readable, complete and (where a hash is known) verified copy on this machine.
   * @throws {ModelFileNotFoundError} when there is no such file.
   */
  localPath(path: string, options?: FileRequestOptions): Promise<string>;
}
