// @crossrank/core/half: halves as numbers, and nothing else, for what a runtime's own process or thread starts with.
export { fromHalf } from "../files/half.js";
