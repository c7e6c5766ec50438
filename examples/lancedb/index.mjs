// A hybrid search (vectors and words) of LanceDB, reranked. The vectors are stand-ins for an embedding model's.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CrossrankReranker } from "@crossrank/lancedb";
import { connect, Index } from "@lancedb/lancedb";

const folder = await mkdtemp(join(tmpdir(), "notes-"));
const database = await connect(folder);
const table = await database.createTable("notes", [
  { id: 1, text: "Bread is baked from flour.", vector: [1, 0] },
  { id: 2, text: "A vaccine trains the immune system.", vector: [0.2, 1] },
  { id: 3, text: "Lyon is a city in France.", vector: [0.9, 0.1] },
]);
await table.createIndex("text", { config: Index.fts() });

const hybrid = (reranker) =>
  table.query().nearestTo([1, 0]).fullTextSearch("how do vaccines work").rerank(reranker).limit(20).toArray();
const reranker = new CrossrankReranker("nano", { topN: 2 });
const rows = await hybrid(reranker);
await reranker.dispose();

const fused = new CrossrankReranker("nano", { fusion: { method: "rrf", weights: { reranker: 2 } } });
const mixed = await hybrid(fused);
await fused.dispose();
for (const { id, _relevance_score } of rows) console.log(id, _relevance_score);
table.close();
database.close();
await rm(folder, { recursive: true });

assert.equal(rows.length, 2);
assert.equal(rows[0].id, 2);
assert.ok(rows[0]._relevance_score > rows[1]._relevance_score);
assert.equal(mixed.length, 3);
console.log("ok lancedb: 3 documents ranked, the second first");
