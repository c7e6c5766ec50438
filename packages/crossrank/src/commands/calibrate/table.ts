import type { CalibrationMeasure, FittedCalibration, ScoreResult } from "@crossrank/core";
import { alignColumns, formatCount, toSingleLine } from "../../text.js";

/** What came of a fit, for people and programs. */
export interface CalibrationOutcome extends FittedCalibration {
  readonly model: Pick<ScoreResult, "model" | "backend" | "settings" | "scale">;
  readonly source: string;
  /** Pairs whose query fills the model, and which have no logit. */
  readonly leftOut: number;
  /** Where the calibration was written; undefined where it is only printed. */
  readonly written: string | undefined;
}

/** What `--format json` prints. */
export function calibrationJson(outcome: CalibrationOutcome): string {
  const { model, calibration, binsBefore, binsAfter, leftOut, source, written } = outcome;
  const { id, revision = null, artifact } = model.model;
  const value = {
    model: { id, revision, artifact },
    backend: model.backend,
    settings: model.settings,
    source,
    leftOut,
    calibration,
    bins: { before: binsBefore, after: binsAfter },
    written: written ?? null,
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** For people. */
export function calibrationTable({
  model,
  calibration,
  leftOut,
  source,
  written,
}: CalibrationOutcome): string {
  const { fit } = calibration;
  const { artifact, id } = model.model;
  const line =
    calibration.method === "temperature"
      ? `temperature ${shown(calibration.temperature)}`
      : `platt, slope ${shown(calibration.slope)}, intercept ${shown(calibration.intercept)}`;
  const left = leftOut === 0 ? "" : `; ${formatCount(leftOut)} left out, whose query fills the model`;
  const facts = [
    ["model", `${id}, ${artifact.format} ${artifact.dtype}, ${model.backend.name}`],
    ["pairs", `${formatCount(fit.pairs)} of ${source}, ${formatCount(fit.relevant)} of them relevant${left}`],
    ["calibration", line],
  ];
  const row = (name: string, measure: CalibrationMeasure | null): string[] => [
    name,
    measure === null ? "–" : measure.logLoss.toFixed(4),
    measure === null ? "–" : measure.calibrationError.toFixed(4),
  ];
  const table = alignColumns(
    [
      ["", "log-loss", "calibration error"],
      row("before", fit.before),
      row("after", fit.after),
      row("held out", fit.heldOut),
    ],
    ["left", "right", "right"],
  );
  const lines = [
    ...alignColumns(
      facts.map((fact) => fact.map(toSingleLine)),
      ["left", "left"],
    ),
    "",
    ...table,
    "",
  ];
  if (fit.before !== null && fit.heldOut !== null && fit.heldOut.logLoss > fit.before.logLoss) {
    lines.push("note: on queries that the fit did not see it is worse than none");
  }
  lines.push(
    written === undefined
      ? "not written: name a file with --calibration"
      : `written to ${toSingleLine(written)}`,
  );
  return `${lines.join("\n")}\n`;
}

function shown(value: number): string {
  return String(Number(value.toPrecision(6)));
}
