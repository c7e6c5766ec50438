import { Host, type HostOptions, type Isolation, type PackageFile } from "@crossrank/backend-kit";
import manifest from "../package.json" with { type: "json" };
import type { Calls } from "./protocol.js";
import { telemetryOff, turnTelemetryOff } from "./telemetry.js";

/** ONNX Runtime in a child process or a worker thread, with one session. */
export type Lane = Host<Calls>;

export function openLane(
  isolation: Isolation,
  options: Pick<HostOptions, "deadlines"> & {
    readonly checkUnchanged?: (() => Promise<void>) | undefined;
  } = {},
): Lane {
  if (isolation === "thread") turnTelemetryOff();
  return new Host<Calls>({
    ...options,
    isolation,
    entry: workerFile(),
    runtime: "ONNX Runtime",
    environment: telemetryOff(),
  });
}

/**
 * Not as `new URL("./worker.js", import.meta.url)`, which bundlers take for a file of theirs and copy without what it
 * imports.
 */
function workerFile(): PackageFile {
  const { name, version } = manifest;
  return { name, version, module: import.meta.url, path: "dist/worker.js" };
}
