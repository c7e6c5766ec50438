export { type ByteSource, withLocalFile } from "../byte-source.js";
export * from "./graph.js";
export { type GraphPrecision, precisionOf } from "./graph-precision.js";
export { largestMessage, type ModelFileRequest, writeModelFile } from "./model-file.js";
export * from "./read-graph.js";
export {
  type AttributedNode,
  type FloatTable,
  type GraphFunction,
  type GraphNodes,
  readNodes,
} from "./read-nodes.js";
export * from "./tensor.js";
