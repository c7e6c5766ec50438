// @crossrank/core/abort: waiting for work that a signal may abort, for what else takes signals.
export { onAbort, untilAborted } from "../run/abort.js";
