export { backends } from "./descriptor.js";
export { dtypeSuffixes } from "./dtype.js";
export { onnx } from "./onnx.js";
export type { OnnxOptions } from "./options.js";
