import type { GateOutcome, HeldOutSet } from "@crossrank/train";
import type { BackendChoice } from "../../options.js";
import type { Progress } from "../../progress.js";
import { formatCount } from "../../text.js";
import { openScoringModel } from "./teacher.js";
import type { TrainingPackage } from "./training-package.js";

interface Judging {
  readonly training: TrainingPackage;
  readonly gate: HeldOutSet;
  readonly maxLength: number | undefined;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  /** Folder or repository id. */
  readonly model: string;
  readonly backend: BackendChoice | undefined;
  readonly revision?: string | undefined;
  readonly offline?: boolean | undefined;
}

/** nDCG@10 of every query with the base model. */
export function measureBase(facts: Judging): Promise<ReadonlyMap<string, number>> {
  return measure(facts, "the base model");
}

/** Holds an artifact of the trained model against the base, query by query. */
export async function judgeArtifact(
  facts: Judging & {
    readonly base: ReadonlyMap<string, number>;
    readonly name: string;
    /** nDCG@10 that may be lost. */
    readonly margin: number;
  },
): Promise<GateOutcome> {
  const { base, name, margin, training } = facts;
  const values = await measure(facts, name);
  return training.judgeAgainstBase(name, values, base, margin);
}

async function measure(facts: Judging, name: string): Promise<ReadonlyMap<string, number>> {
  const { gate, model, backend, maxLength, revision, offline, progress, signal } = facts;
  const scoring = await openScoringModel(model, { backend, revision, offline, maxLength }, progress, signal);
  try {
    return await gate.measure(scoring.score, {
      signal,
      onProgress: (done) =>
        progress.step(`judging ${name}: ${formatCount(done)} of ${formatCount(gate.pairs)} pairs`),
    });
  } finally {
    await scoring.dispose();
  }
}
