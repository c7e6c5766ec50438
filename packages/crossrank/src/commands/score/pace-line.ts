import type { Progress } from "../../progress.js";
import type { ScorePairsProgress } from "../../score/score-pairs.js";
import { formatCount } from "../../text.js";

/** Milliseconds between two lines where there is no terminal whose line changes. */
const lineInterval = 30_000;

/** Tells how far a job is, with the time left: in a terminal as one line that changes, elsewhere a line now and then. */
export function createPaceLine(
  stream: NodeJS.WriteStream,
  progress: Progress,
): (now: ScorePairsProgress) => void {
  let last = performance.now();
  return (now) => {
    if (now.step === "reading") return progress.bytes("reading the pairs", now.completed, now.total);
    if (now.step === "joining") return progress.step("joining the shards");
    if (stream.isTTY) return progress.pairs(describePace(now));
    if (now.perSecond === undefined || performance.now() - last < lineInterval) return;
    last = performance.now();
    stream.write(`${describePace(now)}\n`);
  };
}

/** `scored 12,000 of 2,000,000 pairs (0.6 %), 340 a second, 1 h 37 min left`. */
export function describePace({ completed, total, perSecond, secondsLeft }: ScorePairsProgress): string {
  const share = total === 0 ? 100 : Math.floor((completed / total) * 1000) / 10;
  const pace =
    perSecond === undefined || secondsLeft === undefined
      ? ""
      : `, ${formatCount(Math.round(perSecond))} a second, ${describeSeconds(secondsLeft)} left`;
  return `scored ${formatCount(completed)} of ${formatCount(total)} pairs (${share} %)${pace}`;
}

/** 5825 → `1 h 37 min`. */
export function describeSeconds(seconds: number): string {
  const whole = Math.ceil(seconds);
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}
