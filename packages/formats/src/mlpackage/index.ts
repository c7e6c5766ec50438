export { type BlobElement, type BlobPlan, type BlobTensor, planBlobs } from "./blob-plan.js";
export { bodyOf, defaultFunctionOf } from "./default-function.js";
export {
  type DescribedFeature,
  type DescribedFunction,
  describeModelPackage,
  type PackageReport,
  type WeightType,
} from "./describe.js";
export { ModelPackageError } from "./errors.js";
export { arrayElements, elementCodes } from "./fields.js";
export { defaultLimits, type Limits } from "./limits.js";
export type * from "./model.js";
export { type NarrowedIds, narrowedIds } from "./narrowed-ids.js";
export { type OpenOptions, openModelPackage } from "./open.js";
export type * from "./package.js";
export type * from "./program.js";
export { type PackageRequest, writeModelPackage } from "./write.js";
