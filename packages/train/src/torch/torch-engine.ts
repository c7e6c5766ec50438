import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, readFile, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { writeInWhole, writeWholeFile } from "@crossrank/disk";
import { withoutExpectations } from "../adapters/write-merged.js";
import { TrainingFailedError, TrainingSetupError } from "../errors.js";
import type {
  Engine,
  EngineFacts,
  ScorePairs,
  TrainingConfig,
  TrainingLoss,
  TrainingProgress,
  TrainingRequest,
  TrainingResult,
} from "../types.js";

export interface TorchEngineOptions {
  /** The Python that has sentence-transformers. Default: `python3`. */
  readonly python?: string | undefined;
  /** Of torch, where there is no GPU. */
  readonly threads?: number | undefined;
}

/** What Python has to have. */
const needed = ["torch", "transformers", "sentence_transformers", "accelerate", "datasets"];
/** Beside them, for `lora`. */
const neededForAdapters = "peft";

type Event =
  | {
      readonly event: "machine";
      readonly versions: Readonly<Record<string, string>>;
      readonly missing: readonly string[];
      readonly device: string;
      readonly bf16: boolean;
    }
  | {
      readonly event: "model";
      readonly family: string;
      readonly labels: number;
      readonly parameters: number;
      readonly trained: number;
    }
  | { readonly event: "start"; readonly step: number; readonly steps: number }
  | ({ readonly event: "progress" } & TrainingProgress)
  | { readonly event: "held-out"; readonly step: number }
  | { readonly event: "scores"; readonly values: readonly number[] }
  | {
      readonly event: "done";
      readonly steps: number;
      readonly bestStep: number;
      readonly stoppedEarly: boolean;
      readonly tokens: number;
      readonly trainingMs: number;
      readonly trained: number;
    }
  | {
      readonly event: "failed";
      readonly reason: "memory" | "diverged" | "runtime";
      readonly problem: string;
    };

/**
 * sentence-transformers' CrossEncoderTrainer in a Python of the user's, for GPUs that MLX does not have. Its tokens are
 * that library's.
 */
export function openTorchEngine(options: TorchEngineOptions = {}): Engine {
  return {
    name: "torch",
    check: (request) => check(request, options),
    train: (request) => train(request, options),
  };
}

async function check(
  { config, model, examples, signal }: Omit<TrainingRequest, "folder" | "resume">,
  options: TorchEngineOptions,
): Promise<EngineFacts> {
  const loss = lossOf(config);
  const machine = await machineOf(config, options, signal);
  const folder = dirname(await model.localPath("config.json", { signal }));
  const facts = await ask(
    options,
    ["model", folder, config.method, JSON.stringify(adapterOf(config))],
    signal,
  );
  if (facts.event !== "model") throw unexpected(facts);
  if (facts.labels !== 1) {
    throw new TrainingSetupError({
      subject: model.id,
      problem: `has ${facts.labels} labels, and the engine torch trains models of one`,
      fix: "Take the engine mlx, or another model",
    });
  }
  const perEpoch = Math.ceil(examples.size / (config.batchSize * config.accumulation));
  return {
    family: facts.family,
    loss,
    parameters: facts.parameters,
    trainedParameters: facts.trained,
    steps: Math.min(perEpoch * config.epochs, config.maxSteps ?? Number.POSITIVE_INFINITY),
    device: machine.device,
  };
}

/** @throws {TrainingSetupError} for what this engine does not do, by name. */
function lossOf(config: TrainingConfig): TrainingLoss {
  const refuse = (subject: string, problem: string): TrainingSetupError =>
    new TrainingSetupError({
      subject,
      problem: `${problem} with the engine torch`,
      fix: "Take the engine mlx",
    });
  const { loss = "bce" } = config;
  if (loss !== "bce") throw refuse("The loss", `${loss} is not there`);
  if (config.method === "qlora") throw refuse("The method", "qlora is not there");
  return loss;
}

async function machineOf(
  config: TrainingConfig,
  options: TorchEngineOptions,
  signal: AbortSignal | undefined,
): Promise<Extract<Event, { event: "machine" }>> {
  const machine = await ask(options, ["machine"], signal);
  if (machine.event !== "machine") throw unexpected(machine);
  const wanted = config.method === "lora" ? [...needed, neededForAdapters] : needed;
  const missing = wanted.filter((name) => machine.missing.includes(name));
  if (missing.length > 0) {
    const packages = missing.map((name) => name.replace("_", "-")).join(" ");
    throw new TrainingSetupError({
      subject: `The Python ${options.python ?? "python3"}`,
      problem: `lacks ${packages}`,
      fix: `Install them: ${options.python ?? "python3"} -m pip install ${packages}`,
    });
  }
  if (config.dtype === "bfloat16" && !machine.bf16) {
    throw new TrainingSetupError({
      subject: "The option dtype",
      problem: `is bfloat16, which ${machine.device} does not have`,
      fix: "Take float32",
    });
  }
  return machine;
}

async function train(request: TrainingRequest, options: TorchEngineOptions): Promise<TrainingResult> {
  const { config, model, examples, folder, resume, signal, heldOut, onStart, onProgress } = request;
  lossOf(config);
  const machine = await machineOf(config, options, signal);
  const checkpoint = join(folder, "checkpoint");
  await mkdir(checkpoint, { recursive: true });
  const identity = JSON.stringify({
    engine: "torch",
    config: { ...config, checkpointEvery: undefined, patience: undefined },
    examples: examples.sha256,
    model: [model.id, model.revision ?? null],
  });
  await claim(checkpoint, identity, resume);
  const data = join(checkpoint, "examples.jsonl");
  await writeInWhole(data, rowsOf(request));
  const files = await model.list({ signal });
  const task = {
    model: dirname(await model.localPath("config.json", { signal })),
    weights: files.filter(({ path }) => /^model.*\.safetensors$/.test(path)).map(({ path }) => path),
    ...{ data, checkpoint, adapter: join(folder, "adapter"), merged: join(folder, "merged") },
    config: { ...config, maxTokens: config.maxTokens ?? null, maxSteps: config.maxSteps ?? null },
    examples: examples.size,
    lora: config.method === "lora" ? adapterOf(config) : null,
    threads: options.threads ?? null,
    evaluates: heldOut !== undefined,
  };
  for (const path of task.weights) await model.localPath(path, { signal });
  const taskFile = join(checkpoint, "task.json");
  await writeWholeFile(taskFile, JSON.stringify(task));
  for (const made of [task.adapter, task.merged]) await rm(made, { recursive: true, force: true });

  const python = new Python(options, ["train", taskFile], signal);
  const score: ScorePairs = async (pairs, stop) => {
    stop?.throwIfAborted();
    python.tell({ score: pairs.map(({ query, document }) => [query, document]) });
    const answer = await python.next();
    if (answer?.event === "failed") throw failureOf(answer);
    if (answer?.event !== "scores" || answer.values.length !== pairs.length) throw unexpected(answer);
    return Float64Array.from(answer.values);
  };
  try {
    for (;;) {
      const event = await python.next();
      switch (event?.event) {
        case "start":
          await onStart?.(event.step);
          break;
        case "progress": {
          const { event: _, ...progress } = event;
          onProgress?.(progress);
          break;
        }
        case "held-out": {
          const decision = (await heldOut?.(event.step, score)) ?? { best: true, stop: false };
          python.tell({ decision });
          break;
        }
        case "failed":
          throw failureOf(event);
        case "done":
          if (files.some(({ path }) => path === "crossrank.json")) {
            const text = await model.readText("crossrank.json", { signal });
            await writeWholeFile(join(task.merged, "crossrank.json"), withoutExpectations(text));
          }
          return {
            ...{ steps: event.steps, bestStep: event.bestStep, stoppedEarly: event.stoppedEarly },
            ...{ tokens: event.tokens, trainingMs: event.trainingMs, trainedParameters: event.trained },
            adapterFolder: config.method === "full" ? undefined : task.adapter,
            mergedFolder: task.merged,
            engine: { name: "torch", ...machine.versions, device: machine.device, dtype: config.dtype },
          };
        default:
          throw unexpected(event);
      }
    }
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    await python.end();
  }
}

function failureOf({ reason, problem }: Extract<Event, { event: "failed" }>): TrainingFailedError {
  const fixes = {
    memory: "Take a smaller batch with more accumulation, fewer tokens, or gradient checkpointing",
    diverged: "Take a lower learning rate, a longer warm-up, or a clip of 1",
    runtime: "See the lines of Python above",
  };
  return new TrainingFailedError({ reason, problem, fix: fixes[reason] });
}

function adapterOf({ loraRank, loraAlpha, loraDropout, targets }: TrainingConfig): object {
  return { rank: loraRank, alpha: loraAlpha, dropout: loraDropout, targets };
}

async function* rowsOf({ examples, signal }: TrainingRequest): AsyncGenerator<string> {
  const atOnce = 256;
  for (let first = 0; first < examples.size; first += atOnce) {
    const places = Array.from({ length: Math.min(atOnce, examples.size - first) }, (_, at) => first + at);
    const rows = (await examples.read(places, signal)).flatMap(({ query, documents }) =>
      documents.map(({ text, label }) => `${JSON.stringify({ query, document: text, label })}\n`),
    );
    yield rows.join("");
  }
}

/** That a checkpoint is of this training. */
async function claim(folder: string, identity: string, resume: boolean): Promise<void> {
  const path = join(folder, "identity.json");
  const known = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (known === undefined) await writeWholeFile(path, identity);
  else if (!resume || known !== identity) {
    throw new TrainingSetupError({
      subject: folder,
      problem: known === identity ? "holds a training that was begun" : "holds another training",
      fix: "Go on with the same options, or start anew in another folder",
    });
  }
}

async function ask(
  options: TorchEngineOptions,
  args: readonly string[],
  signal: AbortSignal | undefined,
): Promise<Event> {
  const python = new Python(options, args, signal);
  try {
    const event = await python.next();
    if (event?.event === "failed") {
      throw new TrainingSetupError({
        subject: "The engine torch",
        problem: event.problem,
        fix: "See the lines of Python above, or take the engine mlx",
      });
    }
    if (event === undefined) throw unexpected(event);
    return event;
  } finally {
    await python.end();
  }
}

function unexpected(event: Event | undefined): TrainingFailedError {
  const what =
    event === undefined ? "ended before it was done" : `said ${event.event} where something else was due`;
  return new TrainingFailedError({
    reason: "runtime",
    problem: `Python ${what}`,
    fix: "See its lines above",
  });
}

/** Undefined for a line that a process has not written to its end. */
function readEvent(line: string): Event | undefined {
  try {
    return JSON.parse(line) as Event;
  } catch {
    return undefined;
  }
}

const script = fileURLToPath(new URL("../python/cross_encoder.py", import.meta.url));

/** Lines of JSON to and from a process. What libraries print goes to standard error. */
class Python {
  readonly #child: ChildProcess;
  readonly #name: string;
  readonly #lines: AsyncIterator<string>;
  readonly #closed: Promise<void>;
  #failure: Error | undefined;

  constructor(
    { python = "python3" }: TorchEngineOptions,
    args: readonly string[],
    signal: AbortSignal | undefined,
  ) {
    signal?.throwIfAborted();
    this.#name = python;
    const child = spawn(python, ["-u", script, ...args], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, HF_HUB_OFFLINE: "1", TOKENIZERS_PARALLELISM: "false" },
    });
    this.#child = child;
    // Its end is what the next line's absence tells.
    child.on("error", (error) => {
      this.#failure = error;
    });
    child.stdin?.on("error", () => undefined);
    this.#closed = new Promise((resolve) => {
      child.on("close", () => resolve());
      child.on("error", () => resolve());
    });
    const stop = (): void => void child.kill();
    signal?.addEventListener("abort", stop, { once: true });
    void this.#closed.then(() => signal?.removeEventListener("abort", stop));
    this.#lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  tell(message: object): void {
    this.#child.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  /** Undefined when the process has ended. */
  async next(): Promise<Event | undefined> {
    const { value, done } = await this.#lines.next();
    if (done !== true) return readEvent(value);
    await this.#closed;
    if (this.#failure === undefined) return undefined;
    throw new TrainingSetupError(
      {
        subject: `The Python ${this.#name}`,
        problem: `does not start (${this.#failure.message})`,
        fix: "Name one that has sentence-transformers",
      },
      { cause: this.#failure },
    );
  }

  async end(): Promise<void> {
    this.#child.stdin?.end();
    this.#child.kill();
    await this.#closed;
  }
}
