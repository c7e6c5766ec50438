export type * from "./model.js";
export type * from "./program.js";
