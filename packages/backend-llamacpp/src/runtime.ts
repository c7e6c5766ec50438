import { setImmediate } from "node:timers/promises";
import { type Handlers, messageOf, RuntimeFailure } from "@crossrank/backend-kit/runtime";
import type { Llama, LlamaModel, LlamaModelOptions } from "node-llama-cpp";
import { type Lane, openLane } from "./lane.js";
import type {
  Calls,
  LoadArgument,
  LoadedModel,
  RunArgument,
  RunResult,
  RuntimeDiagnosis,
} from "./protocol.js";
import { poolingTypes, type RunPlan, widthOf } from "./run-plan.js";

/** Kept of llama.cpp's log, for messages. */
const keptLines = 8;

/** Contexts on one model, each running one sequence at a time. Lives in a child process, or in the caller's. */
export class Runtime implements Handlers<Calls> {
  readonly #write: (line: string) => void;
  readonly #log: string[] = [];
  readonly #waiting: ((lane: Lane) => void)[] = [];
  readonly #idle: Lane[] = [];
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #listener = (line: string): void => this.#keep(line);
  #lanes: Lane[] = [];
  #model: LlamaModel | undefined;
  #plan: RunPlan | undefined;

  /** @param write where errors of llama.cpp's log go, besides messages. */
  constructor(write: (line: string) => void = () => undefined) {
    this.#write = write;
  }

  /** @throws {RuntimeFailure} */
  async load(argument: LoadArgument): Promise<LoadedModel> {
    const { modelPath, plan, contexts, threads, gpu, flashAttention } = argument;
    const llama = await startLlama(gpu, this.#listener);
    try {
      const model = await llama.loadModel({
        modelPath,
        metadataOverrides: overridesOf(plan),
        defaultContextFlashAttention: flashAttention,
        // In half precision a prefix that is computed before its rest is not quite what it is together with it.
        experimentalDefaultContextKvCacheKeyType: "F32",
        experimentalDefaultContextKvCacheValueType: "F32",
        ...(gpu === false ? { gpuLayers: 0 } : {}),
      });
      this.#model = model;
      this.#plan = plan;
      this.#lanes = Array.from({ length: contexts }, () =>
        openLane(plan.output, { model, threads, longest: plan.maxSequenceLength }),
      );
      this.#idle.push(...this.#lanes);
    } catch (error) {
      throw new RuntimeFailure("model", await this.#explain(error), { cause: error });
    }
    return { version: await moduleVersion(), gpu: llama.gpu };
  }

  /** @throws {RuntimeFailure} */
  async diagnose(): Promise<RuntimeDiagnosis> {
    const { buildType, systemInfo } = await startLlama(false, this.#listener);
    const features = [...systemInfo.matchAll(/(\w+) = 1\b/g)].map(([, name = ""]) => name);
    return { version: await moduleVersion(), buildType, features };
  }

  /** @throws {RuntimeFailure}, and the signal's reason once it is aborted. */
  run(argument: RunArgument, signal?: AbortSignal): Promise<RunResult> {
    const running = this.#run(argument, signal);
    const settled = running.then(
      () => undefined,
      () => undefined,
    );
    this.#underWay.add(settled);
    void settled.then(() => this.#underWay.delete(settled));
    return running;
  }

  /** Waits for the runs under way. */
  async release(): Promise<undefined> {
    await Promise.all(this.#underWay);
    for (const lane of this.#lanes.splice(0)) await lane.dispose();
    await this.#model?.dispose();
    this.#model = undefined;
    for (const { listeners } of instances.values()) listeners.delete(this.#listener);
    return undefined;
  }

  async #run({ rows, columns, inputIds, lengths }: RunArgument, signal?: AbortSignal): Promise<RunResult> {
    if (this.#plan === undefined) throw new RuntimeFailure("run", "no model is loaded");
    const width = widthOf(this.#plan.output);
    const data = new Float32Array(rows * width);
    const lane = await this.#takeLane();
    try {
      signal?.throwIfAborted();
      await lane.reset();
      for (const { row, ids } of byPrefix(rows, columns, inputIds, lengths)) {
        signal?.throwIfAborted();
        data.set(await lane.evaluate(ids), row * width);
      }
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason;
      throw new RuntimeFailure("run", await this.#explain(error), { cause: error });
    } finally {
      this.#giveBack(lane);
    }
    return { data, shape: [rows, width] };
  }

  async #takeLane(): Promise<Lane> {
    return this.#idle.pop() ?? new Promise((resolve) => this.#waiting.push(resolve));
  }

  #giveBack(lane: Lane): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#idle.push(lane);
    else next(lane);
  }

  #keep(line: string): void {
    this.#log.push(line);
    this.#log.splice(0, this.#log.length - keptLines);
    this.#write(line);
  }

  /** node-llama-cpp's message, and what llama.cpp logged, which is where the reason stands. */
  async #explain(error: unknown): Promise<string> {
    // Lines of the log arrive a turn later than the failure that they explain.
    await setImmediate();
    const lines = this.#log.splice(0);
    return [messageOf(error), ...lines].join("; ");
  }
}

type GpuOption = LoadArgument["gpu"];

/** One for each device and process: two instances of the library share state, and the first one's end ends both. */
const instances = new Map<GpuOption, { llama: Promise<Llama>; listeners: Set<(line: string) => void> }>();

/** @throws {RuntimeFailure} when node-llama-cpp or its binary for the device is missing. */
async function startLlama(gpu: GpuOption, onLine: (line: string) => void): Promise<Llama> {
  let instance = instances.get(gpu);
  if (instance === undefined) {
    const listeners = new Set<(line: string) => void>();
    const llama = openLlama(gpu, (line) => {
      for (const listener of listeners) listener(line);
    });
    instance = { llama, listeners };
    instances.set(gpu, instance);
    llama.catch(() => instances.delete(gpu));
  }
  instance.listeners.add(onLine);
  return instance.llama;
}

async function moduleVersion(): Promise<string> {
  const { getModuleVersion } = await import("node-llama-cpp");
  return getModuleVersion();
}

async function openLlama(gpu: GpuOption, onLine: (line: string) => void): Promise<Llama> {
  let runtime: typeof import("node-llama-cpp");
  try {
    runtime = await import("node-llama-cpp");
  } catch (cause) {
    throw new RuntimeFailure("runtime", messageOf(cause), { cause });
  }
  try {
    return await runtime.getLlama({
      gpu,
      // Nothing is compiled or downloaded behind the user's back.
      build: "never",
      skipDownload: true,
      progressLogs: false,
      // No budget of its own: each context uses exactly the threads that it is given.
      maxThreads: 0,
      logLevel: runtime.LlamaLogLevel.error,
      logger: (level, message) => onLine(`${level}: ${message.trim()}`),
    });
  } catch (cause) {
    throw new RuntimeFailure(gpu === false ? "runtime" : "device", messageOf(cause), { cause });
  }
}

/**
 * What the plan decided, where the file leaves it open: llama.cpp's defaults for missing keys are the decoders'. And no
 * tokens are added: core's ids are whole.
 */
function overridesOf({
  architecture,
  output,
  causal,
}: RunPlan): NonNullable<LlamaModelOptions["metadataOverrides"]> {
  const pooling = {
    "class-logits": poolingTypes.rank,
    pooled: output.kind === "pooled" ? output.pooling : poolingTypes.none,
    "token-logits": poolingTypes.none,
    "ranked-answers": poolingTypes.rank,
    "ranked-classes": poolingTypes.rank,
  }[output.kind];
  const overrides = {
    [architecture]: { pooling_type: pooling, attention: { causal } },
    tokenizer: { ggml: { add_bos_token: false, add_eos_token: false } },
  };
  return overrides as NonNullable<LlamaModelOptions["metadataOverrides"]>;
}

interface OrderedRow {
  readonly row: number;
  readonly ids: readonly number[];
}

/** The rows that hold tokens, those with a common beginning behind one another. */
function byPrefix(rows: number, columns: number, inputIds: Int32Array, lengths: Int32Array): OrderedRow[] {
  const ordered: OrderedRow[] = [];
  for (let row = 0; row < rows; row += 1) {
    const length = lengths[row] ?? 0;
    if (length > 0) ordered.push({ row, ids: [...inputIds.subarray(row * columns, row * columns + length)] });
  }
  return ordered.sort((a, b) => compareIds(a.ids, b.ids) || a.row - b.row);
}

function compareIds(a: readonly number[], b: readonly number[]): number {
  const shared = Math.min(a.length, b.length);
  for (let index = 0; index < shared; index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
