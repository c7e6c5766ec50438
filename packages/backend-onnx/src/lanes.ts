import { Host, type HostOptions, type Isolation } from "@crossrank/backend-kit";
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
    entry: new URL("./worker.js", import.meta.url),
    runtime: "ONNX Runtime",
    environment: telemetryOff(),
  });
}
