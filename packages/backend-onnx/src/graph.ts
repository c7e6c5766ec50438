// What a backend on another build of ONNX Runtime shares with this one: nothing here needs Node.js.
export { OutputTrace } from "./activated-outputs.js";
export { type ArtifactPart, chooseFile, collectParts } from "./artifact.js";
export { chooseBatchPreference } from "./defaults.js";
export { dtypeToTell, notesOn } from "./describe.js";
export { namesQuantisedActivations } from "./dtype.js";
export { marksOf } from "./file-marks.js";
export type { GraphPlan, GraphTensor } from "./graph-plan.js";
export { defaultsProblem } from "./judge-defaults.js";
export { loadErrorOf, type RuntimeLibrary } from "./load-error.js";
export { capabilitiesOf, planGraph } from "./plan-graph.js";
export { classesAmong } from "./plan-output.js";
export type { LoadedGraph, RunArgument, RunResult } from "./protocol.js";
export type { Processor } from "./published-names.js";
export { runBatch } from "./run-batch.js";
export { OnnxSession, type RunLane } from "./session.js";
