export type { WriteProgress } from "@crossrank/formats";
export type {
  ArtifactSettings,
  ArtifactWriter,
  StoredTensorFacts,
  WriteRequest,
} from "./artifact-writer.js";
export type { BatchUse } from "./batch-use.js";
export {
  type Conversion,
  type ConversionProgress,
  type ConvertOptions,
  convert,
  type FormatOptions,
} from "./convert.js";
export {
  ConversionNotFaithfulError,
  ExternalConverterError,
  OutputFolderError,
  SourceChangedError,
  UnsupportedConversionError,
} from "./errors.js";
export { ggufWriter } from "./gguf/write-gguf.js";
export {
  type CoreMlDeployment,
  createMlpackageWriter,
  type MlpackageWriterOptions,
  mlpackageWriter,
} from "./mlpackage/write-mlpackage.js";
export { createMnnWriter, type MnnWriterOptions, mnnWriter } from "./mnn/write-mnn.js";
export { createOnnxWriter, type OnnxTarget, type OnnxWriterOptions } from "./onnx/write-onnx.js";
export {
  type ArtifactProvenance,
  type HashedFile,
  provenanceFile,
  type VerificationRecord,
} from "./provenance.js";
export { relativeRow } from "./reference/attention.js";
export { sourceBackend } from "./reference/source-backend.js";
export { sourceGoldens } from "./reference/source-goldens.js";
export { describeModel } from "./source/describe-model.js";
export type * from "./source/description.js";
export { relativeBucket } from "./source/relative-bucket.js";
export type { StoredWeight, Weight } from "./source/weight.js";
export type { WriterDescriptor, WriterOption } from "./writer-descriptor.js";
export { conversionDtypes, createWriter, writers } from "./writers.js";
