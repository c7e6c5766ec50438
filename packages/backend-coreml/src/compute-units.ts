/**
 * What Core ML may run on, as `MLComputeUnits` names it
 * (https://developer.apple.com/documentation/coreml/mlcomputeunits).
 */
export type ComputeUnits = "cpuAndNeuralEngine" | "cpuAndGPU" | "all" | "cpuOnly";

/** The Neural Engine, and the processor for what it cannot do. */
export const defaultComputeUnits: ComputeUnits = "cpuAndNeuralEngine";

export const computeUnits: readonly ComputeUnits[] = ["cpuAndNeuralEngine", "cpuAndGPU", "all", "cpuOnly"];
