import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createRandom } from "@crossrank/eval";
import { startShardWorker } from "@crossrank/queue";
import { afterAll, beforeAll, expect, it } from "vitest";
import { isLong } from "../../../test/sample.js";
import { describeWithRedis, type RedisServer, startRedis } from "./redis-server.js";
import {
  binary,
  commandEnvironment,
  conformanceFixture,
  crossrank,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
const trivial = fileURLToPath(new URL("./trivial-backend.mjs", import.meta.url));

/** What is proved at length with nano is tried in short with a model that only waits. */
const model = isLong
  ? ["--model", "nano", "--threads", "1"]
  : ["--model", conformanceFixture("bert-logit"), "--backend", trivial];
const size = isLong
  ? { shards: 20, shardPairs: 500, batchPairs: 64, kills: 10, pause: "0" }
  : { shards: 6, shardPairs: 40, batchPairs: 10, kills: 2, pause: "150" };
const shape = ["--shard-pairs", String(size.shardPairs), "--batch-pairs", String(size.batchPairs)];
const environment = { TRIVIAL_PAUSE: size.pause };

let redis: RedisServer;
let pairs = "";
let expected = "";
const workers = new Set<Worker>();

/** A worker's process, and which shard it holds. */
class Worker {
  readonly process: ChildProcess;
  said = "";
  constructor(more: readonly string[]) {
    this.process = spawn(
      process.execPath,
      [
        ...[binary, "--verbose", "worker", "--queue", redis.url, "--files", folder.path(".")],
        ...["--lock-seconds", "2", ...model, ...more],
      ],
      { env: { ...commandEnvironment, ...environment }, stdio: ["ignore", "ignore", "pipe"] },
    );
    this.process.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.said += text;
    });
    workers.add(this);
  }

  /** Of the shard that it has begun and not ended; undefined where there is none. */
  get holds(): string | undefined {
    const lines = this.said.split("\n").filter((line) => /shard \d+ of/.test(line));
    return /shard (\d+) of .* begins/.exec(lines.at(-1) ?? "")?.[1];
  }

  async end(signal: NodeJS.Signals): Promise<readonly [code: number | null, signal: string | null]> {
    workers.delete(this);
    const { exitCode, signalCode } = this.process;
    if (exitCode !== null || signalCode !== null) return [exitCode, signalCode];
    const gone = once(this.process, "exit") as Promise<[number | null, string | null]>;
    this.process.kill(signal);
    return gone;
  }
}

async function terminate(
  worker: Worker,
): Promise<{ end: readonly [code: number | null, signal: string | null]; said: string }> {
  const end = await worker.end("SIGTERM");
  return { end, said: worker.said };
}

async function until(what: string, isTrue: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + (isLong ? 3_000_000 : 120_000);
  while (!(await isTrue())) {
    if (performance.now() > end) {
      throw new Error(
        `${what} did not come: ${[...workers].map(({ said }) => said.slice(-600)).join("\n---\n")}`,
      );
    }
    await sleep(20);
  }
}

const score = (output: string, more: readonly string[] = []): Promise<Outcome> =>
  crossrank(["score", "--pairs", pairs, "--output", output, ...shape, ...model, ...more], { environment });

const statusOf = async (output: string, more: readonly string[]): Promise<Record<string, unknown>> => {
  const { code, stdout, stderr } = await crossrank([
    "score",
    "--output",
    output,
    "--queue",
    redis.url,
    ...more,
  ]);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return JSON.parse(stdout);
};

/** That each row is there once, in its place, and each byte is what one process gives. */
async function requireWhole(output: string): Promise<void> {
  const text = await readFile(join(output, "scores.jsonl"), "utf8");
  const rows = text
    .split("\n")
    .flatMap((line) => (line === "" ? [] : [(JSON.parse(line) as { row: number }).row]));
  expect(rows).toEqual(Array.from({ length: size.shards * size.shardPairs }, (_, row) => row));
  expect(text === expected, "the bytes of a single process").toBe(true);
  const left = (await readdir(output, { recursive: true })).filter((name) => name.endsWith(".tmp"));
  expect(left).toEqual([]);
}

describeWithRedis("workers of a queue", () => {
  beforeAll(async () => {
    const data = folder.path("redis");
    await mkdir(data);
    redis = await startRedis(data);
    const random = createRandom(23);
    const words = "vaccine train immune system paris city cat mat how work".split(" ");
    const text = (most: number): string =>
      Array.from({ length: 1 + random.below(most) }, () => words[random.below(words.length)]).join(" ");
    const rows = Array.from({ length: size.shards * size.shardPairs }, () => ({
      query: text(5),
      document: text(40),
    }));
    pairs = await folder.write("pairs.jsonl", rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    const output = folder.path("single");
    const { code, stderr } = await crossrank([
      "score",
      "--pairs",
      pairs,
      "--output",
      output,
      ...shape,
      ...model,
    ]);
    expect(stderr.replace(/^scored .*\n/gm, "")).toBe("");
    expect(code).toBe(0);
    expected = await readFile(join(output, "scores.jsonl"), "utf8");
  });
  afterAll(async () => {
    for (const worker of workers) await worker.end("SIGKILL");
    await redis?.stop();
  });

  it(`give the bytes of one process: ${size.kills} kills of who holds a shard, one of the server, one SIGTERM`, async () => {
    const output = folder.path("killed");
    const scoring = score(output, ["--queue", redis.url]);
    const random = createRandom(29);
    let team = [new Worker([]), new Worker([])];
    let hasKilledServer = false;
    let hasTerminated = false;
    for (let kills = 0; kills < size.kills; ) {
      await until("a shard that is held", () => team.some(({ holds }) => holds !== undefined));
      await sleep(random.below(300));
      const victim = team.find(({ holds }) => holds !== undefined);
      if (victim === undefined) continue;
      await victim.end("SIGKILL");
      kills += 1;
      team = team.filter((one) => one !== victim);
      if (!hasKilledServer && kills >= size.kills / 2) {
        hasKilledServer = true;
        await redis.killAndRestart();
      }
      // Begun once the server is back: a worker that finds none at first says so and ends.
      team.push(new Worker([]));
      if (!hasTerminated && kills >= size.kills / 2) {
        hasTerminated = true;
        let ended: Worker | undefined;
        await until("a shard to end with", () => {
          ended = team.find(({ holds }) => holds !== undefined);
          return ended !== undefined;
        });
        const { end, said } = await terminate(ended as Worker);
        expect({ end, said }).toEqual({
          end: [0, null],
          said: expect.stringMatching(/ending with the shard under way/),
        });
        team = [...team.filter((one) => one !== ended), new Worker([])];
      }
    }
    const { code, stdout, stderr } = await scoring;
    expect({ code, stderr: stderr.replace(/^(scored|note: no worker) .*\n/gm, "") }).toEqual({
      code: 0,
      stderr: "",
    });
    expect(JSON.parse(stdout)).toMatchObject({ rows: size.shards * size.shardPairs, failed: 0 });
    await requireWhole(output);
    expect(await statusOf(output, ["--status"])).toMatchObject({
      ...{ shards: size.shards, done: size.shards, failed: [] },
      queue: { waiting: 0, active: 0, delayed: 0, failed: 0 },
    });
    for (const worker of team) await worker.end("SIGKILL");
  });

  it("end when they are asked to while the server is only just back", async () => {
    const data = folder.path("restarted");
    await mkdir(data);
    const server = await startRedis(data);
    try {
      const run = async () => ({ rows: 1, failed: 0 });
      const worker = await startShardWorker({ url: server.url, name: "restarted", run });
      await server.killAndRestart();
      // BullMQ alone waits for ever here.
      await expect(
        Promise.race([worker.close(1).then(() => "closed"), sleep(60_000).then(() => "not closed")]),
      ).resolves.toBe("closed");
    } finally {
      await server.stop();
    }
  });
});
