import { compareBytes } from "../metrics/ranking.js";

/** What an unknown number is written as; every function here gives it for null. */
export const unknown = "–";

/** A metric, four decimals. */
export function showMetric(value: number | null | undefined): string {
  return value === null || value === undefined ? unknown : minus(value.toFixed(4));
}

/** A change with its sign: `+0.0012`, `−0.0300`, `±0`. */
export function showChange(value: number | null | undefined, digits = 4): string {
  if (value === null || value === undefined) return unknown;
  const text = value.toFixed(digits);
  if (Number(text) === 0) return value === 0 ? "±0" : `±${Math.abs(value).toFixed(digits)}`;
  return value > 0 ? `+${text}` : minus(text);
}

/** 0.9931 → `99.31 %`. */
export function showShare(value: number | null | undefined, digits = 2): string {
  return value === null || value === undefined ? unknown : `${minus((value * 100).toFixed(digits))} %`;
}

export function showProbability(value: number | null | undefined): string {
  if (value === null || value === undefined) return unknown;
  return value < 0.0001 ? "<0.0001" : value.toFixed(4);
}

/** Three digits, thousands as they are: `1234`, `56.7`, `0.00123`. */
export function showNumber(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined) return unknown;
  if (Math.abs(value) >= 10 ** digits) return minus(value.toFixed(0));
  return minus(String(Number(value.toPrecision(digits))));
}

export function showCount(value: number): string {
  return value.toLocaleString("en-US");
}

/** Mebibytes; of files and of memory. */
export function showBytes(value: number | null | undefined): string {
  if (value === null || value === undefined) return unknown;
  if (value < 1024) return `${value} B`;
  const kibibytes = value / 1024;
  return kibibytes < 1024 ? `${showNumber(kibibytes)} KiB` : `${showNumber(kibibytes / 1024)} MiB`;
}

/** `{ threads: "1" }` → `threads 1`, sorted by name; `none` for `{}`. */
export function showSettings(settings: Readonly<Record<string, string>>): string {
  const entries = Object.entries(settings).sort(([a], [b]) => compareBytes(a, b));
  return entries.map((entry) => entry.join(" ")).join(", ") || "none";
}

/** `ndcg@10` → `nDCG@10`, `map` → `MAP`. */
export function showMetricName(name: string): string {
  const [kind = name, cutoff] = name.split("@");
  const title = metricTitles[kind] ?? kind;
  return cutoff === undefined ? title : `${title}@${cutoff}`;
}

const metricTitles: Readonly<Record<string, string>> = {
  ndcg: "nDCG",
  map: "MAP",
  mrr: "MRR",
  recall: "Recall",
  precision: "Precision",
  success: "Success",
};

function minus(text: string): string {
  return text.replace("-", "−");
}
