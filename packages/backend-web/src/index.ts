export { ModelFetchError } from "./errors.js";
export { type FetchModelOptions, fetchModel } from "./fetch-model.js";
export type { ExecutionProvider, WasmPaths, WebOptions } from "./options.js";
export { web } from "./web.js";
