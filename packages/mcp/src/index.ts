// What `import … from "@crossrank/mcp"` gives: the server, to be connected to any transport of the official SDK.
export { createRerankServer, type RerankServer, type RerankServerOptions } from "./rerank-server.js";
