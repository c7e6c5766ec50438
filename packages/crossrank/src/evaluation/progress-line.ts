import type { EvaluationProgress } from "@crossrank/eval";
import type { Progress } from "../progress.js";
import { formatCount } from "../text.js";

/** One line: who is at work, how far, how long still. */
function progressLine({ system, phase, completed, total, secondsLeft }: EvaluationProgress): string {
  if (phase === "loading") return `loading ${system}, ${completed + 1} of ${total}`;
  if (phase === "measuring") return `measuring, ${completed + 1} of ${total}`;
  const share = total === 0 ? 100 : Math.floor((100 * completed) / total);
  const things = phase === "scoring" ? "pairs" : phase === "embedding" ? "texts" : "documents";
  const left = secondsLeft === undefined || completed >= total ? "" : `, ${formatDuration(secondsLeft)} left`;
  return `${phase} ${system}: ${formatCount(completed)} of ${formatCount(total)} ${things}, ${share} %${left}`;
}

export function formatDuration(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

/** A terminal that is written to more often only flickers. */
export function showProgress(progress: Progress): (now: EvaluationProgress) => void {
  let last = Number.NEGATIVE_INFINITY;
  return (now) => {
    const time = performance.now();
    if (now.phase !== "loading" && now.phase !== "measuring" && time - last < 100) return;
    last = time;
    progress.step(progressLine(now));
  };
}
