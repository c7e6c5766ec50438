import { availableParallelism } from "node:os";
import { Host, type HostFacts } from "@crossrank/backend-kit";
import manifest from "../package.json" with { type: "json" };
import type { Calls } from "./protocol.js";
import { Runtime } from "./runtime.js";

/** llama.cpp in a child process, or in this one. */
export function openHost(
  facts: Pick<HostFacts<Calls>, "isolation" | "deadlines" | "checkUnchanged">,
): Host<Calls> {
  return new Host<Calls>({
    ...facts,
    entry: {
      name: manifest.name,
      version: manifest.version,
      module: import.meta.url,
      path: "dist/worker.js",
    },
    runtime: "llama.cpp",
    // Contexts run on libuv's threads, of which there are four by default; and ggml would start a debugger to die.
    environment: { GGML_NO_BACKTRACE: "1", UV_THREADPOOL_SIZE: String(availableParallelism() + 4) },
    here: () => new Runtime(),
  });
}
