import type { DataReport, EngineFacts, TrainingConfig, TrainingReport } from "@crossrank/train";
import { alignColumns, formatCount, toSingleLine } from "../../text.js";

interface DryRun extends EngineFacts {
  readonly model: string;
  readonly engine: string;
  readonly examples: number;
  readonly config: TrainingConfig;
  readonly data: DataReport;
  readonly heldOut: TrainingReport["heldOut"];
  readonly to: readonly string[];
}

export function dryRunTable(run: DryRun): string {
  const { config, data, heldOut } = run;
  const share = ((100 * run.trainedParameters) / Math.max(1, run.parameters)).toFixed(2);
  const facts = [
    ["model", `${run.model}, ${run.family}, on ${run.engine}, ${run.device}`],
    ["method", config.method === "full" ? "full" : `${config.method}, rank ${config.loraRank}`],
    ["loss", run.loss],
    [
      "trained",
      `${formatCount(run.trainedParameters)} of ${formatCount(run.parameters)} parameters, ${share} %`,
    ],
    ["data", dataLine(data)],
    ["examples", formatCount(run.examples)],
    ["steps", `${formatCount(run.steps)}, of ${config.batchSize} × ${config.accumulation} examples`],
    ["validation", heldOutLine(heldOut.validation)],
    ["gate", heldOutLine(heldOut.gate)],
    ["writes", ["model", ...(config.method === "full" ? [] : ["adapter"]), ...run.to].join(", ")],
  ];
  return withNotes(facts, [], data);
}

export function trainingTable(report: TrainingReport, output: string): string {
  const { result, heldOut, data, gates, curve } = report;
  const best = curve.findLast((point) => point.kind === "held-out" && point.step === result?.bestStep);
  const seconds = (result?.trainingMs ?? 0) / 1000;
  const value =
    best?.kind === "held-out"
      ? `, nDCG@10 ${best.mean.toFixed(4)} (${best.lower.toFixed(4)} to ${best.upper.toFixed(4)})`
      : "";
  const facts = [
    [
      "trained",
      `${formatCount(result?.steps ?? 0)} steps${result?.stoppedEarly ? ", stopped early" : ""}, in ${seconds.toFixed(1)} s`,
    ],
    ["kept", `step ${result?.bestStep ?? 0}${value}`],
    ["data", dataLine(data)],
    ["gate", heldOutLine(heldOut.gate)],
    ["written to", output],
  ];
  const lines = gates.map(
    ({ passed, artifact, sentence }) => `${passed ? "PASS" : "FAIL"}  ${artifact}: ${toSingleLine(sentence)}`,
  );
  return withNotes(facts, lines, data);
}

function withNotes(
  facts: readonly (readonly string[])[],
  lines: readonly string[],
  data: DataReport,
): string {
  const table = alignColumns(
    facts.map((fact) => fact.map(toSingleLine)),
    ["left", "left"],
  );
  const notes = data.warnings.map(({ message }) => `note: ${toSingleLine(message)}`);
  return `${[...table, ...lines, ...notes].join("\n")}\n`;
}

function dataLine({ pairs, queries, relevant }: DataReport): string {
  return `${formatCount(pairs)} pairs of ${formatCount(queries)} queries, ${formatCount(relevant)} relevant`;
}

function heldOutLine({ name, queries, pairs }: TrainingReport["heldOut"]["gate"]): string {
  return `${formatCount(queries)} queries, ${formatCount(pairs)} pairs, ${name}`;
}
