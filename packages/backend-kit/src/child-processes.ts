import type { ChildProcess } from "node:child_process";
import { availableParallelism } from "node:os";
import { RuntimeFailure } from "./calls.js";

/** Children of this process that run a runtime. */
const living = new Set<ChildProcess>();

/** More than any sensible program has; each holds a runtime and a model in memory. */
export function mostChildren(): number {
  return Math.max(64, 4 * availableParallelism());
}

/** @throws {RuntimeFailure} stage `limit`, when there are as many as there may be. */
export function requireRoomForChild(): void {
  const most = mostChildren();
  if (living.size < most) return;
  throw new RuntimeFailure(
    "limit",
    `this process has ${living.size} runtimes in child processes already, the most that it may have: dispose of models ` +
      "that are not needed any more, or ask for fewer `workers`",
  );
}

/** A child that does not see the end of its channel, inside native code, ends with this process all the same. */
export function endWithThisProcess(child: ChildProcess): void {
  if (living.size === 0) process.on("exit", killAll);
  living.add(child);
  const gone = (): void => {
    living.delete(child);
    if (living.size === 0) process.off("exit", killAll);
  };
  child.once("exit", gone);
  child.once("error", () => child.pid === undefined && gone());
}

function killAll(): void {
  for (const child of living) child.kill("SIGKILL");
}
