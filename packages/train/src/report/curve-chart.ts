import type { CurvePoint, HeldOutPoint, LossPoint } from "./curve.js";

const width = 640;
const height = 200;
const left = 56;
const right = 16;
const top = 12;
const bottom = 36;
/** Points of the loss that are drawn; the others are averaged into them. */
const mostDrawn = 300;

/** The loss, and beneath it the held-out values with their intervals, over the same steps. */
export function drawCurves(curve: readonly CurvePoint[]): string {
  const losses = curve.filter((point): point is LossPoint => point.kind === "loss");
  const evaluations = curve.filter((point): point is HeldOutPoint => point.kind === "held-out");
  const last = curve.reduce((most, { step }) => Math.max(most, step), 1);
  return [
    losses.length === 0 ? "" : drawLoss(average(losses), last),
    evaluations.length === 0 ? "" : drawHeldOut(evaluations, last),
  ].join("\n");
}

interface Point {
  readonly step: number;
  readonly value: number;
}

function average(losses: readonly LossPoint[]): Point[] {
  const each = Math.max(1, Math.ceil(losses.length / mostDrawn));
  const points: Point[] = [];
  for (let at = 0; at < losses.length; at += each) {
    const part = losses.slice(at, at + each);
    const value = part.reduce((sum, { loss }) => sum + loss, 0) / part.length;
    points.push({ step: part.at(-1)?.step ?? 0, value });
  }
  return points;
}

function drawLoss(points: readonly Point[], last: number): string {
  const { x, y, frame } = axes(
    points.map(({ value }) => value),
    last,
    "loss",
  );
  const path = points.map(
    ({ step, value }, index) => `${index === 0 ? "M" : "L"}${at(x(step))} ${at(y(value))}`,
  );
  const description = `Loss from ${shown(points[0]?.value)} to ${shown(points.at(-1)?.value)} over ${last} steps`;
  return svg(description, [
    frame,
    `<path d="${path.join("")}" fill="none" stroke="var(--loss)" stroke-width="1.5"/>`,
  ]);
}

function drawHeldOut(points: readonly HeldOutPoint[], last: number): string {
  const values = points.flatMap(({ lower, mean, upper }) => [lower, mean, upper]);
  const { x, y, frame } = axes(values, last, "held-out nDCG@10");
  const upper = points.map(({ step, upper: value }) => `${at(x(step))},${at(y(value))}`);
  const lower = points.map(({ step, lower: value }) => `${at(x(step))},${at(y(value))}`).reverse();
  const path = points.map(
    ({ step, mean }, index) => `${index === 0 ? "M" : "L"}${at(x(step))} ${at(y(mean))}`,
  );
  const dots = points.map(
    ({ step, mean, best }) =>
      `<circle cx="${at(x(step))}" cy="${at(y(mean))}" r="${best ? 4 : 2.5}" fill="var(--value)"/>`,
  );
  const best = points.findLast((point) => point.best);
  const description = `Held-out nDCG@10 from ${shown(points[0]?.mean)} to ${shown(points.at(-1)?.mean)}, best ${shown(best?.mean)} at step ${best?.step ?? 0}; the band is the 95 % interval`;
  return svg(description, [
    frame,
    `<polygon points="${[...upper, ...lower].join(" ")}" fill="var(--band)"/>`,
    `<path d="${path.join("")}" fill="none" stroke="var(--value)" stroke-width="1.5"/>`,
    ...dots,
  ]);
}

function axes(
  values: readonly number[],
  last: number,
  title: string,
): { x: (step: number) => number; y: (value: number) => number; frame: string } {
  const low = values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const high = values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  // Equal values stand in the middle, and not on an axis without a length.
  const space = high > low ? (high - low) * 0.05 : Math.max(Math.abs(high) * 0.05, 0.01);
  const [from, to] = [low - space, high + space];
  const x = (step: number): number => left + (step / last) * (width - left - right);
  const y = (value: number): number => top + ((to - value) / (to - from)) * (height - top - bottom);
  const ticks = [0, 0.5, 1].map((part) => from + part * (to - from));
  const lines = ticks.map(
    (value) =>
      `<line x1="${left}" x2="${width - right}" y1="${at(y(value))}" y2="${at(y(value))}" stroke="var(--grid)"/>` +
      `<text x="${left - 6}" y="${at(y(value) + 4)}" text-anchor="end">${shown(value)}</text>`,
  );
  const steps = [0, Math.round(last / 2), last].map(
    (step) => `<text x="${at(x(step))}" y="${height - bottom + 16}" text-anchor="middle">${step}</text>`,
  );
  const name = `<text x="${left}" y="${height - 4}">${title}, over steps</text>`;
  return { x, y, frame: [...lines, ...steps, name].join("") };
}

function svg(description: string, parts: readonly string[]): string {
  return `<svg viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-size="12" fill="var(--ink)" role="img" aria-label="${description}">${parts.join("")}</svg>`;
}

function at(pixels: number): string {
  return String(Math.round(pixels * 10) / 10);
}

function shown(value: number | undefined): string {
  return value === undefined ? "–" : String(Number(value.toPrecision(4)));
}
