// What reads a graph, without what writes one: a runtime that loads a model has no use for a writer of protobuf.
export { type ByteSource, withLocalFile } from "../byte-source.js";
export { type GraphPrecision, precisionOf } from "./graph-precision.js";
export { findOverflow, type Overflow, type SignedProduct, signedProducts } from "./integer-products.js";
export * from "./read-graph.js";
export {
  type AttributedNode,
  type FloatTable,
  type GraphFunction,
  type GraphNodes,
  readNodes,
} from "./read-nodes.js";
