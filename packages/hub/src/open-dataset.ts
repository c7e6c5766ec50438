import type { ModelFiles } from "@crossrank/core";
import { type OpenRepositoryOptions, openRepository } from "./open-repository.js";

export type OpenDatasetOptions = OpenRepositoryOptions;

/**
 * Opens a dataset, e.g. `"mteb/scifact"`, as {@link openModel} opens a model: the same cache (its folder there is
 * `datasets--owner--name`), the same lock file, and each file downloaded when it is asked for. A dataset that needs
 * Python code of its own to be read cannot be read from its files.
 *
 * @param source a folder (an absolute path, one that starts with `./`, `../` or `~/`, or any existing folder), or a
 *   dataset's id `owner/name`, also `owner/name@revision`. A model of the same id is another repository.
 * @throws {InvalidInputError} when `source` is neither, or an option does not fit it.
 * @throws {HubNotFoundError} when there is no such repository or revision.
 * @throws {HubUnauthorizedError} when it is private or gated.
 * @throws {HubRateLimitedError} {HubNetworkError} after the last attempt, where the cache knows no commit either.
 * @throws {HubResponseError} when the endpoint is no hub.
 * @throws {OfflineMissingError} offline, when the cache does not know the revision.
 * @throws {LockFileError} when the lock file cannot be read; {LockMismatchError} when it pins another revision.
 * @throws the signal's reason when it aborts.
 */
export async function openDataset(source: string, options: OpenDatasetOptions = {}): Promise<ModelFiles> {
  return openRepository("dataset", source, options);
}
