import type { ConversionProgress } from "@crossrank/convert";
import type { FileProgress, ScoringProgress } from "@crossrank/core";

import type { AutoConversionProgress } from "./auto-conversion.js";
import { note } from "./model.js";
import { fitToWidth, formatBytes, formatCount } from "./text.js";

/** One line on standard error that tells how far the work is; nothing at all when that is no terminal. */
export interface Progress {
  /** What is being done, without a measure. */
  step(what: string): void;
  download(progress: FileProgress): void;
  scoring(progress: ScoringProgress): void;
  /** How far a job of many calls is, in words. */
  pairs(what: string): void;
  /** What is being done, and how many bytes of how many it has got through. */
  bytes(what: string, done: number, total: number): void;
  /** How far a conversion is; what came of it is a line that stays, also where this is no terminal. */
  conversion(progress: AutoConversionProgress): void;
  /** Takes the line away. Before anything else is written to a terminal. */
  clear(): void;
}

/** A terminal that is written to more often only flickers. */
const interval = 80;

export function createProgress(stream: NodeJS.WriteStream): Progress {
  if (!stream.isTTY || process.env["TERM"] === "dumb") {
    const silent = (): void => undefined;
    const conversion = (now: AutoConversionProgress): void => {
      if (now.step === "converted") note(conversionNote(now));
    };
    return {
      ...{ step: silent, download: silent, scoring: silent, pairs: silent, bytes: silent, clear: silent },
      conversion,
    };
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
  const clear = (): void => {
    if (shown) stream.write("\r\x1b[2K");
    shown = false;
  };
  const progress: Progress = {
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
    pairs: (what) => show(what),
    bytes: (what, done, total) =>
      show(`${what}  ${formatBytes(done)} of ${formatBytes(total)} ${bar(done / total)}`, done === total),
    conversion: (now) => {
      if (now.step === "converted") {
        clear();
        note(conversionNote(now));
      } else showConversion(progress, now);
    },
    clear,
  };
  return progress;
}

function conversionNote({
  model,
  format,
  dtype,
  folder,
  reused,
}: Extract<AutoConversionProgress, { step: "converted" }>): string {
  return reused
    ? `${model} runs as the ${format} ${dtype} that was made of its weights earlier`
    : `${model} has weights and no ${format} file: they were converted to ${format} ${dtype}, which gives what the weights give, and is kept in ${folder}`;
}

/** @param what is written, for the line. */
export function showConversion(progress: Progress, now: ConversionProgress, what = "the artifact"): void {
  switch (now.step) {
    case "downloading":
      progress.download(now);
      break;
    case "reading":
      progress.step("reading the model");
      break;
    case "hashing":
      progress.bytes(`hashing ${now.path}`, now.read, now.total);
      break;
    case "writing":
      if (now.written === undefined || now.total === undefined) progress.step(`writing ${what}`);
      else progress.bytes(`writing ${what}`, now.written, now.total);
      break;
    case "reference":
      progress.step(`computing what the weights give${share(now)}`);
      break;
    case "verifying":
      progress.step(`verifying ${what}${share(now)}`);
      break;
  }
}

function share({ completed, total }: { readonly completed?: number; readonly total?: number }): string {
  return completed === undefined || total === undefined ? "" : `, ${completed} of ${total}`;
}

function bar(fraction: number): string {
  const share = Number.isFinite(fraction) ? Math.min(Math.max(fraction, 0), 1) : 1;
  const width = 20;
  const full = Math.round(share * width);
  return `[${"#".repeat(full)}${"-".repeat(width - full)}] ${Math.floor(share * 100)} %`;
}
