export type { Predictor, PredictorInput, PredictorOutput } from "./predictor.js";
