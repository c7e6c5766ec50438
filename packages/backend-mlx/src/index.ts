export { backends } from "./descriptor.js";
export { mlx } from "./mlx.js";
export type { MlxOptions } from "./options.js";
