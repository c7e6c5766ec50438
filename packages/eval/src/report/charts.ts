import { logger, None, parse, View } from "vega";
import { type Config, compile, type TopLevelSpec } from "vega-lite";
import { replaceForbidden } from "./escape.js";

/** What a row is, in the drawing: baselines are grey, the reference dark, candidates coloured. */
export type ChartRole = "baseline" | "reference" | "candidate";

export interface BarRow {
  readonly name: string;
  readonly role: ChartRole;
  readonly value: number;
  /** The interval's ends; undefined where there is none. */
  readonly interval: { readonly lower: number; readonly upper: number } | undefined;
  /** Drawn hatched-red with a cross in its label. */
  readonly failed: boolean;
}

export interface SpeedRow extends BarRow {
  /** Documents a second, above 0. */
  readonly documentsPerSecond: number;
}

/** A finished drawing: SVG without scripts, links or fonts of its own, coloured by the CSS variables of the page. */
export type Svg = string;

/** Pixels; a phone is a little narrower and shrinks the drawing by a tenth, a wide column enlarges it. */
const width = 380;

/** Horizontal bars with intervals and their values in figures, in the order given. */
export function drawBars(rows: readonly BarRow[], metric: string): Promise<Svg> {
  const values = rows.map((row, index) => ({
    key: `${index}`,
    label: clip(row.failed ? `✗ ${row.name}` : row.name, 40),
    tone: toneOf(row),
    value: row.value,
    figure: row.value.toFixed(4),
    lower: row.interval?.lower ?? row.value,
    upper: row.interval?.upper ?? row.value,
    text: describeRow(row, metric),
  }));
  const limit = niceLimit(Math.max(0, ...values.map((row) => row.upper)));
  const y = {
    field: "key",
    type: "nominal" as const,
    sort: null,
    title: null,
    axis: {
      labelExpr: labelExpression(values),
      labelLimit: 170,
      ticks: false,
      domain: false,
      labelPadding: 8,
    },
  };
  const x = {
    type: "quantitative" as const,
    title: metric,
    // The figures stand to the right of the whiskers, up to a quarter beyond the last tick.
    scale: { domain: [0, limit * 1.26], nice: false },
    axis: { values: [0, 0.25, 0.5, 0.75, 1].map((part) => part * limit), format: "~r" },
  };
  return draw({
    data: { values },
    layer: [
      {
        mark: { type: "bar", height: { band: 0.62 } },
        encoding: { x: { ...x, field: "value" }, y, color: tone, description: { field: "text" } },
      },
      // The wider one beneath keeps the whisker visible on a bar of any colour, in light and dark.
      ...[
        { strokeWidth: 5, color: "var(--card)" },
        { strokeWidth: 1.5, color: "var(--ink)" },
      ].map((stroke) => ({
        transform: [{ filter: "datum.upper > datum.lower" }],
        mark: { type: "rule" as const, aria: false, ...stroke },
        encoding: { x: { ...x, field: "lower" }, x2: { field: "upper" }, y },
      })),
      ...(["lower", "upper"] as const).map((end) => ({
        transform: [{ filter: "datum.upper > datum.lower" }],
        mark: { type: "tick" as const, size: 9, thickness: 1.5, color: "var(--ink)", aria: false },
        encoding: { x: { ...x, field: end }, y },
      })),
      {
        mark: {
          type: "text",
          align: "left",
          dx: 6,
          color: "var(--ink)",
          aria: false,
          clip: false,
        },
        encoding: { x: { ...x, field: "upper" }, y, text: { field: "figure" } },
      },
    ],
    ...sized(rows.length * 27),
  });
}

/** The candidate's logit (or cosine) over the reference's, with the line of equal scores. */
export function drawScatter(
  points: readonly { readonly reference: number; readonly candidate: number }[],
  names: { readonly reference: string; readonly candidate: string },
): Promise<Svg> {
  const ends = extent(points.flatMap(({ reference, candidate }) => [reference, candidate]));
  const scale = { domain: ends, nice: false, zero: false };
  return draw({
    layer: [
      {
        data: { values: [0, 1].map((end) => ({ at: ends[end] ?? 0 })) },
        mark: { type: "line", strokeWidth: 1, strokeDash: [5, 4], color: "var(--ink-soft)", aria: false },
        encoding: {
          x: { field: "at", type: "quantitative", scale },
          y: { field: "at", type: "quantitative", scale },
        },
      },
      {
        data: { values: points.map(({ reference, candidate }) => ({ reference, candidate })) },
        // Thousands of points read aloud say nothing: the figure's text and the table do.
        mark: {
          type: "point",
          filled: true,
          size: 12,
          opacity: points.length > 500 ? 0.35 : 0.6,
          color: "var(--candidate)",
          aria: false,
        },
        encoding: {
          x: {
            field: "reference",
            type: "quantitative",
            scale,
            title: clip(names.reference, 44),
            axis: { tickCount: 5 },
          },
          y: {
            field: "candidate",
            type: "quantitative",
            scale,
            title: clip(names.candidate, 34),
            axis: { tickCount: 5 },
          },
        },
      },
    ],
    ...sized(300),
  });
}

/** One step a query, the largest loss first. */
export function drawDeltas(ascending: readonly number[], metric: string): Promise<Svg> {
  const reach = Math.max(1e-9, ...ascending.map(Math.abs));
  const scale = { domain: [-reach, reach], nice: true };
  const steps = [...ascending, ascending.at(-1) ?? 0].map((delta, at) => ({
    at,
    gain: Math.max(0, delta),
    loss: Math.min(0, delta),
  }));
  const x = {
    field: "at",
    type: "quantitative" as const,
    title: "queries, the largest loss first",
    scale: { domain: [0, Math.max(1, ascending.length)], nice: false },
    axis: { tickCount: 5, grid: false, format: "d", tickMinStep: 1 },
  };
  return draw({
    data: { values: steps },
    layer: [
      ...(["loss", "gain"] as const).map((side) => ({
        mark: {
          type: "area" as const,
          interpolate: "step-after" as const,
          color: `var(--${side})`,
          line: false,
          aria: false,
        },
        encoding: {
          x,
          y: {
            field: side,
            type: "quantitative" as const,
            title: `Δ ${metric}`,
            scale,
            axis: { tickCount: 5 },
          },
        },
      })),
      {
        data: { values: [{ zero: 0 }] },
        mark: { type: "rule", color: "var(--ink)", aria: false },
        encoding: { y: { field: "zero", type: "quantitative", scale } },
      },
    ],
    ...sized(230),
  });
}

/** Documents a second (logarithmic) against the metric. */
export function drawSpeed(rows: readonly SpeedRow[], metric: string): Promise<Svg> {
  const values = rows.map((row) => ({
    speed: row.documentsPerSecond,
    value: row.value,
    tone: toneOf(row),
    shape: row.failed ? "cross" : row.role === "reference" ? "diamond" : "circle",
    label: clip(row.failed ? `✗ ${row.name}` : row.name, 26),
    text: `${describeRow(row, metric)}; ${Number(row.documentsPerSecond.toPrecision(3))} documents/s`,
  }));
  const speeds = extent(values.map(({ speed }) => Math.log10(speed)));
  const quality = extent(values.map(({ value }) => value));
  // Room for a label on the side where there is more of it.
  const middle = 10 ** (((speeds[0] ?? 0) + (speeds[1] ?? 0)) / 2);
  const x = {
    field: "speed",
    type: "quantitative" as const,
    title: "documents a second (logarithmic)",
    scale: { type: "log" as const, domain: speeds.map((power) => 10 ** power), nice: false },
    axis: { tickCount: 4, format: "~s" },
  };
  const y = {
    field: "value",
    type: "quantitative" as const,
    title: metric,
    scale: { domain: quality, nice: true, zero: false },
    axis: { tickCount: 5 },
  };
  return draw({
    data: { values },
    layer: [
      {
        mark: { type: "point", filled: true, size: 110, opacity: 1 },
        encoding: {
          x,
          y,
          color: tone,
          shape: { field: "shape", type: "nominal", scale: null, legend: null },
          description: { field: "text" },
        },
      },
      ...(["left", "right"] as const).map((align) => ({
        transform: [{ filter: `datum.speed ${align === "left" ? "<" : ">="} ${middle}` }],
        mark: {
          type: "text" as const,
          align,
          dx: align === "left" ? 10 : -10,
          color: "var(--ink)",
          aria: false,
        },
        encoding: { x, y, text: { field: "label" } },
      })),
    ],
    ...sized(260),
  });
}

type UnitOrLayer = Record<string, unknown>;

const tone = { field: "tone", type: "nominal", scale: null, legend: null } as const;

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

/** Axes and their labels fit into the same width in every drawing, so that all text has one size. */
function sized(height: number): UnitOrLayer {
  return { width, height, autosize: { type: "fit-x", contains: "padding" } };
}

/** Names are looked up by key: two systems may have one name, and a name may hold anything. */
function labelExpression(rows: readonly { readonly key: string; readonly label: string }[]): string {
  return `${JSON.stringify(Object.fromEntries(rows.map(({ key, label }) => [key, label])))}[datum.value]`;
}

/** The ends of the values with a margin of a twentieth; never a single point. */
function extent(values: readonly number[]): [number, number] {
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

function niceLimit(highest: number): number {
  return highest > 0.5 ? Math.max(1, highest) : Math.max(0.1, Math.ceil(highest * 10) / 10);
}

function clip(text: string, most: number): string {
  const characters = Array.from(replaceForbidden(text));
  return characters.length <= most ? characters.join("") : `${characters.slice(0, most - 1).join("")}…`;
}

const config: Config = {
  background: "transparent",
  font: "inherit",
  view: { stroke: null },
  axis: {
    labelColor: "var(--ink)",
    titleColor: "var(--ink)",
    gridColor: "var(--grid)",
    domainColor: "var(--grid)",
    tickColor: "var(--grid)",
    labelFontSize: 12,
    titleFontSize: 12,
    titleFontWeight: "normal",
    titlePadding: 8,
  },
  text: { fontSize: 12 },
};

/** A report is written by a command whose output is its own. */
const silent = logger(None);

async function draw(spec: UnitOrLayer): Promise<Svg> {
  const { spec: compiled } = compile({ ...spec, config } as unknown as TopLevelSpec, { logger: silent });
  const view = new View(parse(compiled), { renderer: "none", logger: silent });
  try {
    return await view.toSVG();
  } finally {
    view.finalize();
  }
}
