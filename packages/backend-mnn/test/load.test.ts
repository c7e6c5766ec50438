import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { backends, type MnnOptions, mnn } from "@crossrank/backend-mnn";
import {
  IncompatibleModelError,
  InvalidInputError,
  ModelFileNotFoundError,
  ModelLoadError,
} from "@crossrank/core";
import { describe, expect, test } from "vitest";
import { sampleOf } from "../../../test/sample.js";
import { choosePlacement } from "../src/defaults.js";
import { loadAddon } from "../src/native.js";
import { rehearsalProblem } from "../src/rehearsal.js";
import {
  batchOf,
  describeNative,
  fixtureFolder,
  load,
  mnnBytes,
  rejection,
  temporaryFolder,
  testNative,
} from "./fixtures.js";

const here = { isolation: "thread", sessions: 1, threads: 1 } as const;
const packageFolder = fileURLToPath(new URL("..", import.meta.url));

function folderWith(bytes: Uint8Array): string {
  const folder = fixtureFolder("bert-logit", []);
  writeFileSync(join(folder, "mnn/model.mnn"), bytes);
  return folder;
}

/** One int32 of a good file, found by what stands before it. */
function changed(change: (bytes: Buffer) => void): Buffer {
  const bytes = mnnBytes("bert-logit_fp32.mnn");
  change(bytes);
  return bytes;
}

describeNative("a file that cannot be loaded gives one line with the fix", () => {
  const good = (): Buffer => mnnBytes("bert-logit_fp32.mnn");
  test.each<[string, () => Uint8Array, RegExp]>([
    ["empty", () => new Uint8Array(0), /the file is empty\. Download it again/],
    [
      "truncated",
      () => good().subarray(0, 100_000),
      /do not lie within the file.*download or convert it again/,
    ],
    ["short of one byte", () => good().subarray(0, -1), /cut off/],
    ["of zeros", () => new Uint8Array(100_000), /do not lie within the file/],
    ["not MNN", () => Buffer.from("<html>Not found</html>  "), /do not lie within the file/],
    ["a Git LFS pointer", () => Buffer.from("version https://git-lfs.example/spec/v1\n"), /git lfs pull/],
    [
      "with an unknown input",
      () => Buffer.from(good().toString("latin1").replaceAll("token_type_ids", "token_typo_ids"), "latin1"),
      /unknown input "token_typo_ids"; the graph wants attention_mask int32\[batch, sequence\]/,
    ],
    [
      "whose constant is not as long as its shape",
      () =>
        changed((bytes) => {
          const shape = Buffer.from(Int32Array.of(1400, 32).buffer);
          bytes.writeInt32LE(1401, bytes.indexOf(shape));
        }),
      /Const embeddings\.word has 44800 numbers for a shape of 44832/,
    ],
  ])("%s", async (_, bytes, message) => {
    const error = await rejection(load(mnn(here), folderWith(bytes())));
    expect(error).toBeInstanceOf(ModelLoadError);
    expect(error).toMatchObject({ backend: "mnn", file: "mnn/model.mnn" });
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain("\n");
  });

  test("whatever is damaged, this process lives", async () => {
    const bytes = mnnBytes("bert-logit_int8.mnn");
    const script = join(packageFolder, "scripts/fuzz-native.mjs");
    const file = join(temporaryFolder(), "model.mnn");
    writeFileSync(file, bytes);
    const { status, stdout } = spawnSync(process.execPath, [script, "--count", "200", "--seed", "5", file], {
      encoding: "utf8",
    });
    expect(status).toBe(0);
    expect(stdout).toMatch(/refused: damaged/);
    expect(stdout).toMatch(/no crash$/m);
  });

  test("one that crashes MNN is an error, where MNN runs in a process of its own", async () => {
    // A number of the graph's own shapes is read from words' vectors: every table and index is sound.
    const bytes = changed((whole) => {
      const place = whole.indexOf(Buffer.from(Int32Array.of(2, 283, 284).buffer));
      expect(place).toBeGreaterThan(0);
      whole.writeInt32LE(272, place + 8);
    });
    const attempt = async (): Promise<void> => {
      const session = await load(mnn({ sessions: 1 }), folderWith(bytes));
      try {
        await session.run(batchOf(2, 9));
      } finally {
        await session.dispose();
      }
    };
    const { message } = await rejection(attempt());
    // What happens to a process that reads outside of its memory is the machine's affair; that ours lives is not.
    if (process.platform === "linux" && process.arch === "x64") {
      expect(message).toMatch(/MNN's process was ended by SIG\w+\. The file is malformed/);
    }
  });
});

/** Numbers below `below`, the same for the same seed. */
function seeded(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

describeNative("a row is the same alone and beside others, whatever shapes came before", () => {
  // Of MNN's own plans, made from those of the batch before, DeBERTa's products of matrices read beyond their memory.
  const names = sampleOf(["deberta-v2-logit", "bert-logit", "xlm-roberta-logit"], { name: "rows", every: 3 });
  test.each(names)("%s", async (name) => {
    const folder = fixtureFolder(name);
    const expected = new Map<string, number>();
    const alone = async (offset: number, columns: number): Promise<number> => {
      const key = `${offset} ${columns}`;
      const known = expected.get(key);
      if (known !== undefined) return known;
      // A model that has run nothing else but what loading tries.
      const session = await load(mnn(here), folder);
      const [score = Number.NaN] = (await session.run(batchOf(1, columns, offset))).data;
      await session.dispose();
      expected.set(key, score);
      return score;
    };
    const random = seeded(11);
    const session = await load(mnn(here), folder);
    for (let run = 0; run < 40; run += 1) {
      const rows = run % 3 === 0 ? 1 : 1 + random(6);
      const columns = 4 + 6 * random(3);
      const offsets = Array.from({ length: rows }, () => 100 * random(4));
      const batch = batchOf(rows, columns);
      for (const [row, offset] of offsets.entries()) {
        batch.inputIds.set(batchOf(1, columns, offset).inputIds, row * columns);
      }
      const { data } = await session.run(batch);
      for (const [row, offset] of offsets.entries()) {
        expect(data[row], `run ${run}, row ${row} of ${rows}`).toBeCloseTo(await alone(offset, columns), 3);
      }
    }
    expect(session.capabilities.rowsAffectScores).toBe(false);
    await session.dispose();
  });
});

describeNative("a graph that MNN gets wrong for one number of rows", () => {
  // As many rows as the graph has heads: MNN's product of one matrix a row with one a head takes them for pairs.
  test.each(["process", "thread"] as const)(
    "is refused for that number alone, isolation %s",
    async (isolation) => {
      const folder = folderWith(mnnBytes("heads-by-rows.mnn"));
      const session = await load(mnn({ isolation, sessions: 1, threads: 1 }), folder);
      const scores = async (rows: number): Promise<readonly number[]> => {
        const batch = batchOf(rows, 6);
        for (let row = 0; row < rows; row += 1) {
          batch.inputIds.set(
            batchOf(1, 6, 100 * row).inputIds.map((id) => id % 1000),
            row * 6,
          );
        }
        return [...(await session.run(batch)).data];
      };
      const expected = await scores(3);
      for (const rows of [1, 2, 3, 5, 4, 8, 4, 2]) {
        if (rows === 4) {
          expect((await rejection(scores(4))).message).toMatch(
            /batches of 4 rows: .*another result beside others|not finite|ended/,
          );
          continue;
        }
        const found = await scores(rows);
        for (const [row, score] of found.slice(0, 3).entries()) {
          expect(score, `row ${row} of ${rows}`).toBeCloseTo(expected[row] ?? Number.NaN, 3);
        }
      }
      await session.dispose();
    },
  );
});

test.each([
  [{ difference: 0.2, magnitude: 1 }, /another result beside others than alone \(off by 0\.20\)/],
  [{ difference: Number.NaN, magnitude: 1 }, /not finite/],
  [{ difference: 0.3, magnitude: 4 }, undefined],
  [{ difference: 0.09, magnitude: 0 }, undefined],
])("of a rehearsal of %j is said %s", (rehearsal, said) => {
  const problem = rehearsalProblem(rehearsal)?.problem;
  if (said === undefined) expect(problem).toBeUndefined();
  else expect(problem).toMatch(said);
});

describeNative("ids and lengths beyond the file's tables are refused, and never another token's", () => {
  test.each([
    ["a word", (batch: ReturnType<typeof batchOf>) => batch.inputIds.fill(1400, 3, 4), /inputIds has 1400/],
    [
      "a negative word",
      (batch: ReturnType<typeof batchOf>) => batch.inputIds.fill(-1, 0, 1),
      /inputIds has -1/,
    ],
    ["a segment", (batch: ReturnType<typeof batchOf>) => batch.segmentIds.fill(2, 3, 4), /segmentIds has 2/],
  ])("%s", async (_, change, message) => {
    const session = await load(mnn(here), fixtureFolder("bert-logit"));
    const batch = batchOf(1, 6);
    change(batch);
    expect((await rejection(session.run(batch))).message).toMatch(message);
    await session.dispose();
  });

  test("a position", async () => {
    const session = await load(mnn(here), fixtureFolder("bert-logit"));
    expect(session.capabilities.maxSequenceLength).toBe(64);
    expect((await session.run(batchOf(1, 64))).shape).toEqual([1, 1]);
    expect((await rejection(session.run(batchOf(1, 65)))).message).toMatch(/65 tokens.*positions for 64/);
    await session.dispose();
  });
});

describeNative("outputs", () => {
  test("another than asked for lists what there is", async () => {
    const error = await rejection(load(mnn(here), fixtureFolder("bert-logit"), { kinds: ["hidden-states"] }));
    expect(error).toBeInstanceOf(IncompatibleModelError);
    expect(error.message).toContain("logits float32[batch, 1]");
  });

  test("a pooled vector", async () => {
    const session = await load(mnn(here), fixtureFolder("bert-cosine-mean"), { kinds: ["pooled"] });
    expect((await session.run(batchOf(3, 7))).shape).toEqual([3, 32]);
    await session.dispose();
  });
});

describe("artifacts", () => {
  test("one that is not there names those that are", async () => {
    const error = await rejection(load(mnn(here), fixtureFolder("bert-logit", ["fp16"]), { dtype: "fp32" }));
    expect(error).toBeInstanceOf(ModelFileNotFoundError);
    expect(error.message).toMatch(
      /mnn\/model\.mnn or model\.mnn\. There is: mnn\/model_fp16\.mnn\. Ask for dtype fp16/,
    );
  });

  testNative("the most precise one, or the one named", async () => {
    const folder = fixtureFolder("bert-logit", ["fp16", "int8"]);
    const session = await load(mnn(here), folder);
    expect(session.artifact).toMatchObject({ format: "mnn", dtype: "fp16" });
    expect(session.artifact.files[0]?.sha256).toMatch(/^[0-9a-f]{64}$/);
    const named = await load(mnn({ ...here, file: "mnn/model_int8.mnn" }), folder);
    expect(named.artifact.dtype).toBe("int8");
    await Promise.all([session.dispose(), named.dispose()]);
  });

  test("a dtype that is none", async () => {
    const error = await rejection(load(mnn(here), fixtureFolder("bert-logit"), { dtype: "q4" }));
    expect(error).toBeInstanceOf(InvalidInputError);
  });
});

test.each<[MnnOptions, string]>([
  [{ sessions: 0 }, "sessions"],
  [{ threads: 1.5 }, "threads"],
  [{ threads: 33 }, "threads"],
  [{ precision: "normal" as "low" }, "precision"],
  [{ memory: "none" as "low" }, "memory"],
  [{ isolation: "none" as "thread" }, "isolation"],
  [{ file: "" }, "file"],
  [{ batch: { rows: 0 } }, "batch.rows"],
  [{ batch: { padding: 2 } }, "batch.padding"],
])("the option in %j is refused at once", (options, path) => {
  expect(() => mnn(options)).toThrow(InvalidInputError);
  expect(() => mnn(options)).toThrow(path);
});

test.each<[string, MnnOptions, number, number, { sessions: number; threads: number }]>([
  ["one core", {}, 50e6, 1, { sessions: 1, threads: 1 }],
  ["two cores", {}, 50e6, 2, { sessions: 2, threads: 1 }],
  ["sixteen cores", {}, 50e6, 16, { sessions: 4, threads: 4 }],
  ["a large model", {}, 600e6, 16, { sessions: 1, threads: 16 }],
  ["a hundred cores", {}, 600e6, 100, { sessions: 1, threads: 32 }],
  ["threads given", { threads: 2 }, 50e6, 8, { sessions: 4, threads: 2 }],
  ["sessions given", { sessions: 3 }, 50e6, 8, { sessions: 3, threads: 2 }],
])("sessions and threads for %s", (_, options, bytes, cores, expected) => {
  expect(choosePlacement(options, bytes, cores)).toEqual(expected);
});

test("without an addon: diagnose and load say what to install or build", async () => {
  const root = temporaryFolder();
  const copy = join(root, "node_modules/@crossrank/backend-mnn");
  mkdirSync(copy, { recursive: true });
  cpSync(join(packageFolder, "dist"), join(copy, "dist"), { recursive: true });
  cpSync(join(packageFolder, "package.json"), join(copy, "package.json"));
  for (const name of ["core", "backend-kit"]) {
    symlinkSync(join(packageFolder, "..", name), join(root, "node_modules/@crossrank", name), "dir");
  }
  const { mnn: other } = (await import(join(copy, "dist/index.js"))) as { mnn: typeof mnn };
  const wanted =
    /package @crossrank\/backend-mnn-\S+ is not installed.*build-native\.mjs.*cargo.*cmake and libclang/;
  const diagnosis = await other().diagnose();
  expect(diagnosis.available).toBe(false);
  expect(diagnosis.detail).toMatch(wanted);
  const error = await rejection(load(other(), fixtureFolder("bert-logit")));
  expect(error).toMatchObject({ code: "model-load" });
  expect(error.message).toMatch(wanted);
  rmSync(root, { recursive: true });
});

describeNative("what a session declares", () => {
  test.each([
    ["fp32", { precision: "high", memory: "normal" }, {}],
    ["int8", { precision: "high", memory: "normal" }, {}],
    ["fp32", { precision: "high", memory: "low" }, { memory: "low" }],
  ] as const)("%s: settings %j, and rows that stand alone", async (dtype, settings, options) => {
    const session = await load(mnn({ ...here, ...options }), fixtureFolder("bert-logit", [dtype]));
    expect(session.settings).toEqual(settings);
    expect(session.capabilities.rowsAffectScores).toBe(false);
    await session.dispose();
  });

  test("quantised activations: rows that affect scores, and the batches among the settings", async () => {
    const backend = mnn({ ...here, memory: "low", batch: { rows: 4 } });
    const session = await load(backend, fixtureFolder("bert-logit", ["int8"]));
    expect(session.settings).toEqual({
      precision: "high",
      memory: "low",
      batch: '{"padding":0,"rows":4,"tokens":512}',
    });
    expect(session.capabilities.rowsAffectScores).toBe(true);
    await session.dispose();
  });
});

test("the descriptor finds artifacts by name, of each precision the best place", async () => {
  const [descriptor, ...others] = backends;
  expect(others).toEqual([]);
  const paths = ["mnn/model_int8.mnn", "model_int8.mnn", "model.mnn", "other.mnn", "onnx/model.onnx"];
  expect(descriptor?.artifacts(paths)).toEqual([
    { dtype: "fp32", path: "model.mnn" },
    { dtype: "int8", path: "mnn/model_int8.mnn" },
  ]);
  expect(descriptor?.candidates(paths)).toEqual([...paths.slice(0, 4)].sort());
  const backend = await descriptor?.create({ threads: 1, workers: 2, file: "other.mnn" });
  expect(backend).toMatchObject({ name: descriptor?.name, families: descriptor?.families });
});

testNative("the addon says what MNN it is", () => {
  expect(loadAddon().version()).toMatch(/^3\.\d+\.\d+$/);
});
