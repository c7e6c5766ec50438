import type { ModelFiles } from "../contract/model-files.js";

/** Files of a model as one load reads them: every text once, whoever asks for it. */
export interface FilesReadOnce {
  readonly files: ModelFiles;
  /** The texts that were read, by path. */
  readonly texts: ReadonlyMap<string, string>;
}

/**
 * A view of a model's files for one load. A listing or a text that was read is not read again, so that what a profile
 * says and what is hashed for the cache key is of one version of the file.
 */
export function readOnce(files: ModelFiles): FilesReadOnce {
  const texts = new Map<string, string>();
  const reading = new Map<string, Promise<string>>();
  let listing: ReturnType<ModelFiles["list"]> | undefined;
  return {
    texts,
    files: {
      id: files.id,
      revision: files.revision,
      base: files.base,
      list: (options) => {
        listing ??= files.list(options);
        return listing;
      },
      readText: (path, options) => {
        const known = reading.get(path);
        if (known !== undefined) return known;
        const text = files.readText(path, options).then((found) => {
          texts.set(path, found);
          return found;
        });
        reading.set(path, text);
        return text;
      },
      readBytes: (path, range, options) => files.readBytes(path, range, options),
      localPath: (path, options) => files.localPath(path, options),
    },
  };
}
