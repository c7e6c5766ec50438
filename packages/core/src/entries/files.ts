// @crossrank/core/files: a model's files, read and checked one by one.
export { fromHalf } from "../files/half.js";
export { ModelReader } from "../files/model-reader.js";
export { openSafetensors, type Tensor, type TensorFile } from "../files/safetensors.js";
export { type EmbeddingTable, embeddingTableProblem } from "../profile/embedding-table.js";
export { type CardBase, readCardBase } from "../profile/model-card.js";
export {
  type QuantisedTensor,
  quantisedTensorAmong,
  quantiserFiles,
  quantiserOf,
} from "../profile/quantised.js";
export { betterRefusal, type Recognised, recogniseFiles, recogniseModel } from "../profile/recognise.js";
export { tokenizerClassName } from "../profile/tokenizer-class.js";
