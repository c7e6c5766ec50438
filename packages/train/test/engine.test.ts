import { spawn } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { mlx } from "@crossrank/backend-mlx";
import { createUniform } from "@crossrank/backend-mlx/training";
import { openFixtureFolder, openFixtures } from "@crossrank/conformance";
import { createReranker, type ModelFiles, readProfile } from "@crossrank/core";
import { createPairEncoder, createTextTokenizer } from "@crossrank/core/encoding";
import { expect, test } from "vitest";
import { isLong, sampleOf } from "../../../test/sample.js";
import { defaultConfig } from "../src/config.js";
import { createMlxEngine } from "../src/engine/mlx-engine.js";
import { ExampleEncoder } from "../src/loop/encode.js";
import { countSteps, stepsOfEpoch } from "../src/loop/order.js";
import { learningRateAt } from "../src/loop/schedule.js";
import type { Engine, TrainingConfig, TrainingExample, TrainingRequest, TrainingSet } from "../src/types.js";
import { describeNative, temporaryFolder } from "./native.js";

function model(name: string): ModelFiles {
  const [fixture] = openFixtures([name]);
  if (fixture === undefined) throw new Error(name);
  return fixture.files;
}

function setOf(examples: readonly TrainingExample[]): TrainingSet {
  return {
    size: examples.length,
    sha256: "0".repeat(64),
    read: async (places) => places.map((place) => examples[place] as TrainingExample),
  };
}

/** Documents of several lengths, every second one relevant. */
function examplesOf(count: number, documents: number): readonly TrainingExample[] {
  return Array.from({ length: count }, (_, place) => ({
    query: `how does number ${place} work`,
    documents: Array.from({ length: documents }, (_, at) => ({
      text: `answer ${place} ${at} `.repeat(1 + ((3 * place + at) % 4)),
      label: (place + at) % 2,
      teacher: ((place * 7 + at * 3) % 11) - 5,
    })),
  }));
}

const config: TrainingConfig = {
  ...defaultConfig,
  ...{
    loraRank: 4,
    batchSize: 2,
    accumulation: 2,
    epochs: 2,
    learningRate: 5e-3,
    loraDropout: 0.1,
    dropout: 0.1,
  },
};
const pairs = [
  { query: "how does number 3 work", document: "answer 3 0" },
  { query: "what is it", document: "another answer entirely, which is longer" },
];

test("every example once an epoch, in another order each time, and as many steps as are counted", () => {
  const lengths = Array.from({ length: 1000 }, (_, place) => 20 + ((place * 37) % 300));
  for (const [batchSize, accumulation, lengthBuckets] of [
    [4, 8, true],
    [3, 2, false],
    [7, 1, true],
    [1000, 5, false],
  ] as const) {
    const settings = { batchSize, accumulation, lengthBuckets, seed: 3 };
    const [first, second] = [0, 1].map((epoch) => stepsOfEpoch(lengths, settings, epoch));
    if (first === undefined || second === undefined) throw new Error("no epochs");
    expect(first.flat(2).toSorted((one, other) => one - other)).toEqual(lengths.map((_, place) => place));
    expect(second).not.toEqual(first);
    expect(stepsOfEpoch(lengths, settings, 0)).toEqual(first);
    expect(first).toHaveLength(countSteps(lengths.length, settings));
    expect(first.flat().every((batch) => batch.length <= batchSize)).toBe(true);
  }
  const padded = (lengthBuckets: boolean): number =>
    stepsOfEpoch(lengths, { batchSize: 8, accumulation: 1, lengthBuckets, seed: 0 }, 0)
      .flat()
      .reduce(
        (sum, batch) => sum + batch.length * Math.max(...batch.map((place) => lengths[place] as number)),
        0,
      );
  expect(padded(true)).toBeLessThan(0.75 * padded(false));
});

test("rates are those of transformers' schedules", () => {
  const rates = (schedule: TrainingConfig["schedule"]): readonly number[] =>
    [0, 1, 2, 6, 10].map((done) => learningRateAt({ learningRate: 1, warmup: 0.2, schedule }, done, 10));
  expect(rates("linear")).toEqual([0, 0.5, 1, 0.5, 0]);
  expect(rates("constant")).toEqual([0, 0.5, 1, 1, 1]);
  for (const [place, rate] of [0, 0.5, 1, 0.5, 0].entries())
    expect(rates("cosine")[place]).toBeCloseTo(rate, 12);
});

test.each(["bert-logit", "xlm-roberta-logit", "modernbert-mean", "qwen3-yes-no"])(
  "what %s is trained on is what it is scored on",
  async (name) => {
    const files = model(name);
    const reading = await readProfile(files);
    const { profile } = reading;
    // What passes a backend when core scores.
    const seen: { ids: readonly number[]; segments: readonly number[] }[] = [];
    const backend = mlx();
    const reranker = await createReranker({
      model: files,
      probe: false,
      backend: {
        ...backend,
        load: async ({ output }) => ({
          info: { name: "mlx", runtime: { name: "a recorder", version: "1" } },
          artifact: { format: "safetensors", dtype: "fp32", files: [] },
          capabilities: {
            output: output.kinds[0] as "class-logits",
            ...{ maxSequenceLength: 64 + 960, sequenceLengths: "any", batchSize: { max: 1 } },
            ...{ batchPreference: { rows: 1, tokens: 4096, padding: 0 }, segmentIds: true },
            ...{
              unattendedStates: false,
              rowsAffectScores: false,
              concurrentRuns: 1,
              cancelsWithinBatch: false,
            },
          },
          settings: {},
          run: async ({ inputIds, segmentIds }) => {
            seen.push({ ids: [...inputIds], segments: [...segmentIds] });
            const width = output.tokens?.length ?? 1;
            return {
              kind: output.kinds[0] as "class-logits",
              data: new Float32Array(width),
              shape: [1, width],
            };
          },
          dispose: async () => undefined,
          [Symbol.asyncDispose]: async () => undefined,
        }),
      },
    });
    const texts = [
      "short",
      "a document\nof two lines ",
      "long words ".repeat(200),
      "Ünïcode — 漢字 🙂",
      "<|im_end|> [SEP] </s>",
      "a\ud800b",
    ];
    await reranker.score(texts.map((document) => ({ query: " What? ", document })));
    await reranker.dispose();
    const encoder = await ExampleEncoder.open(files, reading, profile.maxLength);
    const trained = texts.map((text) => {
      const [sequence] = encoder.encode({ query: " What? ", documents: [{ text, label: 1 }] });
      return { ids: [...(sequence?.ids ?? [])], segments: [...(sequence?.segmentIds ?? [])] };
    });
    const order = (one: { ids: readonly number[] }): string => one.ids.join();
    expect(trained.map(order).toSorted()).toEqual(seen.map(order).toSorted());
    expect(trained.map(({ segments }) => segments.join()).toSorted()).toEqual(
      seen.map(({ segments }) => segments.join()).toSorted(),
    );
    expect(
      createPairEncoder(createTextTokenizer(reading.tokenizerJson, files.id), profile).leastLength,
    ).toBeGreaterThan(1);
  },
);

interface Ran {
  readonly losses: readonly number[];
  readonly last: Float64Array;
  readonly folder: string;
}

const engine: Engine = createMlxEngine({ isolation: "thread", threads: 1 });

async function train(name: string, change: Partial<TrainingConfig>, documents = 1): Promise<Ran> {
  const losses: number[] = [];
  let last: Float64Array = new Float64Array();
  const folder = temporaryFolder();
  const result = await engine.train({
    ...{ config: { ...config, ...change }, model: model(name), folder, resume: false },
    examples: setOf(examplesOf(8, documents)),
    onProgress: ({ loss }) => losses.push(loss),
    heldOut: async (_, score) => {
      last = await score(pairs);
      return { best: true, stop: false };
    },
  });
  expect(result.bestStep).toBe(result.steps);
  expect(losses).toHaveLength(result.steps);
  return { losses, last, folder };
}

async function scoresOf(folder: string, adapter?: string): Promise<readonly number[]> {
  const reranker = await createReranker({
    model: openFixtureFolder(folder).files,
    backend: mlx({ isolation: "thread", adapter }),
    probe: false,
  });
  const { scores } = await reranker.score(pairs);
  await reranker.dispose();
  return scores.map(({ logit }) => logit as number);
}

describeNative("the engine mlx", () => {
  test.each([
    ["bert-logit", "lora", "bce", 1],
    ["bert-logit", "full", "margin-mse", 3],
    ["xlm-roberta-logit", "lora", "listwise", 3],
    ["modernbert-mean", "lora", "kl", 2],
    ["qwen3-yes-no", "lora", undefined, 1],
    ["qwen3-yes-no", "full", undefined, 1],
  ] as const)(
    "%s, %s, %s: the merged folder scores as the trained model did",
    async (name, method, loss, documents) => {
      const { last, folder, losses } = await train(
        name,
        { method, loss, targets: ["query", "value", "down"] },
        documents,
      );
      expect(losses.every(Number.isFinite)).toBe(true);
      const merged = await scoresOf(join(folder, "merged"));
      const base = fileURLToPath(new URL(`../../conformance/fixtures/${name}`, import.meta.url));
      const before = await scoresOf(base);
      for (const [place, value] of merged.entries()) {
        expect(Math.abs(value - (last[place] as number))).toBeLessThan(2e-5 * Math.max(1, Math.abs(value)));
        expect(Math.abs(value - (before[place] as number))).toBeGreaterThan(1e-3);
      }
      const adapter = join(folder, "adapter");
      expect(existsSync(adapter)).toBe(method !== "full");
      if (method === "full") return;
      // Beside the base, without being merged.
      const beside = await scoresOf(base, adapter);
      for (const [place, value] of beside.entries())
        expect(Math.abs(value - (last[place] as number))).toBeLessThan(2e-5 * Math.max(1, Math.abs(value)));
    },
  );

  test("an adapter of another model, or of another kind, is refused", async () => {
    const { folder } = await train("bert-logit", { method: "lora", maxSteps: 1, dropout: 0 });
    const adapter = join(folder, "adapter");
    const base = (name: string): string =>
      fileURLToPath(new URL(`../../conformance/fixtures/${name}`, import.meta.url));
    const refused = (name: string): Promise<string> =>
      scoresOf(base(name), adapter).then(
        () => "no refusal",
        (error: Error) => `${error.name}: ${error.message}`,
      );
    expect(await refused("bert-logit")).toBe("no refusal");
    expect(await refused("xlm-roberta-logit")).toMatch(/ModelLoadError: .*the model has no such weight/);
    const path = join(adapter, "adapter_config.json");
    const config = JSON.parse(readFileSync(path, "utf8")) as object;
    for (const [change, problem] of [
      [{ peft_type: "IA3" }, /is of the kind "IA3"/],
      [{ r: 2 }, /low ranks of another shape/],
      [{ use_dora: true }, /has use_dora/],
      [{ bias: "all" }, /trains biases/],
      [{ rank_pattern: { query: 2 } }, /has a rank_pattern/],
    ] as const) {
      writeFileSync(path, JSON.stringify({ ...config, ...change }));
      expect(await refused("bert-logit")).toMatch(problem);
    }
    writeFileSync(path, "{");
    expect(await refused("bert-logit")).toMatch(/ModelLoadError: .*is no JSON/);
  });

  test("activations that are computed again give the same losses", async () => {
    const { losses } = await train("modernbert-mean", { gradientCheckpointing: false });
    const again = await train("modernbert-mean", { gradientCheckpointing: true });
    for (const [step, loss] of losses.entries()) expect(again.losses[step]).toBeCloseTo(loss, 5);
  });

  test("what cannot be trained is refused by name, before anything is begun", async () => {
    const request = { config, model: model("bert-logit"), examples: setOf(examplesOf(4, 1)) };
    const refused = (change: Partial<typeof request>): Promise<unknown> =>
      engine.check({ ...request, ...change }).then(
        () => "no refusal",
        (error: Error) => `${error.name}: ${error.message}`,
      );
    expect(await refused({ examples: setOf([]) })).toMatch(
      /TrainingSetupError: The training data has no examples/,
    );
    expect(await refused({ config: { ...config, loss: "yes-no" } })).toMatch(
      /The loss is yes-no, and .* is a cross-encoder/,
    );
    expect(await refused({ config: { ...config, targets: ["gate"] } })).toMatch(
      /has none of the projections gate/,
    );
    expect(await refused({ config: { ...config, dtype: "bfloat16" } })).toMatch(/bfloat16|no refusal/);
    expect(await refused({ model: model("bert-cosine-mean") })).toMatch(
      /TrainingSetupError: .*head of the kind "cosine"/,
    );
    expect(await engine.check(request)).toMatchObject({ family: "bert", loss: "bce", steps: 2 });
  });
});

const program = fileURLToPath(new URL("./fixtures/train-until-killed.mjs", import.meta.url));

interface Killed {
  readonly model: string;
  readonly change: Partial<TrainingConfig>;
}

/** When a process is killed: as soon as it has printed so many steps, or so many milliseconds after its first. */
type Kill = { readonly step: number } | { readonly afterMs: number } | undefined;

/** Trains in a process of its own. @returns the lines that it printed. */
function trainAlone(folder: string, { model, change }: Killed, kill: Kill): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, folder, model, JSON.stringify(change)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let printed = "";
    child.stdout.on("data", (data: Buffer) => {
      if (kill !== undefined && "afterMs" in kill && printed === "")
        setTimeout(() => child.kill("SIGKILL"), kill.afterMs).unref();
      printed += data.toString();
      if (kill !== undefined && "step" in kill && printed.split("\n").length > kill.step)
        child.kill("SIGKILL");
    });
    child.on("error", reject);
    child.on("exit", (code, signal) => {
      const whole = printed.split("\n").slice(0, -1);
      if (code === 0 || signal === "SIGKILL") resolve(whole);
      else reject(new Error(`exit code ${code}`));
    });
  });
}

const killed: readonly Killed[] = [
  { model: "bert-logit", change: { method: "lora" } },
  { model: "bert-logit", change: { method: "full", dropout: "model", accumulation: 2, epochs: 4 } },
  { model: "xlm-roberta-logit", change: { method: "full", loss: "listwise", dropout: "model" } },
  { model: "modernbert-mean", change: { method: "lora", loss: "kl", gradientCheckpointing: true } },
  { model: "qwen3-yes-no", change: { method: "qlora" } },
  { model: "qwen3-yes-no", change: { method: "full", loss: "margin-mse" } },
];
/** Of each case, in `.ci/long`. */
const killsOfLong = 12;

describeNative("a training that is killed", () => {
  test.each(
    sampleOf(killed, { name: "killed trainings", every: killed.length }).map(
      (one) => [one.model, one.change, one] as const,
    ),
  )("goes on to the very bits of one that was not: %s, %j", async (model, change, one) => {
    const [whole, broken] = [temporaryFolder(), temporaryFolder()];
    const lines = await trainAlone(whole, one, undefined);
    const { accumulation = 1, epochs = 2 } = change;
    expect(lines).toHaveLength((12 / 2 / accumulation) * epochs);
    const paths = ["merged/model.safetensors"];
    if (change.method !== "full") paths.push("adapter/adapter_model.safetensors");
    const uniform = createUniform(`kills of ${model} ${JSON.stringify(change)}`);
    const seen = new Map<string, string>();
    const goOn = async (kill: Kill): Promise<void> => {
      for (const line of await trainAlone(broken, one, kill)) {
        const [step = "", loss = ""] = line.split(" ");
        expect(seen.get(step) ?? loss).toBe(loss);
        seen.set(step, loss);
      }
    };
    // Two kills, and in `.ci/long` at moments that nobody chose; a training that has ended before its kill begins anew.
    const kills: readonly Kill[] = isLong
      ? Array.from({ length: killsOfLong }, () => ({ afterMs: Math.floor(150 * uniform()) }))
      : [{ step: 3 }, { step: 4 }];
    for (const kill of kills) {
      await goOn(kill);
      if (existsSync(join(broken, paths[0] as string))) {
        for (const path of ["merged", "adapter", "checkpoint"])
          rmSync(join(broken, path), { recursive: true, force: true });
      }
    }
    await goOn(undefined);
    expect([...seen].map(([step, loss]) => `${step} ${loss}`).toSorted()).toEqual(lines.toSorted());
    for (const path of paths)
      expect(readFileSync(join(broken, path)).equals(readFileSync(join(whole, path))), path).toBe(true);
  });

  test("has a checkpoint that belongs to it alone, and is refused when it is damaged", async () => {
    const folder = temporaryFolder();
    const request: TrainingRequest = {
      ...{ config: { ...config, maxSteps: 2 }, model: model("bert-logit"), folder, resume: false },
      examples: setOf(examplesOf(8, 1)),
    };
    await engine.train(request);
    const refused = (change: Partial<TrainingRequest>): Promise<string> =>
      engine.train({ ...request, resume: true, ...change }).then(
        () => "no refusal",
        (error: Error) => `${error.name}: ${error.message}`,
      );
    expect(await refused({ resume: false })).toMatch(/TrainingCheckpointError: .*holds a checkpoint/);
    expect(await refused({ config: { ...request.config, seed: 1 } })).toMatch(
      /belongs to a training of another/,
    );
    expect(await refused({ examples: { ...request.examples, sha256: "1".repeat(64) } })).toMatch(
      /belongs to a training/,
    );
    expect(await refused({ model: model("bert-two-class") })).toMatch(
      /belongs to a training of another model/,
    );
    expect(await refused({ config: { ...request.config, checkpointEvery: 1, patience: 3 } })).toBe(
      "no refusal",
    );
    const path = join(folder, "checkpoint", "state.bin");
    const bytes = readFileSync(path);
    const { size } = statSync(path);
    for (const place of [0, 25, 200, Math.floor(size / 2), size - 1]) {
      const damaged = Buffer.from(bytes);
      damaged[place] = (damaged[place] as number) ^ 1;
      writeFileSync(path, damaged);
      expect(await refused({}), `byte ${place}`).toMatch(/TrainingCheckpointError/);
    }
    writeFileSync(path, bytes.subarray(0, size - 100));
    expect(await refused({})).toMatch(/is damaged/);
  });
});
