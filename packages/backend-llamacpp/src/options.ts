import {
  checkHostOptions,
  type HostOptions,
  hostOptionNames,
  mostCopies,
  mostThreads,
  requireCount,
  requireOptions,
} from "@crossrank/backend-kit";
import { InvalidInputError, type OptionNames } from "@crossrank/core";

/**
 * How {@link llamacpp} runs models. Every default is chosen from the machine and the model when a model loads.
 * `isolation` is `"process"` by default.
 */
export interface LlamaCppOptions extends HostOptions {
  /**
   * The .gguf file to run, relative to the model, for names that do not say their precision. Overrides `dtype`.
   * Default: chosen by `dtype`.
   */
  readonly file?: string | undefined;
  /**
   * llama.cpp contexts, from 1 to 8 or the threads of the processor if it has more: so many sequences run at the same time. They share the weights; each has buffers of
   * its own. Default: one for each processor thread, at most 8, and no more than half of the free memory holds at 512
   * tokens; 1 on a GPU. With `isolation: "thread"` more than libuv's threads (`UV_THREADPOOL_SIZE`, 4) wait in turn.
   */
  readonly contexts?: number | undefined;
  /** Threads of each context, from 1 to 512. Default: the processor's threads divided by `contexts`, rounded down. */
  readonly threads?: number | undefined;
  /**
   * llama.cpp's flash attention: its intermediates are in half precision, and long sequences of encoders take about
   * half the time. Default: true for encoders of 16 bits and fewer, whose weights are no more precise; false for
   * others, and for decoders, where a score would depend on what its prompt shares with its neighbours' (README.md).
   */
  readonly flashAttention?: boolean | undefined;
  /**
   * `false`: the processor. `"auto"`: the best device that node-llama-cpp has binaries for here, else the processor.
   * A device by name is an error where it does not work. Nothing is ever compiled or downloaded.
   * Default: `false`, because only the processor's numbers have been compared with the references.
   */
  readonly gpu?: "auto" | "metal" | "cuda" | "vulkan" | false | undefined;
}

const gpus: readonly unknown[] = [undefined, "auto", "metal", "cuda", "vulkan", false];

const names: OptionNames<LlamaCppOptions> = {
  ...hostOptionNames,
  file: "name",
  contexts: true,
  threads: true,
  flashAttention: "boolean",
  gpu: true,
};

/** @throws {InvalidInputError} naming the option at fault. */
export function checkOptions(options: LlamaCppOptions): void {
  requireOptions("llamacpp()", options, names);
  checkHostOptions(options);
  requireCount("contexts", options.contexts, mostCopies());
  requireCount("threads", options.threads, mostThreads);
  if (!gpus.includes(options.gpu)) {
    throw new InvalidInputError("gpu", 'must be "auto", "metal", "cuda", "vulkan" or false');
  }
}
