export { defaultConfig } from "./config.js";
export { readCorpus } from "./data/corpus.js";
export { type BadRow, type RowFault, TrainingDataError } from "./data/errors.js";
export type { DataForm } from "./data/forms.js";
export {
  type HeldOutOptions,
  type HeldOutSet,
  heldOutOfGroups,
  heldOutOfTask,
  type Measured,
  type MeasureOptions,
  measureOf,
} from "./data/held-out.js";
export { type Split, splitByQuery } from "./data/split.js";
export { scoreByTeacher } from "./data/teacher.js";
export { TextStore } from "./data/text-store.js";
export {
  type DataReport,
  type DataWarning,
  type DataWarningCode,
  type JudgedDocument,
  type QueryGroup,
  queryKey,
  type ReadDataOptions,
  readTrainingData,
  type TrainingData,
} from "./data/training-data.js";
export { createTrainingSet, type TrainingSetOptions } from "./data/training-set.js";
export { type MlxEngineOptions, openMlxEngine } from "./engine/index.js";
export * from "./errors.js";
export {
  type MiningOptions,
  type MiningProgress,
  type MiningResult,
  mineNegatives,
  type Teacher,
} from "./mining/mine.js";
export type { CurvePoint, HeldOutPoint, LossPoint } from "./report/curve.js";
export {
  type FineTuneOptions,
  type FineTuneOutcome,
  type FineTuneProgress,
  fineTune,
} from "./report/fine-tune.js";
export { judgeAgainstBase } from "./report/judge.js";
export type { GateOutcome, TrainingReport } from "./report/training-report.js";
export { writeTrainingReport } from "./report/write-training-report.js";
export { openTorchEngine, type TorchEngineOptions } from "./torch/torch-engine.js";
export {
  parseTrainingFile,
  readTrainingConfig,
  type TrainingFile,
  type TrainingPreset,
  trainingPresets,
} from "./training-file.js";
export * from "./types.js";
