import { replaceForbidden } from "./escape.js";
import { placeLabels } from "./place-labels.js";
import {
  clip,
  drawing,
  element,
  type Frame,
  horizontalAxis,
  horizontalAxisHeight,
  label,
  line,
  linearTicks,
  logarithmicTicks,
  pixels,
  roundEnds,
  type Svg,
  scale,
  silent,
  textWidth,
  verticalAxis,
  verticalAxisWidth,
  width,
} from "./svg.js";

/** What a row is, in the drawing: baselines are grey, the reference dark, candidates coloured. */
export type ChartRole = "baseline" | "reference" | "candidate";

export interface BarRow {
  readonly name: string;
  readonly role: ChartRole;
  readonly value: number;
  /** The interval's ends; undefined where there is none. */
  readonly interval: { readonly lower: number; readonly upper: number } | undefined;
  /** Drawn red, with a cross in its label. */
  readonly failed: boolean;
}

export interface SpeedRow extends BarRow {
  /** Documents a second, above 0. */
  readonly documentsPerSecond: number;
}

const rowHeight = 27;
const barHeight = 17;

/** Horizontal bars with intervals and their values in figures, in the order given. */
export function drawBars(rows: readonly BarRow[], metric: string): Svg {
  const names = rows.map((row) => clip(labelOf(row), 170));
  const highest = rows.reduce((most, { value, interval }) => Math.max(most, interval?.upper ?? value), 0);
  const limit = highest > 0.5 ? Math.max(1, highest) : Math.max(0.1, Math.ceil(highest * 10) / 10);
  const top = 4;
  const frame: Frame = {
    left: 10 + names.reduce((most, name) => Math.max(most, textWidth(name)), 0),
    // The figures stand to the right of the whiskers.
    right: width - 12 - textWidth("0.0000"),
    top,
    bottom: top + rows.length * rowHeight,
  };
  const x = scale([0, limit], [frame.left, frame.right]);
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => ({
    value: part * limit,
    label: String(Number((part * limit).toPrecision(6))),
  }));
  const drawn = rows.map((row, index) => {
    const { value, interval } = row;
    const middle = top + (index + 0.5) * rowHeight;
    const bar = element("rect", {
      x: frame.left,
      y: middle - barHeight / 2,
      width: x(value) - frame.left,
      height: barHeight,
      fill: toneOf(row),
      role: "img",
      "aria-label": describeRow(row, metric),
    });
    return [
      bar,
      silent([
        label(names[index] ?? "", { x: frame.left - 8, y: middle, anchor: "end" }),
        ...(interval === undefined || interval.upper <= interval.lower
          ? []
          : [whisker(x(interval.lower), x(interval.upper), middle)]),
        label(value.toFixed(4), { x: x(interval?.upper ?? value) + 6, y: middle }),
      ]),
    ].join("");
  });
  return drawing(frame.bottom + horizontalAxisHeight, [
    horizontalAxis(frame, ticks, x, { title: metric, grid: true }),
    ...drawn,
  ]);
}

/** The wider line beneath keeps it visible on a bar of any colour, in light and dark. */
function whisker(lower: number, upper: number, middle: number): string {
  const ink = { stroke: "var(--ink)", "stroke-width": 1.5 };
  return [
    line([lower, middle], [upper, middle], { stroke: "var(--card)", "stroke-width": 5 }),
    line([lower, middle], [upper, middle], ink),
    ...[lower, upper].map((x) => line([x, middle - 4.5], [x, middle + 4.5], ink)),
  ].join("");
}

/** The candidate's logit (or cosine) over the reference's, with the line of equal scores. */
export function drawScatter(
  points: readonly { readonly reference: number; readonly candidate: number }[],
  names: { readonly reference: string; readonly candidate: string },
): Svg {
  const ends = extent(points.flatMap(({ reference, candidate }) => [reference, candidate]));
  const ticks = linearTicks(ends);
  const frame = frameOf(verticalAxisWidth(ticks), 260);
  const x = scale(ends, [frame.left, frame.right]);
  const y = scale(ends, [frame.bottom, frame.top]);
  const equal = { stroke: "var(--ink-soft)", "stroke-dasharray": "5 4" };
  // Thousands of points read aloud say nothing: the figure's text and the table do.
  const marks = points.map(({ reference, candidate }) =>
    element("circle", { cx: x(reference), cy: y(candidate), r: 2 }),
  );
  return drawing(frame.bottom + horizontalAxisHeight, [
    horizontalAxis(frame, ticks, x, { title: names.reference, grid: true }),
    verticalAxis(frame, ticks, y, names.candidate),
    silent([line([x(ends[0]), y(ends[0])], [x(ends[1]), y(ends[1])], equal)]),
    silent(marks, { fill: "var(--candidate)", "fill-opacity": points.length > 500 ? 0.35 : 0.6 }),
  ]);
}

/** Least reach of the axis of changes, in the metric's unit: what is smaller than this is drawn as the nothing it is. */
const leastReach = 0.01;

/** One step a query, the largest loss first. */
export function drawDeltas(ascending: readonly number[], metric: string): Svg {
  const reach = ascending.reduce((most, delta) => Math.max(most, Math.abs(delta)), leastReach);
  const ends = roundEnds([-reach, reach]);
  const ticks = linearTicks(ends);
  const frame = frameOf(verticalAxisWidth(ticks), 190);
  const x = scale([0, Math.max(1, ascending.length)], [frame.left, frame.right]);
  const y = scale(ends, [frame.bottom, frame.top]);
  const areas = (
    [
      ["loss", (delta: number) => Math.min(0, delta)],
      ["gain", (delta: number) => Math.max(0, delta)],
    ] as const
  ).flatMap(([side, partOf]) => {
    if (ascending.every((delta) => partOf(delta) === 0)) return [];
    const steps = ascending.map((delta, at) => `V${pixels(y(partOf(delta)))}H${pixels(x(at + 1))}`);
    const d = `M${pixels(x(0))} ${pixels(y(0))}${steps.join("")}V${pixels(y(0))}Z`;
    return [element("path", { d, fill: `var(--${side})` })];
  });
  const queries = linearTicks([0, Math.max(1, ascending.length)]).filter(({ value }) =>
    Number.isInteger(value),
  );
  return drawing(frame.bottom + horizontalAxisHeight, [
    horizontalAxis(frame, queries, x, { title: "queries, the largest loss first", grid: false }),
    verticalAxis(frame, ticks, y, `Δ ${metric}`),
    silent([
      ...areas,
      line([frame.left, y(0)], [frame.right, y(0)], { stroke: "var(--ink)" }),
      ...(areas.length > 0
        ? []
        : [label("no query changes", { x: (frame.left + frame.right) / 2, y: y(0) - 12, anchor: "middle" })]),
    ]),
  ]);
}

/** Documents a second (logarithmic) against the metric. */
export function drawSpeed(rows: readonly SpeedRow[], metric: string): Svg {
  const powers = extent(rows.map(({ documentsPerSecond }) => Math.log10(documentsPerSecond)));
  const ends = roundEnds(extent(rows.map(({ value }) => value)));
  const ticks = linearTicks(ends);
  const frame = frameOf(verticalAxisWidth(ticks), Math.max(220, rows.length * 30));
  const x = scale(powers, [frame.left, frame.right]);
  const y = scale(ends, [frame.bottom, frame.top]);
  const points = rows.map((row) => {
    const text = clip(labelOf(row), 150);
    return { x: x(Math.log10(row.documentsPerSecond)), y: y(row.value), text, width: textWidth(text) };
  });
  const marks = rows.map((row, index) => {
    const { x: left = 0, y: top = 0 } = points[index] ?? {};
    const speed = `${Number(row.documentsPerSecond.toPrecision(3))} documents/s`;
    return element("path", {
      d: outlineOf(row),
      transform: `translate(${pixels(left)} ${pixels(top)})`,
      fill: toneOf(row),
      role: "img",
      "aria-label": `${describeRow(row, metric)}; ${speed}`,
    });
  });
  const labels = placeLabels(points, frame).map(({ x: at, y: height, anchor, leader }, index) => {
    const { text = "" } = points[index] ?? {};
    const written = label(text, { x: at, y: height, anchor });
    return leader === undefined
      ? written
      : `${line(leader[0], leader[1], { stroke: "var(--ink-soft)" })}${written}`;
  });
  return drawing(frame.bottom + horizontalAxisHeight, [
    horizontalAxis(frame, logarithmicTicks(powers), x, {
      title: "documents a second (logarithmic)",
      grid: true,
    }),
    verticalAxis(frame, ticks, y, metric),
    silent(labels),
    ...marks,
  ]);
}

/** A cross for a failed gate, a diamond for the reference, a disc for the others; about 12 pixels wide, around 0, 0. */
function outlineOf(row: BarRow): string {
  if (row.failed) return "M-6-2H-2V-6H2V-2H6V2H2V6H-2V2H-6Z";
  return row.role === "reference" ? "M0-7L6 0L0 7L-6 0Z" : "M-5.5 0a5.5 5.5 0 1 0 11 0a5.5 5.5 0 1 0-11 0Z";
}

/** Room for the last label of the horizontal axis, half of which stands beyond the frame. */
const rightMargin = 16;

function frameOf(left: number, height: number): Frame {
  return { left, right: width - rightMargin, top: 8, bottom: 8 + height };
}

function labelOf(row: BarRow): string {
  return row.failed ? `✗ ${row.name}` : row.name;
}

function toneOf(row: BarRow): string {
  return row.failed ? "var(--loss)" : `var(--${row.role})`;
}

function describeRow(row: BarRow, metric: string): string {
  const interval =
    row.interval === undefined
      ? ""
      : ` (${row.interval.lower.toFixed(4)} to ${row.interval.upper.toFixed(4)})`;
  return `${replaceForbidden(row.name)}: ${metric} ${row.value.toFixed(4)}${interval}${row.failed ? ", a gate failed" : ""}`;
}

/** The ends of the values with a margin of a twentieth; never a single point. */
function extent(values: readonly number[]): readonly [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return [0, 1];
  const margin = high > low ? (high - low) / 20 : Math.abs(low) / 20 || 0.05;
  return [low - margin, high + margin];
}
