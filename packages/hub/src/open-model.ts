import type { ModelFiles } from "@crossrank/core";
import { type OpenRepositoryOptions, openRepository } from "./open-repository.js";

export type OpenModelOptions = OpenRepositoryOptions;

/**
 * Opens a model: a folder, or a repository on the hub through the cache that it shares with Python's
 * huggingface_hub. Resolves the revision to a commit; files are downloaded one by one when they are asked for.
 *
 * @param source a folder (an absolute path, one that starts with `./`, `../` or `~/`, or any existing folder), or a
 *   repository id `owner/name`, also `owner/name@revision`.
 * @throws {InvalidInputError} when `source` is neither, or an option does not fit it.
 * @throws {HubNotFoundError} when there is no such repository or revision.
 * @throws {HubUnauthorizedError} when it is private or gated.
 * @throws {HubRateLimitedError} {HubNetworkError} after the last attempt, where the cache knows no commit either.
 * @throws {HubResponseError} when the endpoint is no hub.
 * @throws {OfflineMissingError} offline, when the cache does not know the revision.
 * @throws {LockFileError} when the lock file cannot be read; {LockMismatchError} when it pins another revision.
 * @throws the signal's reason when it aborts.
 */
export async function openModel(source: string, options: OpenModelOptions = {}): Promise<ModelFiles> {
  return openRepository("model", source, options);
}
