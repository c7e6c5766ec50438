import {
  checkBatchOption,
  checkHostOptions,
  type HostOptions,
  hostOptionNames,
  mostCopies,
  requireCount,
  requireOptions,
} from "@crossrank/backend-kit";
import type { BatchPreference, OptionNames } from "@crossrank/core";

/**
 * How {@link ctranslate2} runs models. Every default is chosen from the machine when a model loads. `isolation` is
 * `"process"` by default.
 */
export interface CTranslate2Options extends HostOptions {
  /**
   * The model.bin to run, or its folder, relative to the model, for names outside the usual table. Overrides `dtype`.
   * Default: chosen by `dtype`.
   */
  readonly file?: string | undefined;
  /**
   * Batches that run at the same time, from 1 to 8 or the threads of the processor if it has more. They share the
   * model's weights. Default: one a thread of the processor, at most 4.
   */
  readonly sessions?: number | undefined;
  /**
   * Threads of each session for one batch, 1 to 64. Default: the processor's threads divided by `sessions`, rounded
   * down.
   */
  readonly threads?: number | undefined;
  /**
   * Recommendation to the scheduler, field by field: most rows, most tokens (rows × columns), largest share of padding
   * (0 to 1). Default: 8 rows, 1024 tokens, a quarter of padding, which is not computed.
   */
  readonly batch?: Partial<BatchPreference> | undefined;
}

const mostThreads = 64;

const names: OptionNames<CTranslate2Options> = {
  ...hostOptionNames,
  file: "name",
  sessions: true,
  threads: true,
  batch: "object",
};

/** @throws {InvalidInputError} naming the option at fault. */
export function checkOptions(options: CTranslate2Options): void {
  requireOptions("ctranslate2()", options, names);
  checkHostOptions(options);
  requireCount("sessions", options.sessions, mostCopies());
  requireCount("threads", options.threads, mostThreads);
  checkBatchOption(options.batch);
}
