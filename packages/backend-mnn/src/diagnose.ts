import { availableParallelism } from "node:os";
import { RuntimeStartError } from "@crossrank/backend-kit";
import { firstLine } from "@crossrank/backend-kit/runtime";
import type { BackendDiagnosis } from "@crossrank/core";
import { openHost } from "./client.js";
import { platformName } from "./native.js";

/** Starts MNN in a child process, and loads no model. Never throws. */
export async function diagnose(): Promise<BackendDiagnosis> {
  const host = openHost({ isolation: "process" });
  try {
    const { version } = await host.call("diagnose", undefined);
    const detail = `addon for ${platformName()}; ${availableParallelism()} processor threads`;
    return { available: true, runtime: { name: "MNN", version }, detail };
  } catch (error) {
    if (RuntimeStartError.isInstance(error)) return { available: false, detail: error.message };
    return { available: false, detail: `MNN does not start: ${firstLine(error)}` };
  } finally {
    await host.close();
  }
}
