// Text on its way to a terminal: what of foreign text must not get there, how wide it is, and numbers.
import type { Scale } from "@crossrank/core";

let segmenter: Intl.Segmenter | undefined;

/** Made where a line needs it: its tables take longer to load than most commands have need of. Latin needs none. */
function graphemesOf(line: string): Iterable<Pick<Intl.SegmentData, "segment">> {
  if (isPlain.test(line)) return Array.from(line, (segment) => ({ segment }));
  segmenter ??= new Intl.Segmenter("en", { granularity: "grapheme" });
  return segmenter.segment(line);
}

/** Printable ASCII, Latin letters, dashes, quotes and the ellipsis: every character is one grapheme of one column. */
const isPlain = /^[ -~\u00a1-\u00ac\u00ae-\u024f\u2010-\u2027]*$/;

/** East Asian wide characters and pictures, which take two columns. */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\u33ff\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6]|\ufe0f|\p{Script=Han}|\p{Emoji_Presentation}/u;

/** Control characters, and formatting characters that reorder or hide text; emoji and Indic scripts need the joiners. */
const unsafe = /[\p{Cc}\p{Zl}\p{Zp}]|(?![\u200c\u200d])\p{Cf}/gu;

/** One line without control characters, so that no text can send an escape sequence to a terminal. */
export function toSingleLine(text: string): string {
  return text.toWellFormed().replace(/\s+/gu, " ").replace(unsafe, "").trim();
}

/** Columns that a line takes on a terminal. */
export function displayWidth(line: string): number {
  if (isPlain.test(line)) return line.length;
  let width = 0;
  for (const { segment } of graphemesOf(line)) width += widthOf(segment);
  return width;
}

/** The beginning of a text, as a single line of at most `columns`. */
export function fitToWidth(text: string, columns: number): string {
  // The segmenter is slow, and no line shows more of a long document than this.
  const most = columns * 8;
  const line = toSingleLine(text.slice(0, most));
  if (text.length <= most && displayWidth(line) <= columns) return line;
  let kept = "";
  let width = 0;
  for (const { segment } of graphemesOf(line)) {
    width += widthOf(segment);
    if (width > columns - 1) break;
    kept += segment;
  }
  return `${kept.trimEnd()}…`;
}

/** Rows as aligned columns, two spaces apart. */
export function alignColumns(
  rows: readonly (readonly string[])[],
  alignment: readonly ("left" | "right")[],
): string[] {
  const widths = columnWidths(rows);
  return rows.map((row) =>
    row
      .map((cell, column) => {
        const padding = " ".repeat((widths[column] ?? 0) - displayWidth(cell));
        return alignment[column] === "right" ? padding + cell : cell + padding;
      })
      .join("  ")
      .trimEnd(),
  );
}

/** Columns' widths on a terminal. */
export function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [column, cell] of row.entries()) {
      widths[column] = Math.max(widths[column] ?? 0, displayWidth(cell));
    }
  }
  return widths;
}

/** 1234567 → "1.2 MB". */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  for (; value >= 999.95 && unit < units.length - 1; unit += 1) value /= 1000;
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** 1234567 → "1,234,567". A whole number's digits are grouped here: ICU's tables take 10 ms to load. */
export function formatCount(count: number): string {
  if (!Number.isSafeInteger(count)) return count.toLocaleString("en-US");
  return String(count).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A session's settings behind its backend's name, `" (batch 1 row)"`; nothing where there are none. */
export function describeSettings(settings: Readonly<Record<string, string>>): string {
  const named = Object.entries(settings).map(([name, value]) => `${name} ${value}`);
  return named.length === 0 ? "" : ` (${named.join(", ")})`;
}

function widthOf(grapheme: string): number {
  return wide.test(grapheme) ? 2 : 1;
}

/** A score as a table shows it: never rounded up to a 1 that it has not reached. */
export function displayScore(score: number, scale: Scale): string {
  const format = (digits: number): string =>
    scale === "probability" ? score.toPrecision(digits) : score.toFixed(digits);
  for (let digits = 4; digits < 17; digits += 1) {
    const shown = format(digits);
    if (scale === "logit" || Math.abs(score) >= 1 || Math.abs(Number(shown)) < 1) return shown;
  }
  return String(score);
}
