import { ChildClient, LocalClient, type RuntimeClient } from "@crossrank/backend-kit";
import type { Calls } from "./protocol.js";
import { Runtime } from "./runtime.js";

/** MNN in a child process. */
export function openChild(): RuntimeClient<Calls> {
  return new ChildClient<Calls>({ entry: new URL("./worker.js", import.meta.url), runtime: "MNN" });
}

/** MNN in this process, on threads of its own. */
export function openLocal(): RuntimeClient<Calls> {
  return new LocalClient<Calls>(new Runtime());
}
