export type { ArtifactWriter, WriteProgress, WriteRequest } from "./artifact-writer.js";
export { UnsupportedConversionError } from "./errors.js";
export type * from "./source/description.js";
export type { Weight } from "./source/weight.js";
