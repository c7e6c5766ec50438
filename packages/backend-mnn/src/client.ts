import { Host, type HostFacts } from "@crossrank/backend-kit";
import type { Calls } from "./protocol.js";
import { Runtime } from "./runtime.js";

/** MNN in a child process, or in this one, on threads of its own. */
export function openHost(
  facts: Pick<HostFacts<Calls>, "isolation" | "deadlines" | "checkUnchanged">,
): Host<Calls> {
  return new Host<Calls>({
    ...facts,
    entry: new URL("./worker.js", import.meta.url),
    runtime: "MNN",
    here: () => new Runtime(),
  });
}
