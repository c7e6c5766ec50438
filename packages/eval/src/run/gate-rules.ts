import type { ScoreComparison } from "../compare/compare-scores.js";
import {
  defaultMargin,
  type GateResult,
  gateBounds,
  judgeChange,
  judgeNonInferiority,
  judgeQuality,
  judgeScores,
  type PrecisionClass,
  precisionClasses,
  type QualityFacts,
} from "../compare/gates.js";
import { GateRulesError } from "./errors.js";

/** What a candidate must keep. */
export interface GateRules {
  /** Loss in the primary metric that is accepted, 0 to 1. Default 0.005. */
  readonly margin?: number | undefined;
  /**
   * Bound on the change of the primary metric's mean, to either side: |Δ| must be below it. It says nothing about what
   * the sample could have seen, and so stands beside the margin and not in its place. Default: not judged.
   */
  readonly change?: number | undefined;
  /** Whose bounds hold. Default: that of the artifact's dtype. */
  readonly precision?: PrecisionClass | undefined;
  /** L2: least τ-b and top-1 overlap. False: not judged. Default: by precision. */
  readonly scores?: false | { readonly tau?: number; readonly topOne?: number } | undefined;
  /** L3: least share of the reference's metric. False: the margin alone. Default: by precision. */
  readonly quality?: false | { readonly retention?: number; readonly degradedBelow?: number } | undefined;
}

/** Rules for every candidate, and entries that replace them for one, by its name. */
export interface GateFile extends GateRules {
  readonly systems?: Readonly<Record<string, GateRules>> | undefined;
}

/** A gate that is a margin alone. */
export function marginGate(margin: number): GateFile {
  return { margin, scores: false, quality: false };
}

/**
 * Checks the content of a gate file.
 * @throws {GateRulesError} naming the entry; one that is not known is an error, since misspelt it would gate nothing.
 */
export function readGateFile(value: unknown): GateFile {
  const record = recordOf(value, "");
  const { systems, ...rest } = record;
  const rules = readRules(rest, "");
  if (systems === undefined) return rules;
  const entries = Object.entries(recordOf(systems, "systems")).map(
    ([name, one]) => [name, readRules(recordOf(one, `systems.${name}`), `systems.${name}.`)] as const,
  );
  return { ...rules, systems: Object.fromEntries(entries) };
}

/** @throws {GateRulesError} for rules of systems that are not in the run. */
export function checkGateSystems(gates: GateFile, candidates: readonly string[]): void {
  for (const name of Object.keys(gates.systems ?? {})) {
    if (!candidates.includes(name)) {
      throw new GateRulesError(
        `systems.${name}`,
        `names no candidate of this run; there is: ${candidates.join(", ") || "none"}`,
      );
    }
  }
}

export function rulesFor(gates: GateFile, system: string): GateRules {
  const { systems, ...rules } = gates;
  return { ...rules, ...systems?.[system] };
}

/** Loss that is accepted of a system. */
export function marginFor(gates: GateFile | undefined, system: string): number {
  return (gates === undefined ? undefined : rulesFor(gates, system).margin) ?? defaultMargin;
}

/** L2 then L3. @throws {GateRulesError} when bounds by precision are wanted of a dtype that is of no known class. */
export function judgeSystem(
  rules: GateRules,
  facts: {
    readonly system: string;
    readonly precision: PrecisionClass | null;
    readonly comparison: ScoreComparison | undefined;
    readonly quality: QualityFacts;
  },
): readonly GateResult[] {
  const results: GateResult[] = [];
  if (rules.scores !== false && facts.comparison !== undefined) {
    const precision = precisionFor(rules, facts);
    const bounds = { ...gateBounds[precision].scores, ...rules.scores };
    results.push(...judgeScores(facts.comparison, precision, bounds));
  }
  if (rules.change !== undefined) results.push(judgeChange(facts.quality, rules.change));
  if (rules.quality === false)
    return [...results, judgeNonInferiority(facts.quality.metric, facts.quality.nonInferiority)];
  const precision = precisionFor(rules, facts);
  const bounds = { ...gateBounds[precision].quality, ...rules.quality };
  return [...results, ...judgeQuality(facts.quality, precision, bounds)];
}

/** L2 alone. */
export function judgeSystemScores(
  rules: GateRules,
  facts: {
    readonly system: string;
    readonly precision: PrecisionClass | null;
    readonly comparison: ScoreComparison;
  },
): readonly GateResult[] {
  const precision = precisionFor(rules, facts);
  return judgeScores(facts.comparison, precision, {
    ...gateBounds[precision].scores,
    ...(rules.scores || {}),
  });
}

function precisionFor(
  rules: GateRules,
  { system, precision }: { readonly system: string; readonly precision: PrecisionClass | null },
): PrecisionClass {
  const known = rules.precision ?? precision;
  if (known !== null) return known;
  throw new GateRulesError(
    "precision",
    `is not known of ${system}. Name one of ${precisionClasses.join(", ")} in a gate file, under "systems"`,
  );
}

function readRules(record: Record<string, unknown>, prefix: string): GateRules {
  const known = ["margin", "change", "precision", "scores", "quality"];
  for (const field of Object.keys(record)) {
    if (!known.includes(field))
      throw new GateRulesError(`${prefix}${field}`, `is not known; there is: ${known.join(", ")}`);
  }
  const { margin, change, precision, scores, quality } = record;
  if (margin !== undefined) share(margin, `${prefix}margin`);
  if (change !== undefined) share(change, `${prefix}change`);
  if (precision !== undefined && !precisionClasses.includes(precision as PrecisionClass)) {
    throw new GateRulesError(`${prefix}precision`, `must be one of ${precisionClasses.join(", ")}`);
  }
  const bounds = (value: unknown, field: string, names: readonly string[]): void => {
    if (value === undefined || value === false) return;
    for (const [name, bound] of Object.entries(recordOf(value, field))) {
      if (!names.includes(name))
        throw new GateRulesError(`${field}.${name}`, `is not known; there is: ${names.join(", ")}`);
      share(bound, `${field}.${name}`);
    }
  };
  bounds(scores, `${prefix}scores`, ["tau", "topOne"]);
  bounds(quality, `${prefix}quality`, ["retention", "degradedBelow"]);
  return record as GateRules;
}

function share(value: unknown, field: string): void {
  if (typeof value !== "number" || !(value >= 0 && value <= 1)) {
    throw new GateRulesError(field, `must be a number from 0 to 1, found ${JSON.stringify(value)}`);
  }
}

function recordOf(value: unknown, field: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new GateRulesError(field, "must be an object");
  }
  return value as Record<string, unknown>;
}
