export * from "./graph.js";
export { largestMessage, type ModelFileRequest, writeModelFile } from "./model-file.js";
export * from "./read.js";
export * from "./tensor.js";
