export { fromHalf, largestHalf, toHalf, toHalves } from "./half.js";
export type { WriteProgress } from "./progress.js";
