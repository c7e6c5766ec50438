export type {
  ActivationChoice,
  AppliedCalibration,
  Calibration,
  CalibrationFit,
  CalibrationMeasure,
} from "../contract/calibration.js";
export { calibratedProbability } from "./calibration.js";
export { CalibrationError } from "./errors.js";
export {
  type FitOptions,
  type FittedCalibration,
  fitCalibration,
  type JudgedLogit,
  type ReliabilityBin,
} from "./fit.js";
