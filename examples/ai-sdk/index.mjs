// Search results reranked by the AI SDK, through a provider registry.
import assert from "node:assert/strict";
import { createCrossrank } from "@crossrank/ai-sdk";
import { createProviderRegistry, rerank } from "ai";

const crossrank = createCrossrank({ documentText: ["title", "body"] });
const registry = createProviderRegistry({ crossrank });

const found = [
  { id: "a", title: "Bread", body: "It is baked from flour." },
  { id: "b", title: "Vaccines", body: "They train the immune system." },
  { id: "c", title: "Lyon", body: "A city in France." },
];
const { ranking, rerankedDocuments, response } = await rerank({
  model: registry.rerankingModel("crossrank:nano"),
  query: "how do vaccines work",
  documents: found,
  topN: 2,
});
await crossrank.dispose();
for (const { document, score } of ranking) console.log(document.title, score);
console.log("by", response.modelId);

assert.equal(rerankedDocuments.length, 2);
assert.equal(rerankedDocuments[0].id, "b");
assert.ok(ranking[0].score > ranking[1].score);
console.log(`ok ai-sdk: ${found.length} documents ranked, the second first`);
