export { backends } from "./descriptor.js";
export { dtypeOfPath, dtypes } from "./dtype.js";
export { llamacpp } from "./llamacpp.js";
export type { LlamaCppOptions } from "./options.js";
