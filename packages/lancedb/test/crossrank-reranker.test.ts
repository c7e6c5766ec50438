import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Connection, connect, Index, makeArrowTable, rerankers, type Table } from "@lancedb/lancedb";
import {
  Bool,
  Dictionary,
  Field,
  FixedSizeList,
  Float32,
  Int32,
  Int64,
  List,
  Schema,
  Struct,
  TimestampNanosecond,
  Utf8,
} from "apache-arrow";
import { InvalidInputError, openReranker, type Reranker } from "crossrank";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CrossrankReranker, type CrossrankRerankerOptions } from "../src/index.js";

const query = "how do vaccines work";
const texts = [
  "Lyon is a city in France.",
  "A vaccine trains the immune system.",
  "Bread is baked from flour.",
  "Vaccines work because memory cells stay.",
  "The work of bakers begins at night.",
  "Rivers flow into the sea.",
];
// The vector search prefers what the model does not.
const rows = texts.map((text, id) => ({ id, text, vector: [id, texts.length - id] }));
const nearest = [0, texts.length];

let folder = "";
let database: Connection;
let table: Table;
let reranker: Reranker;
let scores: number[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "crossrank-lancedb-"));
  database = await connect(folder);
  table = await database.createTable("notes", rows);
  await table.createIndex("text", { config: Index.fts() });
  reranker = await openReranker("nano");
  const pairs = texts.map((document) => ({ query, document }));
  scores = (await reranker.score(pairs)).scores.map(({ score }) => score as number);
});
afterAll(async () => {
  await reranker.dispose();
  table.close();
  database.close();
  await rm(folder, { recursive: true, force: true });
});

type Row = Readonly<Record<string, unknown>> & {
  readonly id: number;
  readonly _relevance_score: number | null;
};

async function search(
  using: CrossrankReranker,
  { text = query, limit = 4, from = table }: { text?: string; limit?: number; from?: Table } = {},
): Promise<Row[]> {
  const search = from
    .query()
    .nearestTo(nearest)
    .fullTextSearch(text, { columns: ["text"] });
  return (await search.rerank(using).limit(limit).toArray()) as Row[];
}

const reranking = (options?: CrossrankRerankerOptions): CrossrankReranker =>
  new CrossrankReranker(reranker, options);

/** Rows are Arrow's own objects, which are equal to nothing. */
const plain = (row: object): string =>
  JSON.stringify(row, (_, value: unknown) => (typeof value === "bigint" ? `${value}n` : value));

const ids = (found: readonly Row[]): number[] => found.map(({ id }) => id);
const relevances = (found: readonly Row[]): (number | null)[] =>
  found.map(({ _relevance_score }) => _relevance_score);

describe("hybrid search", () => {
  test("is ordered by the library's scores, with rows of both searches, each once", async () => {
    await using own = new CrossrankReranker("nano");
    const found = await search(own);
    // The vector search finds 0, 1, 2 and 3, the full text 1, 3 and 4; limit 4 is LanceDB's.
    const candidates = [0, 1, 2, 3, 4].sort((left, right) => (scores[right] ?? 0) - (scores[left] ?? 0));
    expect(ids(found)).toEqual(candidates.slice(0, 4));
    expect(relevances(found)).toEqual(candidates.slice(0, 4).map((id) => Math.fround(scores[id] ?? 0)));
    for (const { id, text, vector } of found) {
      expect(text).toBe(texts[id]);
      expect([...(vector as Iterable<number>)]).toEqual(rows[id]?.vector);
    }
  });

  test("keeps what the searches say of a row, null where one has not found it", async () => {
    const found = await search(reranking(), { limit: 6 });
    expect(found.length).toBe(6);
    const river = found.find(({ id }) => id === 5);
    expect(river?.["_score"]).toBeNull();
    expect(river?.["_distance"]).toEqual(expect.any(Number));
    expect(Object.keys(found[0] ?? {})).toEqual(
      expect.arrayContaining(["id", "text", "vector", "_distance", "_score", "_relevance_score"]),
    );
    expect(Object.keys(found[0] ?? {})).not.toContain("_rowid");
  });

  test("goes on where the words are in no row", async () => {
    const found = await search(reranking(), { text: "zebra", limit: 3 });
    expect(ids(found).sort()).toEqual([0, 1, 2]);
    const pairs = texts.map((document) => ({ query: "zebra", document }));
    const { scores: expected } = await reranker.score(pairs);
    for (const { id, _relevance_score } of found) {
      expect(_relevance_score).toBe(Math.fround(expected[id]?.score as number));
    }
  });

  test("has no rows where nothing is found, as LanceDB's own reranker has", async () => {
    const empty = await database.createEmptyTable("empty", await table.schema());
    await empty.createIndex("text", { config: Index.fts() });
    const own = await rerankers.RRFReranker.create();
    const found = (from: Table, where: string, using: rerankers.Reranker, columns?: string[]) => {
      const search = from
        .query()
        .nearestTo(nearest)
        .fullTextSearch(query, { columns: ["text"] })
        .where(where);
      return (columns === undefined ? search : search.select(columns)).rerank(using).limit(4).toArray();
    };
    const options = [
      {},
      { topN: 1 },
      { fusion: { method: "rrf" } },
      { fusion: { method: "weighted" } },
    ] as const;
    for (const from of [table, empty]) {
      expect(await found(from, "id > 99", own)).toEqual([]);
      for (const one of options) {
        expect(await found(from, "id > 99", reranking(one))).toEqual([]);
        expect(await found(from, "id > 99", reranking(one), ["id", "text"])).toEqual([]);
      }
    }
    expect(await found(table, "id = 1", reranking())).toHaveLength(1);
    empty.close();
  });

  test("keeps the best alone where topN says so", async () => {
    const all = await search(reranking(), { limit: 6 });
    const best = await search(reranking({ topN: 2 }), { limit: 6 });
    expect(best.map(plain)).toEqual(all.slice(0, 2).map(plain));
  });

  test("needs the texts among the columns", async () => {
    const search = table
      .query()
      .nearestTo(nearest)
      .fullTextSearch(query, { columns: ["text"] });
    const call = search.select(["id"]).rerank(reranking()).limit(4).toArray();
    await expect(call).rejects.toThrow(/column is "text", and the results have id\./);
    const numbers = table
      .query()
      .nearestTo(nearest)
      .fullTextSearch(query, { columns: ["text"] });
    await expect(
      numbers
        .rerank(reranking({ column: "id" }))
        .limit(4)
        .toArray(),
    ).rejects.toThrow(/no texts/);
  });

  test("has null for rows that cannot be scored, and puts them last", async () => {
    const some = await database.createTable(
      "gaps",
      makeArrowTable(rows.map((row) => (row.id === 0 ? { ...row, text: null } : row))),
      { mode: "overwrite" },
    );
    await some.createIndex("text", { config: Index.fts() });
    const found = await search(reranking(), { from: some, limit: 6 });
    expect(found.at(-1)).toMatchObject({ id: 0, _relevance_score: null });
    expect(found.slice(0, -1).every(({ _relevance_score }) => _relevance_score !== null)).toBe(true);
    await using none = new CrossrankReranker("nano", {
      variants: [{ dtype: "q4" }],
      whenExhausted: "passthrough",
    });
    // The order of the two searches together.
    const passed = await search(none, { limit: 6 });
    const fused = await search(reranking({ fusion: { method: "weighted", weight: 0 } }), { limit: 6 });
    expect(relevances(passed)).toEqual(Array(6).fill(null));
    expect(ids(passed)[0]).toBe(ids(fused)[0]);
    const overflow = await search(reranking({ fusion: { method: "rrf" } }), { text: "vaccine ".repeat(900) });
    expect(relevances(overflow)).toEqual([null, null, null, null]);
    expect(new Set(ids(overflow)).size).toBe(4);
  });
});

describe("fusion", () => {
  test("by ranks is LanceDB's own where the model has no weight", async () => {
    const weights = { reranker: 0 };
    const found = await search(reranking({ fusion: { method: "rrf", weights } }), { limit: 6 });
    const own = await rerankers.RRFReranker.create();
    const native = (await table
      .query()
      .nearestTo(nearest)
      .fullTextSearch(query, { columns: ["text"] })
      .rerank(own)
      .limit(6)
      .toArray()) as Row[];
    // LanceDB counts ranks from 0.
    const relevanceOf = new Map(native.map((row) => [row.id, row._relevance_score as number]));
    expect(found.length).toBe(6);
    const [first] = found;
    expect(first?.id).toBe(native[0]?.id);
    for (const { id, _relevance_score } of found) {
      expect(_relevance_score as number).toBeCloseTo(relevanceOf.get(id) ?? 0, 2);
    }
  });

  test("by ranks adds the model's list to the two", async () => {
    const plain = await search(reranking(), { limit: 6 });
    const found = await search(
      reranking({ fusion: { method: "rrf", k: 10, weights: { vector: 0, fullText: 0 } } }),
      {
        limit: 6,
      },
    );
    expect(ids(found)).toEqual(ids(plain));
    expect(relevances(found)).toEqual(plain.map((_, index) => Math.fround(1 / (11 + index))));
    const both = await search(
      reranking({ fusion: { method: "rrf", weights: { reranker: 0.5, fullText: 0 } } }),
      {
        limit: 6,
      },
    );
    for (const { id, _relevance_score } of both) {
      const expected = 0.5 / (61 + ids(plain).indexOf(id)) + 1 / (61 + id);
      expect(_relevance_score as number).toBeCloseTo(expected, 6);
    }
    expect(relevances(both)).toEqual(relevances(both).sort((left, right) => (right ?? 0) - (left ?? 0)));
  });

  test("by weight mixes the score with the two lists", async () => {
    const one = await search(reranking({ fusion: { method: "weighted", weight: 1 } }), { limit: 6 });
    expect(one.map(plain)).toEqual((await search(reranking(), { limit: 6 })).map(plain));
    const none = await search(reranking({ fusion: { method: "weighted", weight: 0 } }), { limit: 6 });
    expect(none[0]?._relevance_score).toBe(1);
    const half = await search(reranking({ fusion: { method: "weighted", weight: 0.5 } }), { limit: 6 });
    const share = new Map(none.map(({ id, _relevance_score }) => [id, _relevance_score as number]));
    for (const { id, _relevance_score } of half) {
      expect(_relevance_score as number).toBeCloseTo(0.5 * (scores[id] ?? 0) + 0.5 * (share.get(id) ?? 0), 6);
    }
  });

  test.each([
    { fusion: "rrf" },
    { fusion: null },
    { fusion: { method: "sum" } },
    { fusion: { method: "rrf", k: 0 } },
    { fusion: { method: "rrf", k: Number.NaN } },
    { fusion: { method: "rrf", weights: { vector: -1 } } },
    { fusion: { method: "rrf", weights: { reranker: 0, vector: 0, fullText: 0 } } },
    { fusion: { method: "weighted", weight: 1.1 } },
    { fusion: { method: "weighted", weight: "0.5" } },
    { fusion: { method: "weighted", weight: null } },
    { fusion: { method: "weighted", weigth: 0.1 } },
    { fusion: { method: "weighted", k: 60 } },
    { fusion: { method: "rrf", k: "60" } },
    { fusion: { method: "rrf", k: null } },
    { fusion: { method: "rrf", k: 1n } },
    { fusion: { method: "rrf", K: 1 } },
    { fusion: { method: "rrf", weight: 0.5 } },
    { fusion: { method: "rrf", weights: { reranker: "2" } } },
    { fusion: { method: "rrf", weights: { fts: 5 } } },
    { fusion: { method: "rrf", weights: null } },
    { fusion: { method: "rrf", weights: [1, 1, 1] } },
    { fusion: { method: "rrf", weights: 2 } },
    { column: 5 },
    { column: "" },
    { colum: "text" },
    { topn: 1 },
    { topK: 1 },
    { topN: 0 },
    { topN: 1.5 },
    { backend: "onnx" },
  ])("is refused where it is wrong: %#", (options) => {
    expect(() => reranking(options as CrossrankRerankerOptions)).toThrow(InvalidInputError);
  });

  test.each([
    { fusion: "none" },
    { fusion: { method: "weighted" } },
    { fusion: { method: "weighted", weight: 0 } },
    { fusion: { method: "rrf" } },
    { fusion: { method: "rrf", k: undefined, weights: undefined } },
    { fusion: { method: "rrf", k: 0.5, weights: {} } },
    { fusion: { method: "rrf", weights: { reranker: 2, vector: 0, fullText: undefined } } },
    { column: undefined, topN: undefined, fusion: undefined, dtype: undefined },
  ] as const)("is taken where it is right: %j", (options) => {
    expect(() => reranking(options)).not.toThrow();
  });

  test("says which option was meant, also beside a reranker that is open", () => {
    const wrong = (options: object) => () => reranking(options as CrossrankRerankerOptions);
    expect(wrong({ topn: 1 })).toThrow("topn is not an option of CrossrankReranker: write topN");
    expect(wrong({ colum: "text" })).toThrow("write column");
    expect(wrong({ fusion: { method: "rrf", K: 1 } })).toThrow(/^fusion\.K .*method, k and weights/);
  });
});

test("brings every kind of column through as it was", async () => {
  const schema = new Schema([
    new Field("id", new Int32()),
    new Field("text", new Utf8(), true),
    new Field("vector", new FixedSizeList(2, new Field("item", new Float32(), true)), true),
    new Field("flag", new Bool(), true),
    new Field("large", new Int64(), true),
    new Field("time", new TimestampNanosecond(), true),
    new Field("tags", new List(new Field("item", new Utf8(), true)), true),
    new Field(
      "author",
      new Struct([
        new Field("name", new Utf8(), true),
        new Field("ages", new List(new Field("item", new Int32(), true)), true),
      ]),
      true,
    ),
    new Field("kind", new Dictionary(new Utf8(), new Int32()), true),
  ]);
  const data = rows.map((row) => ({
    ...row,
    flag: row.id % 3 === 0 ? null : row.id % 2 === 0,
    large: row.id === 1 ? null : 2n ** 60n + BigInt(row.id),
    time: row.id === 4 ? null : 1_700_000_000_123 + row.id,
    tags: row.id === 2 ? null : Array.from({ length: row.id }, (_, at) => `tag ${at} é`),
    author: row.id === 3 ? null : { name: `author ${row.id}`, ages: [row.id, null, row.id * 2] },
    kind: row.id === 5 ? null : ["note", "letter"][row.id % 2],
  }));
  const wide = await database.createTable(
    "wide",
    makeArrowTable(data as never, { schema: schema as never }),
    {
      mode: "overwrite",
    },
  );
  await wide.createIndex("text", { config: Index.fts() });
  const columns = schema.fields.map(({ name }) => name);
  const stored = new Map(
    ((await wide.query().select(columns).toArray()) as Row[]).map((row) => [
      row.id,
      plain(columns.map((name) => row[name])),
    ]),
  );
  // Both searches, so that rows are taken of two batches.
  for (const text of [query, "rivers sea bread", "zebra"]) {
    for (const limit of [2, 6]) {
      const found = await search(reranking(), { from: wide, text, limit });
      expect(found.length).toBeGreaterThanOrEqual(2);
      for (const row of found) expect(plain(columns.map((name) => row[name]))).toBe(stored.get(row.id));
    }
  }
});
