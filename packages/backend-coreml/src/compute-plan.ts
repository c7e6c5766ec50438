import { z } from "zod";
import { type ComputeUnits, computeUnits } from "./compute-units.js";

/** A kind of device that Core ML may give an operation to. */
export type ComputeDevice = "neuralEngine" | "gpu" | "cpu";

/** One operation of a model's default function, as `MLComputePlan` plans it. */
export interface PlannedOperation {
  /** With its opset, as Core ML writes it: `"ios18.conv"`. */
  readonly operator: string;
  /** Names of the values that it gives. */
  readonly outputs: readonly string[];
  /** Where Core ML means to run it; `null` where it names no device. */
  readonly preferred: ComputeDevice | null;
  /** Where it could run; empty where Core ML names no device. Each device once. */
  readonly supported: readonly ComputeDevice[];
  /** Its share of the model's estimated time, 0 to 1; `null` where Core ML has no estimate. */
  readonly cost: number | null;
}

/**
 * Where Core ML means to run each operation of a compiled ML Program: Apple's `MLComputePlan` (macOS 14.4 or later) as
 * plain JSON (https://developer.apple.com/documentation/coreml/mlcomputeplan-1w21n).
 *
 * It is a plan, not a measurement: Core ML may still decide otherwise when it runs. Operations stand in the program's
 * order, those of a nested block after the operation that holds it. Constants (`const`, `ios18.const`) are left out:
 * Core ML gives no device for them.
 */
export interface ComputePlan {
  readonly schema: "crossrank.compute-plan/1";
  /** Name of the package, without the path to it: `"model.mlpackage"`. */
  readonly model: string;
  /** What the plan was allowed to use. */
  readonly computeUnits: ComputeUnits;
  /** The system that planned: `"macOS 15.1 (24B83), Apple M3"`. */
  readonly system: string;
  readonly operations: readonly PlannedOperation[];
}

const device = z.enum(["neuralEngine", "gpu", "cpu"]);

const schema = z.object({
  schema: z.literal("crossrank.compute-plan/1"),
  model: z.string(),
  computeUnits: z.enum(computeUnits as [ComputeUnits, ...ComputeUnits[]]),
  system: z.string(),
  operations: z.array(
    z.object({
      operator: z.string().min(1),
      outputs: z.array(z.string()),
      preferred: device.nullable(),
      supported: z.array(device),
      cost: z.number().min(0).nullable(),
    }),
  ),
});

/**
 * Reads a compute plan from its JSON text.
 *
 * @throws an Error that names each field that is wrong.
 */
export function readComputePlan(text: string): ComputePlan {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new Error("the compute plan is no JSON", { cause });
  }
  const result = schema.safeParse(value);
  if (!result.success) {
    throw new Error(`this is no compute plan: ${z.prettifyError(result.error)}`, { cause: result.error });
  }
  return result.data;
}
