// A repository of safetensors alone, of the full shape of BAAI/bge-reranker-v2-m3 and with random weights, on a hub of
// this machine: how long `crossrank rerank` takes from nothing to scores, and how much memory its processes have.
//
//   node lab/auto-conversion/full-shape.mjs [--layers 24] [--dtype fp32] [--keep FOLDER]
//
// Needs the built packages, and 9 GB of disk.
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    layers: { type: "string", default: "24" },
    dtype: { type: "string", default: "fp32" },
    keep: { type: "string" },
  },
});
const layers = Number(values.layers);
const shape = { width: 1024, heads: 16, intermediate: 4096, tokens: 250_002, positions: 8194 };
const root = fileURLToPath(new URL("../..", import.meta.url));
const { resolve } = createRequire(join(root, "packages/crossrank/package.json"));
const { createJiti } = await import(pathToFileURL(resolve("jiti")).href);
const jiti = createJiti(import.meta.url);
const { gitFile, lfsFile, startHub } = await jiti.import(join(root, "packages/hub/test/hub-server.ts"));
const fixture = join(root, "packages/conformance/fixtures/xlm-roberta-logit");

/** Normal numbers of a standard deviation of 0.02 in bf16, to be drawn from. */
const table = Uint16Array.from({ length: 65_536 }, () => {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  const value = new Float32Array([0.02 * radius * Math.cos(2 * Math.PI * Math.random())]);
  return new Uint32Array(value.buffer)[0] >>> 16;
});

function random(count) {
  const numbers = new Uint16Array(count);
  const block = 1 << 20;
  for (let start = 0; start < count; start += block) {
    const draws = new Uint16Array(randomBytes(2 * Math.min(block, count - start)).buffer.slice(0));
    for (let index = 0; index < Math.min(block, count - start); index += 1) {
      numbers[start + index] = table[draws[index]];
    }
  }
  return Buffer.from(numbers.buffer);
}

/** 1 or 0 in bf16. */
function constant(count, value) {
  return Buffer.from(new Uint16Array(count).fill(value === 1 ? 0x3f80 : 0).buffer);
}

function* tensors() {
  const { width, intermediate, tokens, positions } = shape;
  const matrix = (name, rows, columns) => [name, [rows, columns], () => random(rows * columns)];
  const vector = (name, size) => [name, [size], () => random(size)];
  function* linear(name, out, into) {
    yield matrix(`${name}.weight`, out, into);
    yield vector(`${name}.bias`, out);
  }
  function* norm(name) {
    yield [`${name}.weight`, [width], () => constant(width, 1)];
    yield [`${name}.bias`, [width], () => constant(width, 0)];
  }
  const embeddings = "roberta.embeddings";
  yield matrix(`${embeddings}.word_embeddings.weight`, tokens, width);
  yield matrix(`${embeddings}.position_embeddings.weight`, positions, width);
  yield matrix(`${embeddings}.token_type_embeddings.weight`, 1, width);
  yield* norm(`${embeddings}.LayerNorm`);
  for (let layer = 0; layer < layers; layer += 1) {
    const name = `roberta.encoder.layer.${layer}`;
    for (const part of ["query", "key", "value"])
      yield* linear(`${name}.attention.self.${part}`, width, width);
    yield* linear(`${name}.attention.output.dense`, width, width);
    yield* norm(`${name}.attention.output.LayerNorm`);
    yield* linear(`${name}.intermediate.dense`, intermediate, width);
    yield* linear(`${name}.output.dense`, width, intermediate);
    yield* norm(`${name}.output.LayerNorm`);
  }
  yield* linear("classifier.dense", width, width);
  yield* linear("classifier.out_proj", 1, width);
}

/** Files of at most about 400 MB, and their index. The embeddings, 512 MB, are one by themselves. */
function shards() {
  const groups = [];
  let size = Number.POSITIVE_INFINITY;
  for (const tensor of tensors()) {
    const bytes = 2 * tensor[1].reduce((product, one) => product * one, 1);
    if (size + bytes > 400_000_000) {
      groups.push([]);
      size = 0;
    }
    groups.at(-1).push(tensor);
    size += bytes;
  }
  const map = {};
  const files = {};
  let total = 0;
  for (const [index, group] of groups.entries()) {
    const count = String(groups.length).padStart(5, "0");
    const path = `model-${String(index + 1).padStart(5, "0")}-of-${count}.safetensors`;
    const header = {};
    const parts = [];
    let at = 0;
    for (const [name, dimensions, make] of group) {
      const bytes = make();
      header[name] = { dtype: "BF16", shape: dimensions, data_offsets: [at, at + bytes.length] };
      at += bytes.length;
      parts.push(bytes);
      map[name] = path;
    }
    total += at;
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    files[path] = lfsFile(Buffer.concat([length, text, ...parts]));
  }
  const index = { metadata: { total_size: total }, weight_map: map };
  files["model.safetensors.index.json"] = gitFile(JSON.stringify(index));
  return { files, total };
}

/** XLM-RoBERTa's form, its pieces made up: a table of 250,002 with the mask at the end. */
function tokenizer() {
  const document = JSON.parse(readFileSync(join(fixture, "tokenizer.json"), "utf8"));
  const { vocab } = document.model;
  const own = vocab.filter(([piece]) => piece !== "<mask>");
  const taken = new Set(own.map(([piece]) => piece));
  for (let number = 0; own.length < shape.tokens - 1; number += 1) {
    const piece = `${number % 2 === 0 ? "\u2581" : ""}${number.toString(36)}`;
    if (!taken.has(piece)) own.push([piece, -8 - Math.log(2 + number)]);
  }
  document.model.vocab = [...own, ["<mask>", 0]];
  for (const token of document.added_tokens) {
    if (token.content === "<mask>") token.id = shape.tokens - 1;
  }
  return JSON.stringify(document);
}

const configuration = {
  ...JSON.parse(readFileSync(join(fixture, "config.json"), "utf8")),
  ...{ architectures: ["XLMRobertaForSequenceClassification"], model_type: "xlm-roberta" },
  ...{ hidden_size: shape.width, num_hidden_layers: layers, num_attention_heads: shape.heads },
  ...{ intermediate_size: shape.intermediate, vocab_size: shape.tokens },
  ...{ max_position_embeddings: shape.positions, type_vocab_size: 1, torch_dtype: "bfloat16" },
};
const tokenizerConfiguration = {
  ...JSON.parse(readFileSync(join(fixture, "tokenizer_config.json"), "utf8")),
  model_max_length: 8192,
};
if (tokenizerConfiguration.added_tokens_decoder !== undefined) {
  const decoder = Object.entries(tokenizerConfiguration.added_tokens_decoder).map(([id, token]) => [
    token.content === "<mask>" ? String(shape.tokens - 1) : id,
    token,
  ]);
  tokenizerConfiguration.added_tokens_decoder = Object.fromEntries(decoder);
}

/** Bytes of resident memory of a process and all below it; file pages that are mapped are in it. */
async function memoryOf(pid) {
  const children = new Map();
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const status = await readFile(`/proc/${name}/status`, "utf8").catch(() => "");
    const parent = Number(/^PPid:\s+(\d+)/m.exec(status)?.[1]);
    const field = (key) => 1024 * Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
    const entry = { id: Number(name), all: field("VmRSS"), own: field("RssAnon") };
    children.set(parent, [...(children.get(parent) ?? []), entry]);
    if (Number(name) === pid) children.set("root", [entry]);
  }
  const sum = { all: 0, own: 0 };
  const open = [...(children.get("root") ?? [])];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    sum.all += next.all;
    sum.own += next.own;
    open.push(...(children.get(next.id) ?? []));
  }
  return sum;
}

async function measure(label, environment) {
  const started = performance.now();
  const args = ["packages/crossrank/bin/crossrank.js", "rerank", "-q", "capital of france", "-d", "-"];
  const child = spawn(
    process.execPath,
    [...args, "--model", "BAAI/bge-reranker-v2-m3", "--dtype", values.dtype, "--format", "json"],
    { cwd: root, env: { ...process.env, ...environment }, stdio: ["pipe", "pipe", "inherit"] },
  );
  child.stdin.end("the cat sat\nparis is a city\na river\n");
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
  });
  const peak = { all: 0, own: 0 };
  let over = false;
  const watching = (async () => {
    while (!over) {
      const now = await memoryOf(child.pid);
      peak.all = Math.max(peak.all, now.all);
      peak.own = Math.max(peak.own, now.own);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  const code = await new Promise((resolve) => child.once("close", resolve));
  over = true;
  await watching;
  const seconds = (performance.now() - started) / 1000;
  const gigabytes = (bytes) => (bytes / 1e9).toFixed(2);
  const logits = code === 0 ? JSON.parse(stdout).results.map(({ logit }) => logit.toFixed(4)) : [];
  console.log(
    `${label}: exit ${code}, ${seconds.toFixed(1)} s, peak ${gigabytes(peak.all)} GB resident, of them ${gigabytes(peak.own)} GB no file's; logits ${logits.join(", ")}`,
  );
}

const folder = values.keep ?? mkdtempSync(join(tmpdir(), "crossrank-full-shape-"));
const made = performance.now();
const { files, total } = shards();
const weights = Object.entries(files).filter(([path]) => path.endsWith(".safetensors"));
console.log(
  `${cpus().length} processors (${cpus()[0]?.model}), ${(totalmem() / 1e9).toFixed(0)} GB, node ${process.versions.node}`,
);
console.log(
  `${layers} layers, ${(total / 2 / 1e6).toFixed(0)} million parameters in bf16, ${(total / 1e9).toFixed(2)} GB in ${weights.length} files, made in ${((performance.now() - made) / 1000).toFixed(0)} s`,
);
const hub = await startHub({
  id: "BAAI/bge-reranker-v2-m3",
  commit: "0123456789abcdef0123456789abcdef01234567",
  revisions: ["main"],
  files: {
    ...files,
    "config.json": gitFile(JSON.stringify(configuration)),
    "tokenizer.json": lfsFile(tokenizer()),
    "tokenizer_config.json": gitFile(JSON.stringify(tokenizerConfiguration)),
    "special_tokens_map.json": gitFile(readFileSync(join(fixture, "special_tokens_map.json"))),
  },
});
const environment = {
  ...{ HF_ENDPOINT: hub.endpoint, HF_HOME: folder, HF_HUB_CACHE: "", HF_HUB_OFFLINE: "", HF_TOKEN: "" },
};
await measure("first run: download, conversion, verification, scores", environment);
await measure("second run: scores", environment);
const sizes = (await readdir(join(folder, "crossrank/converted"), { recursive: true })).map(
  (name) => statSync(join(folder, "crossrank/converted", name)).size,
);
console.log(`in the cache: ${(sizes.reduce((sum, size) => sum + size, 0) / 1e9).toFixed(2)} GB`);
if (values.keep === undefined) rmSync(folder, { recursive: true });
await hub[Symbol.asyncDispose]();
