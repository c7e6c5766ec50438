import { availableParallelism } from "node:os";
import { RuntimeStartError } from "@crossrank/backend-kit";
import { firstLine } from "@crossrank/backend-kit/runtime";
import type { BackendDiagnosis } from "@crossrank/core";
import { openHost } from "./client.js";
import { platformName } from "./native.js";

/** Starts MLX in a child process, and loads no model. Never throws. */
export async function diagnose(): Promise<BackendDiagnosis> {
  const host = openHost({ isolation: "process" });
  try {
    const { version, onGpu } = await host.call("diagnose", undefined);
    const where = onGpu
      ? "computes on the GPU through Metal"
      : `no GPU of Apple's: computes on ${availableParallelism()} processor threads, slowly`;
    return {
      available: true,
      runtime: { name: "MLX", version },
      detail: `addon for ${platformName()}; ${where}`,
    };
  } catch (error) {
    if (RuntimeStartError.isInstance(error)) return { available: false, detail: error.message };
    return { available: false, detail: `MLX does not start: ${firstLine(error)}` };
  } finally {
    await host.close();
  }
}
