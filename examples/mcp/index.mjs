// An agent's side of the Model Context Protocol: the official client starts crossrank-mcp and calls its tool.
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const server = fileURLToPath(
  new URL("./bin/crossrank-mcp.js", import.meta.resolve("@crossrank/mcp/package.json")),
);
const client = new Client({ name: "example", version: "1.0.0" });
await client.connect(
  new StdioClientTransport({ command: process.execPath, args: [server, "--model", "nano"] }),
);

const { tools } = await client.listTools();
const documents = [
  "Bread is baked from flour.",
  "A vaccine trains the immune system.",
  "Lyon is a city in France.",
];
const { structuredContent, isError } = await client.callTool({
  name: "rerank",
  arguments: { query: "how do vaccines work", documents, topN: 2, returnDocuments: true },
});
const misspelt = await client.callTool({ name: "rerank", arguments: { query: "x", documents, top_n: 2 } });
await client.close();
for (const { document, score } of structuredContent.results) console.log(document, score);

assert.deepEqual(
  tools.map(({ name }) => name),
  ["rerank"],
);
assert.ok(!isError);
assert.equal(structuredContent.results.length, 2);
assert.equal(structuredContent.results[0].index, 1);
assert.ok(structuredContent.results[0].score > structuredContent.results[1].score);
assert.ok(misspelt.isError);
console.log(`ok mcp: ${documents.length} documents ranked, the second first`);
