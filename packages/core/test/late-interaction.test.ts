import { readFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createLateEncoder } from "../src/encoding/late-encoder.js";
import {
  type Batch,
  createReranker,
  IncompatibleModelError,
  type LateTemplate,
  loadModel,
  ModelProfileError,
  readProfile,
} from "../src/index.js";
import { maxSim, normalizeToken } from "../src/score/max-sim.js";
import { createTextTokenizer } from "../src/tokenizer/tokenizer.js";
import { readGoldens } from "../src/verify/goldens.js";
import { fixtures, folderFiles } from "./folder-files.js";
import { memoryFiles } from "./memory-files.js";
import { toyBackend } from "./toy-backend.js";

const names = ["bert-late", "modernbert-late", "bert-late-original"] as const;
const unattended = { unattendedStates: true };

type Json = Record<string, unknown>;

/** A fixture's own files, some of them changed; undefined leaves one out. */
async function changed(name: string, edits: Readonly<Record<string, ((json: Json) => Json) | undefined>>) {
  const files = folderFiles(join(fixtures, name), name);
  const content: Record<string, unknown> = {};
  const added = edits["modules.json"];
  const here = new Set((await files.list()).map(({ path }) => path));
  if (added !== undefined && !here.has("modules.json")) content["modules.json"] = added({});
  for (const { path } of await files.list()) {
    if (path.endsWith(".onnx") || path === "golden.json") continue;
    const bytes = await readFile(join(fixtures, name, path));
    const edit = edits[path];
    if (Object.hasOwn(edits, path) && edit === undefined) continue;
    const isText = !path.endsWith(".safetensors");
    content[path] =
      edit === undefined ? (isText ? bytes.toString() : bytes) : edit(JSON.parse(bytes.toString()) as Json);
  }
  return memoryFiles(content, name);
}

/** modules.json of sentence-transformers' modules. */
const modulesOf = (...names: readonly string[]): (() => Json) => {
  const modules = names.map((name, idx) => ({
    idx,
    name: `${idx}`,
    path: idx === 0 ? "" : `${idx}_${name}`,
    type: `sentence_transformers.models.${name}`,
  }));
  return () => modules as unknown as Json;
};

async function templateOf(name: string): Promise<LateTemplate> {
  const { profile } = await readProfile(folderFiles(join(fixtures, name)));
  if (profile.lateTemplate === undefined) throw new Error("no template");
  return profile.lateTemplate;
}

describe.each(names)("%s", (name) => {
  test("its sequences are PyLate's, and so is what is cut", async () => {
    const files = folderFiles(join(fixtures, name));
    const { profile, tokenizerJson } = await readProfile(files);
    const goldens = await readGoldens(files);
    const encoder = createLateEncoder(
      createTextTokenizer(tokenizerJson, name),
      profile.lateTemplate as LateTemplate,
      profile.maxLength,
    );
    for (const { query, document, expected } of goldens?.cases ?? []) {
      const golden = expected["document-only"];
      expect([...encoder.encodeQuery(query).ids]).toEqual(golden?.queryIds);
      const { ids, truncatedTokens, truncatedTokensIsMinimum } = encoder.encodeDocument(document);
      expect([...ids]).toEqual(golden?.ids);
      if (truncatedTokensIsMinimum) expect(truncatedTokens).toBeLessThan(golden?.truncatedTokens ?? 0);
      else expect(truncatedTokens).toBe(golden?.truncatedTokens);
    }
    expect(goldens?.cases.length).toBe(40);
  });
});

describe("what the files say", () => {
  test("an expansion that is not attended, one that is, and none", async () => {
    expect((await templateOf("bert-late")).expansion).toEqual({ token: 7, attended: false });
    expect((await templateOf("bert-late-original")).expansion).toEqual({ token: 7, attended: true });
    expect((await templateOf("modernbert-late")).expansion).toBeUndefined();
  });

  test("a word of the skip list that is no token stands for the unknown one, as transformers has it", async () => {
    // "." "," "?" and "Ġthe" are tokens of it; "no such token" is not, and stands for the "[UNK]" of its settings.
    expect((await templateOf("modernbert-late")).skipped).toHaveLength(5);
    const files = await changed("bert-late", {
      "config_sentence_transformers.json": (json) => ({ ...json, skiplist_words: ["no such token"] }),
    });
    expect((await readProfile(files)).profile.lateTemplate?.skipped).toEqual([4]);
  });

  test("PyLate's defaults stand for what is left out", async () => {
    const files = await changed("bert-late", {
      "config_sentence_transformers.json": () => ({ similarity_fn_name: "MaxSim", query_length: 10 }),
    });
    const { lateTemplate, maxLength } = (await readProfile(files)).profile;
    expect([lateTemplate?.maxQueryTokens, lateTemplate?.maxDocumentTokens, maxLength]).toEqual([10, 180, 64]);
    expect(lateTemplate?.expansion).toEqual({ token: 7, attended: false });
    expect(lateTemplate?.skipped).toEqual((await templateOf("bert-late")).skipped);
  });

  test("a default prompt goes before texts of both kinds", async () => {
    const files = await changed("bert-late", {
      "config_sentence_transformers.json": (json) => ({
        ...json,
        prompts: { query: "query: ", own: "about: " },
        default_prompt_name: "own",
      }),
    });
    const { queryPrefix, documentPrefix } = (await readProfile(files)).profile;
    expect([queryPrefix, documentPrefix]).toEqual(["about: ", "about: "]);
  });

  test("where the original does not mask punctuation, nothing is skipped", async () => {
    const files = await changed("bert-late-original", {
      "artifact.metadata": (json) => ({ ...json, mask_punctuation: false }),
    });
    expect((await readProfile(files)).profile.lateTemplate?.skipped).toEqual([]);
  });

  test("the unknown token is the one that the tokenizer's settings name, where its model has none", async () => {
    const plain = await templateOf("modernbert-late");
    const end = plain.document.at(-1) as { readonly id: number };
    expect(plain.skipped).not.toContain(end.id);
    for (const [file, value] of [
      ["tokenizer_config.json", "[SEP]"],
      ["tokenizer_config.json", { content: "[SEP]", special: true }],
      ["special_tokens_map.json", "[SEP]"],
    ] as const) {
      const files = await changed("modernbert-late", {
        "tokenizer_config.json": ({ unk_token: _, ...json }) => json,
        "special_tokens_map.json": ({ unk_token: _, ...json }) => json,
        [file]: (json) => ({ ...json, unk_token: value }),
      });
      // PyLate 1.6.0 on transformers 5.3.0 scores so, too: "no such token" of the skip list is then the end token.
      expect((await readProfile(files)).profile.lateTemplate?.skipped).toContain(end.id);
    }
    const files = await changed("bert-late", {
      "tokenizer_config.json": (json) => ({ ...json, unk_token: "[SEP]" }),
      "config_sentence_transformers.json": (json) => ({ ...json, skiplist_words: ["no such token"] }),
    });
    expect((await readProfile(files)).profile.lateTemplate?.skipped).toEqual([4]);
  });

  test("a side that changes nothing is none", async () => {
    const left = { direction: "Left" };
    for (const [name, edits] of [
      // tokenizer_config.json's word stands over tokenizer.json's.
      [
        "bert-late",
        {
          "tokenizer.json": (json: Json) => ({ ...json, truncation: left, padding: left }),
          "tokenizer_config.json": (json: Json) => ({
            ...json,
            truncation_side: "right",
            padding_side: "right",
          }),
        },
      ],
      // Nothing is filled up where queries have no expansion.
      ["modernbert-late", { "tokenizer_config.json": (json: Json) => ({ ...json, padding_side: "left" }) }],
      ["bert-late", { "tokenizer_config.json": (json: Json) => ({ ...json, truncation_side: null }) }],
    ] as const) {
      const { lateTemplate } = (await readProfile(await changed(name, edits))).profile;
      expect(lateTemplate).toEqual(await templateOf(name));
    }
  });

  const settings = "config_sentence_transformers.json";
  /** Both files that can say on which side a tokenizer cuts or fills up. */
  const sides = (
    name: string,
    part: string,
    entry: string,
  ): [string, string, Parameters<typeof changed>[1], RegExp][] => [
    [
      `${entry} left of ${name}`,
      name,
      { "tokenizer_config.json": (json) => ({ ...json, [entry]: "left" }) },
      new RegExp(`tokenizer_config.json: ${entry} is "left"`),
    ],
    [
      `${part}'s direction Left in tokenizer.json of ${name}`,
      name,
      {
        "tokenizer.json": (json) => ({ ...json, [part]: { direction: "Left" } }),
        "tokenizer_config.json": ({ [entry]: _, ...json }) => json,
      },
      new RegExp(`tokenizer.json: ${part}.direction is "Left"`),
    ],
  ];
  test.each<[string, string, Parameters<typeof changed>[1], RegExp]>([
    [
      "no marker of that name",
      "bert-late",
      { [settings]: (json) => ({ ...json, query_prefix: "[Query]" }) },
      /"\[Query\]" is no token/,
    ],
    [
      "a tokenizer that puts nothing before a text",
      "modernbert-late",
      { "tokenizer.json": (json) => ({ ...json, post_processor: null }) },
      /stands behind the first token/,
    ],
    [
      "vectors of pooled texts",
      "bert-late",
      {
        "modules.json": (json) =>
          [
            ...(json as unknown as Json[]),
            { idx: 2, name: "2", path: "2_P", type: "sentence_transformers.models.Pooling" },
          ] as never,
      },
      /late interaction/,
    ],
    [
      "a Dense without its activation",
      "bert-late",
      { "1_Dense/config.json": ({ activation_function: _, ...json }) => json },
      /activation_function/,
    ],
    [
      "a Dense with an unknown one",
      "bert-late",
      { "1_Dense/config.json": (json) => ({ ...json, activation_function: "torch.nn.ELU" }) },
      /ELU is not supported/,
    ],
    [
      "queries longer than the model",
      "bert-late",
      { [settings]: (json) => ({ ...json, query_length: 65 }) },
      /filled up to 65 tokens, and the model takes 64/,
    ],
    [
      "a length of nothing",
      "bert-late",
      { [settings]: (json) => ({ ...json, document_length: 0 }) },
      /document_length/,
    ],
    [
      "the original without its metadata",
      "bert-late-original",
      { "artifact.metadata": undefined },
      /late interaction/,
    ],
    [
      "the original without lengths",
      "bert-late-original",
      { "artifact.metadata": () => ({}) },
      /query_maxlen/,
    ],
    ...[
      ["Transformer", "Pooling"],
      ["Transformer", "Pooling", "Normalize"],
      ["Transformer", "Pooling", "Dense"],
      ["Transformer", "LogitScore"],
      ["Transformer", "Elsewhere"],
      ["Transformer"],
      ["Pooling", "Dense"],
    ].map((modules): [string, string, Parameters<typeof changed>[1], RegExp] => [
      `the original with modules.json of another kind (${modules.join(", ")})`,
      "bert-late-original",
      { "modules.json": modulesOf(...modules) },
      /late interaction/,
    ]),
    [
      "the original with PyLate's modules and none of their files",
      "bert-late-original",
      { "modules.json": modulesOf("Transformer", "Dense") },
      /Transformer → Dense is not one/,
    ],
    [
      "another similarity",
      "bert-late-original",
      { "artifact.metadata": (json) => ({ ...json, similarity: "l2" }) },
      /similarity is "l2"/,
    ],
    [
      "another interaction",
      "bert-late-original",
      { "artifact.metadata": (json) => ({ ...json, interaction: "flipr" }) },
      /interaction is "flipr"/,
    ],
    [
      "a skip list of all that every document has",
      "bert-late",
      { [settings]: (json) => ({ ...json, skiplist_words: ["[CLS]", "[SEP]", "[D] "] }) },
      /no vector left/,
    ],
    ...(["query", "document"] as const).flatMap((kind) =>
      [1, 2, 3].map((length): [string, string, Parameters<typeof changed>[1], RegExp] => [
        `a ${kind} of ${length} tokens, which its template alone has`,
        "bert-late",
        { [settings]: (json) => ({ ...json, [`${kind}_length`]: length }) },
        new RegExp(`a ${kind} is cut to ${length} tokens, of which 3 are not its text's`),
      ]),
    ),
    ...sides("bert-late", "truncation", "truncation_side"),
    ...sides("modernbert-late", "truncation", "truncation_side"),
    ...sides("bert-late", "padding", "padding_side"),
    ...sides("bert-late-original", "padding", "padding_side"),
  ])("%s is refused", async (_, name, edits, message) => {
    const error = await readProfile(await changed(name, edits)).then(
      () => undefined,
      (reason: unknown) => reason as Error,
    );
    expect(error).toBeInstanceOf(ModelProfileError);
    expect(error?.message).toMatch(message);
  });
});

describe("the encoder", () => {
  test("fills a query up, and says which of its tokens are attended", async () => {
    const { tokenizerJson } = await readProfile(folderFiles(join(fixtures, "bert-late")));
    const tokenizer = createTextTokenizer(tokenizerJson, "bert-late");
    const template = await templateOf("bert-late");
    const encoder = createLateEncoder(tokenizer, template, 48);
    const { ids, expansion, unattended: hidden } = encoder.encodeQuery("tea");
    expect([ids.length, expansion, hidden]).toEqual([20, expansion, expansion]);
    expect([...ids.slice(-(expansion ?? 0))]).toEqual(new Array(expansion).fill(7));
    const attends = { ...template, expansion: { token: 7, attended: true } };
    expect(createLateEncoder(tokenizer, attends, 48).encodeQuery("tea").unattended).toBeUndefined();
    // One that fills the length by itself has no expansion.
    const full = encoder.encodeQuery("tea ".repeat(40));
    expect([full.ids.length, full.expansion, full.unattended]).toEqual([20, undefined, undefined]);
    expect(full.truncatedTokens).toBeGreaterThan(0);
  });

  test("cuts documents at the caller's length, and refuses one that a query does not fit", async () => {
    const { tokenizerJson } = await readProfile(folderFiles(join(fixtures, "bert-late")));
    const tokenizer = createTextTokenizer(tokenizerJson, "bert-late");
    const template = await templateOf("bert-late");
    expect(createLateEncoder(tokenizer, template, 24).encodeDocument("a ".repeat(60)).ids).toHaveLength(24);
    expect(() => createLateEncoder(tokenizer, template, 19)).toThrow(/at least 20 tokens/);
  });
});

describe("MaxSim", () => {
  const vector = fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 3, maxLength: 3 });
  const text = fc.array(vector, { minLength: 1, maxLength: 6 });
  const asText = (vectors: readonly number[][]) =>
    vectors.map((one) => normalizeToken(Float64Array.from(one)));

  test("is a sum within the number of the query's tokens, whatever the order of either text", () => {
    fc.assert(
      fc.property(text, text, (query, document) => {
        const [left, right] = [asText(query), asText(document)];
        const sum = maxSim(left, right);
        expect(Math.abs(sum)).toBeLessThanOrEqual(left.length + 1e-9);
        expect(maxSim(left.toReversed(), right.toReversed())).toBeCloseTo(sum, 12);
        // Another token of the document can only help.
        expect(maxSim(left, [...right, Float64Array.of(0, 0, 1)])).toBeGreaterThanOrEqual(sum - 1e-12);
      }),
      { numRuns: 200, seed: 1 },
    );
  });

  test("of one token each is the cosine, and below 0 stays below", () => {
    expect(maxSim([Float64Array.of(1, 0)], [Float64Array.of(-1, 0)])).toBe(-1);
    expect([...normalizeToken(Float64Array.of(0, 0))]).toEqual([0, 0]);
  });
});

describe("a reranker", () => {
  test("needs a session that has vectors of tokens that are not attended, where there are such tokens", async () => {
    const model = folderFiles(join(fixtures, "bert-late"));
    const backend = toyBackend({ width: 16 });
    await expect(loadModel({ model, backend })).rejects.toThrow(IncompatibleModelError);
    await expect(loadModel({ model, backend })).rejects.toThrow('needs tokens "unattended"');
    expect(backend.counts.open).toBe(0);
    // And not where there are none.
    for (const name of ["modernbert-late", "bert-late-original"]) {
      const files = folderFiles(join(fixtures, name));
      await (await loadModel({ model: files, backend: toyBackend({ width: 16 }) })).dispose();
    }
    const none = { ...toyBackend(), families: ["cross-encoder"] as const };
    await expect(loadModel({ model, backend: none })).rejects.toThrow('family "late-interaction"');
  });

  test("hides what is not attended in the mask, and says how far each row goes", async () => {
    const batches: Batch[] = [];
    const reranker = await createReranker({
      model: folderFiles(join(fixtures, "bert-late")),
      probe: false,
      backend: toyBackend({
        width: 16,
        capabilities: unattended,
        run: (batch) => {
          batches.push(batch);
          const data = Float32Array.from({ length: batch.rows * batch.columns * 16 }, (_, at) =>
            Math.sin(at + 1),
          );
          return { kind: "hidden-states", shape: [batch.rows, batch.columns, 16], data };
        },
      }),
    });
    const documents = ["Soaked beans simmer.", "coffee"];
    const { results, scale } = await reranker.rerank({ query: "how long do beans simmer", documents });
    const [queries, texts] = batches as [Batch, Batch];
    expect([...(queries.extents ?? [])]).toEqual([20]);
    expect(queries.attentionMask.reduce((sum, one) => sum + one, 0)).toBe(queries.lengths[0]);
    expect(queries.lengths[0]).toBeLessThan(20);
    // Of documents none is hidden, and the field is left out.
    expect(texts.extents).toBeUndefined();
    expect(scale).toBe("cosine");
    for (const { logit, score } of results) {
      expect(score).toBeCloseTo((logit as number) / 20, 12);
      expect(Math.abs(score as number)).toBeLessThanOrEqual(1);
    }
  });

  test("a runtime that gives no vector for them fails the call, and scores nothing", async () => {
    const reranker = await createReranker({
      model: folderFiles(join(fixtures, "bert-late")),
      probe: false,
      backend: toyBackend({
        width: 16,
        capabilities: unattended,
        run: ({ rows, columns, attentionMask }) => ({
          kind: "hidden-states",
          shape: [rows, columns, 16],
          data: Float32Array.from(
            { length: rows * columns * 16 },
            (_, at) => attentionMask[Math.floor(at / 16)] as number,
          ),
        }),
      }),
    });
    await expect(reranker.score([{ query: "tea", document: "coffee" }])).rejects.toThrow(
      /no vector for token/,
    );
  });

  test("what is not compared, and how queries are filled up, are parts of the cache key", async () => {
    const keyOf = async (lateTemplate: Partial<LateTemplate>): Promise<string> => {
      const reranker = await createReranker({
        model: folderFiles(join(fixtures, "bert-late")),
        backend: toyBackend({ width: 16, capabilities: unattended }),
        probe: false,
        profile: { lateTemplate: { ...(await templateOf("bert-late")), ...lateTemplate } },
      });
      return reranker.cacheKey();
    };
    const keys = await Promise.all([
      keyOf({}),
      keyOf({ skipped: [] }),
      keyOf({ expansion: { token: 7, attended: true } }),
      keyOf({ expansion: undefined }),
      keyOf({ maxQueryTokens: 21 }),
    ]);
    expect(new Set(keys).size).toBe(5);
    expect(await keyOf({})).toBe(keys[0]);
  });
});
