import type { FileProgress, ScoringProgress } from "@crossrank/core";
import { fitToWidth, formatBytes, formatCount } from "./text.js";

/** One line on standard error that tells how far the work is; nothing at all when that is no terminal. */
export interface Progress {
  /** What is being done, without a measure. */
  step(what: string): void;
  download(progress: FileProgress): void;
  scoring(progress: ScoringProgress): void;
  /** What is being done, and how many bytes of how many it has got through. */
  bytes(what: string, done: number, total: number): void;
  /** Takes the line away. Before anything else is written to a terminal. */
  clear(): void;
}

/** A terminal that is written to more often only flickers. */
const interval = 80;

export function createProgress(stream: NodeJS.WriteStream): Progress {
  if (!stream.isTTY || process.env["TERM"] === "dumb") {
    const silent = (): void => undefined;
    return { step: silent, download: silent, scoring: silent, bytes: silent, clear: silent };
  }
  let shown = false;
  let last = Number.NEGATIVE_INFINITY;
  const show = (line: string, force = false): void => {
    const now = performance.now();
    if (!force && now - last < interval) return;
    last = now;
    shown = true;
    stream.write(`\r\x1b[2K${fitToWidth(line, (stream.columns || 80) - 1)}`);
  };
  return {
    step: (what) => show(what, true),
    download: ({ path, loaded, total }) => {
      const size = total === undefined ? "" : ` of ${formatBytes(total)} ${bar(loaded / total)}`;
      show(`downloading ${path}  ${formatBytes(loaded)}${size}`, loaded === total);
    },
    scoring: ({ completed, total }) =>
      show(
        `scoring ${formatCount(completed)} of ${formatCount(total)} documents ${bar(completed / total)}`,
        completed === total,
      ),
    bytes: (what, done, total) =>
      show(`${what}  ${formatBytes(done)} of ${formatBytes(total)} ${bar(done / total)}`, done === total),
    clear: () => {
      if (shown) stream.write("\r\x1b[2K");
      shown = false;
    },
  };
}

function bar(fraction: number): string {
  const share = Number.isFinite(fraction) ? Math.min(Math.max(fraction, 0), 1) : 1;
  const width = 20;
  const full = Math.round(share * width);
  return `[${"#".repeat(full)}${"-".repeat(width - full)}] ${Math.floor(share * 100)} %`;
}
