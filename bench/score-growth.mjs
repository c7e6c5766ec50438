#!/usr/bin/env node
// What scoring through a queue costs as the work grows: pairs a second of one and two workers, memory of the queue at
// 1,000 and 100,000 shards, and from what a shard costs the server, on paper, a thousand workers. Writes the table into
// docs/guides/scoring-at-scale.md. Needs redis-server and redis-cli, and Linux for processor times.
//
//   node bench/score-growth.mjs [--pairs 2000]
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { availableParallelism, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { openShardQueue, startShardWorker } from "../packages/queue/dist/index.js";

const guide = fileURLToPath(new URL("../docs/guides/scoring-at-scale.md", import.meta.url));
const binary = fileURLToPath(new URL("../packages/crossrank/bin/crossrank.js", import.meta.url));
const { values } = parseArgs({ options: { pairs: { type: "string", default: "2000" } } });
const pairCount = Number(values.pairs);
const shards = 16;
const folder = await mkdtemp(join(tmpdir(), "crossrank-growth-"));
const port = await freePort();
const url = `redis://127.0.0.1:${port}`;
const server = spawn(
  "redis-server",
  ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"],
  { stdio: "ignore" },
);
try {
  while (ask("PING") !== "PONG") await sleep(100);
  const memory = [];
  for (const count of [1000, 100_000]) memory.push({ count, bytes: await memoryOf(count) });
  const shard = await costOfShard();
  const runs = [];
  for (const workers of [1, 2]) runs.push(await scoreWith(workers));
  const table = describe(memory, shard, runs);
  const text = await readFile(guide, "utf8");
  const marked = /(<!-- score-growth -->\n)[\s\S]*?(<!-- \/score-growth -->)/;
  if (!marked.test(text)) throw new Error(`${guide} has no place for the table`);
  await writeFile(
    guide,
    text.replace(marked, (_, begin, end) => `${begin}\n${table}\n\n${end}`),
  );
  console.log(table);
} finally {
  server.kill("SIGKILL");
  await rm(folder, { recursive: true, force: true });
}

/**
 * What the server says to a command.
 * @param {...string} command
 */
function ask(...command) {
  return spawnSync("redis-cli", ["-p", String(port), ...command], { encoding: "utf8" }).stdout.trim();
}

/** @param {string} name */
function info(name) {
  return Number(new RegExp(`^${name}:(\\S+)`, "m").exec(ask("INFO", "all"))?.[1]);
}

/** @param {number} count */
function* references(count) {
  for (let shard = 0; shard < count; shard += 1) {
    const id = shard.toString(16).padStart(64, "0");
    yield { id, output: "/shared/scored/2026-11-30", shard, firstRow: shard * 1000, rows: 1000 };
  }
}

/**
 * Bytes of the server for that many shards that wait.
 * @param {number} count
 */
async function memoryOf(count) {
  ask("FLUSHALL");
  const queue = await openShardQueue({ url, name: "memory" });
  const before = info("used_memory");
  await queue.add(references(count));
  const bytes = info("used_memory") - before;
  await queue.close();
  return bytes;
}

/** What a shard that costs nothing to score costs the server, and what a worker that waits holds. */
async function costOfShard() {
  ask("FLUSHALL");
  const count = 500;
  // Until those that were closed are gone.
  await sleep(1000);
  const connections = info("connected_clients");
  let left = count;
  let end = () => {};
  /** @type {Promise<void>} */
  const ended = new Promise((resolve) => {
    end = resolve;
  });
  const worker = await startShardWorker({
    ...{ url, name: "cost" },
    run: async () => {
      left -= 1;
      if (left === 0) end();
      return { rows: 1, failed: 0 };
    },
  });
  await sleep(500);
  const held = info("connected_clients") - connections;
  const queue = await openShardQueue({ url, name: "cost" });
  const calls = () => ({
    commands: info("total_commands_processed"),
    seconds: info("used_cpu_user") + info("used_cpu_sys"),
  });
  const before = calls();
  await queue.add(references(count));
  await ended;
  await sleep(500);
  const after = calls();
  await worker.close(1);
  await queue.close();
  return {
    connections: held,
    commands: (after.commands - before.commands) / count,
    milliseconds: ((after.seconds - before.seconds) * 1000) / count,
  };
}

/** @typedef {{ child: import("node:child_process").ChildProcess }} Running */

/**
 * Seconds from the first shard's begin to the last one's end, and processor time of the workers in between.
 * @param {number} count
 */
async function scoreWith(count) {
  const pairs = join(folder, "pairs.jsonl");
  const words =
    "vaccines train the immune system and a cat sat on the mat in the old town of the river".split(" ");
  const rows = Array.from({ length: pairCount }, (_, row) => ({
    query: `how does ${words[row % words.length]} work`,
    document: Array.from({ length: 60 }, (_, at) => words[(row * 7 + at * 5) % words.length]).join(" "),
  }));
  await writeFile(pairs, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  // One session each: by itself one worker takes every core.
  const options = ["--model", "nano", "--threads", "1", "--workers", "1"];
  const workers = Array.from({ length: count }, () => {
    const child = spawn(
      process.execPath,
      [binary, "--verbose", "worker", "--queue", url, "--files", folder, ...options],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    /** @type {{ child: typeof child, said: string, begun: number | undefined, ended: number | undefined }} */
    const self = { child, said: "", begun: undefined, ended: undefined };
    child.stderr.setEncoding("utf8").on("data", (text) => {
      self.said += text;
      if (/ begins\n/.test(text)) self.begun ??= performance.now();
      if (/ rows in /.test(text)) self.ended = performance.now();
    });
    return self;
  });
  try {
    while (!workers.every(({ said }) => said.includes("shards of"))) await sleep(100);
    const before = await processorSeconds(workers);
    const output = join(folder, `scored-${count}`);
    const scoring = spawn(
      process.execPath,
      [
        ...[binary, "score", "--pairs", pairs, "--output", output, "--queue", url],
        ...["--shard-pairs", String(Math.ceil(pairCount / shards)), ...options],
      ],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    const [code] = await once(scoring, "exit");
    if (code !== 0) throw new Error(`score ended with ${code}`);
    const processor = (await processorSeconds(workers)) - before;
    const begun = Math.min(...workers.map((one) => one.begun ?? Number.POSITIVE_INFINITY));
    const ended = Math.max(...workers.map((one) => one.ended ?? 0));
    return { workers: count, seconds: (ended - begun) / 1000, processor };
  } finally {
    for (const { child } of workers) {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
    }
  }
}

/**
 * Of processes and their children, user and system.
 * @param {readonly Running[]} workers
 */
async function processorSeconds(workers) {
  let ticks = 0;
  for (const { child } of workers) {
    const own = String(child.pid);
    const children = await readFile(`/proc/${own}/task/${own}/children`, "utf8");
    for (const pid of [own, ...children.split(" ").filter(Boolean)]) {
      const [, ...fields] = (await readFile(`/proc/${pid}/stat`, "utf8")).split(") ");
      const [user, system] = fields.join(") ").split(" ").slice(11, 13);
      ticks += Number(user) + Number(system);
    }
  }
  return ticks / 100;
}

async function freePort() {
  const listening = createServer().listen(0, "127.0.0.1");
  await once(listening, "listening");
  const { port: found } = /** @type {import("node:net").AddressInfo} */ (listening.address());
  await new Promise((resolve) => listening.close(resolve));
  return found;
}

/**
 * @param {readonly { count: number, bytes: number }[]} memory
 * @param {{ connections: number, commands: number, milliseconds: number }} shard
 * @param {readonly { workers: number, seconds: number, processor: number }[]} runs
 */
function describe(memory, shard, runs) {
  const number = (/** @type {number} */ value, digits = 0) =>
    value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const pace = (/** @type {{ seconds: number }} */ { seconds }) => pairCount / seconds;
  const [one, two] = runs;
  if (one === undefined || two === undefined) throw new Error("one run with a worker and one with two");
  const alone = pairCount / one.processor;
  const fleet = 1000;
  const perSecond = (fleet * alone) / 1000;
  const renewals = fleet / 15 + fleet / 30;
  const lines = [
    ["what", "measured"],
    ["---", "---"],
    ...runs.map((run) => [
      `${run.workers} worker${run.workers > 1 ? "s" : ""}, nano, one thread each`,
      `${number(pace(run), 1)} pairs a second, ${number((run.processor * 1000) / pairCount, 1)} ms of a processor a pair`,
    ]),
    ["two against one", `${number(pace(two) / pace(one), 2)} times the pairs a second`],
    ...memory.map(({ count, bytes }) => [
      `memory of the queue, ${number(count)} shards that wait`,
      `${number(bytes / 2 ** 20, 1)} MB, ${number(bytes / count)} bytes a shard`,
    ]),
    [
      "the server, a shard",
      `${number(shard.commands, 1)} commands with those in its scripts, ${number(shard.milliseconds, 2)} ms of a processor`,
    ],
    ["a worker that waits", `${shard.connections} connections`],
    [
      "on paper: 1,000 workers with a core each, shards of 1,000 pairs",
      `${number(fleet * alone)} pairs and ${number(perSecond, 1)} shards a second; ${number(perSecond * shard.commands + renewals)} commands a second, of which ${number(renewals)} renew locks and look for stalled shards; ${number((perSecond * shard.milliseconds) / 10, 1)} % of the server's core for shards; ${number(fleet * shard.connections)} connections of the 10,000 that Redis allows by itself`,
    ],
  ].map((cells) => `| ${cells.join(" | ")} |`);
  const machine = `${number(pairCount)} pairs, ${availableParallelism()} cores at a load of ${number(loadavg()[0] ?? 0, 0)}`;
  return `By \`node bench/score-growth.mjs --pairs ${pairCount}\` (${machine}):\n\n${lines.join("\n")}`;
}
