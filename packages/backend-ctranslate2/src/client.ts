import { Host, type HostFacts } from "@crossrank/backend-kit";
import manifest from "../package.json" with { type: "json" };
import type { Calls } from "./protocol.js";
import { Runtime } from "./runtime.js";

/** CTranslate2 in a child process, or in this one, on threads of its own. */
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
    runtime: "CTranslate2",
    here: () => new Runtime(),
  });
}
