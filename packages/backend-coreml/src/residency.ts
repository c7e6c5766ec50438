import type { ComputeDevice } from "./compute-plan.js";
import type { ComputeUnits } from "./compute-units.js";

/** What the gate reads of a compute plan; a `ComputePlan` is one. */
export interface ResidencyReport {
  /** What the plan was allowed to use, where the report says so. */
  readonly computeUnits?: ComputeUnits | undefined;
  /** Constants left out. */
  readonly operations: readonly {
    /** With its opset: `"ios18.conv"`. */
    readonly operator: string;
    /** `null` where Core ML names no device. */
    readonly preferred: ComputeDevice | null;
  }[];
}

/** Operations in one place. */
export interface PlacedOperators {
  /** At least 0: the sum of `operators`. */
  readonly total: number;
  /** How many of each operator. */
  readonly operators: Readonly<Record<string, number>>;
}

/** What is pinned of one place. Undefined `operators`: the total alone. */
export interface PinnedOperators {
  readonly total: number;
  readonly operators?: PlacedOperators["operators"] | undefined;
}

/**
 * Where the operations of an artifact belong: the pinned counts that a report is held against. The policy is that of
 * `verify_ane.py` of tcashel/juice-bge-reranker-coreml (its model card, "Variants"): nothing on the GPU, the CPU's
 * operators and the counts of both exactly as pinned, so that any drift fails.
 */
export interface ResidencyFingerprint {
  readonly schema: "crossrank.residency/1";
  /** What the plan was allowed to use. Held against a report that says it. */
  readonly computeUnits?: ComputeUnits | undefined;
  /** At least one operation. */
  readonly neuralEngine: PinnedOperators;
  readonly cpu: PlacedOperators;
  readonly gpu: { readonly total: 0 };
  /** Operations that Core ML names no device for. Undefined: there are none. */
  readonly noDevice?: PlacedOperators | undefined;
}

/** Where an operation is: on a device, or on none that Core ML names. */
export type ResidencyPlace = ComputeDevice | "noDevice";

export const residencyPlaces: readonly ResidencyPlace[] = ["neuralEngine", "cpu", "gpu", "noDevice"];

/** One difference from the fingerprint. */
export type ResidencyDrift =
  /** `operator` null: of all operations in this place together. */
  | {
      readonly place: ResidencyPlace;
      readonly operator: string | null;
      readonly expected: number;
      readonly found: number;
    }
  | { readonly place: "computeUnits"; readonly expected: ComputeUnits; readonly found: ComputeUnits };

export interface ResidencyVerdict {
  /** True exactly when there is no drift. */
  readonly passed: boolean;
  readonly totals: Readonly<Record<ResidencyPlace, { readonly expected: number; readonly found: number }>>;
  /** By place, of each the total before the operators, which are in order of their names. */
  readonly drifts: readonly ResidencyDrift[];
}

/** Holds a report against a fingerprint. Any difference fails. */
export function judgeResidency(report: ResidencyReport, baseline: ResidencyFingerprint): ResidencyVerdict {
  const found = countOperators(report);
  const expected: Record<ResidencyPlace, PinnedOperators> = {
    neuralEngine: baseline.neuralEngine,
    cpu: baseline.cpu,
    gpu: { total: 0, operators: {} },
    noDevice: baseline.noDevice ?? { total: 0, operators: {} },
  };
  const drifts: ResidencyDrift[] = [];
  const { computeUnits } = report;
  if (
    computeUnits !== undefined &&
    baseline.computeUnits !== undefined &&
    computeUnits !== baseline.computeUnits
  ) {
    drifts.push({ place: "computeUnits", expected: baseline.computeUnits, found: computeUnits });
  }
  for (const place of residencyPlaces) {
    const { total, operators } = expected[place];
    if (total !== found[place].total) {
      drifts.push({ place, operator: null, expected: total, found: found[place].total });
    }
    if (operators === undefined) continue;
    const wanted = new Map(Object.entries(operators));
    const there = new Map(Object.entries(found[place].operators));
    for (const operator of [...new Set([...wanted.keys(), ...there.keys()])].sort()) {
      const drift = { expected: wanted.get(operator) ?? 0, found: there.get(operator) ?? 0 };
      if (drift.expected !== drift.found) drifts.push({ place, operator, ...drift });
    }
  }
  const totals = Object.fromEntries(
    residencyPlaces.map((place) => [place, { expected: expected[place].total, found: found[place].total }]),
  ) as ResidencyVerdict["totals"];
  return { passed: drifts.length === 0, totals, drifts };
}

/**
 * What {@link judgeResidency} could not hold against each other, as sentences: what a plan was allowed to use, where
 * only one of the two says it. A plan for other compute units is a plan of another run.
 */
export function residencyNotes(report: ResidencyReport, baseline: ResidencyFingerprint): readonly string[] {
  if (report.computeUnits !== undefined && baseline.computeUnits === undefined) {
    return [
      `The baseline does not say which compute units it is for, and the report was planned for ${report.computeUnits}.`,
    ];
  }
  if (report.computeUnits === undefined && baseline.computeUnits !== undefined) {
    return [
      `The report does not say which compute units it was planned for, and the baseline is for ${baseline.computeUnits}.`,
    ];
  }
  return [];
}

/**
 * The fingerprint that a report gives, with every operator pinned.
 * @throws {RangeError} when the report breaks the policy itself: an operation on the GPU, or none on the Neural Engine.
 */
export function fingerprintOf(report: ResidencyReport): ResidencyFingerprint {
  const { neuralEngine, cpu, gpu, noDevice } = countOperators(report);
  if (gpu.total > 0) {
    const operators = Object.entries(gpu.operators).map(([operator, count]) => `${count} × ${operator}`);
    throw new RangeError(`operations are on the GPU, which no baseline allows: ${operators.join(", ")}`);
  }
  if (neuralEngine.total === 0) {
    throw new RangeError("no operation is on the Neural Engine, so there is no residency to keep");
  }
  return {
    schema: "crossrank.residency/1",
    ...(report.computeUnits === undefined ? {} : { computeUnits: report.computeUnits }),
    neuralEngine,
    cpu,
    gpu: { total: 0 },
    ...(noDevice.total === 0 ? {} : { noDevice }),
  };
}

function countOperators({ operations }: ResidencyReport): Record<ResidencyPlace, PlacedOperators> {
  const counts: Record<ResidencyPlace, Map<string, number>> = {
    neuralEngine: new Map(),
    cpu: new Map(),
    gpu: new Map(),
    noDevice: new Map(),
  };
  for (const { operator, preferred } of operations) {
    const place = counts[preferred ?? "noDevice"];
    place.set(operator, (place.get(operator) ?? 0) + 1);
  }
  return Object.fromEntries(
    residencyPlaces.map((place) => {
      const sorted = [...counts[place]].sort(([a], [b]) => (a < b ? -1 : 1));
      const total = sorted.reduce((sum, [, count]) => sum + count, 0);
      return [place, { total, operators: Object.fromEntries(sorted) }];
    }),
  ) as Record<ResidencyPlace, PlacedOperators>;
}
