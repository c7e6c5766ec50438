import { availableParallelism } from "node:os";
import type { BackendDiagnosis } from "@crossrank/core";
import { ChildClient } from "./child-client.js";
import { runtimeFix } from "./load-error.js";

/** Starts llama.cpp in a child process, and loads no model. Never throws. */
export async function diagnose(): Promise<BackendDiagnosis> {
  let client: ChildClient | undefined;
  try {
    client = new ChildClient();
    const { version, buildType, features } = await client.call("diagnose", undefined);
    const binary = buildType === "prebuilt" ? "prebuilt binary" : "local build";
    return {
      available: true,
      runtime: { name: "node-llama-cpp", version },
      detail: `${binary} for the processor (${features.join(", ")}); ${availableParallelism()} processor threads`,
    };
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).split("\n", 1)[0];
    return { available: false, detail: `node-llama-cpp does not load: ${reason}. ${runtimeFix}` };
  } finally {
    await client?.close();
  }
}
