// A flow of Genkit that reranks what a retriever finds. The retriever is a stand-in for yours.
import assert from "node:assert/strict";
import { crossrank } from "@crossrank/genkit";
import { Document, genkit, z } from "genkit";

const plugin = crossrank();
const ai = genkit({ plugins: [plugin] });

const texts = [
  "Bread is baked from flour.",
  "A vaccine trains the immune system.",
  "Lyon is a city in France.",
];
const notes = ai.defineRetriever({ name: "notes" }, async () => ({
  documents: texts.map((text, index) => Document.fromText(text, { id: `note-${index}` })),
}));

const search = ai.defineFlow({ name: "search", inputSchema: z.string() }, async (query) => {
  const found = await ai.retrieve({ retriever: notes, query });
  const ranked = await ai.rerank({ reranker: "crossrank/nano", query, documents: found, options: { k: 2 } });
  return ranked.map(({ metadata }) => ({ id: metadata.id, score: metadata.score }));
});

const ranked = await search("how do vaccines work");
await plugin.dispose();
for (const { id, score } of ranked) console.log(id, score);

assert.equal(ranked.length, 2);
assert.equal(ranked[0].id, "note-1");
assert.ok(ranked[0].score > ranked[1].score);
console.log(`ok genkit: ${texts.length} documents ranked, the second first`);
