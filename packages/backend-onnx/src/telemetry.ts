/**
 * ONNX Runtime reports to its maker from every process since 1.29, and keeps an id of the machine in the home folder,
 * unless this variable is in the environment when the library is loaded. What the user set is left as it is.
 */
const variable = "ORT_DISABLE_TELEMETRY";

/** Variables for a process that loads ONNX Runtime. */
export function telemetryOff(): Readonly<Record<string, string>> {
  return { [variable]: process.env[variable] ?? "1" };
}

/** For this process. The library reads the environment of the process, which a worker thread cannot set. */
export function turnTelemetryOff(): void {
  process.env[variable] ??= "1";
}
