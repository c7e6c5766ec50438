import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, expect, it } from "vitest";
import { getFrom, openNano, postTo } from "./scene.js";

const isLong = process.env["CROSSRANK_LONG"] !== undefined;
const clients = 64;
/** Milliseconds of load: ten minutes with CROSSRANK_LONG. */
const duration = isLong ? 600_000 : 3500;
/** Beyond which no machine is waited for. */
const mostPatience = 60_000;
/** Milliseconds from one death of the runtime's process to the next. */
const betweenKills = isLong ? 60_000 : 1500;
/** About four requests: with 64 clients much more is offered. */
const queueTokens = 1500;

/** A random number that is the same in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

const nano = await openNano();
const server = spawn(
  process.execPath,
  [fileURLToPath(new URL("load-server.mjs", import.meta.url)), JSON.stringify({ queueTokens })],
  { stdio: ["pipe", "pipe", "inherit"] },
);
const [url] = (await once(createInterface(server.stdout), "line")) as [string];
afterAll(async () => {
  const ended = once(server, "exit");
  server.stdin.end();
  await Promise.all([nano.dispose(), ended]);
});

/** Processes that another has started, by their ids. */
function childrenOf(parent: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === parent;
      } catch {
        // It has ended since.
        return false;
      }
    })
    .map(Number);
}

/** Resident memory of the server's own process, in MiB. */
function residentMemory(): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(
    readFileSync(`/proc/${server.pid}/status`, "utf8"),
  ) as RegExpExecArray;
  return Number(kilobytes) / 1024;
}

const words = [
  "vaccine",
  "museum",
  "river",
  "engine",
  "immune",
  "virus",
  "music",
  "theatre",
  "doctor",
  "antibody",
];
const next = random(3);
const sentence = (length: number): string =>
  Array.from({ length }, () => words[Math.floor(next() * words.length)]).join(" ");
const calls = await Promise.all(
  Array.from({ length: 24 }, async () => {
    const query = sentence(4);
    const documents = Array.from({ length: 4 + Math.floor(next() * 8) }, () =>
      sentence(5 + Math.floor(next() * 60)),
    );
    const { scores } = await nano.score(documents.map((document) => ({ query, document })));
    return { query, documents, scores: scores.map(({ score }) => score as number) };
  }),
);

it(
  `answers ${clients} clients for ${duration / 1000} s right or with 429, and is well after each death of its runtime`,
  async () => {
    const seen = new Map<number, number>();
    const waits: number[] = [];
    const wrong: string[] = [];
    const end = performance.now() + duration;
    const memory: number[] = [];
    let kills = 0;
    const leastAnswers = isLong ? 51 : 3;
    // On a busy machine longer than that: no machine's speed is tested.
    const goesOn = (): boolean =>
      performance.now() < end ||
      ((seen.get(200) ?? 0) < leastAnswers && performance.now() < end + mostPatience);
    const client = async (number: number): Promise<void> => {
      const draw = random(number + 1);
      while (goesOn()) {
        const call = calls[Math.floor(draw() * calls.length)] as (typeof calls)[number];
        const began = performance.now();
        const { status, headers, body } = await postTo(url, "/v1/rerank", call);
        seen.set(status, (seen.get(status) ?? 0) + 1);
        if (status === 200) {
          waits.push(performance.now() - began);
          for (const { index, relevance_score: score } of body.results) {
            // A batch of other lengths rounds otherwise.
            if (Math.abs(score - (call.scores[index] as number)) > 1e-3) wrong.push(`${index}: ${score}`);
          }
          if (body.results.length !== call.documents.length) wrong.push(`${body.results.length} results`);
        } else {
          expect(Number(headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
          // Sooner than it is told to.
          await sleep(50 + draw() * 100);
        }
      }
    };
    const killer = async (): Promise<void> => {
      while (performance.now() + betweenKills < end) {
        await sleep(betweenKills);
        memory.push(residentMemory());
        for (const child of childrenOf(server.pid as number)) {
          process.kill(child, "SIGKILL");
          kills += 1;
        }
      }
    };
    await Promise.all([...Array.from({ length: clients }, (_, number) => client(number)), killer()]);
    const took = performance.now() - (end - duration);
    expect(wrong).toEqual([]);
    expect([...seen.keys()].filter((status) => ![200, 429, 503].includes(status))).toEqual([]);
    expect(kills).toBeGreaterThan(0);
    expect(seen.get(200)).toBeGreaterThanOrEqual(leastAnswers);
    expect(seen.get(429)).toBeGreaterThan(10);
    expect(seen.get(503) ?? 0).toBeLessThan((seen.get(200) as number) + kills * clients);

    const { body } = await postTo(url, "/v1/rerank", calls[0]);
    expect(body.results).toHaveLength(calls[0]?.documents.length as number);
    expect((await getFrom(url, "/health")).status).toBe(200);
    const metrics = (await getFrom(url, "/metrics")).text;
    expect(metrics).toMatch(/crossrank_queue_tokens\{model="nano"\} 0/);
    const counted = [...metrics.matchAll(/^crossrank_requests_total\{.*\} (\d+)$/gm)].map(([, count]) =>
      Number(count),
    );
    const sent = [...seen.values()].reduce((sum, count) => sum + count, 0);
    expect(counted.reduce((sum, count) => sum + count, 0)).toBe(sent + 1);

    // The bound is queue ÷ speed and one request; on a machine that others use too, ten times as much.
    const tokensPerMillisecond = waits.length === 0 ? 0 : (waits.length * queueTokens) / 4 / took;
    const p99 = waits.sort((a, b) => a - b)[Math.floor(waits.length * 0.99)] as number;
    console.info(`${JSON.stringify([...seen])}, ${kills} kills, p99 ${Math.round(p99)} ms`);
    expect(p99).toBeLessThan((10 * queueTokens) / tokensPerMillisecond + 10_000);
    const [first] = memory as [number];
    console.info(`MiB of the server before each death: ${memory.map(Math.round).join(", ")}`);
    // Flat: what a process takes at first is kept by its allocator.
    expect(Math.max(...memory.slice(-2)), "MiB of the server at the end").toBeLessThan(first * 1.5 + 50);
  },
  duration + 120_000,
);
