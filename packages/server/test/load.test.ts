import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { onnx } from "@crossrank/backend-onnx";
import { createReranker } from "@crossrank/core";
import { openModel } from "@crossrank/hub";
import { modelFolder } from "@crossrank/model-nano";
import { afterAll, expect, it } from "vitest";
import { startScene } from "./scene.js";

const isLong = process.env["CROSSRANK_LONG"] !== undefined;
const clients = 64;
/** Milliseconds of load: ten minutes with CROSSRANK_LONG. */
const duration = isLong ? 600_000 : 8000;
/** Milliseconds from one death of the runtime's process to the next. */
const betweenKills = isLong ? 60_000 : 3000;
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

const before = new Set(childrenOfThis());
const nano = await createReranker({
  model: await openModel(modelFolder),
  backend: onnx({ workers: 1, threads: 1, isolation: "process" }),
});
afterAll(() => nano.dispose());
const scene = await startScene({
  models: [{ name: "nano", open: async () => nano }],
  limits: { queueTokens, requestTokens: queueTokens },
});
await scene.server.load();

/** Processes that this one has started, by their ids. */
function childrenOfThis(): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, "utf8");
        return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]) === process.pid;
      } catch {
        // It has ended since.
        return false;
      }
    })
    .map(Number);
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
    let firstMemory = 0;
    let kills = 0;
    const client = async (number: number): Promise<void> => {
      const draw = random(number + 1);
      while (performance.now() < end) {
        const call = calls[Math.floor(draw() * calls.length)] as (typeof calls)[number];
        const began = performance.now();
        const { status, headers, body } = await scene.post("/v1/rerank", call);
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
        firstMemory ||= process.memoryUsage().rss;
        for (const child of childrenOfThis().filter((id) => !before.has(id))) {
          process.kill(child, "SIGKILL");
          kills += 1;
        }
      }
    };
    await Promise.all([...Array.from({ length: clients }, (_, number) => client(number)), killer()]);
    expect(wrong).toEqual([]);
    expect([...seen.keys()].filter((status) => ![200, 429, 503].includes(status))).toEqual([]);
    expect(kills).toBeGreaterThan(0);
    expect(seen.get(200)).toBeGreaterThan(isLong ? 50 : 2);
    expect(seen.get(429)).toBeGreaterThan(10);
    expect(seen.get(503) ?? 0).toBeLessThan((seen.get(200) as number) + kills * clients);

    const { body } = await scene.post("/v1/rerank", calls[0]);
    expect(body.results).toHaveLength(calls[0]?.documents.length as number);
    expect((await scene.get("/health")).status).toBe(200);
    const metrics = (await scene.get("/metrics")).text;
    expect(metrics).toMatch(/crossrank_queue_tokens\{model="nano"\} 0/);
    const counted = [...metrics.matchAll(/^crossrank_requests_total\{.*\} (\d+)$/gm)].map(([, count]) =>
      Number(count),
    );
    const sent = [...seen.values()].reduce((sum, count) => sum + count, 0);
    expect(counted.reduce((sum, count) => sum + count, 0)).toBe(sent + 1);

    // The bound is queue ÷ speed and one request; on a machine that others use too, ten times as much.
    const tokensPerMillisecond = waits.length === 0 ? 0 : (waits.length * queueTokens) / 4 / duration;
    const p99 = waits.sort((a, b) => a - b)[Math.floor(waits.length * 0.99)] as number;
    console.info(`${JSON.stringify([...seen])}, ${kills} kills, p99 ${Math.round(p99)} ms`);
    expect(p99).toBeLessThan((10 * queueTokens) / tokensPerMillisecond + 10_000);
    const growth = (process.memoryUsage().rss - firstMemory) / 2 ** 20;
    expect(growth, "MiB that the server's process has grown since the first death").toBeLessThan(200);
  },
  duration + 120_000,
);
