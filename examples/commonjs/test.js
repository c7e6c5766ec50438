// crossrank is ESM. `require` takes it from Node 20.19 and 22.12 on; `import()` does everywhere.
const assert = require("node:assert/strict");
const { dirname, join } = require("node:path");
const { openReranker } = require("crossrank");

const conformance = dirname(require.resolve("@crossrank/conformance/package.json"));
const question = {
  query: "What is the capital of France?",
  documents: ["Bread is baked in an oven.", "Paris is the capital of France.", "The cat sat on the mat."],
};

async function main() {
  const imported = await import("crossrank");
  assert.equal(imported.openReranker, openReranker);
  const nano = await openReranker("nano");
  const { results } = await nano.rerank(question);
  assert.equal(results[0].index, 1);
  assert.ok(results[0].score > 0.8);
  const folder = await openReranker(join(conformance, "fixtures", "bert-logit"));
  assert.equal((await folder.rerank(question)).results.length, 3);
  // Neither was disposed of: the program ends all the same.
  console.log("ok commonjs: require and import() ranked 3 documents, the second first");
}
main();
