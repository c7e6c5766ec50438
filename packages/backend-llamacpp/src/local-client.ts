import type { CallKind, Calls, LoadArgument, RunArgument, RuntimeClient } from "./protocol.js";
import { Runtime } from "./runtime.js";

/** A runtime in this process. */
export class LocalClient implements RuntimeClient {
  readonly death: undefined;
  readonly #runtime = new Runtime();

  async call<Kind extends CallKind>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
    signal?: AbortSignal,
  ): Promise<Calls[Kind]["result"]> {
    return (await abortable(this.#serve(kind, argument, signal), signal)) as Calls[Kind]["result"];
  }

  async close(): Promise<void> {
    await this.#runtime.release();
  }

  #serve(kind: CallKind, argument: unknown, signal: AbortSignal | undefined): Promise<unknown> {
    switch (kind) {
      case "load":
        return this.#runtime.load(argument as LoadArgument);
      case "run":
        return this.#runtime.run(argument as RunArgument, signal);
      case "diagnose":
        return this.#runtime.diagnose();
      case "release":
        return this.#runtime.release();
    }
  }
}

/** Rejects with the signal's reason as soon as it aborts, whatever the work is at. */
export async function abortable<Result>(
  work: Promise<Result>,
  signal: AbortSignal | undefined,
): Promise<Result> {
  if (signal === undefined) return work;
  const listening = new AbortController();
  const aborted = new Promise<never>((_, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true, signal: listening.signal });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    listening.abort();
  }
}
