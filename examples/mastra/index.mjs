// A tool of a Mastra agent that searches notes and reranks what it finds. The search is a stand-in for a vector store.
import assert from "node:assert/strict";
import { CrossrankRelevanceScorer } from "@crossrank/mastra";
import { createTool } from "@mastra/core/tools";
import { rerankWithScorer } from "@mastra/rag";
import { z } from "zod";

const scorer = new CrossrankRelevanceScorer("nano");
const texts = [
  "Bread is baked from flour.",
  "A vaccine trains the immune system.",
  "Lyon is a city in France.",
];
const search = async () =>
  texts.map((text, index) => ({ id: `note-${index}`, score: 0.8 - index / 10, metadata: { text } }));

const searchNotes = createTool({
  id: "search-notes",
  description: "Finds notes that answer a question, best first",
  inputSchema: z.object({ query: z.string() }),
  outputSchema: z.object({ notes: z.array(z.object({ id: z.string(), score: z.number() })) }),
  execute: async ({ query }) => {
    const ranked = await rerankWithScorer({
      results: await search(query),
      query,
      scorer,
      options: { topK: 2, weights: { semantic: 1, vector: 0, position: 0 } },
    });
    return { notes: ranked.map(({ result, score }) => ({ id: result.id, score })) };
  },
});

const { notes } = await searchNotes.execute({ query: "how do vaccines work" }, {});
const direct = await scorer.rerank({ results: await search(), query: "how do vaccines work" });
await scorer.dispose();
for (const { id, score } of notes) console.log(id, score);

assert.equal(notes.length, 2);
assert.equal(notes[0].id, "note-1");
assert.ok(notes[0].score > notes[1].score);
assert.equal(direct[0].score, notes[0].score);
console.log(`ok mastra: ${texts.length} documents ranked, the second first`);
