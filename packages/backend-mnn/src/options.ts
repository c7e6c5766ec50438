import {
  checkBatchOption,
  checkChoice,
  checkHostOptions,
  type HostOptions,
  hostOptionNames,
  mostCopies,
  requireCount,
  requireOptions,
} from "@crossrank/backend-kit";
import type { BatchPreference, OptionNames } from "@crossrank/core";

/**
 * How {@link mnn} runs models. Every default is chosen from the machine and the model's size when a model loads.
 * `isolation` is `"process"` by default.
 */
export interface MnnOptions extends HostOptions {
  /**
   * The .mnn file to run, relative to the model, for names outside the usual table. Overrides `dtype`. Default: chosen
   * by `dtype`.
   */
  readonly file?: string | undefined;
  /**
   * MNN sessions, from 1 to 8 or the threads of the processor if it has more: so many batches run at the same time. Each holds the whole model in memory, about twice
   * its file. Default: as many as leaves each one thread, at most 4, when the file is below 150 MB; otherwise 1.
   */
  readonly sessions?: number | undefined;
  /**
   * Threads of each session for one batch, 1 to 32. Default: the processor's threads divided by `sessions`, rounded down.
   *
   * A process has one pool of threads for all of MNN, of as many as its first session with more than one asked for.
   * With `isolation: "process"` every model has a process, and a pool, of its own. With `"thread"` a later session may
   * ask for as many or fewer; for more is a `ModelLoadError`, where MNN itself would take fewer without a word.
   */
  readonly threads?: number | undefined;
  /**
   * MNN's precision mode. `"high"` computes in float32; `"low"` in half precision where the processor has it
   * (ARM v8.2), `"low-bf16"` in bfloat16 where MNN was built for it; elsewhere both are float32. Default: `"high"`.
   */
  readonly precision?: "high" | "low" | "low-bf16" | undefined;
  /**
   * MNN's memory mode. `"low"` keeps 8-bit weights at 8 bits and quantises activations as it runs: less memory, other
   * numbers. Default: `"normal"`, which unfolds them to float32 when the model loads.
   */
  readonly memory?: "normal" | "high" | "low" | undefined;
  /**
   * Recommendation to the scheduler, field by field: most rows, most tokens (rows × columns), largest share of padding
   * (0 to 1). Default: 8 rows, 512 tokens, no padding.
   */
  readonly batch?: Partial<BatchPreference> | undefined;
}

/** MNN's own limit: MAX_THREAD_NUMBER in source/backend/cpu/CPUBackend. */
export const mostThreads = 32;

const choices = {
  precision: ["high", "low", "low-bf16"],
  memory: ["normal", "high", "low"],
} as const;

const names: OptionNames<MnnOptions> = {
  ...hostOptionNames,
  file: "name",
  sessions: true,
  threads: true,
  precision: true,
  memory: true,
  batch: "object",
};

/** @throws {InvalidInputError} naming the option at fault. */
export function checkOptions(options: MnnOptions): void {
  requireOptions("mnn()", options, names);
  checkHostOptions(options);
  requireCount("sessions", options.sessions, mostCopies());
  requireCount("threads", options.threads, mostThreads);
  checkBatchOption(options.batch);
  for (const [name, allowed] of Object.entries(choices)) {
    checkChoice(name, options[name as keyof typeof choices], allowed);
  }
}
