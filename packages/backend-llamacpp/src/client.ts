import { availableParallelism } from "node:os";
import { ChildClient, LocalClient, type RuntimeClient } from "@crossrank/backend-kit";
import type { Calls } from "./protocol.js";
import { Runtime } from "./runtime.js";

/** llama.cpp in a child process. */
export function openChild(): RuntimeClient<Calls> {
  return new ChildClient<Calls>({
    entry: new URL("./worker.js", import.meta.url),
    runtime: "llama.cpp",
    // Contexts run on libuv's threads, of which there are four by default; and ggml would start a debugger to die.
    environment: { GGML_NO_BACKTRACE: "1", UV_THREADPOOL_SIZE: String(availableParallelism() + 4) },
  });
}

/** llama.cpp in this process. */
export function openLocal(): RuntimeClient<Calls> {
  return new LocalClient<Calls>(new Runtime());
}
