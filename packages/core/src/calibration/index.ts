export {
  type ActivationChoice,
  type AppliedCalibration,
  type Calibration,
  calibratedProbability,
} from "./calibration.js";
export { CalibrationError } from "./errors.js";
export {
  type CalibrationFit,
  type CalibrationMeasure,
  type FitOptions,
  type FittedCalibration,
  fitCalibration,
  type JudgedLogit,
  type ReliabilityBin,
} from "./fit.js";
