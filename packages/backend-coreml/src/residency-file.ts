import { CrossrankError } from "@crossrank/core";
import { z } from "zod";
import type { ComputeDevice } from "./compute-plan.js";
import { type ComputeUnits, computeUnits } from "./compute-units.js";
import type { ResidencyFingerprint, ResidencyReport } from "./residency.js";

/** A text is no residency report, or no fingerprint. */
export class ResidencyFileError extends CrossrankError<"residency-file"> {
  static override readonly code = "residency-file";

  /** The first field at fault, e.g. `"operations[3].preferred"`; `""` where the whole is. */
  readonly field: string;
  /** Every fault, each with its field. */
  readonly problem: string;
  constructor(facts: { field: string; problem: string; fix: string }, options?: { cause?: unknown }) {
    super("residency-file", `${facts.problem}. ${facts.fix}`, options);
    this.field = facts.field;
    this.problem = facts.problem;
  }
}

/**
 * Reads a report from its JSON text: a compute plan of this package, or the same from a script around coremltools, e.g.
 * `{"operations": [{"type": "ios18.conv", "device": "MLNeuralEngineComputeDevice"}]}`. In it an operation has
 * `operator` or `type`, and `preferred` or `device`, which is null where there is none. Constants are passed over.
 *
 * @throws {ResidencyFileError} when it is something else, with the field.
 */
export function readResidencyReport(text: string): ResidencyReport {
  const { operations, computeUnits } = read(
    text,
    reportSchema,
    'Pass a compute plan as JSON, or {"operations": [{"operator": …, "preferred": …}]}',
  );
  return {
    ...(computeUnits === undefined ? {} : { computeUnits }),
    operations: operations.filter(({ operator }) => operator !== "const" && !operator.endsWith(".const")),
  };
}

/**
 * Reads a fingerprint from its JSON text.
 *
 * @throws {ResidencyFileError} when it is none, with the field; also where a total is not the sum of its operators.
 */
export function readResidencyFingerprint(text: string): ResidencyFingerprint {
  return read(text, fingerprintSchema, "Make one from a report with crossrank residency --write-baseline");
}

const units = z.enum(computeUnits as [ComputeUnits, ...ComputeUnits[]]);

/** As a report may spell them: ours, coremltools' classes, and Apple's abbreviations; in any case. */
const devices: Readonly<Record<string, ComputeDevice>> = {
  neuralengine: "neuralEngine",
  ane: "neuralEngine",
  mlneuralenginecomputedevice: "neuralEngine",
  gpu: "gpu",
  mlgpucomputedevice: "gpu",
  cpu: "cpu",
  mlcpucomputedevice: "cpu",
};

const device = z.string().transform((name, context): ComputeDevice => {
  const found = new Map(Object.entries(devices)).get(name.toLowerCase());
  if (found !== undefined) return found;
  context.addIssue(`must be neuralEngine, gpu, cpu or null, found ${JSON.stringify(name)}`);
  return z.NEVER;
});

const operation = z
  .object({
    operator: z.string().min(1).optional(),
    type: z.string().min(1).optional(),
    preferred: device.nullable().optional(),
    device: device.nullable().optional(),
  })
  .transform((value, context) => {
    const operator = value.operator ?? value.type;
    const preferred = value.preferred === undefined ? value.device : value.preferred;
    if (operator === undefined) {
      context.addIssue({ code: "custom", path: ["operator"], message: "is missing" });
    }
    // Left out is not the same as on no device.
    if (preferred === undefined) {
      context.addIssue({ code: "custom", path: ["preferred"], message: "is missing" });
    }
    return operator === undefined || preferred === undefined ? z.NEVER : { operator, preferred };
  });

const reportSchema = z.object({
  schema: z.literal("crossrank.compute-plan/1").optional(),
  computeUnits: units.optional(),
  operations: z.array(operation),
});

/** How many of each operator. zod's own record passes over a key `__proto__`, which a script may well write. */
const operatorCounts = z.custom<object>(isObject, "must be an object").transform((value, context) => {
  const counts = Object.entries(value);
  for (const [operator, count] of counts) {
    if (operator !== "" && Number.isInteger(count) && count >= 1) continue;
    context.addIssue({ code: "custom", path: [operator], message: "must be a whole number of at least 1" });
  }
  // Its own property, also where its name is `__proto__`.
  return Object.fromEntries(counts) as Record<string, number>;
});

function isObject(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const placed = z
  .strictObject({
    total: z.int().min(0),
    operators: operatorCounts,
  })
  .superRefine(checkSum);

const fingerprintSchema = z.strictObject({
  schema: z.literal("crossrank.residency/1"),
  computeUnits: units.optional(),
  neuralEngine: z
    .strictObject({
      total: z.int().min(1),
      operators: operatorCounts.optional(),
    })
    .superRefine(checkSum),
  cpu: placed,
  gpu: z.strictObject({ total: z.literal(0) }),
  noDevice: placed.optional(),
});

function checkSum(
  value: { readonly total: number; readonly operators?: Readonly<Record<string, number>> | undefined },
  context: z.RefinementCtx,
): void {
  if (value.operators === undefined) return;
  const sum = Object.values(value.operators).reduce((before, count) => before + count, 0);
  if (sum === value.total) return;
  const message = `is ${value.total}, and its operators are ${sum} together`;
  context.addIssue({ code: "custom", path: ["total"], message });
}

/** Faults that a message names; a report may have thousands of the same kind. */
const namedFaults = 3;

function read<Schema extends z.ZodType>(text: string, schema: Schema, fix: string): z.output<Schema> {
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\ufeff/, ""));
  } catch (cause) {
    const problem = `it is not JSON (${(cause as Error).message})`;
    throw new ResidencyFileError({ field: "", problem, fix }, { cause });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { issues } = result.error;
  const faults = issues.slice(0, namedFaults).map(({ path, message }) => `${fieldOf(path)}: ${message}`);
  const more = issues.length - faults.length;
  const problem = `${faults.join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
  const field = issues[0]?.path.length ? fieldOf(issues[0].path) : "";
  throw new ResidencyFileError({ field, problem, fix }, { cause: result.error });
}

function fieldOf(path: readonly PropertyKey[]): string {
  const field = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
  return field === "" ? "the file" : field.replace(/^\./, "");
}
