import { availableParallelism } from "node:os";
import type { RuntimeClient } from "@crossrank/backend-kit";
import { firstLine } from "@crossrank/backend-kit/runtime";
import type { BackendDiagnosis } from "@crossrank/core";
import { openChild } from "./client.js";
import { platformName } from "./native.js";
import type { Calls } from "./protocol.js";

/** Starts MNN in a child process, and loads no model. Never throws. */
export async function diagnose(): Promise<BackendDiagnosis> {
  let client: RuntimeClient<Calls> | undefined;
  try {
    client = openChild();
    const { version } = await client.call("diagnose", undefined);
    const detail = `addon for ${platformName()}; ${availableParallelism()} processor threads`;
    return { available: true, runtime: { name: "MNN", version }, detail };
  } catch (error) {
    return { available: false, detail: `MNN does not start: ${firstLine(error)}` };
  } finally {
    await client?.close();
  }
}
