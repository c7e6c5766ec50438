import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import {
  createTrainingSet,
  queryKey,
  type ReadDataOptions,
  readCorpus,
  readTrainingData,
  splitByQuery,
  type TrainingData,
  TrainingDataError,
  TrainingSetupError,
} from "../src/index.js";

let folder: string;
let count = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-data-"));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(content: string | Uint8Array, name = "data.jsonl"): Promise<string> {
  count += 1;
  const path = join(folder, `${count}-${name}`);
  await writeFile(path, content);
  return path;
}

const lines = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

async function read(content: string | Uint8Array, options?: ReadDataOptions): Promise<TrainingData> {
  const data = await readTrainingData([await file(content)], options);
  onTestFinished(() => data[Symbol.asyncDispose]());
  return data;
}

/** Everything that the data say, in texts. */
async function said(data: TrainingData): Promise<unknown[]> {
  const all: unknown[] = [];
  for (const { query, documents } of data.groups) {
    for (const { text, label, times } of documents) {
      all.push([await data.texts.read(query), await data.texts.read(text), label, times]);
    }
  }
  return all;
}

describe("forms", () => {
  test("pairs, with grades as parts of the highest", async () => {
    const data = await read(
      lines([
        { query: "q", document: "a", label: 3 },
        { query: "q", document: "b", label: 1 },
        { query: "q", document: "c", label: 0 },
      ]),
    );
    expect(await said(data)).toEqual([
      ["q", "a", 1, 1],
      ["q", "b", 1 / 3, 1],
      ["q", "c", 0, 1],
    ]);
    expect(data.report.sources[0]).toMatchObject({ form: "pairs", rows: 3, highestLabel: 3 });
  });

  test("a triplet gives two pairs", async () => {
    const data = await read(
      lines([
        { query: "q", positive: "a", negative: "b" },
        { query: "q", positive: "a", negative: "c" },
        { query: "r", positive: "a", negatives: ["b", "c"] },
      ]),
    );
    expect(await said(data)).toEqual([
      ["q", "a", 1, 2],
      ["q", "b", 0, 1],
      ["q", "c", 0, 1],
      ["r", "a", 1, 2],
      ["r", "b", 0, 1],
      ["r", "c", 0, 1],
    ]);
    const set = createTrainingSet(data.texts, data.groups, { loss: "bce" });
    expect(set.size).toBe(8);
    const lists = createTrainingSet(data.texts, data.groups, { loss: "listwise" });
    expect(await lists.read([0])).toMatchObject([
      { query: "q", documents: [{ label: 1 }, { label: 0 }, { label: 0 }] },
    ]);
  });

  test("lists with a teacher's scores", async () => {
    const data = await read(
      lines([
        {
          query: "q",
          documents: [
            { text: "a", label: 1, teacher: 4.5 },
            { text: "b", label: 0, teacher: -2 },
          ],
        },
      ]),
    );
    const set = createTrainingSet(data.texts, data.groups, { loss: "margin-mse" });
    expect(await set.read([0])).toEqual([
      {
        query: "q",
        documents: [
          { text: "a", label: 1, teacher: 4.5 },
          { text: "b", label: 0, teacher: -2 },
        ],
      },
    ]);
  });

  test("clicks: above the last one and not clicked is not relevant, beneath it nothing is known", async () => {
    const shown = (clicked: readonly number[]): object => ({
      query: "q",
      results: ["a", "b", "c", "d"].map((text, index) => ({
        text,
        position: index + 1,
        clicked: clicked.includes(index),
      })),
    });
    const data = await read(lines([shown([1]), shown([0, 2]), shown([])]));
    expect(await said(data)).toEqual([
      ["q", "a", 0.5, 1],
      ["q", "b", 0.5, 1],
      ["q", "c", 1, 1],
    ]);
  });

  test("the form is read from the content, also of a packed file with any name", async () => {
    const path = await file(gzipSync(lines([{ query: "q", positive: "a" }])), "rows.parquet");
    const data = await readTrainingData([path]);
    onTestFinished(() => data[Symbol.asyncDispose]());
    expect(data.report.sources[0]?.form).toBe("triplets");
  });

  test.each([
    ["PAR1xxxx", "parquet"],
    [Buffer.from("\ufeff{}", "utf16le"), "UTF-16"],
    ["PK\u0003\u0004", "zip"],
    ['[{"query": "q"}]', "JSON array"],
    ['{"_id": "1", "text": "t"}\n', "no form"],
    ["", "no rows"],
    [gzipSync("x".repeat(5000)).subarray(0, 30), "unpacked"],
  ])("what is no JSONL of judgements is refused by what it is: %#", async (content, cause) => {
    await expect(read(content)).rejects.toThrow(TrainingDataError);
    await expect(read(content)).rejects.toThrow(cause);
  });
});

describe("rows that cannot be used", () => {
  const good = { query: "q", document: "a", label: 1 };
  const bad: [name: string, row: string, fault: string][] = [
    ["not JSON", "{", "malformed"],
    ["no object", "[1]", "malformed"],
    ["a number", "7", "malformed"],
    ["null", "null", "malformed"],
    ["no query", '{"document":"a","label":1}', "malformed"],
    ["query of another type", '{"query":7,"document":"a","label":1}', "malformed"],
    ["no label", '{"query":"q","document":"b"}', "malformed"],
    ["a label as text", '{"query":"q","document":"b","label":"1"}', "bad-label"],
    ["NaN", '{"query":"q","document":"b","label":NaN}', "malformed"],
    ["an infinite label", '{"query":"q","document":"b","label":1e999}', "bad-label"],
    ["a negative label", '{"query":"q","document":"b","label":-1}', "bad-label"],
    ["a label of null", '{"query":"q","document":"b","label":null}', "bad-label"],
    ["an absurd label", '{"query":"q","document":"b","label":1e300}', "bad-label"],
    ["two labels", '{"query":"q","document":"b","label":1,"relevance":0}', "malformed"],
    ["two documents", '{"query":"q","document":"b","text":"c","label":1}', "malformed"],
    ["an empty query", '{"query":" ","document":"b","label":1}', "empty"],
    ["an empty document", '{"query":"q","document":"\\n","label":1}', "empty"],
    ["half a surrogate pair", '{"query":"q","document":"\\ud800","label":1}', "malformed"],
    ["another form", '{"query":"q","positive":"b"}', "malformed"],
    ["another label than before", '{"query":"q","document":"a","label":0}', "contradiction"],
    ["the same in other letters", '{"query":" Q ","document":"a","label":0}', "contradiction"],
    [
      "a huge document",
      JSON.stringify({ query: "q", document: "b".repeat(2 ** 20 + 1), label: 1 }),
      "too-large",
    ],
    ["a huge line", `{"query":"${"q".repeat(17 * 2 ** 20)}`, "too-large"],
    [
      "a deep one",
      `{"query":"q","document":${"[".repeat(50_000)}${"]".repeat(50_000)},"label":1}`,
      "malformed",
    ],
  ];
  test.each(bad)("%s is named with its line", async (_, row, fault) => {
    const content = `${JSON.stringify(good)}\n\n${row}\n${JSON.stringify({ ...good, query: "r" })}\n`;
    const error = await read(content).then(
      () => undefined,
      (cause: unknown) => cause,
    );
    expect(error).toBeInstanceOf(TrainingDataError);
    expect(error).toMatchObject({ code: "training-data", count: 1, rows: [{ line: 3, fault }] });
  });

  test("not UTF-8", async () => {
    const content = Buffer.concat([
      Buffer.from(`${JSON.stringify(good)}\n`),
      Buffer.from([0x7b, 0xff, 0x7d, 0x0a]),
    ]);
    await expect(read(content)).rejects.toMatchObject({ rows: [{ line: 2, fault: "malformed" }] });
  });

  test.each([
    ['{"query":"q","results":[{"text":"a","position":0,"clicked":true}]}', "malformed"],
    ['{"query":"q","results":[{"text":"a","position":1,"clicked":1}]}', "bad-label"],
    [
      '{"query":"q","results":[{"text":"a","position":1,"clicked":true},{"text":"b","position":1,"clicked":false}]}',
      "malformed",
    ],
    ['{"query":"q","results":[]}', "empty"],
    ['{"query":"q","results":{"text":"a"}}', "malformed"],
    [`{"query":"q","results":[${Array(1001).fill("null").join(",")}]}`, "too-large"],
    ['{"query":"q","positive":"a","negative":"a"}', "contradiction"],
    ['{"query":"q","positive":[]}', "empty"],
    ['{"query":"q","documents":["a"]}', "malformed"],
    ['{"query":"q","documents":[{"text":"a","label":1},{"text":"a","label":0}]}', "contradiction"],
    ['{"query":"q","documents":[{"text":"a","label":1,"teacher":"x"}]}', "bad-label"],
  ])("of other forms: %s", async (row, fault) => {
    await expect(read(`${row}\n`)).rejects.toMatchObject({ rows: [{ line: 1, fault }] });
  });

  test("are left out when that is asked for, in whole, up to a tenth", async () => {
    const rows = Array.from({ length: 30 }, (_, index) => ({ query: `q${index}`, document: "a", label: 1 }));
    const half = '{"query":"q1","documents":[{"text":"z","label":1}]}\n';
    const data = await read(lines(rows) + half, { badRows: "skip" });
    expect(data.report).toMatchObject({ queries: 30, skippedCount: 1, skipped: [{ line: 31 }] });
    expect(data.report.warnings.map(({ code }) => code)).toContain("skipped-rows");
    await expect(read(lines(rows.slice(0, 5)) + half, { badRows: "skip" })).rejects.toThrow(
      "more than a tenth",
    );
  });

  test("a list that contradicts at its end leaves nothing of itself behind", async () => {
    const rows = Array.from({ length: 20 }, (_, index) => ({
      query: `q${index}`,
      documents: [{ text: "a", label: 1 }],
    }));
    const late = {
      query: "q1",
      documents: [
        { text: "new", label: 0 },
        { text: "a", label: 0 },
      ],
    };
    const data = await read(lines([...rows, late]), { badRows: "skip" });
    expect(JSON.stringify(await said(data))).not.toContain("new");
  });

  test("twenty are named and the others counted", async () => {
    const error = await read(`${JSON.stringify(good)}\n${"{\n".repeat(100)}`).catch(
      (cause: unknown) => cause,
    );
    expect(error).toMatchObject({ count: 100 });
    expect((error as TrainingDataError).rows).toHaveLength(20);
    expect((error as Error).message).toContain("and 80 more");
  });
});

test("duplicates count once, and are counted", async () => {
  const data = await read(
    lines([
      { query: "q", positive: "a", negative: "b" },
      { query: "q", positive: "a", negative: "b" },
    ]),
  );
  expect(data.report.pairs).toBe(2);
  expect(data.report.warnings).toMatchObject([{ code: "duplicate-rows", count: 1 }]);
});

test("a label of another file is compared on its own scale", async () => {
  const first = await file(lines([{ query: "q", document: "a", label: 1 }]));
  const same = await file(lines([{ query: "q", document: "a", label: 3 }]));
  const other = await file(
    lines([
      { query: "q", document: "a", label: 1 },
      { query: "r", document: "a", label: 3 },
    ]),
  );
  const data = await readTrainingData([first, same]);
  await data[Symbol.asyncDispose]();
  await expect(readTrainingData([first, other])).rejects.toMatchObject({
    rows: [{ fault: "contradiction", line: 1 }],
  });
});

test("nothing is trained on a held-out query, in whatever letters it stands", async () => {
  const data = await read(
    lines([
      { query: "What  is it?", document: "a", label: 1 },
      { query: "another", document: "a", label: 1 },
    ]),
    { heldOut: new Set([queryKey("what is IT?")]) },
  );
  expect(await said(data)).toEqual([["another", "a", 1, 1]]);
  expect(data.report.warnings[0]).toMatchObject({ code: "held-out-queries", count: 1 });
});

describe("the split", () => {
  const rows = Array.from({ length: 200 }, (_, index) => [
    { query: `query ${index}`, document: `right ${index}`, label: 1 },
    { query: `query ${index}`, document: `wrong ${index}`, label: 0 },
  ]).flat();

  test("is by query and seed, and not by the rows' order", async () => {
    const keys = async (all: readonly unknown[], seed: number): Promise<string[]> => {
      const { groups } = await read(lines(all));
      return splitByQuery(groups, 0.2, seed)
        .gate.map(({ key }) => key)
        .sort();
    };
    const first = await keys(rows, 1);
    expect(first).toHaveLength(20);
    expect(await keys([...rows].reverse(), 1)).toEqual(first);
    expect(await keys(rows, 2)).not.toEqual(first);
    const { groups } = await read(lines(rows));
    const { training, validation, gate } = splitByQuery(groups, 0.2, 1);
    expect(new Set([...training, ...validation, ...gate]).size).toBe(200);
    expect([training.length, validation.length, gate.length]).toEqual([160, 20, 20]);
  });

  test("refuses what is too little to hold out", async () => {
    const { groups } = await read(lines(rows.slice(0, 6)));
    expect(() => splitByQuery(groups, 0.2, 1)).toThrow(TrainingSetupError);
    expect(() => splitByQuery(groups, Number.NaN, 1)).toThrow(TrainingSetupError);
  });
});

test("a loss is refused that the data cannot feed", async () => {
  const positives = await read(
    lines([
      { query: "q", positive: "a" },
      { query: "r", positive: "b" },
    ]),
  );
  const make = (loss: "bce" | "listwise" | "kl") => () =>
    createTrainingSet(positives.texts, positives.groups, { loss });
  expect(make("bce")).toThrow("one label");
  expect(make("listwise")).toThrow("different labels");
  expect(make("kl")).toThrow("teacher");
});

test("the hash of a set is of its texts", async () => {
  const hash = async (document: string): Promise<string> => {
    const data = await read(
      lines([
        { query: "q", document, label: 1 },
        { query: "q", document: "b", label: 0 },
      ]),
    );
    return createTrainingSet(data.texts, data.groups, { loss: "bce" }).sha256;
  };
  expect(await hash("a")).toBe(await hash("a"));
  expect(await hash("a")).not.toBe(await hash("c"));
});

test("a corpus is of documents or of judged rows, each text once", async () => {
  const path = await file(
    lines([{ _id: "1", title: "A", text: "one" }, { text: "two" }, { text: "" }, { text: "two" }]),
  );
  const judged = await file(lines([{ query: "q", positive: "two", negative: "three" }]));
  const corpus = await readCorpus([path, judged]);
  onTestFinished(() => corpus[Symbol.asyncDispose]());
  const texts: string[] = [];
  for await (const { text } of corpus) texts.push(text);
  expect(texts).toEqual(["A one", "two", "three"]);
  await expect(readCorpus([await file("{\n")])).rejects.toMatchObject({ rows: [{ line: 1 }] });
});
