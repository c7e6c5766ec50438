import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { EvaluationSubject } from "@crossrank/eval";
import { createRandom } from "@crossrank/eval";
import { describe, expect, it } from "vitest";
import { CommandError } from "../src/failure.js";
import { adviceOf } from "../src/pick/advice.js";
import type { Candidate } from "../src/pick/candidates.js";
import { proposeConfig, writeConfig } from "../src/pick/config-file.js";
import { found } from "../src/pick/pick-cascade.js";
import { reasonOf } from "../src/pick/reasons.js";
import { choose, timesOf } from "../src/pick/recommend.js";
import type { PickReport, PickSystem } from "../src/pick/report.js";
import { cheapFirst, referenceOrder, Schedule } from "../src/pick/schedule.js";
import { ScoringProcessEndedError } from "../src/scoring-process.js";
import { tinyModel, writeTask } from "./evaluation-scene.js";
import { crossrankInTurn as crossrank, temporaryFolder } from "./run-command.js";

const folder = temporaryFolder();
const model = tinyModel(folder);

const candidate = (name: string, precision: Candidate["precision"], converts = false): Candidate => {
  const [backend = "", dtype] = name.split(":");
  return { name, backend, dtype, precision, converts };
};

const system = (name: string, facts: Partial<PickSystem> = {}): PickSystem => ({
  name,
  runtime: { name: "r", version: "1" },
  settings: {},
  artifact: { format: "onnx", dtype: "fp32", bytes: 100, sha256: null, converted: false },
  precision: "fp32",
  ndcg: 0.5,
  change: null,
  distance: 0,
  gate: { passed: true, sentence: "" },
  memory: null,
  time: null,
  ...facts,
});

/** Rounds in which each system takes its own factor of a shared, noisy time. */
function rounds(factors: Readonly<Record<string, number>>, noise: number, seed = 1) {
  const random = createRandom(seed);
  const shared = Array.from({ length: 10 }, () => 10 * (1 + random.uniform()));
  return Object.entries(factors).map(([name, factor]) => {
    const wall = shared.map((time) => time * factor * (1 + noise * (random.uniform() - 0.5)));
    return { name, wall, processor: wall.map((time) => time * 2) };
  });
}

describe("the advice about encoders on llama.cpp", () => {
  const bert = { id: "m", revision: null, family: "cross-encoder" };
  const timed = (factors: Readonly<Record<string, number>>, noise = 0.05): PickSystem[] => {
    const times = timesOf(rounds(factors, noise), 1);
    return Object.keys(factors).map((name) => {
      const format = name.startsWith("llamacpp") ? "gguf" : "onnx";
      return system(name, {
        time: times.get(name) ?? null,
        artifact: { format, dtype: "x", bytes: 1, sha256: null, converted: false },
      });
    });
  };
  const advice = (systems: readonly PickSystem[], model = bert): string[] =>
    adviceOf({ model, systems, choice: choose(systems, "onnx:int8") });

  it("says by how much, where the rounds show it", () => {
    const [sentence, ...more] = advice(timed({ "onnx:int8": 1, "llamacpp:F16": 6, "llamacpp:Q8_0": 4 }));
    expect(sentence).toMatch(/^llamacpp:Q8_0 takes (3\.9|4\.0|4\.1) × the processor time of onnx:int8/);
    expect(more).toEqual([]);
  });

  it("says nothing where they do not, of decoders, and without llama.cpp", () => {
    expect(advice(timed({ "onnx:int8": 1, "llamacpp:Q8_0": 1.02 }, 0.8))).toEqual([]);
    expect(advice(timed({ "onnx:int8": 1, "llamacpp:Q8_0": 0.5 }))).toEqual([]);
    expect(advice(timed({ "onnx:int8": 1, "llamacpp:Q8_0": 4 }), { ...bert, family: "causal-lm" })).toEqual(
      [],
    );
    expect(advice(timed({ "onnx:int8": 1 }))).toEqual([]);
    expect(advice([system("onnx:int8")])).toEqual([]);
  });

  it("names ONNX where nothing but GGUF was timed", () => {
    expect(advice(timed({ "llamacpp:Q8_0": 1 })).join()).toContain("--backend onnx");
    const lost = system("onnx:int8", { gate: { passed: false, sentence: "" } });
    expect(advice([lost, ...timed({ "llamacpp:Q8_0": 1 })]).join()).toContain("--backend onnx");
  });
});

describe("the choice", () => {
  it("is the fastest where the ratio is clear, whatever the machine does in between", () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const times = timesOf(rounds({ "onnx:fp32": 1, "onnx:int8": 0.6 }, 0.1, seed), 1);
      const systems = [
        system("onnx:fp32", { time: times.get("onnx:fp32") ?? null }),
        system("onnx:int8", { time: times.get("onnx:int8") ?? null, distance: 0.1, precision: "8-bit" }),
      ];
      expect(choose(systems, "onnx:fp32")).toMatchObject({
        recommended: "onnx:int8",
        fastest: "onnx:int8",
        level: ["onnx:int8"],
        mostExact: "onnx:fp32",
      });
    }
  });

  it("is the more exact where the interval of the ratio contains 1", () => {
    let level = 0;
    for (let seed = 1; seed <= 20; seed += 1) {
      const times = timesOf(rounds({ "onnx:fp32": 1, "mnn:int8": 0.99 }, 0.4, seed), 1);
      const systems = [
        system("onnx:fp32", { time: times.get("onnx:fp32") ?? null }),
        system("mnn:int8", { time: times.get("mnn:int8") ?? null, distance: 0.1, precision: "8-bit" }),
      ];
      const choice = choose(systems, "onnx:fp32");
      if (choice?.level.length !== 2) continue;
      level += 1;
      expect(choice.recommended).toBe("onnx:fp32");
    }
    expect(level).toBeGreaterThan(15);
  });

  it("leaves out what failed the gate or was not timed, and is null where nothing is left", () => {
    const times = timesOf(rounds({ a: 1, b: 0.5 }, 0), 1);
    const failed = { passed: false, sentence: "" };
    const systems = [
      system("a", { time: times.get("a") ?? null }),
      system("b", { time: times.get("b") ?? null, gate: failed }),
      system("c", { distance: 0 }),
    ];
    expect(choose(systems, "a")?.recommended).toBe("a");
    expect(choose([system("a", { gate: failed })], "a")).toBeNull();
  });

  it("takes the smallest by bytes, and of equal ones the more exact", () => {
    const times = timesOf(rounds({ a: 1, b: 1, c: 1 }, 0.01), 1);
    const sized = (name: string, bytes: number | null, distance: number | null) =>
      system(name, {
        time: times.get(name) ?? null,
        artifact: { format: "x", dtype: "y", bytes, sha256: null, converted: false },
        distance,
      });
    const choice = choose([sized("a", 200, 0), sized("b", 50, 0.2), sized("c", 50, 0.1)], "a");
    expect(choice?.smallest).toBe("c");
    expect(choose([sized("a", null, 0), sized("b", 50, null)], "a")?.smallest).toBe("b");
  });
});

describe("the schedule", () => {
  const all = [
    candidate("llamacpp:F32", "fp32", true),
    candidate("onnx:fp32", "fp32"),
    candidate("onnx:int8", "8-bit"),
    candidate("llamacpp:Q4_0", "4-bit", true),
    candidate("onnx:onnx/own.onnx", null),
  ];

  it("holds all against the most exact that is there, and tries the cheap first", () => {
    expect(referenceOrder(all)[0]?.name).toBe("onnx:fp32");
    expect(referenceOrder(all).at(-1)?.name).toBe("onnx:onnx/own.onnx");
    expect(cheapFirst(all).map(({ name }) => name)[0]).toBe("onnx:int8");
    expect(cheapFirst(all).at(-1)?.name).toBe("llamacpp:F32");
  });

  it("gives each its share, never none, and so many queries that all fit", () => {
    const schedule = new Schedule(100);
    expect(schedule.shareOf(4)).toBeLessThanOrEqual(20_000);
    expect(schedule.shareOf(4)).toBeGreaterThan(10_000);
    expect(new Schedule(1e-9).shareOf(3)).toBe(1);
    expect(schedule.queriesFor(4, 100, 1000)).toBe(100);
    expect(schedule.queriesFor(4, 1e6, 1000)).toBe(20);
    expect(schedule.queriesFor(4, 1e6, 12)).toBe(12);
    expect(schedule.queriesFor(1, 0, 1000)).toBe(1000);
  });
});

it("names the reason of what a candidate threw", () => {
  const coded = (code: string) => Object.assign(new Error("x"), { code });
  expect(reasonOf(new ScoringProcessEndedError("SIGSEGV")).reason).toBe("crashed");
  expect(reasonOf(new ScoringProcessEndedError("exit code 3")).reason).toBe("crashed");
  expect(reasonOf(new ScoringProcessEndedError("SIGKILL")).reason).toBe("out-of-memory");
  expect(reasonOf(new Error("std::bad_alloc")).reason).toBe("out-of-memory");
  expect(reasonOf(coded("backend-not-installed")).reason).toBe("not-installed");
  expect(reasonOf(coded("backend-unavailable")).reason).toBe("not-here");
  expect(reasonOf(coded("not-converted")).reason).toBe("no-file");
  expect(reasonOf(new CommandError("no such precision")).reason).toBe("refused");
  expect(reasonOf("what").reason).toBe("failed");
});

describe("crossrank.config.json", () => {
  const report = {
    reference: "onnx:fp32",
    maxLoss: 0.01,
    choice: { recommended: "onnx:int8" },
  } as PickReport;
  const subject = (): EvaluationSubject => ({
    model: { model: model(), threads: 1 },
    task: { task: folder.path("judged") },
  });
  const place = async (name: string, content?: string): Promise<string> => {
    const { mkdir } = await import("node:fs/promises");
    await mkdir(folder.path(name), { recursive: true });
    if (content !== undefined) await writeFile(join(folder.path(name), "crossrank.config.json"), content);
    return folder.path(name);
  };

  it("is new where there is none, and says all of it the second time", async () => {
    await writeTask(folder, "judged", { queries: 2, candidates: 2, words: 3 });
    const at = await place("empty");
    const proposal = await proposeConfig(report, subject(), at);
    expect(proposal).toMatchObject({ change: "new" });
    expect(proposal && (await writeConfig(proposal))).toBe(true);
    expect(JSON.parse(await readFile(join(at, "crossrank.config.json"), "utf8"))).toMatchObject({
      models: [
        { model: "../tiny", threads: 1, backends: ["onnx:fp32", "onnx:int8"], reference: "onnx:fp32" },
      ],
      tasks: [{ task: "../judged", gates: 0.01 }],
    });
    expect(await proposeConfig(report, subject(), at)).toMatchObject({ change: "same" });
    // A pick that comes out otherwise takes the place of the one that wrote the file.
    for (const recommended of ["onnx:fp32", "onnx:fp16"]) {
      const choice = { ...report.choice, recommended } as PickReport["choice"];
      const again = await proposeConfig({ ...report, choice }, subject(), at);
      expect(again && (await writeConfig(again))).toBe(true);
      const { models, tasks, include } = JSON.parse(
        await readFile(join(at, "crossrank.config.json"), "utf8"),
      );
      expect([models.length, tasks.length, include]).toEqual([1, 1, undefined]);
      expect(models[0].backends).toContain(recommended);
    }
    expect(await readdir(at)).toEqual(["crossrank.config.json"]);
  });

  it("keeps what is there, and replaces an earlier pick alone", async () => {
    const before = { models: ["../tiny"], tasks: ["../judged"], backends: ["onnx:fp16"], seed: 7 };
    const at = await place(
      "kept",
      `\ufeff{\n\t"seed": 7,${JSON.stringify({ ...before, seed: undefined }).slice(1)}`,
    );
    for (const recommended of ["onnx:int8", "onnx:fp16", "onnx:fp32"]) {
      const choice = { ...report.choice, recommended } as PickReport["choice"];
      const proposal = await proposeConfig({ ...report, choice }, subject(), at);
      expect(proposal).toMatchObject({ change: "merged" });
      if (proposal !== undefined) await writeConfig(proposal);
      const text = await readFile(join(at, "crossrank.config.json"), "utf8");
      expect(text.startsWith("\ufeff{\n\t")).toBe(true);
      const config = JSON.parse(text.slice(1)) as {
        readonly include: readonly { backends: readonly string[] }[];
      };
      expect(config).toMatchObject(before);
      expect(config.include).toHaveLength(1);
      expect(config.include[0]?.backends).toContain(recommended);
    }
  });

  it.each([
    ["no JSON", "{ models: }"],
    ["a list", "[]"],
    ["an include that is no list", '{ "tasks": ["../judged"], "include": {} }'],
    ["a slip of the pen", '{ "tasks": ["../judged"], "modles": [] }'],
  ])("is refused, and left alone, where it is %s", async (name, content) => {
    const at = await place(name.replaceAll(" ", "-"), content);
    await expect(proposeConfig(report, subject(), at)).rejects.toThrow(/crossrank\.config\.json/);
    expect(await readFile(join(at, "crossrank.config.json"), "utf8")).toBe(content);
  });

  it("has the cascade where it is recommended, before what is recommended alone", async () => {
    const at = await place("cascade");
    const cascade: NonNullable<PickReport["cascade"]> = {
      ...{ small: "nano on onnx:int8", backend: "onnx:int8", large: "onnx:int8", keep: 30 },
      ...{ ndcg: 0.7, change: { mean: 0, lowerBound: 0 }, time: null, recommended: true, reason: "" },
    };
    const first = { model: "nano", workers: 1 };
    const content = async (given: PickReport): Promise<unknown> =>
      JSON.parse((await proposeConfig(given, subject(), at, first))?.content ?? "");
    expect(await content({ ...report, cascade })).toMatchObject({
      models: [
        { cascade: { model: "nano", workers: 1, keep: 30, backend: "onnx:int8", large: ["onnx:int8"] } },
      ],
    });
    expect(
      JSON.stringify(await content({ ...report, cascade: { ...cascade, recommended: false } })),
    ).not.toContain("cascade");
  });

  it("recommends a cascade where its interval lies above the large model, and the gate holds", () => {
    const names = { small: "nano on onnx", large: "onnx:fp32", backend: "onnx" };
    const row = { value: 0.7, change: { mean: 0, lower: 0, upper: 0 }, lowerBound: 0, passed: true };
    const timing = (lower: number) => ({
      ...{ keep: 30, calls: 8, milliseconds: { wall: 1, processor: 1 }, processor: null, calculated: 2 },
      wall: { value: 2, lower, upper: 3 },
    });
    const sweep = (facts: object) =>
      found(names, {
        ...{
          rows: [
            { ...row, keep: 30 },
            { ...row, keep: 100 },
          ],
          smallestSafe: 30,
          timings: [timing(1.5)],
        },
        ...{ margin: 0.005, metric: "ndcg@10", systems: names },
        ...facts,
      } as never);
    expect(sweep({})).toMatchObject({ recommended: true, keep: 30 });
    expect(sweep({ timings: [timing(0.99)] })).toMatchObject({ recommended: false, keep: 30 });
    expect(sweep({ timings: [] })).toMatchObject({ recommended: false, keep: 30 });
    expect(sweep({ smallestSafe: 100 })).toMatchObject({ recommended: false, keep: null, time: null });
    const lossy = [
      { ...row, keep: 30, passed: false },
      { ...row, keep: 100 },
    ];
    expect(sweep({ rows: lossy })).toMatchObject({ recommended: false, keep: null });
  });

  it("is not written to where it is code", async () => {
    const at = await place("code");
    await writeFile(join(at, "crossrank.config.ts"), "export default {};\n");
    const proposal = await proposeConfig(report, subject(), at);
    expect(proposal).toMatchObject({ change: "by-hand" });
    expect(proposal && (await writeConfig(proposal))).toBe(false);
    expect(await readdir(at)).toEqual(["crossrank.config.ts"]);
  });
});

describe("crossrank pick", () => {
  it("scores, drops, times and recommends; a backend that kills its process is a row; again, nothing is scored twice", async () => {
    const task = await writeTask(folder, "task", { queries: 12, candidates: 5, words: 6 });
    const crashing = await folder.write(
      "crash.mjs",
      `export const backends = [{ name: "crash", format: "onnx", families: ["cross-encoder"], dtypes: ["fp32"],
        artifacts: () => [{ dtype: "fp32", path: "onnx/model.onnx" }], candidates: () => ["onnx/model.onnx"], install: [],
        create: () => ({ name: "crash", diagnose: async () => process.kill(process.pid, "SIGSEGV"),
          load: async () => undefined }) }];\n`,
    );
    const report = folder.path("report");
    const args = ["pick", "--model", model(), "--task", task, "--max-loss", "0.9", "--time", "3000"];
    args.push("--cascade", "nano,backend=onnx:int8,workers=1");
    const chosen = ["-b", "onnx:fp32", "-b", "onnx:int8", "-b", crashing, "-b", "llamacpp"];
    const run = () =>
      crossrank([...args, ...chosen, "--reference", "onnx:fp32", "--report", report, "--format", "json"], {
        folder: folder.path("."),
        environment: { HF_HOME: folder.path("home") },
      });
    const first = await run();
    expect({ code: first.code, stderr: first.stderr }).toMatchObject({ code: 0 });
    const found = JSON.parse(first.stdout) as PickReport;
    expect(found.reference).toBe("onnx:fp32");
    expect(found.systems.map(({ name }) => name)).toEqual(["onnx:fp32", "onnx:int8"]);
    for (const { time, artifact, gate, memory } of found.systems) {
      expect(time?.wall).toBeGreaterThan(0);
      expect(artifact.bytes).toBeGreaterThan(0);
      expect(gate.passed).toBe(true);
      if (process.platform === "linux") {
        expect(time?.processor).toBeGreaterThan(0);
        expect(memory).toBeGreaterThan(0);
      }
    }
    const reasons = new Map(found.leftOut.map(({ name, reason }) => [name, reason]));
    expect(reasons.get(crashing)).toBe("crashed");
    expect(reasons.get("llamacpp")).toBe("no-file");
    expect(found.choice?.mostExact).toBe("onnx:fp32");
    expect(found.timing?.rounds).toBeGreaterThanOrEqual(3);
    expect(found.task).toMatchObject({ queries: 12, allQueries: 12 });
    // Five candidates and a loss of .9: any keep is safe, and the tiny model alone is the faster.
    expect(found.cascade).toMatchObject({
      ...{ small: "nano on onnx:int8", large: found.choice?.recommended, keep: 1, recommended: false },
      time: { keep: 1, calls: 8 },
    });
    expect(found.cascade?.reason).toMatch(/not faster/);

    const written = async () => {
      const names = (await readdir(join(report, "scores"))).filter((name) => name.endsWith(".jsonl"));
      return Promise.all(names.map(async (name) => [name, (await stat(join(report, "scores", name))).size]));
    };
    const scores = await written();
    const again = JSON.parse((await run()).stdout) as PickReport;
    expect(await written()).toEqual(scores);
    expect(again.timing).toEqual(found.timing);
    expect(again.choice).toEqual(found.choice);
  }, 600_000);

  it("says what is wrong before anything is scored", async () => {
    for (const [args, says] of [
      [["--cascade", "nano,backend=onyx"], /no backend onyx/],
      [["--cascade", "nano,instruction=a"], /--instruction/],
      [["--max-loss", "0"], /above 0/],
      [["--max-loss", "1"], /below 1/],
      [["--time", "-3"], /above 0/],
      [["-b", "no-such-backend"], /Known backends/],
    ] as const) {
      const { code, stderr } = await crossrank(["pick", "--task", folder.path("judged"), ...args]);
      expect(code).toBe(2);
      expect(stderr).toMatch(says);
    }
  });
});
