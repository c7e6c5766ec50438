import { availableParallelism } from "node:os";
import { RuntimeStartError } from "@crossrank/backend-kit";
import { firstLine } from "@crossrank/backend-kit/runtime";
import type { BackendDiagnosis } from "@crossrank/core";
import { openHost } from "./client.js";
import { platformName } from "./native.js";

/** Starts CTranslate2 in a child process, and loads no model. Never throws. */
export async function diagnose(): Promise<BackendDiagnosis> {
  const host = openHost({ isolation: "process" });
  try {
    const { version, hasIntegers } = await host.call("diagnose", undefined);
    const integers = hasIntegers ? "8-bit products" : "no 8-bit products on this processor";
    const detail = `addon for ${platformName()}; ${integers}; ${availableParallelism()} processor threads`;
    return { available: true, runtime: { name: "CTranslate2", version }, detail };
  } catch (error) {
    if (RuntimeStartError.isInstance(error)) return { available: false, detail: error.message };
    return { available: false, detail: `CTranslate2 does not start: ${firstLine(error)}` };
  } finally {
    await host.close();
  }
}
