import { availableParallelism } from "node:os";
import { RuntimeStartError } from "@crossrank/backend-kit";
import { firstLine } from "@crossrank/backend-kit/runtime";
import type { BackendDiagnosis } from "@crossrank/core";
import { openLane } from "./lanes.js";
import { runtimeFix } from "./load-error.js";

/** Starts ONNX Runtime in a child process, and loads no model. Never throws. */
export async function diagnose(): Promise<BackendDiagnosis> {
  const lane = openLane("process");
  try {
    const { version, providers } = await lane.call("diagnose", undefined);
    const names = providers.map(({ name, bundled }) =>
      bundled ? name : `${name} (needs its own libraries)`,
    );
    return {
      available: true,
      runtime: { name: "onnxruntime-node", version },
      detail: `execution providers ${names.join(", ")}; ${availableParallelism()} processor threads`,
    };
  } catch (error) {
    if (RuntimeStartError.isInstance(error)) return { available: false, detail: error.message };
    return { available: false, detail: `ONNX Runtime does not load: ${firstLine(error)}. ${runtimeFix()}` };
  } finally {
    await lane.close();
  }
}
