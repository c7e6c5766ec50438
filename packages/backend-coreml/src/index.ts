export { defaultCompiledModelFolder } from "./compiled-model-cache.js";
export {
  type ComputeDevice,
  type ComputePlan,
  type PlannedOperation,
  readComputePlan,
} from "./compute-plan.js";
export type { ComputeUnits } from "./compute-units.js";
export { coreml } from "./coreml.js";
export { backends } from "./descriptor.js";
export { NativeError, type NativeErrorCode } from "./native-error.js";
export { type NativeOptions, type NativeStep, planNative } from "./native-predictor.js";
export type { CoreMlOptions, ReferenceOptions } from "./options.js";
export type { Predictor, PredictorInput, PredictorOutput } from "./predictor.js";
export { UntranslatableProgramError } from "./reference/errors.js";
export { translatedOperations } from "./reference/translate.js";
export type { Arithmetic } from "./reference/translation.js";
export {
  fingerprintOf,
  judgeResidency,
  type PinnedOperators,
  type PlacedOperators,
  type ResidencyDrift,
  type ResidencyFingerprint,
  type ResidencyPlace,
  type ResidencyReport,
  type ResidencyVerdict,
  residencyNotes,
  residencyPlaces,
} from "./residency.js";
export { ResidencyFileError, readResidencyFingerprint, readResidencyReport } from "./residency-file.js";
