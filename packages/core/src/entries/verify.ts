// @crossrank/core/verify: a model on a runtime, held against what its reference implementation gives.
export {
  numericBounds,
  type PrecisionBounds,
  type PrecisionClass,
  precisionClasses,
  precisionClassOf,
} from "../precision.js";
export {
  type GoldenCase,
  type GoldenList,
  type GoldenScore,
  type Goldens,
  readGoldens,
} from "../verify/goldens.js";
export type { Bound, TokenDifference, VerificationSummary, VerifiedCase } from "../verify/judge.js";
export {
  type Verification,
  type VerifyLoadedOptions,
  type VerifyOptions,
  verify,
  verifyLoaded,
} from "../verify/verify.js";
