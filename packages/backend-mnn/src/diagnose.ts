import { availableParallelism } from "node:os";
import type { BackendDiagnosis } from "@crossrank/core";
import { ChildClient } from "./child-client.js";
import { platformName } from "./native.js";

/** Starts MNN in a child process, and loads no model. Never throws. */
export async function diagnose(): Promise<BackendDiagnosis> {
  let client: ChildClient | undefined;
  try {
    client = new ChildClient();
    const { version } = await client.call("diagnose", undefined);
    const detail = `addon for ${platformName()}; ${availableParallelism()} processor threads`;
    return { available: true, runtime: { name: "MNN", version }, detail };
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error)).split("\n", 1)[0];
    return { available: false, detail: `MNN does not start: ${reason}` };
  } finally {
    await client?.close();
  }
}
