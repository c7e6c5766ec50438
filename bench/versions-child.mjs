// One version of crossrank in versions.mjs: `node versions-child.mjs VERSION_FOLDER MODEL_FOLDER BACKEND DOCUMENTS_FILE`.
// For each line on standard input it scores the documents and prints seconds and logits.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [version = "", folder = "", backend = "", documentsFile = ""] = process.argv.slice(2);
/** @param {string} name of a package's folder */
const load = (name) => import(pathToFileURL(join(version, "packages", name, "dist/index.js")).href);

const { createReranker } = await load("core");
const { openModel } = await load("hub");
const made = await load(`backend-${backend}`);
const { query, documents } = JSON.parse(await readFile(documentsFile, "utf8"));
const reranker = await createReranker({ model: await openModel(folder), backend: made[backend]() });
for await (const _ of createInterface({ input: process.stdin })) {
  const started = performance.now();
  const { results } = await reranker.rerank({ query, documents });
  const seconds = (performance.now() - started) / 1000;
  /** @type {{ index: number, logit: number }[]} */
  const inOrder = results.toSorted(
    (/** @type {any} */ left, /** @type {any} */ right) => left.index - right.index,
  );
  console.log(JSON.stringify({ seconds, logits: inOrder.map(({ logit }) => logit) }));
}
await reranker.dispose();
