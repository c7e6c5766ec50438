import type { DataReport } from "../data/training-data.js";
import type { TrainingConfig, TrainingResult } from "../types.js";
import type { CurvePoint, HeldOutPoint } from "./curve.js";

/** One artifact's judgement against the base model, on queries that chose nothing. */
export interface GateOutcome {
  /** E.g. `"onnx fp32"`, `"merged weights"`. */
  readonly artifact: string;
  readonly base: number;
  readonly value: number;
  readonly interval: { readonly lower: number; readonly upper: number };
  readonly change: { readonly mean: number; readonly lowerBound: number };
  readonly margin: number;
  readonly queries: number;
  readonly passed: boolean;
  readonly sentence: string;
}

/** Everything about one training. */
export interface TrainingReport {
  readonly specificationVersion: "1";
  /** ISO 8601. */
  readonly created: string;
  readonly model: { readonly id: string; readonly revision: string | null };
  readonly config: TrainingConfig;
  readonly data: DataReport;
  readonly heldOut: {
    readonly validation: { readonly name: string; readonly queries: number; readonly pairs: number };
    readonly gate: { readonly name: string; readonly queries: number; readonly pairs: number };
  };
  /** Without the folders, which are of one machine. */
  readonly result: Omit<TrainingResult, "adapterFolder" | "mergedFolder"> | null;
  readonly curve: readonly CurvePoint[];
  readonly gates: readonly GateOutcome[];
  /** Null while there is no gate. */
  readonly passed: boolean | null;
}

export function evaluationsOf(report: TrainingReport): readonly HeldOutPoint[] {
  return report.curve.filter((point) => point.kind === "held-out");
}

/** Facts of a report in pairs, for every form of it. */
export function factsOf({ model, config, data, heldOut, result }: TrainingReport): [string, string][] {
  const { method, loraRank, loraAlpha, batchSize, accumulation, epochs, learningRate, seed } = config;
  const adapters = method === "full" ? "" : `, rank ${loraRank}, alpha ${loraAlpha}`;
  const facts: [string, string][] = [
    ["base model", model.revision === null ? model.id : `${model.id} at ${model.revision.slice(0, 12)}`],
    ["method", `${method}${adapters}`],
    [
      "steps",
      `${batchSize} × ${accumulation} examples a step, ${epochs} epochs, rate ${learningRate}, seed ${seed}`,
    ],
    ["data", `${data.pairs} pairs of ${data.queries} queries, ${data.relevant} relevant`],
    ["validation", `${heldOut.validation.name}: ${heldOut.validation.queries} queries`],
    ["gate", `${heldOut.gate.name}: ${heldOut.gate.queries} queries`],
  ];
  if (result === null) return facts;
  const seconds = result.trainingMs / 1000;
  const rate = seconds > 0 ? `, ${Math.round(result.tokens / seconds)} tokens a second` : "";
  const stopped = result.stoppedEarly ? ", stopped early" : "";
  return [
    ...facts,
    ["trained", `${result.steps} steps${stopped}; the weights of step ${result.bestStep} were kept`],
    ["speed", `${seconds.toFixed(1)} s${rate}`],
    [
      "engine",
      Object.entries(result.engine)
        .map(([name, value]) => `${name} ${value}`)
        .join(", "),
    ],
  ];
}

export function renderTrainingMarkdown(report: TrainingReport): string {
  const cell = (text: string): string => text.replace(/[|\r\n]/g, " ");
  const row = (cells: readonly string[]): string => `| ${cells.map(cell).join(" | ")} |`;
  const lines = [
    `# ${headline(report)}`,
    "",
    "| | |",
    "|---|---|",
    ...factsOf(report).map(row),
    "",
    "| step | nDCG@10 | 95 % interval | change | at least |",
    "|---|---|---|---|---|",
    ...evaluationsOf(report).map(({ step, mean, lower, upper, change, best }) =>
      row([
        `${step}${best ? " (best)" : ""}`,
        mean.toFixed(4),
        `${lower.toFixed(4)} to ${upper.toFixed(4)}`,
        ...(change === null ? ["", ""] : [signed(change.mean), signed(change.lowerBound)]),
      ]),
    ),
    "",
    ...report.gates.map(
      ({ artifact, passed, sentence }) =>
        `- ${passed ? "PASS" : "FAIL"} ${cell(artifact)}: ${cell(sentence)}`,
    ),
    ...report.data.warnings.map(({ message }) => `- note: ${cell(message)}`),
  ];
  return `${lines.join("\n")}\n`;
}

export function headline({ passed, gates }: TrainingReport): string {
  if (passed === null) return "Training, not judged yet";
  const failed = gates.filter((gate) => !gate.passed).length;
  return passed
    ? "Training: every gate passed"
    : `Training: ${failed || "no"} ${failed === 1 ? "gate" : "gates"} failed, rejected`;
}

/** With a true minus sign. */
export function signed(value: number): string {
  const text = value.toFixed(4);
  if (Number(text) === 0) return "0.0000";
  return value > 0 ? `+${text}` : text.replace("-", "−");
}
