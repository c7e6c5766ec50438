import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import {
  createTrainingSet,
  defaultConfig,
  type Engine,
  type FineTuneOptions,
  type FineTuneProgress,
  fineTune,
  heldOutOfGroups,
  judgeAgainstBase,
  openTorchEngine,
  parseTrainingFile,
  readTrainingConfig,
  readTrainingData,
  splitByQuery,
  type TrainingReport,
  TrainingSetupError,
  writeTrainingReport,
} from "../src/index.js";

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-fine-tune-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

/** How much of the query a document has, and how short it is: what the small model knows of a pair. */
function features(query: string, document: string): [overlap: number, length: number] {
  const words = new Set(document.toLowerCase().split(" "));
  const asked = query.toLowerCase().split(" ");
  return [asked.filter((word) => words.has(word)).length / asked.length, words.size / 10];
}

/** A logistic regression of two weights that is trained in earnest, with a checkpoint after each evaluation. */
function smallEngine(start: readonly [number, number]): Engine {
  return {
    name: "mlx",
    check: async ({ config, examples }) => ({
      ...{ family: "small", loss: "bce", parameters: 2, trainedParameters: 2, device: "CPU" },
      steps: config.epochs * Math.ceil(examples.size / config.batchSize),
    }),
    train: async ({ config, examples, folder: own, heldOut, onStart, onProgress, signal }) => {
      const path = join(own, "checkpoint.json");
      const kept = await readFile(path, "utf8").then(
        (text) => JSON.parse(text) as { step: number; weights: [number, number]; best: number },
        () => ({ step: 0, weights: [...start] as [number, number], best: 0 }),
      );
      let { step, best } = kept;
      const { weights } = kept;
      const perEpoch = Math.ceil(examples.size / config.batchSize);
      const steps = config.epochs * perEpoch;
      const logit = (query: string, document: string): number => {
        const [overlap, length] = features(query, document);
        return weights[0] * overlap + weights[1] * length;
      };
      const evaluate = async (): Promise<boolean> => {
        const decision = await heldOut?.(step, async (pairs) =>
          Float64Array.from(pairs, ({ query, document }) => logit(query, document)),
        );
        if (decision?.best) best = step;
        await writeFile(path, JSON.stringify({ step, weights, best }));
        return decision?.stop ?? false;
      };
      await onStart?.(step);
      let stopped = step === 0 && (await evaluate());
      while (step < steps && !stopped) {
        signal?.throwIfAborted();
        const first = (step % perEpoch) * config.batchSize;
        const size = Math.min(config.batchSize, examples.size - first);
        const batch = await examples.read(Array.from({ length: size }, (_, at) => first + at));
        let loss = 0;
        for (const { query, documents } of batch) {
          for (const { text, label } of documents) {
            const [overlap, length] = features(query, text);
            const probability = 1 / (1 + Math.exp(-logit(query, text)));
            loss -= Math.log(label > 0.5 ? probability : 1 - probability) / size;
            weights[0] += config.learningRate * (label - probability) * overlap;
            weights[1] += config.learningRate * (label - probability) * length;
          }
        }
        step += 1;
        const facts = { tokens: step, trainingMs: step, examples: step * size, gradientNorm: 1 };
        onProgress?.({
          step,
          steps,
          epoch: step / perEpoch,
          loss,
          learningRate: config.learningRate,
          ...facts,
        });
        if (step % (config.evaluateEvery ?? perEpoch) === 0 || step === steps) stopped = await evaluate();
      }
      return {
        ...{
          steps: step,
          bestStep: best,
          stoppedEarly: stopped && step < steps,
          tokens: step,
          trainingMs: step,
        },
        ...{ adapterFolder: undefined, mergedFolder: own, engine: { name: "small" }, trainedParameters: 2 },
      };
    },
  };
}

const rows = Array.from({ length: 80 }, (_, index) => ({
  query: `where is item ${index}`,
  positive: `item ${index} is where we keep it`,
  negatives: [`another thing entirely ${index}`, `where one may look ${index + 1}`],
}));

async function prepare(start: readonly [number, number] = [-1, 0]): Promise<FineTuneOptions> {
  count += 1;
  const path = join(folder, `${count}.jsonl`);
  await writeFile(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const data = await readTrainingData([path]);
  onTestFinished(() => data[Symbol.asyncDispose]());
  const { training, validation } = splitByQuery(data.groups, 0.3, 1);
  return {
    engine: smallEngine(start),
    config: { ...defaultConfig, batchSize: 16, epochs: 4, learningRate: 0.3, evaluateEvery: 4 },
    model: {} as FineTuneOptions["model"],
    examples: createTrainingSet(data.texts, training, { loss: "bce" }),
    validation: await heldOutOfGroups(data.texts, validation, data.groups, { name: "validation", depth: 8 }),
    folder: join(folder, `${count}`),
    resume: true,
  };
}

test("the curve has every step and evaluation, with intervals and the change against the base", async () => {
  const options = await prepare();
  const seen: FineTuneProgress[] = [];
  const { result, curve } = await fineTune({ ...options, onProgress: (now) => seen.push(now) });
  const evaluations = curve.filter((point) => point.kind === "held-out");
  expect(curve.filter(({ kind }) => kind === "loss")).toHaveLength(result.steps);
  expect(evaluations[0]).toMatchObject({ step: 0, change: null, best: true, queries: 12 });
  const last = evaluations.at(-1);
  expect(last?.mean).toBeGreaterThan(evaluations[0]?.mean ?? 1);
  expect(last?.change?.lowerBound).toBeGreaterThan(0);
  expect(last?.lower).toBeLessThanOrEqual(last?.mean ?? 0);
  expect(result.bestStep).toBeGreaterThan(0);
  const left = seen.flatMap(({ secondsLeft }) => (secondsLeft === undefined ? [] : [secondsLeft]));
  expect(left.at(-1)).toBe(0);
  expect(seen.some(({ phase, pairs }) => phase === "evaluating" && (pairs?.done ?? 0) > 0)).toBe(true);
});

test.each([1, 5, 9])(
  "a training that was stopped after step %i has the same curve as a whole one",
  async (after) => {
    const whole = await fineTune(await prepare());
    const options = await prepare();
    const stop = new AbortController();
    const reason = new Error("stopped");
    const onProgress = ({ phase, step }: FineTuneProgress): void => {
      if (phase === "training" && step === after) stop.abort(reason);
    };
    await expect(fineTune({ ...options, signal: stop.signal, onProgress })).rejects.toBe(reason);
    // A killed process leaves a line that is cut.
    const path = join(options.folder, "curve.jsonl");
    await writeFile(path, `${await readFile(path, "utf8")}{"kind":"loss","st`);
    const { curve, result } = await fineTune(options);
    expect(curve).toEqual(whole.curve);
    expect(result.bestStep).toBe(whole.result.bestStep);
  },
);

test("training stops when it gets no better, and the best weights are the earlier ones", async () => {
  // From the right answer it has nowhere to go.
  const options = await prepare([20, 0]);
  const { result } = await fineTune({ ...options, config: { ...options.config, patience: 2 } });
  expect(result).toMatchObject({ stoppedEarly: true, bestStep: 0, steps: 8 });
  const other = await prepare([20, 0]);
  expect((await fineTune({ ...other, keep: "last" })).result.bestStep).toBeGreaterThan(8);
});

describe("the gate", () => {
  const values = (offset: number, noise: number): Map<string, number> =>
    new Map(
      Array.from({ length: 60 }, (_, index) => [`q${index}`, 0.5 + offset + noise * Math.sin(index * 7)]),
    );
  test.each([
    ["better", 0.05, 0.02, true],
    ["the same", 0, 0, true],
    ["worse", -0.05, 0.02, false],
    ["worse within the margin", -0.004, 0, true],
    ["of unknown worth", 0, 0.2, false],
  ])("a model that is %s", (_, offset, noise, passed) => {
    const outcome = judgeAgainstBase("onnx", values(offset, noise), values(0, 0), 0.005);
    expect(outcome.passed).toBe(passed);
    expect(outcome.sentence).toMatch(/^nDCG@10 (passed|failed)/);
  });
});

test("the report says what hostile names say, and nothing is markup", async () => {
  const name = `<script>alert(1)</script>\u0000"&`;
  const report: TrainingReport = {
    ...{ specificationVersion: "1", created: "2026-01-01T00:00:00Z", config: defaultConfig, curve: [] },
    model: { id: name, revision: null },
    data: {
      ...{ sources: [], queries: 1, documents: 1, pairs: 1, relevant: 1, warnings: [], skippedCount: 1 },
      skipped: [{ file: name, line: 1, fault: "malformed", problem: name }],
    },
    heldOut: { validation: { name, queries: 2, pairs: 2 }, gate: { name, queries: 2, pairs: 2 } },
    ...{ result: null, gates: [], passed: false },
  };
  const target = join(folder, "report");
  await writeTrainingReport(target, report);
  const html = await readFile(join(target, "report.html"), "utf8");
  expect(html).not.toContain("<script");
  expect(html).not.toContain("\u0000");
  expect(html.match(/&lt;script&gt;/g)).toHaveLength(5);
  expect(JSON.parse(await readFile(join(target, "report.json"), "utf8"))).toEqual(report);
});

describe("a configuration", () => {
  test("has the defaults, a preset, and what is given", () => {
    expect(readTrainingConfig({})).toMatchObject({
      ...{ method: "lora", loraRank: 16, batchSize: 4, accumulation: 8, epochs: 3, learningRate: 2e-5 },
    });
    expect(readTrainingConfig({ loraRank: 8 })).toMatchObject({ loraRank: 8, loraAlpha: 16 });
    expect(readTrainingConfig({ epochs: 5 }, "full")).toMatchObject({ method: "full", epochs: 5 });
    expect(parseTrainingFile({ model: "m", data: "d", learningRate: 1e-4 }, "f")).toMatchObject({
      data: "d",
    });
  });

  test.each([
    [{ learningRate: 0 }, "learningRate"],
    [{ learningRate: Number.NaN }, "learningRate"],
    [{ batchSize: 1.5 }, "batchSize"],
    [{ epochs: 1e9 }, "epochs"],
    [{ targets: ["query", "query"] }, "targets"],
    [{ targets: [] }, "targets"],
    [{ seed: -1 }, "seed"],
    [{ dropout: 1 }, "dropout"],
    [{ dropout: "config" }, "dropout"],
    [{ method: "adapters" }, "method"],
    [{ learningrate: 1e-5 }, "learningrate"],
    [[], "expected"],
    [null, "expected"],
  ])("is refused by name: %j", (value, name) => {
    expect(() => parseTrainingFile(value, "train.json")).toThrow(TrainingSetupError);
    expect(() => parseTrainingFile(value, "train.json")).toThrow(name);
  });
});

describe("the engine torch refuses by name", () => {
  const request = async (changed: object): Promise<Parameters<Engine["check"]>[0]> => {
    const { config, examples, model } = await prepare();
    return { config: { ...config, ...changed }, examples, model };
  };
  test.each([
    [{ loss: "listwise" }, "listwise"],
    [{ loss: "kl" }, "kl"],
    [{ loss: "yes-no" }, "yes-no"],
    [{ method: "qlora" }, "qlora"],
  ])("%j", async (changed, name) => {
    const engine = openTorchEngine({ python: "no-such-python" });
    await expect(engine.check(await request(changed))).rejects.toThrow(TrainingSetupError);
    await expect(engine.check(await request(changed))).rejects.toThrow(name);
  });

  test("a Python that is not there", async () => {
    const engine = openTorchEngine({ python: "no-such-python" });
    await expect(engine.check(await request({}))).rejects.toThrow("no-such-python does not start");
  });
});
