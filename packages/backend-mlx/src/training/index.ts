// @crossrank/backend-mlx/training: MLX's models, trained.
export type { DropoutChances } from "../graph/changes.js";
export type { Compute, Kept } from "../native.js";
export { type Projection, projections } from "../weights/model-weights.js";
export type { TensorPlace } from "../weights/tensor-places.js";
export { MlxTrainingError, UntrainableError } from "./errors.js";
export {
  describeTraining,
  openTraining,
  type TrainedParameter,
  type TrainingOptions,
  type TrainingPlan,
  type TrainingSession,
  type TrainingTarget,
} from "./open-training.js";
export type { TrainedFacts, TrainedParts } from "./plan-training.js";
export { createUniform } from "./uniform.js";
