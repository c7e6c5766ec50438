export { cascade } from "./cascade.js";
export type * from "./contract.js";
