export type { ByteSource } from "../byte-source.js";
export type { ElementType } from "./element-types.js";
export { type GgmlType, ggmlTypes } from "./ggml-types.js";
export {
  type GgufArray,
  GgufFormatError,
  type GgufHeader,
  type GgufTensor,
  type GgufValue,
  parseGgufHeader,
  readGgufHeader,
} from "./header.js";
export { encodeNumbers, layouts, type TensorType } from "./tensor-type.js";
export {
  type FileTensor,
  type Metadata,
  type MetadataValue,
  type RowSource,
  TensorWriteError,
  writeGgufFile,
} from "./write.js";
