import type { ModelFiles } from "@crossrank/core";

/** A model of its own, to be damaged; `close` removes it. */
export interface ModelCopy {
  readonly files: ModelFiles;
  close(): Promise<void>;
}

/** What the suite needs of where it runs. */
export interface Platform {
  /**
   * Copies a model, one file of it changed.
   * @param change from the file's bytes to what it should hold instead; undefined leaves the file out.
   */
  readonly copyWith: (
    files: ModelFiles,
    path: string,
    change: (bytes: Uint8Array) => Uint8Array | undefined,
  ) => Promise<ModelCopy>;
  /** What keeps the program alive or is held by it, by kind, as numbers. */
  readonly activeResources: () => ReadonlyMap<string, number>;
}
