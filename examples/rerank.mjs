import { openReranker } from "crossrank";

const reranker = await openReranker("nano");

const { results, scale, warnings } = await reranker.rerank({
  query: "how do I undo the last commit?",
  documents: [
    "git stash puts your changes aside for later.",
    "git reset --soft HEAD~1 takes the last commit back and keeps its changes.",
    "To commit a crime is to break the law.",
  ],
  returnDocuments: true,
});
for (const { score, document } of results) console.log(score?.toFixed(3), scale, document);
for (const { message } of warnings) console.warn(message);
await reranker.dispose();
