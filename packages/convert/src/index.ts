export type { ArtifactWriter, StoredTensorFacts, WriteProgress, WriteRequest } from "./artifact-writer.js";
export {
  type Conversion,
  type ConversionFormat,
  type ConversionProgress,
  type ConvertOptions,
  conversionDtypes,
  convert,
  type OnnxTarget,
} from "./convert.js";
export { ConversionNotFaithfulError, OutputFolderError, UnsupportedConversionError } from "./errors.js";
export {
  type ArtifactProvenance,
  type HashedFile,
  provenanceFile,
  type VerificationRecord,
} from "./provenance.js";
export type * from "./source/description.js";
export type { Weight } from "./source/weight.js";
