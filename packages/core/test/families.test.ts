import { cp, mkdir, mkdtemp, readdir, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createLateEncoder,
  createListEncoder,
  createPairEncoder,
  createTextTokenizer,
  type EncodedSequence,
} from "../src/entries/encoding.js";
import { type GoldenScore, type Goldens, readGoldens } from "../src/entries/verify.js";
import {
  type ModelProfile,
  type ProfileReading,
  readProfile,
  type TemplatePiece,
  type TruncationStrategy,
} from "../src/index.js";
import { fixtures, folderFiles } from "./folder-files.js";

/**
 * What each fixture is, as its makers say (model cards and modelling code of the models it stands for). The profiles
 * must come to the same from the files alone.
 */
const expected: Readonly<Record<string, Partial<ModelProfile>>> = {
  "bert-logit": {
    family: "cross-encoder",
    head: { kind: "logit" },
    activation: "identity",
    readsSegments: true,
  },
  "bert-two-class": {
    family: "cross-encoder",
    head: { kind: "two-class", positive: 1 },
    activation: "sigmoid",
    readsSegments: true,
  },
  "roberta-logit": { family: "cross-encoder", head: { kind: "logit" }, readsSegments: false },
  "xlm-roberta-logit": {
    family: "cross-encoder",
    head: { kind: "logit" },
    activation: "sigmoid",
    readsSegments: false,
  },
  "deberta-v2-logit": { family: "cross-encoder", head: { kind: "logit" }, readsSegments: false },
  "modernbert-mean": { family: "cross-encoder", head: { kind: "logit" }, readsSegments: false },
  "modernbert-cls": { family: "cross-encoder", head: { kind: "logit" }, readsSegments: false },
  "modernbert-chain": {
    family: "cross-encoder",
    head: expect.objectContaining({ kind: "pooled-chain" }) as never,
    readsSegments: false,
  },
  "qwen3-yes-no": {
    family: "causal-lm",
    head: expect.objectContaining({ kind: "answer-tokens", negative: expect.any(Number) }) as never,
    activation: "sigmoid",
    instruction: "Given a web search query, retrieve relevant passages that answer the query",
    instructedTemplate: expect.any(Array) as never,
  },
  "qwen3-system-user": {
    family: "causal-lm",
    head: { kind: "answer-tokens", positive: expect.any(Number) as never },
    activation: "identity",
  },
  "qwen3-document-first": {
    family: "causal-lm",
    head: { kind: "answer-tokens", positive: expect.any(Number) as never },
    instructedTemplate: expect.any(Array) as never,
  },
  "qwen2-one-zero": {
    family: "causal-lm",
    head: expect.objectContaining({ kind: "answer-tokens", negative: expect.any(Number) }) as never,
  },
  "gemma-yes": {
    family: "causal-lm",
    head: { kind: "answer-tokens", positive: expect.any(Number) as never },
    activation: "sigmoid",
  },
  "bert-cosine-cls": {
    family: "bi-encoder",
    head: { kind: "cosine", pooling: "cls" },
    queryPrefix: "Represent this sentence for searching relevant passages: ",
    documentPrefix: "",
  },
  "bert-cosine-mean": { family: "bi-encoder", head: { kind: "cosine", pooling: "mean" }, queryPrefix: "" },
  "qwen3-cosine-last": {
    family: "bi-encoder",
    head: { kind: "cosine", pooling: "last-token" },
    queryPrefix:
      "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    documentPrefix: "",
  },
  "bert-late": {
    family: "late-interaction",
    head: expect.objectContaining({ kind: "max-sim" }) as never,
    readsSegments: true,
    lateTemplate: expect.objectContaining({ expansion: { token: 7, attended: false } }) as never,
  },
  "bert-late-original": {
    family: "late-interaction",
    head: {
      kind: "max-sim",
      modules: [
        { kind: "dense", file: "model.safetensors", weight: "linear.weight", activation: "identity" },
      ],
    },
    lateTemplate: expect.objectContaining({ expansion: { token: 7, attended: true } }) as never,
  },
  "modernbert-late": {
    family: "late-interaction",
    head: expect.objectContaining({ kind: "max-sim" }) as never,
    readsSegments: false,
    activation: "identity",
  },
  "qwen3-listwise": {
    family: "listwise",
    head: expect.objectContaining({ kind: "marker-cosine" }) as never,
    activation: "identity",
  },
};

const names = Object.keys(expected);

it("knows every fixture, and every fixture is there", async () => {
  expect((await readdir(fixtures)).filter((name) => !name.startsWith(".")).sort()).toEqual([...names].sort());
});

describe.each(names)("%s", (name) => {
  let reading: ProfileReading;
  let goldens: Goldens;

  beforeAll(async () => {
    const files = folderFiles(join(fixtures, name), name);
    reading = await readProfile(files);
    goldens = (await readGoldens(files)) as Goldens;
  });

  it("is what its files say", () => {
    expect(reading.profile).toMatchObject(expected[name] as object);
    for (const [field, value] of Object.entries(reading.profile)) {
      if (value !== undefined) expect(reading.sources, field).toHaveProperty(field);
    }
  });

  it("has goldens worth the name", () => {
    const { cases, lists = [] } = goldens;
    if (reading.profile.family === "listwise") {
      expect(lists.length).toBeGreaterThanOrEqual(6);
      expect(lists.some(({ sequences }) => sequences.length > 1)).toBe(true);
      return;
    }
    expect(cases.length).toBeGreaterThanOrEqual(24);
    const scores = cases.map((one) => one.expected["document-only"] as GoldenScore);
    const ordinary = scores.flatMap(({ logit }) => (typeof logit === "number" ? [logit] : []));
    if (reading.profile.family !== "bi-encoder" && reading.profile.family !== "late-interaction") {
      // Otherwise tolerances would prove little.
      expect(Math.max(...ordinary) - Math.min(...ordinary)).toBeGreaterThan(3);
      expect(scores.some(({ queryOverflow }) => queryOverflow)).toBe(true);
    }
    expect(scores.some(({ truncatedTokens = 0 }) => truncatedTokens > 0)).toBe(true);
  });

  it.each(["document-only", "longest-first"] as const)("gets the reference's ids: %s", (truncation) => {
    const tokenizer = createTextTokenizer(reading.tokenizerJson, name);
    if (reading.profile.family === "listwise") checkLists(reading.profile, tokenizer, goldens);
    else checkCases({ ...reading.profile, truncation }, tokenizer, goldens, truncation);
  });
});

function checkCases(
  profile: ModelProfile,
  tokenizer: ReturnType<typeof createTextTokenizer>,
  { cases }: Goldens,
  truncation: TruncationStrategy,
): void {
  const encoder = createPairEncoder(tokenizer, profile);
  const { lateTemplate, maxLength } = profile;
  const late = lateTemplate && createLateEncoder(tokenizer, lateTemplate, maxLength);
  for (const { name, query, document, instruction, expected: byMode } of cases) {
    const golden = byMode[truncation];
    // Where the reference has no answer (a prompt that it would tear apart), there is no golden of that mode.
    if (golden === undefined) continue;
    if (late !== undefined) {
      const own = late.encodeDocument(profile.documentPrefix + document);
      expect([...late.encodeQuery(profile.queryPrefix + query).ids], `${name}, query`).toEqual(
        golden.queryIds,
      );
      expect([...own.ids], `${name}, document`).toEqual(golden.ids);
      checkCount(own, golden, name);
      continue;
    }
    if (profile.family === "bi-encoder") {
      const own = encoder.encodeSingle(profile.queryPrefix + query);
      const other = encoder.encodeSingle(profile.documentPrefix + document);
      expect([...own.ids], `${name}, query`).toEqual(golden.queryIds);
      expect([...other.ids], `${name}, document`).toEqual(golden.ids);
      checkCount(other, golden, name);
      continue;
    }
    const encoded = encoder.encodePair(
      encoder.encodeQuery(profile.queryPrefix + query, instruction ?? profile.instruction),
      profile.documentPrefix + document,
    );
    expect(encoded.queryOverflow, name).toBe(golden.queryOverflow ?? false);
    expect([...encoded.ids], name).toEqual(golden.ids);
    if (!encoded.queryOverflow)
      expect([...encoded.segmentIds], name).toEqual(golden.segmentIds ?? [...encoded.ids].map(() => 0));
    checkCount(encoded, golden, name);
    expect(encoded.ids.length, name).toBeLessThanOrEqual(profile.maxLength);
  }
}

/** A very long document is not read to its end, so that its count is a minimum. */
function checkCount(
  sequence: Pick<EncodedSequence, "truncatedTokens" | "truncatedTokensIsMinimum">,
  { truncatedTokens = 0 }: GoldenScore,
  name: string,
): void {
  if (!sequence.truncatedTokensIsMinimum) expect(sequence.truncatedTokens, name).toBe(truncatedTokens);
  else {
    expect(sequence.truncatedTokens, name).toBeGreaterThan(0);
    expect(sequence.truncatedTokens, name).toBeLessThanOrEqual(truncatedTokens);
  }
}

function checkLists(
  profile: ModelProfile,
  tokenizer: ReturnType<typeof createTextTokenizer>,
  { lists = [] }: Goldens,
): void {
  if (profile.listTemplate === undefined) throw new Error("a listwise model has a list template");
  const encoder = createListEncoder(tokenizer, profile.listTemplate, profile.maxLength);
  for (const { name, query, documents, sequences, truncatedTokens } of lists) {
    if (sequences.length === 0) {
      expect(encoder.measureQuery(query), name).toBeUndefined();
      continue;
    }
    const cut = documents.map((document) => encoder.cutDocument(document));
    for (const [index, document] of cut.entries())
      checkCount(document, { truncatedTokens: truncatedTokens[index] }, name);
    const encoded = [...encoder.encodeList(query, cut)];
    expect(
      encoded.map((list) => ({ ids: [...list.sequence.ids], documents: list.documents })),
      name,
    ).toEqual(sequences);
  }
}

it("jina-reranker-v3's own files are enough: its architecture sets the template", async () => {
  const files = folderFiles(join(fixtures, "qwen3-listwise"));
  const told = (await readProfile(files)).profile;
  const alone = {
    ...files,
    list: async () => (await files.list()).filter(({ path }) => path !== "crossrank.json"),
  };
  const { profile, sources } = await readProfile(alone);
  expect(sources.listTemplate).toBe("the architecture JinaForRanking");
  expect(profile.listTemplate).toMatchObject({
    maxDocuments: 125,
    maxDocumentTokens: 2048,
    maxQueryTokens: 512,
  });
  const spelled = (pieces: readonly TemplatePiece[] = []): string =>
    pieces
      .map((piece) =>
        "literal" in piece
          ? piece.literal
          : "token" in piece
            ? `${piece.token}=${piece.id}`
            : "text" in piece
              ? `{${piece.text}}`
              : "",
      )
      .join("");
  for (const part of ["before", "item", "separator", "after"] as const)
    expect(spelled(profile.listTemplate?.[part]), part).toBe(spelled(told.listTemplate?.[part]));
  expect(profile.head).toEqual(told.head);
});

describe("names", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "crossrank-names-"));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it("mean nothing: every folder under another's name is still what it is", async () => {
    const there = await readdir(fixtures);
    // Each gets the name of the next, so that every name lies.
    const lies = new Map(there.map((name, index) => [name, there[(index + 1) % there.length] as string]));
    for (const [name, lie] of lies) await symlink(join(fixtures, name), join(folder, lie));
    for (const [name, lie] of lies) {
      const honest = await readProfile(folderFiles(join(fixtures, name), name));
      const renamed = await readProfile(folderFiles(join(folder, lie), lie));
      expect(renamed.profile, `${name} as ${lie}`).toEqual(honest.profile);
      expect(renamed.sources).toEqual(honest.sources);
    }
  });

  it("mean nothing inside config.json either", async () => {
    for (const name of ["bert-logit", "qwen3-yes-no"]) {
      const copy = join(folder, `copy of ${name}`);
      await mkdir(copy);
      await cp(join(fixtures, name), copy, { recursive: true });
      const files = folderFiles(copy, "cross-encoder/jina-reranker-v3");
      const misleading = {
        ...files,
        readText: async (path: string) => {
          const text = await files.readText(path);
          return path === "config.json"
            ? JSON.stringify({ ...JSON.parse(text), _name_or_path: "BAAI/bge-reranker-v2-gemma" })
            : text;
        },
      };
      const honest = await readProfile(folderFiles(join(fixtures, name), name));
      expect((await readProfile(misleading)).profile).toEqual(honest.profile);
    }
  });
});
