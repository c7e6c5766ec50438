export * from "./graph.js";
export { largestMessage, type ModelFileRequest, writeModelFile } from "./model-file.js";
export { readModelMetadata } from "./read-metadata.js";
export * from "./tensor.js";
