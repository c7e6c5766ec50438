import { Host, type HostFacts } from "@crossrank/backend-kit";
import manifest from "../package.json" with { type: "json" };
import type { Calls } from "./protocol.js";
import { Runtime } from "./runtime.js";

/** MLX in a child process, or in this one, on a thread of its own. */
export function openHost(
  facts: Pick<HostFacts<Calls>, "isolation" | "deadlines" | "checkUnchanged"> & {
    /** Of OpenBLAS, in a child process. Undefined: OPENBLAS_NUM_THREADS, or 1. */
    readonly threads?: number | undefined;
  },
): Host<Calls> {
  const { threads, ...others } = facts;
  return new Host<Calls>({
    ...others,
    entry: {
      name: manifest.name,
      version: manifest.version,
      module: import.meta.url,
      path: "dist/worker.js",
    },
    runtime: "MLX",
    environment: threads === undefined ? {} : { OPENBLAS_NUM_THREADS: String(threads) },
    here: () => new Runtime(),
  });
}
