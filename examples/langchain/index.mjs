// Retrieve, rerank, answer: one chain of LangChain. The retriever and the model are stand-ins for yours.
import assert from "node:assert/strict";
import { CrossrankRerank } from "@crossrank/langchain";
import { Document } from "@langchain/core/documents";
import { StringOutputParser } from "@langchain/core/output_parsers";
import { ChatPromptTemplate } from "@langchain/core/prompts";
import { RunnableLambda, RunnablePassthrough, RunnableSequence } from "@langchain/core/runnables";
import { FakeListChatModel } from "@langchain/core/utils/testing";

const notes = [
  "Bread is baked from flour.",
  "A vaccine trains the immune system.",
  "Lyon is a city in France.",
];

const retriever = RunnableLambda.from(() =>
  notes.map((pageContent, index) => new Document({ pageContent, id: `note-${index}`, metadata: { index } })),
);
const reranker = new CrossrankRerank("nano", { topN: 2 });

let ranked = [];
const chain = RunnableSequence.from([
  { query: new RunnablePassthrough(), documents: retriever },
  {
    query: ({ query }) => query,
    context: reranker.asRunnable().pipe((documents) => {
      ranked = documents;
      return documents.map(({ pageContent }) => pageContent).join("\n");
    }),
  },
  ChatPromptTemplate.fromTemplate("Answer {query} from:\n{context}"),
  new FakeListChatModel({ responses: ["It trains the immune system."] }),
  new StringOutputParser(),
]);

const answer = await chain.invoke("how do vaccines work");
await reranker.dispose();
for (const { id, metadata } of ranked) console.log(id, metadata.relevanceScore);

assert.equal(answer, "It trains the immune system.");
assert.equal(ranked.length, 2);
assert.equal(ranked[0].id, "note-1");
assert.ok(ranked[0].metadata.relevanceScore > ranked[1].metadata.relevanceScore);
console.log(`ok langchain: ${notes.length} documents ranked, the second first`);
