import { availableParallelism } from "node:os";
import { RuntimeStartError } from "@crossrank/backend-kit";
import { firstLine } from "@crossrank/backend-kit/runtime";
import type { BackendDiagnosis } from "@crossrank/core";
import { openHost } from "./client.js";
import { runtimeFix } from "./load-error.js";

/** Starts llama.cpp in a child process, and loads no model. Never throws. */
export async function diagnose(): Promise<BackendDiagnosis> {
  const host = openHost({ isolation: "process" });
  try {
    const { version, buildType, features } = await host.call("diagnose", undefined);
    const binary = buildType === "prebuilt" ? "prebuilt binary" : "local build";
    return {
      available: true,
      runtime: { name: "node-llama-cpp", version },
      detail: `${binary} for the processor (${features.join(", ")}); ${availableParallelism()} processor threads; above 2 GB Q8_0 is chosen before F32, BF16 and F16 unless a dtype is asked for`,
    };
  } catch (error) {
    if (RuntimeStartError.isInstance(error)) return { available: false, detail: error.message };
    return { available: false, detail: `node-llama-cpp does not load: ${firstLine(error)}. ${runtimeFix}` };
  } finally {
    await host.close();
  }
}
