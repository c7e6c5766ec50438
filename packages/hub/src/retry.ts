import { untilAborted } from "@crossrank/core";
import { HubNetworkError, HubRateLimitedError } from "./errors.js";

/** How often and how long a failed request is tried again: on 429, 408, 5xx, and a cut or stalled connection. */
export interface RetryPolicy {
  /** Attempts in a row without progress, the first included; at least 1. A mebibyte of new bytes is progress. Default 5. */
  readonly attempts: number;
  /** Milliseconds before the second attempt, doubled for each further one. `Retry-After` takes precedence. Default 1000. */
  readonly delay: number;
  /** Longest wait in milliseconds between two attempts; a `Retry-After` beyond it fails at once. Default 60,000. */
  readonly longestDelay: number;
  /** Milliseconds without a byte after which a connection counts as cut. Default 30,000. */
  readonly idleTimeout: number;
  /** Bytes a second, over each `idleTimeout`, below which a connection counts as cut. Default 1024. */
  readonly lowestSpeed: number;
}

export const defaultRetryPolicy: RetryPolicy = {
  attempts: 5,
  delay: 1000,
  longestDelay: 60_000,
  idleTimeout: 30_000,
  lowestSpeed: 1024,
};

/** One attempt, as the task sees it. */
export interface Attempt {
  /** 1 for the first. */
  readonly number: number;
  /** Tells that this attempt got somewhere, so that earlier failures no longer count. */
  madeProgress(): void;
}

/**
 * Runs `task` until it succeeds, fails for good, or has failed `policy.attempts` times in a row.
 * @throws what the last attempt threw, and the signal's reason when it aborts.
 */
export async function withRetries<Result>(
  policy: RetryPolicy,
  signal: AbortSignal | undefined,
  task: (attempt: Attempt) => Promise<Result>,
): Promise<Result> {
  let number = 0;
  for (;;) {
    signal?.throwIfAborted();
    number += 1;
    try {
      return await task({
        number,
        madeProgress: () => {
          number = 0;
        },
      });
    } catch (error) {
      signal?.throwIfAborted();
      const delay = delayBeforeNext(error, number, policy);
      if (delay === undefined) throw error;
      await waitFor(delay, signal);
    }
  }
}

/** Undefined when there should be no next attempt. */
function delayBeforeNext(error: unknown, failures: number, policy: RetryPolicy): number | undefined {
  const limited = error instanceof HubRateLimitedError;
  if (!limited && !(error instanceof HubNetworkError)) return undefined;
  if (failures >= policy.attempts) return undefined;
  if (limited && error.retryAfter !== undefined) {
    const asked = error.retryAfter * 1000;
    return asked > policy.longestDelay ? undefined : asked;
  }
  const doubled = policy.delay * 2 ** Math.max(0, failures - 1);
  // Jitter, so that many clients cut off together do not return together.
  return Math.min(doubled, policy.longestDelay) * (0.5 + Math.random() / 2);
}

async function waitFor(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  try {
    await untilAborted(over, signal);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Seconds to wait, from `Retry-After` (RFC 9110 10.2.3, seconds or a date), else from the hub's `RateLimit`
 * header (https://huggingface.co/docs/hub/rate-limits), whose `t` is the seconds until the window resets.
 */
export function readRetryAfter(headers: Headers): number | undefined {
  const retryAfter = headers.get("retry-after");
  if (retryAfter !== null) {
    if (/^\s*\d+\s*$/.test(retryAfter)) return Number(retryAfter);
    const date = Date.parse(retryAfter);
    if (!Number.isNaN(date)) return Math.max(0, Math.ceil((date - Date.now()) / 1000));
  }
  const reset = /(?:^|;)\s*t=(\d+)/.exec(headers.get("ratelimit") ?? "");
  return reset === null ? undefined : Number(reset[1]);
}
