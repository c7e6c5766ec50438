export { backends } from "./descriptor.js";
export { artifactPaths, dtypes } from "./dtype.js";
export { mnn } from "./mnn.js";
export type { MnnOptions } from "./options.js";
