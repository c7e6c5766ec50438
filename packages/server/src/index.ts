// @crossrank/server: rerankers behind HTTP, in the dialects that the clients of the field speak.
export { estimateTokens } from "./estimate.js";
export { AddressUnavailableError, isLoopback, type Listening, type ListenOptions, listen } from "./listen.js";
export {
  defaultLimits,
  type LogEntry,
  type ServedModelOptions,
  type ServedReranker,
  type ServerLimits,
  type ServerOptions,
} from "./options.js";
export { createServer, type RerankServer } from "./server.js";
