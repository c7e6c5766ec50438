import { describe, expect, it } from "vitest";
import { QueueFullError, TokenQueue, type Turn } from "../src/token-queue.js";

const never = (): AbortSignal => new AbortController().signal;

/** A random number that is the same in every run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Lets what is ready go on. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("the queue", () => {
  it("runs one at a time, or as many as it is told, in the order of one client's requests", async () => {
    const queue = new TokenQueue(100);
    const order: number[] = [];
    const turns: Turn[] = [];
    const all = Array.from({ length: 5 }, async (_, index) => {
      turns.push(await queue.enter("a", 10, never()));
      order.push(index);
    });
    await settle();
    expect([order, queue.running, queue.waiting, queue.tokens]).toEqual([[0], 1, 4, 50]);
    queue.concurrency = 2;
    await settle();
    expect([order, queue.running]).toEqual([[0, 1], 2]);
    while (order.length < 5) {
      turns.shift()?.end();
      await settle();
    }
    for (const turn of turns) {
      turn.end();
      turn.end();
    }
    await Promise.all(all);
    expect([order, queue.running, queue.waiting, queue.tokens]).toEqual([[0, 1, 2, 3, 4], 0, 0, 0]);
  });

  it("gives a client that comes late its share of tokens, whatever another has waiting", async () => {
    const queue = new TokenQueue(10_000);
    const order: string[] = [];
    const all: Promise<void>[] = [];
    const add = (client: string, tokens: number): void => {
      all.push(
        queue.enter(client, tokens, never()).then(async (turn) => {
          order.push(client);
          await settle();
          turn.end();
        }),
      );
    };
    for (let index = 0; index < 40; index += 1) add("flood", 100);
    for (let index = 0; index < 4; index += 1) add("small", 50);
    for (let index = 0; index < 4; index += 1) add("large", 200);
    await Promise.all(all);
    // Among the first runs each client has had the same tokens, up to one request.
    const tokens = { flood: 100, small: 50, large: 200 };
    const had = new Map<string, number>();
    for (const client of order.slice(0, 12) as (keyof typeof tokens)[]) {
      had.set(client, (had.get(client) ?? 0) + tokens[client]);
    }
    expect(had.get("small")).toBe(200);
    expect(order.lastIndexOf("small")).toBeLessThan(12);
    expect(order.lastIndexOf("large")).toBeLessThan(24);
  });

  it("refuses what it has no room for, with the seconds that it needs", async () => {
    const queue = new TokenQueue(100);
    const first = await queue.enter("a", 60, never());
    await expect(queue.enter("a", 41, never())).rejects.toBeInstanceOf(QueueFullError);
    const second = queue.enter("a", 40, never());
    await expect(queue.enter("a", 1, never())).rejects.toMatchObject({ retryAfter: 1 });
    first.end();
    (await second).end();
    expect(queue.tokens).toBe(0);
    expect(queue.secondsFor(1e12)).toBe(60);
  });

  it("makes room for a client below its share, at the cost of the newest of one above", async () => {
    const queue = new TokenQueue(100);
    const running = await queue.enter("flood", 20, never());
    const waiting = Array.from({ length: 4 }, () =>
      queue.enter("flood", 20, never()).then(
        (turn) => turn,
        (error: unknown) => error,
      ),
    );
    const other = queue.enter("other", 30, never());
    await settle();
    expect(queue.tokens).toBe(90);
    // The two newest had to go.
    expect(await waiting[3]).toBeInstanceOf(QueueFullError);
    expect(await waiting[2]).toBeInstanceOf(QueueFullError);
    await expect(queue.enter("other", 30, never())).rejects.toBeInstanceOf(QueueFullError);
    running.end();
    for (const turn of [other, waiting[0], waiting[1]]) ((await turn) as Turn).end();
    expect(queue.tokens).toBe(0);
  });

  it("lets go who is aborted, before and while it waits", async () => {
    const queue = new TokenQueue(100);
    const running = await queue.enter("a", 50, never());
    const abort = new AbortController();
    const waiting = queue.enter("a", 50, abort.signal);
    abort.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
    await expect(queue.enter("a", 1, abort.signal)).rejects.toThrow("gone");
    expect([queue.tokens, queue.waiting]).toEqual([50, 0]);
    running.end();
    const next = await queue.enter("a", 100, never());
    next.end();
    expect(queue.speed).toBeGreaterThan(0);
  });

  it("counts right after whatever happens: 2,000 requests of 40 clients, at random", async () => {
    const next = random(7);
    const queue = new TokenQueue(2000);
    queue.concurrency = 3;
    let answered = 0;
    let refused = 0;
    let aborted = 0;
    let most = 0;
    const all = Array.from({ length: 2000 }, async () => {
      for (let wait = Math.floor(next() * 60); wait > 0; wait -= 1) await settle();
      const abort = new AbortController();
      if (next() < 0.2) setImmediate(() => abort.abort(new Error("gone")));
      try {
        const turn = await queue.enter(
          `client ${Math.floor(next() * 40)}`,
          1 + Math.floor(next() * 200),
          abort.signal,
        );
        most = Math.max(most, queue.tokens);
        expect(queue.running).toBeLessThanOrEqual(3);
        if (next() < 0.5) await settle();
        turn.end();
        answered += 1;
      } catch (error) {
        if (error instanceof QueueFullError) refused += 1;
        else aborted += 1;
      }
    });
    await Promise.all(all);
    expect(answered + refused + aborted).toBe(2000);
    expect(Math.min(answered, refused, aborted)).toBeGreaterThan(50);
    expect(most).toBeLessThanOrEqual(2000);
    expect([queue.tokens, queue.running, queue.waiting]).toEqual([0, 0, 0]);
  });
});
