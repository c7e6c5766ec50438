// Takes every real model of lab/real through inspect, rerank and compare, holds tokenizers against
// token_ids.py's, and says of the language model that is no reranker that it is refused. After a build and convert.mjs:
//   node lab/real/check.mjs [MODEL …]
// Exit code 1 where anything is otherwise than it should be.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createTextTokenizer } from "../../packages/core/dist/encoding.js";

const command = fileURLToPath(new URL("../../packages/crossrank/bin/crossrank.js", import.meta.url));
const seed = fileURLToPath(new URL("seed.jsonl", import.meta.url));
const real = join(process.env["CROSSRANK_LAB"] || join(homedir(), ".cache/crossrank-lab"), "real");

/** Of each format, the backends that run it. */
const backendsOf = {
  onnx: (dtype) => `onnx:${dtype}`,
  gguf: (dtype) => `llamacpp:${dtype}`,
  mnn: (dtype) => `mnn:${dtype}`,
  mlpackage: (dtype) => `coreml:reference:${dtype}`,
  ctranslate2: (dtype) => `ctranslate2:${dtype}`,
};
const models = ["ms-marco-MiniLM-L-12-v2", "all-MiniLM-L6-v2", "bge-small-en", "bge-small-en-v1.5"];
const query = "What is deep learning?";
const documents = [
  "Deep learning is a subset of machine learning that uses neural networks.",
  "I like to eat pizza.",
];

/**
 * @param {readonly string[]} argv
 * @param {string} input
 */
function crossrank(argv, input = "") {
  return spawnSync(process.execPath, [command, ...argv], { input, encoding: "utf8", maxBuffer: 1 << 28 });
}

/**
 * @param {string} what
 * @param {boolean} isRight
 * @param {string} more
 */
function say(what, isRight, more = "") {
  console.log(`${isRight ? "✓" : "✗"} ${what}${more === "" ? "" : `: ${more}`}`);
  if (!isRight) process.exitCode = 1;
}

/** @param {string} model */
function checkModel(model) {
  const folder = join(real, model);
  if (!existsSync(folder)) return say(model, false, "there is no such folder, run lab/real/make.py");
  const provenance = join(folder, "provenance.json");
  const artifacts = existsSync(provenance) ? JSON.parse(readFileSync(provenance, "utf8")).artifacts : [];
  const names = artifacts.map(({ format, dtype }) => backendsOf[format](dtype));
  // An export that was published with the model is no artifact of provenance.json.
  const published = existsSync(join(folder, "onnx/model.onnx")) ? ["onnx:fp32"] : [];
  const backends = [...new Set([...published, ...names, "mlx:fp32"])];
  const inspected = crossrank(["inspect", folder, "--format", "json"]);
  say(`${model} inspect`, inspected.status === 0, inspected.stderr.trim().split("\n").at(-1));
  for (const backend of backends) {
    const asked = ["--model", folder, "--backend", backend, "--query", query, "--format", "json"];
    const ranked = crossrank(
      ["rerank", ...asked, "--documents", "-", "--input", "text"],
      documents.join("\n"),
    );
    const first = ranked.status === 0 ? JSON.parse(ranked.stdout).results[0] : undefined;
    say(
      `${model} rerank ${backend}`,
      first?.index === 0,
      first === undefined ? ranked.stderr.trim() : `${first.score}`,
    );
  }
  const compared = crossrank([
    "compare",
    ...["--pairs", seed, "--model", folder, "--format", "json"],
    ...["mlx:fp32", ...backends.filter((name) => name !== "mlx:fp32")].flatMap((name) => ["--backend", name]),
  ]);
  say(`${model} compare`, compared.status === 0, compared.status === 0 ? "" : compared.stderr.trim());
  if (compared.status !== 0) return;
  const { systems, pairs } = JSON.parse(compared.stdout);
  for (const [column, { name }] of systems.entries()) {
    const away = Math.max(...pairs.map(({ logits }) => Math.abs(logits[column] - logits[0])));
    say(`${model} ${name} from ${systems[0].name}`, away < 0.2, away.toPrecision(2));
  }
}

function checkTokenizers() {
  const file = join(real, "reports/tokenizers.json");
  if (!existsSync(file)) return say("tokenizers", false, "run lab/real/token_ids.py");
  const { texts, expected } = JSON.parse(readFileSync(file, "utf8"));
  for (const [folder, ids] of Object.entries(expected)) {
    const json = JSON.parse(readFileSync(join(real, folder, "tokenizer.json"), "utf8"));
    const tokenizer = createTextTokenizer(json, folder);
    // A text that spells a special token, also in wide letters, is read as text here, on purpose.
    const special = json.added_tokens.filter((token) => token.special).map(({ content }) => content);
    let [held, wrong, spelled] = [0, [], 0];
    for (const [index, text] of texts.entries()) {
      if (special.some((token) => text.normalize("NFKC").includes(token))) {
        spelled += 1;
        continue;
      }
      held += 1;
      const given = [...tokenizer.encode(text, Number.POSITIVE_INFINITY).ids];
      if (JSON.stringify(given) !== JSON.stringify(ids[index])) wrong.push(text);
    }
    const more = wrong.slice(0, 3).map((text) => JSON.stringify(text.slice(0, 60)));
    say(
      `${folder}/tokenizer.json`,
      wrong.length === 0,
      `${held} texts token by token, ${wrong.length} otherwise, ${spelled} that spell a special token left out ${more.join(", ")}`,
    );
  }
}

/** A language model that says nowhere how it is asked: no command may give a number. */
function checkRefusals() {
  const file = join(real, "gemma-3-270m", "gemma-3-270m-q4_k_m.gguf");
  if (!existsSync(file)) return say("gemma-3-270m", false, "run lab/real/make.py");
  const backends = ["--backend", "llamacpp", "--backend", "llamacpp:Q4_K_M"];
  const calls = {
    inspect: ["inspect", file],
    verify: ["verify", file],
    rerank: ["rerank", "--model", file, "--query", query, "--documents", "-", "--input", "text"],
    compare: ["compare", "--pairs", seed, "--model", file, ...backends],
  };
  for (const [name, argv] of Object.entries(calls)) {
    const { status, stdout, stderr } = crossrank(argv, documents[0]);
    say(
      `gemma-3-270m ${name} is refused`,
      status !== 0 && stdout === "" && stderr.includes("chat_template.rerank"),
      stderr.trim().slice(0, 160),
    );
  }
}

const wanted = process.argv.slice(2);
if (wanted.length === 0 || wanted.includes("tokenizers")) checkTokenizers();
if (wanted.length === 0 || wanted.includes("gemma-3-270m")) checkRefusals();
for (const model of models) if (wanted.length === 0 || wanted.includes(model)) checkModel(model);
