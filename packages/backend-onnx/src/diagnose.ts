import { availableParallelism } from "node:os";
import { firstLine } from "@crossrank/backend-kit/runtime";
import type { BackendDiagnosis } from "@crossrank/core";
import { runtimeFix } from "./load-error.js";

/** Loads the native library, and no model. Never throws. */
export async function diagnose(): Promise<BackendDiagnosis> {
  try {
    const { env, listSupportedBackends } = await import("onnxruntime-node");
    const providers = listSupportedBackends().map(({ name, bundled }) =>
      bundled ? name : `${name} (needs its own libraries)`,
    );
    return {
      available: true,
      runtime: { name: "onnxruntime-node", version: env.versions.node ?? env.versions.common },
      detail: `execution providers ${providers.join(", ")}; ${availableParallelism()} processor threads`,
    };
  } catch (error) {
    return { available: false, detail: `onnxruntime-node does not load: ${firstLine(error)}. ${runtimeFix}` };
  }
}
