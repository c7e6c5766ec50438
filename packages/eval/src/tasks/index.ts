export {
  type FirstStageOptions,
  searchBm25,
  withFirstStage,
} from "./bm25.js";
export { candidatesRun, createCandidates, limitQueries } from "./candidates.js";
export type { DocumentStore, StoredDocument } from "./document-store.js";
export { TaskDataError, type TaskFault, TaskLayoutError } from "./errors.js";
export type { TaskParts } from "./layout.js";
export { type OpenTaskOptions, openTask, withRunFile } from "./open-task.js";
export type {
  CandidateList,
  Candidates,
  Task,
  TaskFile,
  TaskLayout,
  TaskProvenance,
  TaskWarning,
  TaskWarningCode,
} from "./task.js";
export { formatRun, type RunRows, writeRunFile } from "./trec-run.js";
