export { ctranslate2 } from "./ctranslate2.js";
export { backends } from "./descriptor.js";
export type { CTranslate2Options } from "./options.js";
