// `node bench/versions.mjs OLD [NEW]`: one version of crossrank beside another, each built from a checkout of its own: the
// same model and documents, both loaded at once, their rounds in turn. The newer one runs twice, and what lies between
// the two is the noise.
import { execFile, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { replaceBlock } from "../scripts/blocks.mjs";
import { makeDocuments } from "./documents.mjs";
import { makeModel } from "./model/make-model.mjs";

const help = `Measures one version of crossrank beside another: documents a second, and processor time a document.

node bench/versions.mjs OLD [NEW] [options]
  OLD, NEW         commits or tags; NEW is HEAD by default
  --models A,B     of nano, minilm and gguf (default: all)
  --rounds N       default 15, each with both versions in turn
  --documents N    default 32, of each round
  --write          put the result into bench/README.md
  --help
`;

const root = fileURLToPath(new URL("..", import.meta.url));
const child = fileURLToPath(new URL("./versions-child.mjs", import.meta.url));
const cache = join(tmpdir(), "crossrank-bench");
const run = promisify(execFile);

/**
 * @typedef {object} Turn
 * @property {number} seconds
 * @property {number} processor seconds of processor time, of the process and its children
 * @property {readonly number[]} logits
 */

/**
 * @typedef {object} Model
 * @property {string} title
 * @property {string} folder
 * @property {"onnx" | "llamacpp"} backend
 */

/** @param {string} command @param {readonly string[]} args @param {string} folder */
function require(command, args, folder) {
  const { status, error } = spawnSync(command, args, { cwd: folder, stdio: ["ignore", 2, 2] });
  if (error) throw error;
  if (status !== 0)
    throw new Error(`${command} ${args.join(" ")} ended with exit code ${status} in ${folder}.`);
}

/**
 * A checkout, installed and built, or the one made before.
 *
 * @param {string} reference
 * @returns {Promise<{ name: string, folder: string }>}
 */
async function checkOut(reference) {
  const { stdout } = await run("git", ["rev-parse", "--short=7", `${reference}^{commit}`], { cwd: root });
  const commit = stdout.trim();
  const folder = join(cache, `version-${commit}`);
  const name = reference === commit ? commit : `${reference} (${commit})`;
  if (existsSync(folder)) return { name, folder };
  const draft = `${folder}.${process.pid}`;
  require("git", ["clone", "--quiet", "--no-checkout", root, draft], root);
  require("git", ["checkout", "--quiet", commit], draft);
  const { packageManager } = JSON.parse(await readFile(join(draft, "package.json"), "utf8"));
  const pnpm = ["exec", "--yes", `--package=${packageManager}`, "--", "pnpm"];
  require("npm", [...pnpm, "install", "--frozen-lockfile", "--prefer-offline"], draft);
  const wanted = ["onnx", "llamacpp"].map((backend) => `--filter=@crossrank/backend-${backend}`);
  const filters = [...wanted, "--filter=@crossrank/hub"];
  require("npm", [...pnpm, "exec", "turbo", "run", "build", "--output-logs=errors-only", ...filters], draft);
  await rename(draft, folder);
  return { name, folder };
}

/** @param {readonly string[]} names @returns {Promise<readonly Model[]>} */
async function makeModels(names) {
  const tokenizer = join(root, "packages/model-nano/model");
  /** @type {Model[]} */
  const models = [];
  for (const name of names) {
    if (name === "nano") {
      models.push({ title: "nano, int8, ONNX", folder: tokenizer, backend: "onnx" });
      continue;
    }
    const source = await makeModel("minilm", tokenizer);
    if (name === "minilm") {
      models.push({ title: "minilm, fp32, ONNX", folder: source, backend: "onnx" });
      continue;
    }
    if (name !== "gguf") throw new Error(`--models: there is no "${name}", only nano, minilm and gguf.`);
    const folder = join(cache, "minilm-gguf");
    if (!existsSync(folder)) {
      const draft = `${folder}.${process.pid}`;
      await rm(draft, { recursive: true, force: true });
      require(process.execPath, ["model/convert-model.mjs", source, draft, "gguf:Q8_0"], join(root, "bench"));
      await rename(draft, folder);
    }
    models.push({ title: "minilm, Q8_0, GGUF", folder, backend: "llamacpp" });
  }
  return models;
}

/** A loaded model of one version, in a process of its own. */
class Contestant {
  #process;
  #lines;

  /** @param {string} folder of the version @param {Model} model @param {string} documents file */
  constructor(folder, model, documents) {
    this.#process = spawn(process.execPath, [child, folder, model.folder, model.backend, documents], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, HF_HUB_OFFLINE: "1" },
    });
    this.#lines = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
  }

  /** @returns {Promise<Turn>} */
  async turn() {
    const { pid } = this.#process;
    const before = await processorTime(pid ?? 0);
    this.#process.stdin.write("\n");
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error("A version's process ended before it answered.");
    const answer = JSON.parse(value);
    return { ...answer, processor: (await processorTime(pid ?? 0)) - before };
  }

  end() {
    this.#process.stdin.end();
  }
}

/** Clock ticks of Linux. */
const ticksPerSecond = 100;

/**
 * Of a process and all below it, in seconds; Linux alone tells.
 *
 * @param {number} id
 * @returns {Promise<number>}
 */
async function processorTime(id) {
  if (process.platform !== "linux") return Number.NaN;
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  /** @type {Map<number, { parent: number, ticks: number }>} */
  const all = new Map();
  for (const name of ids) {
    const line = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    all.set(Number(name), { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) });
  }
  /** @param {number} one @returns {number} */
  const sum = (one) =>
    [...all].reduce(
      (total, [other, { parent }]) => (parent === one ? total + sum(other) : total),
      all.get(one)?.ticks ?? 0,
    );
  return sum(id) / ticksPerSecond;
}

/** @param {readonly number[]} numbers */
function summary(numbers) {
  const sorted = [...numbers].sort((left, right) => left - right);
  const at = (/** @type {number} */ share) => sorted[Math.round(share * (sorted.length - 1))] ?? Number.NaN;
  return { median: at(0.5), low: at(0.25), high: at(0.75) };
}

/** @param {readonly number[]} numbers */
function show(numbers) {
  if (numbers.some(Number.isNaN)) return "";
  const { median, low, high } = summary(numbers);
  return `${median.toFixed(3)} (${low.toFixed(2)}–${high.toFixed(2)})`;
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    models: { type: "string", default: "nano,minilm,gguf" },
    rounds: { type: "string", default: "15" },
    documents: { type: "string", default: "32" },
    write: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const [oldReference, newReference = "HEAD"] = positionals;
if (options.help || oldReference === undefined) {
  console.log(help);
  process.exit(options.help ? 0 : 2);
}
const rounds = Number(options.rounds);
const count = Number(options.documents);
if (!(rounds >= 3 && count >= 1))
  throw new RangeError("--rounds must be at least 3, --documents at least 1.");

const before = await checkOut(oldReference);
const after = await checkOut(newReference);
const models = await makeModels(options.models.split(","));
const texts = join(cache, `versions-documents-${count}.json`);
await writeFile(texts, JSON.stringify(await makeDocuments(join(root, "packages/model-nano/model"), count)));

const load = loadavg()[0] ?? 0;
/** @type {string[]} */
const rows = [];
for (const model of models) {
  const old = new Contestant(before.folder, model, texts);
  const first = new Contestant(after.folder, model, texts);
  const second = new Contestant(after.folder, model, texts);
  const all = [old, first, second];
  for (const one of all) await one.turn();
  /** @type {Turn[][]} one of each contestant a round */
  const turns = [];
  let apart = 0;
  for (let round = 0; round < rounds; round += 1) {
    // Each is first, second and third as often.
    const order = [0, 1, 2].map((place) => (place + round) % 3);
    /** @type {Turn[]} */
    const found = [];
    for (const place of order) found[place] = await /** @type {Contestant} */ (all[place]).turn();
    turns.push(found);
    const [left, right] = found;
    for (const [index, logit] of (left?.logits ?? []).entries()) {
      apart = Math.max(apart, Math.abs(logit - (right?.logits[index] ?? Number.NaN)));
    }
    process.stderr.write(`${model.title}: round ${round + 1} of ${rounds}\n`);
  }
  for (const one of all) one.end();
  /** @param {"seconds" | "processor"} field @param {number} over @param {number} under */
  const ratios = (field, over, under) =>
    turns.map((found) => (found[over]?.[field] ?? Number.NaN) / (found[under]?.[field] ?? Number.NaN));
  const speed = summary(turns.map((found) => count / (found[1]?.seconds ?? Number.NaN))).median;
  rows.push(
    [
      model.title,
      speed.toFixed(1),
      show(ratios("seconds", 0, 1)),
      show(ratios("processor", 1, 0)),
      show(ratios("seconds", 2, 1)),
      show(ratios("processor", 2, 1)),
      apart === 0 ? "0" : apart.toExponential(0),
    ].join(" | "),
  );
}

const processor = cpus()[0]?.model ?? "unknown processor";
const arguments_ = process.argv.slice(2).filter((one) => one !== "--write");
const table = `Written by \`node bench/versions.mjs ${arguments_.join(" ")} --write\`:

${processor}, ${availableParallelism()} threads, ${process.platform} ${process.arch}, Node ${process.version}, load ${load.toFixed(1)} when it began. **${before.name}** beside **${after.name}**, ${count} documents a round, ${rounds} rounds in turn; the median of the rounds' ratios, and the middle half of them. "Noise" is the newer version beside itself.

| | documents/s, newer | throughput, newer ÷ older | processor time, newer ÷ older | noise of throughput | noise of processor time | largest Δ logit |
|---|---:|---:|---:|---:|---:|---:|
${rows.map((row) => `| ${row} |`).join("\n")}
`;
console.log(table);
if (options.write) {
  replaceBlock(join(root, "bench/README.md"), "versions", table);
}
