import assert from "node:assert/strict";
import { once } from "node:events";
import { app, close } from "./server.mjs";

const server = app.listen(0, "127.0.0.1");
await once(server, "listening");
const post = (body) =>
  fetch(`http://127.0.0.1:${server.address().port}/rerank`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });

const documents = ["Bread is baked from flour.", "A vaccine trains the immune system.", "Lyon is a city."];
const answer = await post({ query: "how do vaccines work", documents, topN: 2 });
assert.equal(answer.status, 200);
const { results } = await answer.json();
assert.equal(results.length, 2);
assert.equal(results[0].index, 1);
assert.ok(results[0].score > results[1].score);

const refused = await post({ query: "", documents });
assert.equal(refused.status, 400);
assert.match((await refused.json()).error, /query/);

server.close();
server.closeAllConnections();
await close();
console.log(`ok express: ${documents.length} documents ranked, the second first`);
