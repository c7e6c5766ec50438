import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createRandom } from "@crossrank/eval";
import {
  createWorkerMetrics,
  defaultMaxStalledCount,
  openShardQueue,
  QueueError,
  type ShardQueue,
  startShardWorker,
} from "@crossrank/queue";
import { afterAll, beforeAll, expect, it } from "vitest";
import { isLong } from "../../../test/sample.js";
import { describeWithRedis, freePort, type RedisServer, startRedis } from "./redis-server.js";
import {
  binary,
  commandEnvironment,
  conformanceFixture,
  crossrank,
  crossrankInTurn,
  type Outcome,
  temporaryFolder,
} from "./run-command.js";

const folder = temporaryFolder();
const trivial = fileURLToPath(new URL("./trivial-backend.mjs", import.meta.url));
const holder = fileURLToPath(new URL("./held-shards.mjs", import.meta.url));
const idle = fileURLToPath(new URL("./idle-worker.mjs", import.meta.url));

/** What is proved at length with nano is tried in short with a model that only waits. */
const model = isLong
  ? ["--model", "nano", "--threads", "1"]
  : ["--model", conformanceFixture("bert-logit"), "--backend", trivial];
const size = isLong
  ? { shards: 20, shardPairs: 500, batchPairs: 64, kills: 10, pause: "0" }
  : { shards: 6, shardPairs: 40, batchPairs: 10, kills: 2, pause: "150" };
const shape = ["--shard-pairs", String(size.shardPairs), "--batch-pairs", String(size.batchPairs)];

/** While it is there the model that only waits fails. */
const failing = (): string => folder.path("failing");
const environment = (): Record<string, string> => ({ TRIVIAL_PAUSE: size.pause, TRIVIAL_FAILING: failing() });

let redis: RedisServer;
let pairs = "";
let expected = "";
const workers = new Set<Worker>();

/** A worker's process, and which shard it holds. */
class Worker {
  readonly process: ChildProcess;
  said = "";
  constructor(more: readonly string[], own: readonly string[] = model) {
    this.process = spawn(
      process.execPath,
      [
        ...[binary, "--verbose", "worker", "--queue", redis.url, "--files", folder.path(".")],
        ...["--lock-seconds", "2", ...own, ...more],
      ],
      { env: { ...commandEnvironment, ...environment() }, stdio: ["ignore", "ignore", "pipe"] },
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
  crossrank(["score", "--pairs", pairs, "--output", output, ...shape, ...model, ...more], {
    environment: environment(),
  });

const scoreOf = (places: readonly [pairs: string, output: string], more: readonly string[]): string[] => [
  ...["score", "--pairs", places[0], "--output", places[1], ...more],
];

const statusOf = async (output: string, more: readonly string[]): Promise<Record<string, unknown>> => {
  const { code, stdout, stderr } = await crossrankInTurn([
    ...["score", "--output", output, "--queue", redis.url, ...more],
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
    const { code, stderr } = await crossrankInTurn(scoreOf([pairs, output], [...shape, ...model]));
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

  it("start, or say that the server went away and have begun no shard", async () => {
    const data = folder.path("starting");
    await mkdir(data);
    const server = await startRedis(data);
    const random = createRandom(31);
    const outcomes: string[] = [];
    try {
      const queue = await openShardQueue({ url: server.url, name: "starting" });
      await queue.add([{ id: "a", output: "x", shard: 0, firstRow: 0, rows: 1 }]);
      await queue.close();
      for (let tries = 0; tries < (isLong ? 60 : 6); tries += 1) {
        const begun: string[] = [];
        const restarted = sleep(random.below(30)).then(() => server.killAndRestart());
        const worker = await startShardWorker({
          ...{ url: server.url, name: "starting", lockSeconds: 1 },
          // Never done: each try finds it again.
          run: (_, signal) =>
            new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
          onEvent: ({ event }) => begun.push(event),
        }).catch((error: unknown) => {
          expect(error).toBeInstanceOf(QueueError);
          return undefined;
        });
        const before = begun.length;
        await restarted;
        await worker?.close(0.1);
        if (worker === undefined) expect([before, ...begun]).toEqual([0]);
        outcomes.push(worker === undefined ? "refused" : "started");
      }
    } finally {
      await server.stop();
    }
    expect(outcomes).toHaveLength(isLong ? 60 : 6);
  });

  it("wait for a server that answers no more as long as they say", async () => {
    const data = folder.path("frozen");
    await mkdir(data);
    const server = await startRedis(data);
    const random = createRandom(37);
    const running = new Set<string>();
    const start = (answering: string): ReturnType<typeof startShardWorker> =>
      startShardWorker({
        ...{ url: server.url, name: "frozen", lockSeconds: 1 },
        run: ({ id }, signal) => {
          running.add(`${answering} ${id}`);
          return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        },
      });
    try {
      const names = ["frozen", "asked"];
      const [queue, asked] = (await Promise.all(
        names.map((name) => openShardQueue({ url: server.url, name, answerSeconds: 0.5 })),
      )) as [ShardQueue, ShardQueue];
      const shard = { id: "a", output: "x", shard: 0, firstRow: 0, rows: 1 };
      await queue.add([shard]);
      const worker = await start("holder");
      await until("a shard that is held", () => running.has("holder a"));
      const metrics = createWorkerMetrics(() => worker.counts());
      server.freeze();
      const noAnswer = expect.objectContaining({ code: "queue", reason: "unreachable" });
      const unable = [
        asked.add([shard]),
        queue.counts(),
        queue.failed(5),
        asked.retry(["a"]),
        asked.remove(["a"]),
      ];
      for (const one of await Promise.allSettled(unable)) expect(one).toMatchObject({ reason: noAnswer });
      expect(await metrics.render()).toMatch(/worker_busy/);
      // The shard cannot go back, and its lock runs out.
      await Promise.all([
        ...[worker.close(0.1), queue.close(), asked.close()],
        expect(start("late")).rejects.toEqual(noAnswer),
      ]);

      for (let tries = 0; tries < (isLong ? 30 : 2); tries += 1) {
        server.thaw();
        const frozen = sleep(random.below(40)).then(() => server.freeze());
        const late = await start("tries").catch((error: unknown) => void expect(error).toEqual(noAnswer));
        await frozen;
        await late?.close(0.1);
      }
      server.thaw();
      const next = await start("next");
      await until("the shard that came back", () => running.has("next a"));
      await next.close(0.1);
    } finally {
      await server.stop();
    }
  });

  it("end, and their processes too, when the server went away while they waited for shards", async () => {
    const ways = ["killed", "frozen"] as const;
    const outcomes = ways.map(async (way) => {
      const data = folder.path(`idle-${way}`);
      await mkdir(data);
      const server = await startRedis(data);
      const child = fork(idle, [server.url]);
      try {
        await once(child, "message");
        // BullMQ looks after a wait of five seconds that has not come back, and connects again by itself.
        if (way === "killed") await server.stop();
        else server.freeze();
        await sleep(8000);
        const gone = once(child, "exit");
        child.send("end");
        return (await gone)[0];
      } finally {
        child.kill("SIGKILL");
        await server.stop();
      }
    });
    expect(await Promise.all(outcomes)).toEqual([0, 0]);
  });

  it("would lose a shard whose worker was killed twice with BullMQ's own count of stalls, and lose none", async () => {
    const counts = { bullmq: 1, ours: defaultMaxStalledCount };
    const names = Object.keys(counts) as (keyof typeof counts)[];
    const queues = await Promise.all(names.map((name) => openShardQueue({ url: redis.url, name })));
    for (const queue of queues) await queue.add([{ id: "a", output: "x", shard: 0, firstRow: 0, rows: 1 }]);
    for (let kills = 0; kills < 2; kills += 1) {
      const child = fork(holder, [redis.url, ...names.map((name) => `${name}=${counts[name]}`)]);
      const held = new Set<unknown>();
      await new Promise<void>((resolve) => {
        child.on("message", (name) => {
          if (held.add(name).size === names.length) resolve();
        });
      });
      const gone = once(child, "exit");
      child.kill("SIGKILL");
      await gone;
    }
    const done: string[] = [];
    const others = names.map((name) =>
      startShardWorker({
        ...{ url: redis.url, name, lockSeconds: 1, maxStalledCount: counts[name] },
        run: async () => {
          done.push(name);
          return { rows: 1, failed: 0 };
        },
      }),
    );
    const workersOf = await Promise.all(others);
    const [lost, kept] = queues as [(typeof queues)[0], (typeof queues)[0]];
    await until("a dead letter", async () => (await lost.counts()).failed === 1 && done.length === 1);
    expect(done).toEqual(["ours"]);
    expect(await lost.failed(5)).toMatchObject([{ id: "a", reason: expect.stringMatching(/stalled/) }]);
    expect(await kept.failed(5)).toEqual([]);
    // Nothing but the count was against it.
    await lost.retry(["a"]);
    await until("the shard that was put back", () => done.length === 2);
    for (const worker of workersOf) await worker.close(1);
    for (const queue of queues) await queue.close();
  });

  it("fail a shard whose pairs have changed at once, and score it when they are back", async () => {
    const own = ["--model", conformanceFixture("bert-logit"), "--backend", trivial];
    const small = ["--shard-pairs", "10", "--batch-pairs", "10", ...own];
    const rows = (await readFile(pairs, "utf8")).split("\n").slice(0, 60);
    const content = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join("");
    const changing = await folder.write("changing.jsonl", content(rows));
    const other = await folder.write("other.jsonl", content([...rows].reverse()));
    const expectedOf = async (name: string): Promise<string> => {
      const output = folder.path(`single-${name}`);
      const { code } = await crossrankInTurn(scoreOf([folder.path(name), output], small));
      expect(code).toBe(0);
      return readFile(join(output, "scores.jsonl"), "utf8");
    };
    const whole = await expectedOf("changing.jsonl");
    const wholeOther = await expectedOf("other.jsonl");
    const output = folder.path("changed");
    const submit = [...small, "--queue", redis.url];

    // Submitted, and then the pairs of the third shard are others.
    const stop = new AbortController();
    const submitted = crossrank(scoreOf([changing, output], submit), {
      onStart: (child) => stop.signal.addEventListener("abort", () => child.kill("SIGKILL")),
    });
    const isSubmitted = async (): Promise<boolean> =>
      (await readdir(output).catch((): string[] => [])).includes("index.bin") &&
      ((await statusOf(output, ["--status"]))["queue"] as { waiting: number }).waiting === 6;
    await until("shards in the queue", isSubmitted);
    stop.abort();
    await submitted;
    const changed = rows.map((row, index) => (index === 25 ? row.replace(/"query":"./, '"query":"~') : row));
    await writeFile(changing, content(changed));
    const port = String(await freePort());
    const worker = new Worker(["--metrics-port", port], own);
    await until("the others to be scored", async () => {
      const { done, failed } = (await statusOf(output, ["--status"])) as { done: number; failed: unknown[] };
      return done === 5 && failed.length === 1;
    });
    expect((await statusOf(output, ["--status"]))["failed"]).toEqual([
      { shard: 2, reason: expect.stringMatching(/changing\.jsonl: has changed since the job began/) },
    ]);
    expect(worker.said).toMatch(/shard 2 of .* failed for good/);
    expect(worker.said).not.toMatch(/tried again/);

    // With the pairs as they were it is still failed, until it is put back.
    await writeFile(changing, content(rows));
    const unfinished = await crossrankInTurn(scoreOf([changing, output], submit));
    expect(unfinished).toMatchObject({ code: 1, stdout: "" });
    expect(unfinished.stderr).toMatch(/1 of 6 shards have failed for good, first shard 2: .*--retry/);
    expect(await statusOf(output, ["--retry"])).toMatchObject({ retried: 1, failed: [] });
    const finished = await crossrankInTurn(scoreOf([changing, output], submit));
    expect(finished).toMatchObject({ code: 0, stderr: "" });
    expect(await readFile(join(output, "scores.jsonl"), "utf8")).toBe(whole);

    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    for (const line of [
      'crossrank_worker_shards_total{outcome="done"} 6',
      'crossrank_worker_shards_total{outcome="failed"} 1',
      'crossrank_worker_pairs_total{outcome="scored"} 60',
      'crossrank_worker_pairs_total{outcome="failed"} 0',
      "crossrank_worker_shard_duration_seconds_count 6",
      "crossrank_worker_busy 0",
      'crossrank_queue_shards{state="waiting"} 0',
      'crossrank_queue_shards{state="failed"} 0',
    ])
      expect(metrics.split("\n")).toContain(line);
    const health = await fetch(`http://127.0.0.1:${port}/health`);
    expect([health.status, await health.text()]).toEqual([200, "ok\n"]);
    expect((await fetch(`http://127.0.0.1:${port}/other`)).status).toBe(404);

    // Another job in the folder of one that this worker has open is another job.
    await rm(output, { recursive: true });
    expect(await crossrankInTurn(scoreOf([other, output], submit))).toMatchObject({ code: 0, stderr: "" });
    expect(await readFile(join(output, "scores.jsonl"), "utf8")).toBe(wholeOther);

    if (isLong) {
      // A model that fails: each shard is tried five times, and then lies there until it is put back.
      await rm(output, { recursive: true });
      await writeFile(failing(), "");
      const start = performance.now();
      const failed = await crossrankInTurn(scoreOf([changing, output], submit));
      expect(performance.now() - start).toBeGreaterThan(29_000);
      expect(failed).toMatchObject({ code: 1, stdout: "" });
      expect(failed.stderr).toMatch(/6 of 6 shards have failed for good, .*the device is gone/);
      expect(worker.said.match(/failed, and is tried again: .*the device is gone/g)).toHaveLength(24);
      expect(worker.said.match(/failed for good: .*the device is gone/g)).toHaveLength(6);
      await rm(failing());
      expect(await statusOf(output, ["--retry"])).toMatchObject({ retried: 6 });
      expect(await crossrankInTurn(scoreOf([changing, output], submit))).toMatchObject({ code: 0 });
      expect(await readFile(join(output, "scores.jsonl"), "utf8")).toBe(whole);
    }
    expect((await terminate(worker)).end).toEqual([0, null]);
  });

  if (isLong)
    it("lose shards with --max-stalled 1, and bring them back with --retry", async () => {
      const output = folder.path("lost");
      const scoring = score(output, ["--queue", redis.url]);
      const more = ["--max-stalled", "1"];
      let worker = new Worker(more);
      for (let kills = 0; kills < size.kills; kills += 1) {
        await until("a shard that is held", () => worker.holds !== undefined);
        await worker.end("SIGKILL");
        worker = new Worker(more);
      }
      const { code, stdout, stderr } = await scoring;
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(/shards have failed for good, first shard \d+: .*stalled/);
      const { done, failed } = (await statusOf(output, ["--status"])) as {
        done: number;
        failed: { shard: number; reason: string }[];
      };
      console.log(
        `--max-stalled 1: ${failed.length} of ${size.shards} shards lost after ${size.kills} kills`,
      );
      expect(failed.length).toBeGreaterThan(0);
      expect(done).toBe(size.shards - failed.length);
      for (const { reason } of failed) expect(reason).toMatch(/stalled/);
      expect(await statusOf(output, ["--retry"])).toMatchObject({ retried: failed.length });
      expect(await score(output, ["--queue", redis.url])).toMatchObject({ code: 0 });
      await requireWhole(output);
      await worker.end("SIGKILL");
    });
});
