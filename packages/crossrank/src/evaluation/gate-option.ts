import { readFile } from "node:fs/promises";
import { type GateFile, GateRulesError, marginGate, readGateFile } from "@crossrank/eval";
import { CommandError, describeSystemError, UsageError } from "../failure.js";

/** `0.005`, or a file of rules. */
export async function readGate(value: string): Promise<GateFile> {
  const margin = Number(value);
  if (value.trim() !== "" && Number.isFinite(margin)) {
    if (margin < 0 || margin > 1)
      throw new UsageError(`--gate ${value} must be a loss from 0 to 1, or a file`);
    return marginGate(margin);
  }
  let content: unknown;
  try {
    content = JSON.parse((await readFile(value, "utf8")).replace(/^\ufeff/, ""));
  } catch (cause) {
    const problem =
      cause instanceof SyntaxError ? `it is not JSON (${cause.message})` : describeSystemError(cause);
    throw new CommandError(`cannot read --gate ${value}: ${problem}`, { cause });
  }
  try {
    return readGateFile(content);
  } catch (cause) {
    if (!GateRulesError.isInstance(cause)) throw cause;
    throw new CommandError(`--gate ${value}: ${cause.message}`, { cause });
  }
}

/** @throws {CommandError} with every gate that failed. */
export function failOfGates(
  systems: readonly {
    readonly name: string;
    readonly gates: readonly { passed: boolean; sentence: string }[];
  }[],
): void {
  const failed = systems.flatMap(({ name, gates }) =>
    gates.filter(({ passed }) => !passed).map(({ sentence }) => `${name}: ${sentence}`),
  );
  if (failed.length === 0) return;
  throw new CommandError(
    `${failed.length} gate${failed.length === 1 ? "" : "s"} failed. ${failed.join(" ")}`,
  );
}
