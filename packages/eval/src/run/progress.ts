/** How far an evaluation is. */
export interface EvaluationProgress {
  /** Name of the system at work. */
  readonly system: string;
  /**
   * `embedding`: texts of a bi-encoder; `searching`: vectors are compared; `measuring`: all systems are scored, and
   * metrics and their intervals are computed.
   */
  readonly phase: "loading" | "scoring" | "embedding" | "searching" | "measuring";
  /** Pairs, texts, documents or metrics done, of earlier runs too. */
  readonly completed: number;
  readonly total: number;
  /** Of `completed`, what an earlier run had done. */
  readonly resumed: number;
  /** From this run's own pace; undefined until there is one. */
  readonly secondsLeft: number | undefined;
}

export type ProgressListener = (progress: EvaluationProgress) => void;

/** Counts one phase of one system. */
export function phaseProgress(
  listener: ProgressListener | undefined,
  facts: Pick<EvaluationProgress, "system" | "phase" | "total" | "resumed">,
): (completed: number) => void {
  const started = performance.now();
  const report = (completed: number): void => {
    const done = completed - facts.resumed;
    const seconds = (performance.now() - started) / 1000;
    const secondsLeft = done > 0 ? (seconds / done) * (facts.total - completed) : undefined;
    listener?.({ ...facts, completed, secondsLeft });
  };
  report(facts.resumed);
  return report;
}
