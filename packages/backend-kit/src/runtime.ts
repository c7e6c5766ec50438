// What a runtime's own process or thread needs: without core, which would only make it start later.
export { answerCalls, buffersOf, type Channel } from "./answer-calls.js";
export {
  type AnswerMessage,
  type CallMessage,
  type Handlers,
  type HostStage,
  RuntimeFailure,
} from "./calls.js";
export { firstLine, messageOf, problemOf } from "./failure-text.js";
export { findAddon } from "./find-addon.js";
export { serveCalls } from "./serve-calls.js";
