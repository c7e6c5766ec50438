export { backends } from "./descriptor.js";
export { mnn } from "./mnn.js";
export type { MnnOptions } from "./options.js";
