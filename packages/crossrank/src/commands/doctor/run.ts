import { availableParallelism, cpus, freemem, totalmem } from "node:os";
import { readEnvironment } from "@crossrank/hub";
import { backendPackage, createBackend, loadBackends } from "../../backends.js";
import { print } from "../../context.js";
import { CommandError } from "../../failure.js";
import { type BackendReport, formatReport, type MachineReport } from "./table.js";

/** @param further names of backends that are not of this repository. */
export async function examine(
  version: string,
  format: "table" | "json",
  further: readonly string[],
): Promise<void> {
  const names = new Set([...(await loadBackends()), ...further]);
  const backends = await Promise.all([...names].map(diagnose));
  const { cacheFolder, offline } = await readEnvironment();
  const report: MachineReport = {
    crossrank: version,
    node: process.versions.node,
    platform: process.platform,
    architecture: process.arch,
    processor: cpus()[0]?.model ?? "unknown",
    cores: availableParallelism(),
    memory: { total: totalmem(), free: freemem() },
    cache: { folder: cacheFolder, offline },
    backends,
  };
  await print(format === "json" ? `${JSON.stringify(report, undefined, 2)}\n` : formatReport(report));
  if (!backends.some(({ available }) => available)) {
    throw new CommandError("no backend works on this machine; see the reasons above");
  }
}

async function diagnose(name: string): Promise<BackendReport> {
  const facts = { name, package: backendPackage(name) };
  try {
    const backend = await createBackend(name);
    const { available, runtime, detail } = await backend.diagnose();
    return { ...facts, available, runtime: runtime ?? null, detail };
  } catch (error) {
    return { ...facts, available: false, runtime: null, detail: (error as Error).message };
  }
}
