import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { QueueCounts } from "./shard-queue.js";
import type { ShardEvent } from "./shard-worker.js";

/** Seconds of a shard: from a small model's to a large one's. */
const buckets = [0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

/** Milliseconds for the queue's own counts: Prometheus waits ten seconds for all of it. */
const countsPatience = 3000;

/** Metrics of one worker, in a registry of its own. */
export interface WorkerMetrics {
  record(event: ShardEvent): void;
  render(): Promise<string>;
  readonly contentType: string;
}

/** @param counts of the queue, asked for when the metrics are. */
export function createWorkerMetrics(counts: () => Promise<QueueCounts>): WorkerMetrics {
  const registry = new Registry();
  let asked: Promise<QueueCounts | undefined> | undefined;
  const registers = [registry];
  const shards = new Counter({
    name: "crossrank_worker_shards_total",
    help: "Shards of this worker by how they ended: done, failed (to be tried again, or a dead letter), returned to the queue.",
    labelNames: ["outcome"],
    registers,
  });
  const pairs = new Counter({
    name: "crossrank_worker_pairs_total",
    help: "Rows of shards that are done, by whether they have a score.",
    labelNames: ["outcome"],
    registers,
  });
  const duration = new Histogram({
    name: "crossrank_worker_shard_duration_seconds",
    help: "From the start of a shard to its file.",
    buckets,
    registers,
  });
  const busy = new Gauge({ name: "crossrank_worker_busy", help: "1 while a shard is scored.", registers });
  new Gauge({
    name: "crossrank_queue_shards",
    help: "Shards of the queue by state, of all workers.",
    labelNames: ["state"],
    registers,
    async collect() {
      // Without the queue there is nothing to tell; the worker's own numbers stay.
      const late = new AbortController();
      // One question at a time, however long the queue is away.
      asked ??= counts()
        .catch(() => undefined)
        .finally(() => {
          asked = undefined;
        });
      const now = await Promise.race([
        asked,
        sleep(countsPatience, undefined, { signal: late.signal }).catch(() => undefined),
      ]);
      late.abort();
      for (const state of ["waiting", "active", "delayed", "failed"] as const) {
        if (now !== undefined) this.set({ state }, now[state]);
      }
    },
  });
  collectDefaultMetrics({ register: registry });
  return {
    contentType: registry.contentType,
    render: () => registry.metrics(),
    record(event) {
      busy.set(event.event === "started" ? 1 : 0);
      if (event.event === "started") return;
      shards.inc({ outcome: event.event });
      if (event.event !== "done") return;
      duration.observe(event.seconds);
      pairs.inc({ outcome: "scored" }, event.rows - event.failed);
      pairs.inc({ outcome: "failed" }, event.failed);
    },
  };
}

/** Serves `/metrics`, and `/health` for who asks whether the process lives. */
export async function serveMetrics(
  metrics: WorkerMetrics,
  { port, host }: { readonly port: number; readonly host: string },
): Promise<{ readonly port: number; close(): Promise<void> }> {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? "/", "http://worker");
    if (pathname === "/health") return response.end("ok\n");
    if (pathname !== "/metrics") {
      response.statusCode = 404;
      return response.end("There are /metrics and /health.\n");
    }
    return void metrics.render().then(
      (text) => response.setHeader("content-type", metrics.contentType).end(text),
      (error: unknown) => {
        response.statusCode = 500;
        response.end(`${error instanceof Error ? error.message : error}\n`);
      },
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host }, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
