import {
  checkBatchOption,
  checkHostOptions,
  type HostOptions,
  hostOptionNames,
  mostCopies,
  mostThreads,
  requireCount,
  requireOptions,
} from "@crossrank/backend-kit";
import { type BatchPreference, InvalidInputError, type OptionNames } from "@crossrank/core";
import type { InferenceSession } from "onnxruntime-common";

/**
 * How {@link onnx} runs models. Every default is chosen from the machine and the model's size when a model loads.
 * `isolation` is `"process"` by default; `"thread"` for the models that come with this project's packages, known by
 * their content, on the processor.
 */
export interface OnnxOptions extends HostOptions {
  /**
   * Child processes or worker threads, each with its own ONNX Runtime session, from 1 to 8 or the threads of the
   * processor if it has more. Each holds the whole model in memory. Default: as many as leave each one thread or more
   * and take no more than half of the free memory together, at most 4; each takes about 1.6 times the model's files.
   * Of those the first starts with the model, and the others when there is work for them; with `workers` given, all
   * start with the model.
   */
  readonly workers?: number | undefined;
  /**
   * Threads of each worker for one batch (`intraOpNumThreads`), from 1 to 512. More make one batch faster, at
   * falling returns. Default: the processor's threads divided by `workers`, rounded down.
   */
  readonly threads?: number | undefined;
  /**
   * ONNX Runtime's execution providers, best first, by name (`"cpu"`, `"cuda"`, `"webgpu"`, `"coreml"`, `"dml"`)
   * or as its configuration objects. Default: `["cpu"]`. One that this build lacks is a `ModelLoadError`, never
   * dropped in silence.
   */
  readonly executionProviders?: InferenceSession.SessionOptions["executionProviders"] | undefined;
  /**
   * Further options for ONNX Runtime's session, passed on as they are. They travel to another process or thread,
   * so no functions. Default: `{ graphOptimizationLevel: "all" }`, which exports from anywhere need; for a file that says
   * that its graph is in its final form, as those of `crossrank convert` do, `"basic"`: it loads and runs faster.
   */
  readonly sessionOptions?:
    | Omit<InferenceSession.SessionOptions, "intraOpNumThreads" | "executionProviders" | "externalData">
    | undefined;
  /**
   * The .onnx file to run, relative to the model, for names outside the usual table, e.g.
   * `"onnx/model_qint8_avx512_vnni.onnx"`. Overrides `dtype`. Default: chosen by `dtype`.
   */
  readonly file?: string | undefined;
  /**
   * Recommendation to the scheduler, field by field: most rows, most tokens (rows × columns), largest share of
   * padding (0 to 1). Default: 8 rows, 256 tokens, 0.05; 1 row where the graph quantises activations for the batch as
   * a whole, so that a score in a larger batch depends on its neighbours (measured on the embedded int8 model: by up to
   * 0.10 of a logit with 8 rows, 4096 tokens and padding 1; scripts/measure-rows.mjs). See README.md and
   * docs/decisions/0002-onnx-batching.md. A graph of fixed shape decides its own rows.
   * Language models: fewer tokens where the logits of the whole vocabulary would exceed 256 MB, and padding 0 where
   * the graph gives logits at the last column only.
   */
  readonly batch?: Partial<BatchPreference> | undefined;
  /**
   * Whether what the rows of a batch begin with (a language model's prompt, with instruction and query) is computed once
   * for all of them, by the graph's cache. It moves logits in their last digits (docs/decisions/0022-shared-prefix.md).
   * Default: yes on the processor, where the graph takes `past_key_values`, gives the same logits with them in a trial at
   * loading, and quantises no activations for the batch as a whole. `true` makes it a `ModelLoadError` where the graph
   * cannot, and shares also off the processor and where activations are quantised together, whose scores it moves as other
   * neighbours would. `false`: every sequence is computed whole.
   */
  readonly sharePrefix?: boolean | undefined;
}

const names: OptionNames<OnnxOptions> = {
  ...hostOptionNames,
  workers: true,
  threads: true,
  executionProviders: true,
  sessionOptions: "object",
  file: "name",
  batch: "object",
  sharePrefix: "boolean",
};

/** ONNX Runtime takes a name that it does not know in silence. Values are its to judge, but for those of one form. */
const sessionNames: OptionNames<NonNullable<OnnxOptions["sessionOptions"]>> = {
  interOpNumThreads: true,
  freeDimensionOverrides: true,
  graphOptimizationLevel: true,
  enableCpuMemArena: "boolean",
  enableMemPattern: "boolean",
  executionMode: true,
  optimizedModelFilePath: "string",
  enableProfiling: "boolean",
  profileFilePrefix: "string",
  logId: "string",
  logSeverityLevel: "number",
  logVerbosityLevel: "number",
  preferredOutputLocation: true,
  enableGraphCapture: "boolean",
  extra: true,
};

/** Execution providers by the names of ONNX Runtime's JavaScript, which differ from Python's. */
const providers = ["cpu", "cuda", "tensorrt", "dml", "coreml", "webgpu", "qnn", "xnnpack", "openvino"];

/** @throws {InvalidInputError} */
function checkProviders(given: OnnxOptions["executionProviders"]): void {
  if (given === undefined) return;
  if (!Array.isArray(given)) {
    const written = typeof given === "string" ? `["${given}"]` : '["cuda", "cpu"]';
    throw new InvalidInputError("executionProviders", `must be an array: write ${written}`);
  }
  if (given.length === 0) {
    throw new InvalidInputError("executionProviders", 'must name at least one provider, e.g. "cpu"');
  }
  for (const [index, provider] of given.entries()) {
    const name: unknown = typeof provider === "object" ? provider?.name : provider;
    const path = `executionProviders[${index}]`;
    if (typeof name !== "string" || name === "") {
      throw new InvalidInputError(path, 'must be the name of a provider, e.g. "cpu", or an object with one');
    }
    const plain = name.toLowerCase().replace(/executionprovider$/, "");
    if (plain !== name && providers.includes(plain)) {
      throw new InvalidInputError(path, `is ${JSON.stringify(name)}: write "${plain}"`);
    }
  }
}

/** @throws {InvalidInputError} naming the option at fault. */
export function checkOptions(options: OnnxOptions): void {
  requireOptions("onnx()", options, names);
  checkHostOptions(options);
  requireCount("workers", options.workers, mostCopies());
  requireCount("threads", options.threads, mostThreads);
  checkBatchOption(options.batch);
  checkProviders(options.executionProviders);
  if (options.sessionOptions !== undefined) {
    requireOptions("sessionOptions", options.sessionOptions, sessionNames);
  }
  try {
    structuredClone({ session: options.sessionOptions, providers: options.executionProviders });
  } catch (cause) {
    throw new InvalidInputError(
      "sessionOptions",
      "must be plain data, because it travels to another process or thread",
      { cause },
    );
  }
}
