// How far the score of a pair moves with what shares its batch, in the embedded int8 model (README.md, "Batches").
// node packages/backend-onnx/scripts/measure-rows.mjs
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "../../hub/dist/index.js";

const folder = fileURLToPath(new URL("../../model-nano/model/", import.meta.url));
const text = await readFile(new URL("../../../README.md", import.meta.url), "utf8");
const documents = text
  .split("\n")
  .filter((line) => /^[A-Z]/.test(line))
  .slice(0, 64);
const queries = ["how is a model converted", "which runtime is the fastest", "licence"];

async function scores(batch) {
  const backend = onnx({ workers: 1, threads: 1, batch });
  const reranker = await createReranker({ model: await openModel(folder), backend, probe: false });
  const logits = [];
  for (const query of queries) {
    const { scores } = await reranker.score(documents.map((document) => ({ query, document })));
    logits.push(...scores.map(({ logit }) => logit));
  }
  await reranker.dispose();
  return logits;
}

const alone = await scores({ rows: 1 });
for (const batch of [{ rows: 2 }, { rows: 8 }, { rows: 8, tokens: 4096, padding: 1 }]) {
  const moved = (await scores(batch))
    .map((logit, index) => Math.abs(logit - alone[index]))
    .sort((a, b) => a - b);
  console.log(
    JSON.stringify(batch),
    `${moved.length} pairs`,
    "median",
    moved[moved.length >> 1].toFixed(3),
    "largest",
    moved.at(-1).toFixed(3),
  );
}
