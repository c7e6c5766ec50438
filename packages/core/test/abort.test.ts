import { onAbort, untilAborted } from "@crossrank/core";
import { describe, expect, test, vi } from "vitest";

const reason = new Error("enough");

/** A signal, and how many listeners it carries. */
function countedSignal(): { controller: AbortController; listeners: () => number } {
  const controller = new AbortController();
  const { signal } = controller;
  let count = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    count += 1;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    count -= 1;
    remove(...args);
  };
  return { controller, listeners: () => count };
}

/** That nothing it rejects goes unheard. */
async function expectAllHeard(run: () => Promise<void>): Promise<void> {
  const unheard = vi.fn();
  process.on("unhandledRejection", unheard);
  try {
    await run();
    await new Promise(setImmediate);
    expect(unheard).not.toHaveBeenCalled();
  } finally {
    process.off("unhandledRejection", unheard);
  }
}

describe("untilAborted", () => {
  test("gives the work's outcome, of a promise and of a function, with a signal and without", async () => {
    const { signal } = new AbortController();
    for (const given of [signal, undefined]) {
      expect(await untilAborted(Promise.resolve(1), given)).toBe(1);
      expect(await untilAborted(async () => 2, given)).toBe(2);
      await expect(untilAborted(Promise.reject(new Error("own")), given)).rejects.toThrow("own");
      await expect(untilAborted(() => Promise.reject(new Error("own")), given)).rejects.toThrow("own");
    }
  });

  test("rejects with the reason as soon as it aborts; the work goes on, and its failure is nobody's", async () => {
    await expectAllHeard(async () => {
      const controller = new AbortController();
      let fail = (_: Error): void => {};
      const work = new Promise<never>((_, reject) => {
        fail = reject;
      });
      const waiting = untilAborted(work, controller.signal);
      controller.abort(reason);
      await expect(waiting).rejects.toBe(reason);
      fail(new Error("late"));
    });
  });

  test("of a signal that has aborted calls no function, and takes the failure of a promise for its own", async () => {
    await expectAllHeard(async () => {
      const begin = vi.fn(async () => 1);
      const signal = AbortSignal.abort(reason);
      await expect(untilAborted(begin, signal)).rejects.toBe(reason);
      expect(begin).not.toHaveBeenCalled();
      await expect(untilAborted(Promise.reject(new Error("late")), signal)).rejects.toBe(reason);
    });
  });

  test("that throws at once, having aborted its own signal, is one failure", async () => {
    await expectAllHeard(async () => {
      const controller = new AbortController();
      const waiting = untilAborted(() => {
        controller.abort(reason);
        throw new Error("own");
      }, controller.signal);
      await expect(waiting).rejects.toThrow("own");
    });
  });

  test("leaves one listener at the signal, however many wait, and none behind them", async () => {
    const { controller, listeners } = countedSignal();
    const ends: (() => void)[] = [];
    const works = Array.from({ length: 20 }, () =>
      untilAborted(
        new Promise<void>((resolve) => {
          ends.push(resolve);
        }),
        controller.signal,
      ),
    );
    expect(listeners()).toBe(1);
    for (const end of ends) end();
    await Promise.all(works);
    expect(listeners()).toBe(0);
  });
});

describe("onAbort", () => {
  test("calls each back once, the same function as often as it waits, and none that was taken off", () => {
    const controller = new AbortController();
    const [twice, never] = [vi.fn(), vi.fn()];
    onAbort(controller.signal, twice);
    onAbort(controller.signal, twice);
    onAbort(controller.signal, never)();
    controller.abort(reason);
    expect(twice).toHaveBeenCalledTimes(2);
    expect(never).not.toHaveBeenCalled();
    onAbort(controller.signal, never);
    expect(never).toHaveBeenCalledTimes(1);
  });

  test("one that throws keeps no other from its call, and is heard of", async () => {
    const thrown = vi.fn();
    const others = process.rawListeners("uncaughtException") as ((error: Error) => void)[];
    process.removeAllListeners("uncaughtException");
    process.on("uncaughtException", thrown);
    try {
      const controller = new AbortController();
      onAbort(controller.signal, () => {
        throw reason;
      });
      const waiting = untilAborted(new Promise(() => undefined), controller.signal);
      controller.abort("enough");
      await expect(waiting).rejects.toBe("enough");
      await new Promise(setImmediate);
      expect(thrown.mock.calls.map(([error]) => error)).toEqual([reason]);
    } finally {
      process.removeAllListeners("uncaughtException");
      for (const other of others) process.on("uncaughtException", other);
    }
  });

  test("hears a signal of another make, which calls its listeners without itself", async () => {
    let listener = (): void => {};
    const signal = {
      aborted: false,
      reason,
      addEventListener: (_: string, added: () => void) => {
        listener = added;
      },
      removeEventListener: vi.fn(),
    };
    const waiting = untilAborted(new Promise(() => undefined), signal as unknown as AbortSignal);
    listener();
    await expect(waiting).rejects.toBe(reason);
    expect(signal.removeEventListener).toHaveBeenCalledWith("abort", listener);
  });
});
