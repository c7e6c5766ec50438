import {
  checkBatchOption,
  checkChoice,
  checkHostOptions,
  type HostOptions,
  hostOptionNames,
  mostThreads,
  requireCount,
  requireOptions,
} from "@crossrank/backend-kit";
import { type BatchPreference, InvalidInputError, type OptionNames } from "@crossrank/core";
import type { Compute } from "./native.js";

/** How {@link mlx} runs models. `isolation` is `"process"` by default. */
export interface MlxOptions extends HostOptions {
  /**
   * The safetensors file with the weights, relative to the model, where there are several. Default: `model.safetensors`,
   * the shards of `model.safetensors.index.json`, or the only one there is.
   */
  readonly file?: string | undefined;
  /**
   * Columns that share a scale and a bias in dtypes q8 and q4: 32, 64 or 128. A matrix whose columns it does not divide is
   * left as it is. Of weights that MLX has quantised already, their own holds. Default: 64.
   */
  readonly group?: 32 | 64 | 128 | undefined;
  /**
   * Folder of an adapter that was trained beside the model, in the layout of Hugging Face's peft (LoRA, and whole tensors
   * of the head): it is computed beside the weights, which stay as they are, quantised ones too. Default: none.
   */
  readonly adapter?: string | undefined;
  /**
   * In what the model computes. Default: float32 for fp32, q8 and q4; for bf16 and fp16 their own. On a GPU bfloat16 is
   * about twice as fast.
   */
  readonly compute?: Compute | undefined;
  /**
   * Threads of OpenBLAS, 1 or more, where there is no GPU and the model runs in a process of its own. Default: 1,
   * or OPENBLAS_NUM_THREADS, since they spin while they wait: on a processor that other programs share more threads take
   * many times as long.
   */
  readonly threads?: number | undefined;
  /**
   * Recommendation to the scheduler, field by field: most rows, most tokens (rows × columns), largest share of padding
   * (0 to 1). Default: 16 rows, 2,048 tokens, a tenth of padding.
   */
  readonly batch?: Partial<BatchPreference> | undefined;
}

const names: OptionNames<MlxOptions> = {
  ...hostOptionNames,
  file: "name",
  group: true,
  adapter: "name",
  compute: true,
  threads: true,
  batch: "object",
};

/** @throws {InvalidInputError} naming the option at fault. */
export function checkOptions(options: MlxOptions): void {
  requireOptions("mlx()", options, names);
  checkHostOptions(options);
  requireCount("threads", options.threads, mostThreads);
  checkBatchOption(options.batch);
  checkChoice("compute", options.compute, ["float32", "float16", "bfloat16"]);
  if (options.group !== undefined && ![32, 64, 128].includes(options.group))
    throw new InvalidInputError("group", `must be 32, 64 or 128, not ${JSON.stringify(options.group)}`);
}
