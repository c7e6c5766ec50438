import type { CascadeTiming, EnvironmentReport, PrecisionClass, Ratio } from "@crossrank/eval";

export type { Ratio };

/**
 * What a pick came to, as plain JSON: what is not known is null. Times in milliseconds, sizes in bytes, metrics 0 to 1,
 * hashes lower-case hex sha256.
 */
export interface PickReport {
  readonly specificationVersion: "1";
  /** ISO 8601, UTC. */
  readonly created: string;
  readonly model: { readonly id: string; readonly revision: string | null; readonly family: string };
  readonly task: PickTask;
  /** Loss of nDCG@10 that is accepted. */
  readonly maxLoss: number;
  /** The system that all others are held against. */
  readonly reference: string;
  /** Those that were scored, in the order in which they were tried. */
  readonly systems: readonly PickSystem[];
  readonly leftOut: readonly LeftOut[];
  /** Names among `systems`; null where none of them passed and was timed. */
  readonly choice: PickChoice | null;
  /** A small model before the recommended system; null where none was asked for, or nothing is recommended. */
  readonly cascade: PickCascade | null;
  /** Sentences about encoders on llama.cpp, where the times say something. */
  readonly advice: readonly string[];
  readonly timing: {
    /** Rounds in which every system had a turn. */
    readonly rounds: number;
    /** Pairs of a call. */
    readonly pairs: number;
    /** Whether all models were loaded at once, or each for its turns alone: together they need more memory than there is. */
    readonly loadedAtOnce: boolean;
    /** ISO 8601, UTC: of the first round, which may be of an earlier run. */
    readonly startedAt: string;
    /** Average number of processes that wanted a processor, over the minute before the first round and before the last. */
    readonly load: { readonly before: number; readonly after: number };
  } | null;
  /** What the run may take, and what it took. Seconds. */
  readonly time: { readonly limit: number; readonly spent: number };
  readonly settings: {
    readonly seed: number;
    /** Threads of each worker, workers; null for the backend's own choice. */
    readonly threads: number | null;
    readonly workers: number | null;
    readonly maxLength: number | null;
  };
  readonly environment: EnvironmentReport;
  /** Folder of the scores, with which the same call goes on. */
  readonly folder: string;
}

export interface PickTask {
  readonly id: string;
  /** Of the hashes of its files and candidates. */
  readonly sha256: string;
  /** Queries that were scored, and queries of the task. */
  readonly queries: number;
  readonly allQueries: number;
  readonly pairs: number;
  /** Where the candidates are from; null where the whole corpus is searched. */
  readonly candidates: string | null;
}

export interface PickSystem {
  /** E.g. `"onnx:int8"`. */
  readonly name: string;
  readonly runtime: { readonly name: string; readonly version: string };
  readonly settings: Readonly<Record<string, string>>;
  readonly artifact: {
    readonly format: string;
    readonly dtype: string;
    /** Of its files. */
    readonly bytes: number | null;
    readonly sha256: string | null;
    /** Whether it was made of the model's weights, and lies in the cache. */
    readonly converted: boolean;
  };
  readonly precision: PrecisionClass | null;
  readonly ndcg: number | null;
  /** Against the reference; null for the reference itself. `lowerBound` is one-sided, of 95 %. */
  readonly change: { readonly mean: number; readonly lowerBound: number | null } | null;
  /** Mean |Δ| of its logits (a bi-encoder's cosines) from the reference's; 0 for the reference; null where scales differ. */
  readonly distance: number | null;
  /** `sentence` is eval's own. The reference passes. */
  readonly gate: { readonly passed: boolean; readonly sentence: string };
  /** Peak of the process that held the model and all that it started; null where the system does not tell. */
  readonly memory: number | null;
  /** Null where it was not timed: it failed the gate, or ended. */
  readonly time: PickTime | null;
}

export interface PickTime {
  /** Wall-clock milliseconds of a call: median over the rounds. */
  readonly wall: number;
  /** Milliseconds of processor time of a call, all threads: median over the rounds; null where the system does not tell. */
  readonly processor: number | null;
  /** Wall-clock time, and processor time, over those of the fastest in the same rounds. */
  readonly wallRatio: Ratio;
  readonly processorRatio: Ratio | null;
}

export interface PickCascade {
  /** E.g. `"nano on onnx:int8"`. */
  readonly small: string;
  /** Backend of the small model; null where it was not found out. */
  readonly backend: string | null;
  /** The system behind it: the recommended one. */
  readonly large: string;
  /** The smallest number of documents that go on and keep the quality, with every larger one; null where there is none. */
  readonly keep: number | null;
  readonly ndcg: number | null;
  /** Against the reference. `lowerBound` is one-sided, of 95 %. */
  readonly change: { readonly mean: number; readonly lowerBound: number } | null;
  /** Whole calls in turns with the large model alone. */
  readonly time: CascadeTiming | null;
  /** It keeps the quality, and is faster than the large model alone beyond what noise can make. */
  readonly recommended: boolean;
  /** Why or why not, as a sentence. */
  readonly reason: string;
}

export interface PickChoice {
  /** The one to take: the most exact of those that are level with the fastest. */
  readonly recommended: string;
  /** Least wall-clock time. */
  readonly fastest: string;
  /** Those whose ratio to the fastest has an interval that contains 1, the fastest among them. */
  readonly level: readonly string[];
  /** Least bytes of its artifact; of equal ones the more exact. */
  readonly smallest: string;
  /** Least distance from the reference, which is the reference itself where it was timed. */
  readonly mostExact: string;
  /** Why, as a sentence. */
  readonly reason: string;
}

export type LeftOutReason =
  /** A package is missing. */
  | "not-installed"
  /** The runtime does not work here: another system, or it does not load. */
  | "not-here"
  /** There is no file of it, and nothing that could be converted, or that may be. */
  | "no-file"
  /** The runtime or the writer refuses this model, or this precision of it. */
  | "refused"
  | "gate"
  | "out-of-time"
  | "out-of-memory"
  /** Its process ended. */
  | "crashed"
  | "failed";

export interface LeftOut {
  /** A runtime, or a runtime and its precision. */
  readonly name: string;
  readonly reason: LeftOutReason;
  readonly detail: string;
  /** Of a gate that failed: the lower bound of the change. */
  readonly value: number | null;
}
