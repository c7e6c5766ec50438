export { type HubEnvironment, readEnvironment } from "./environment.js";
export * from "./errors.js";
export { openFolder } from "./folder.js";
export { type LockEntry, LockFile } from "./lock-file.js";
export { type OpenDatasetOptions, openDataset } from "./open-dataset.js";
export { type OpenModelOptions, openModel } from "./open-model.js";
export { isFolderSource, type OpenRepositoryOptions } from "./open-repository.js";
export { type CompleteModelOptions, completeModel } from "./parts/complete-model.js";
export * from "./publish/errors.js";
export {
  type Publication,
  type PublishedFile,
  type PublishFilesOptions,
  type PublishProgress,
  publishFiles,
  requireTag,
} from "./publish/publish-files.js";
export type { RepositoryKind } from "./repository-kind.js";
export { defaultRetryPolicy, type RetryPolicy } from "./retry.js";
