import type {
  CallKind,
  Calls,
  LoadArgument,
  RehearsalArgument,
  RunArgument,
  RuntimeClient,
} from "./protocol.js";
import { Runtime } from "./runtime.js";

/** A runtime in this process, on threads of its own. */
export class LocalClient implements RuntimeClient {
  readonly #runtime = new Runtime();
  #loading: Promise<unknown> = Promise.resolve();

  async call<Kind extends CallKind>(
    kind: Kind,
    argument: Calls[Kind]["argument"],
  ): Promise<Calls[Kind]["result"]> {
    return (await this.#serve(kind, argument)) as Calls[Kind]["result"];
  }

  async close(): Promise<void> {
    // A model that is still loading is released once it is there.
    await this.#loading.catch(() => undefined);
    await this.#runtime.release();
  }

  #serve(kind: CallKind, argument: unknown): unknown {
    switch (kind) {
      case "load":
        this.#loading = this.#runtime.load(argument as LoadArgument);
        return this.#loading;
      case "run":
        return this.#runtime.run(argument as RunArgument);
      case "rehearse":
        return this.#runtime.rehearse(argument as RehearsalArgument);
      case "diagnose":
        return this.#runtime.diagnose();
      case "release":
        return this.#runtime.release();
    }
  }
}
