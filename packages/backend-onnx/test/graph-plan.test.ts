import type { Head, OutputKind } from "@crossrank/core";
import { describe, expect, test } from "vitest";
import { chooseBatchPreference } from "../src/defaults.js";
import type { GraphPlan, GraphTensor } from "../src/graph-plan.js";
import { planInputs } from "../src/plan-inputs.js";
import { kindsToOffer, planOutput, shapeProblem } from "../src/plan-output.js";

const dynamic = ["batch", "sequence"];
const ids: GraphTensor = { name: "input_ids", type: "int64", shape: dynamic };
const mask: GraphTensor = { name: "attention_mask", type: "int64", shape: dynamic };
const past: GraphTensor = {
  name: "past_key_values.0.key",
  type: "float32",
  shape: ["batch", 2, "past_sequence_length", 64],
};

describe("inputs", () => {
  test.each<[GraphTensor[], RegExp, RegExp]>([
    [[ids], /no input "attention_mask"/, /padding would change scores/],
    [[mask], /no input "input_ids"/, /token ids/],
    [[], /no input "input_ids"; it wants nothing/, /token ids/],
    [[ids, { ...mask, type: "float32" }], /"attention_mask" has type float32/, /int32 or int64/],
    [
      [ids, mask, { name: "pixel_values", type: "float32", shape: undefined }],
      /unknown input "pixel_values"; the graph wants input_ids int64\[batch, sequence\], /,
      /Export/,
    ],
    [[ids, mask, { name: "toString", type: "int64", shape: dynamic }], /unknown input "toString"/, /Export/],
    // Qwen2-VL's three positions a token.
    [
      [ids, mask, { name: "position_ids", type: "int64", shape: [3, "batch", "sequence"] }],
      /"position_ids" has 3 dimensions/,
      /Export/,
    ],
    [[ids, mask, { ...past, shape: ["batch", "heads", "past", 64] }], /does not declare/, /fixed heads/],
    [[ids, mask, { ...past, shape: ["batch", 2, "past", "size"] }], /does not declare/, /fixed heads/],
    [[ids, mask, { ...past, shape: undefined }], /does not declare/, /fixed heads/],
    // Bloom's, where batch and heads are one dimension.
    [[ids, mask, { ...past, shape: ["batch * 8", 64, "past"] }], /does not declare/, /fixed heads/],
    [[ids, mask, { ...past, shape: ["batch", 2, 128, 64] }], /past of always 128/, /free past length/],
    [[ids, mask, { ...past, type: "bfloat16" }], /type bfloat16/, /float32 or float16/],
    [
      [ids, mask, { ...past, name: "past_key_values.0.decoder.key" }],
      /unknown input "past_key_val/,
      /Export/,
    ],
    [[ids, mask, { ...past, name: "past_conv.0" }], /unknown input "past_conv.0"/, /Export/],
    [
      [ids, mask, { name: "use_cache_branch", type: "float32", shape: [1] }],
      /unknown input "use_cache_branch"/,
      /Export/,
    ],
    // Positions to keep, not how many.
    [
      [ids, mask, { name: "logits_to_keep", type: "int64", shape: ["kept"] }],
      /"logits_to_keep" is no single integer/,
      /int64 scalar/,
    ],
  ])("%# are refused", (inputs, problem, fix) => {
    expect(planInputs(inputs)).toMatchObject({
      problem: expect.stringMatching(problem),
      fix: expect.stringMatching(fix),
    });
  });

  test("a fixed length with any number of rows", () => {
    expect(planInputs([{ ...ids, shape: ["batch", 128] }, mask])).toMatchObject({
      rows: undefined,
      columns: 128,
    });
  });

  test("of a decoder: no past, whose heads are no fixed length", () => {
    const value = { ...past, name: "past_key_values.0.value", type: "float16" };
    const branch = { name: "use_cache_branch", type: "bool", shape: [1] };
    const keep = { name: "num_logits_to_keep", type: "int64", shape: undefined };
    expect(planInputs([ids, mask, past, value, branch, keep])).toEqual({
      inputs: [
        { name: "input_ids", source: "inputIds", type: "int64" },
        { name: "attention_mask", source: "attentionMask", type: "int64" },
        { name: "past_key_values.0.key", source: "past", type: "float32", heads: 2, size: 64 },
        { name: "past_key_values.0.value", source: "past", type: "float16", heads: 2, size: 64 },
        { name: "use_cache_branch", source: "cacheBranch", shape: [1] },
        { name: "num_logits_to_keep", source: "logitsToKeep", type: "int64" },
      ],
      rows: undefined,
      columns: undefined,
    });
  });

  test("a cache for a fixed number of rows fixes the rows", () => {
    expect(planInputs([ids, mask, { ...past, shape: [1, 2, "past", 64] }])).toMatchObject({
      rows: 1,
      columns: undefined,
    });
  });
});

const logit: Head = { kind: "logit" };

/** `"logits:batch,sequence,96"` as an output. */
function tensor(text: string): GraphTensor {
  const [name = "", shape = ""] = text.split(":");
  const dimensions = shape.split(",").map((part) => (/^\d+$/.test(part) ? Number(part) : part));
  return { name, type: "float32", shape: dimensions };
}

describe("outputs", () => {
  test.each<[string, string[], OutputKind, string | undefined]>([
    ["logits by name beside others", ["last_hidden_state:b,s,8", "logits:b,c"], "class-logits", "logits"],
    ["one class squeezed away", ["logits:b"], "class-logits", "logits"],
    ["the sole rank-2 output", ["output_0:b,1", "attentions:b,h,s,s"], "class-logits", "output_0"],
    ["two rank-2 outputs are ambiguous", ["output_0:b,1", "output_1:b,1"], "class-logits", undefined],
    [
      "a pooler is no classifier",
      ["last_hidden_state:b,s,8", "pooler_output:b,8"],
      "class-logits",
      undefined,
    ],
    ["token classes are no class logits", ["logits:b,s,c"], "class-logits", undefined],
    ["nor hidden states", ["logits:b,s,c"], "hidden-states", undefined],
    ["nor states of markers", ["logits:b,s,c"], "marked-states", undefined],
    [
      "token embeddings",
      ["token_embeddings:b,s,8", "sentence_embedding:b,8"],
      "hidden-states",
      "token_embeddings",
    ],
    ["the sole rank-3 output", ["output_0:b,s,8"], "hidden-states", "output_0"],
    [
      "states of markers from hidden states",
      ["last_hidden_state:b,s,8"],
      "marked-states",
      "last_hidden_state",
    ],
    ["a decoder's states beside its cache", ["logits:b,s,96", "hidden:b,s,8"], "marked-states", "hidden"],
    ["pooled by its name only", ["output_0:b,8"], "pooled", undefined],
    ["logits of tokens", ["logits:b,s,96", "present.0.key:b,2,t,64"], "token-logits", "logits"],
    ["hidden states are no logits of tokens", ["last_hidden_state:b,s,96"], "token-logits", undefined],
    ["nor is what has no name for it", ["output_0:b,s,96"], "token-logits", undefined],
  ])("%s", (_, declared, kind, expected) => {
    expect(planOutput(declared.map(tensor), { kinds: [kind], tokens: [5] }, logit)).toEqual(
      expected === undefined ? undefined : expect.objectContaining({ name: expected, kind }),
    );
  });

  test("integers are no output", () => {
    const integers = { name: "logits", type: "int64", shape: ["batch", 1] };
    expect(planOutput([integers], { kinds: ["class-logits"] }, logit)).toBeUndefined();
  });

  test("answer tokens outside of the vocabulary are another model's", () => {
    const request = { kinds: ["token-logits"] as const, tokens: [9693, 2152] };
    expect(planOutput([tensor("logits:b,s,2000")], request, logit)).toEqual({
      problem: 'output "logits" has 2000 logits a token, and the answer tokens are 9693, 2152',
      fix: expect.stringContaining("different models"),
    });
    expect(planOutput([tensor("logits:b,s,9694")], request, logit)).toMatchObject({ vocabulary: 9694 });
    expect(planOutput([tensor("logits:b,s,v")], request, logit)).toMatchObject({ vocabulary: undefined });
  });

  test.each([
    ["logits:b,s,96", false],
    ["logits:b,1,96", true],
    ["logits:b,96", true],
  ])("%s needs rows without padding: %s", (text, unpadded) => {
    const output = planOutput([tensor(text)], { kinds: ["token-logits"], tokens: [5] }, logit);
    expect(output).toMatchObject({ unpadded });
    if (output === undefined || "problem" in output) throw new Error("no output");
    const plan = (rows?: number, columns?: number): GraphPlan => ({ inputs: [], output, rows, columns });
    expect(shapeProblem(plan())).toBeUndefined();
    expect(shapeProblem(plan(1))).toBeUndefined();
    expect(shapeProblem(plan(4)) !== undefined).toBe(unpadded);
    expect(shapeProblem(plan(1, 128)) !== undefined).toBe(unpadded);
    expect(shapeProblem(plan(undefined, 128))?.problem).toEqual(
      unpadded ? expect.stringMatching(/one position .* fixed to 128 tokens/) : undefined,
    );
  });

  test.each<[Head, boolean, boolean]>([
    [{ kind: "cosine", pooling: "mean" }, true, false],
    [{ kind: "cosine", pooling: "cls", modules: [] }, true, false],
    // Its graph may take the last column for the last token.
    [{ kind: "cosine", pooling: "last-token" }, true, true],
    [{ kind: "cosine", pooling: "mean", modules: [{ kind: "normalize" }] }, false, false],
    [{ kind: "pooled-chain", pooling: "mean", modules: [] }, false, false],
  ])("a sentence embedding for %j: %s", (head, offered, unpadded) => {
    const kinds = kindsToOffer(["pooled", "hidden-states"], head);
    expect(kinds).toEqual(offered ? ["pooled", "hidden-states"] : ["hidden-states"]);
    const outputs = ["token_embeddings:b,s,8", "sentence_embedding:b,8"].map(tensor);
    expect(planOutput(outputs, { kinds }, head)).toMatchObject({
      name: offered ? "sentence_embedding" : "token_embeddings",
      unpadded,
    });
  });
});

describe("batches of a graph that computes logits", () => {
  const plan = (vocabulary: number | undefined, facts: Partial<GraphPlan["output"]> = {}): GraphPlan => ({
    inputs: [],
    output: { name: "logits", kind: "token-logits", tokens: [1], vocabulary, unpadded: false, ...facts },
    rows: undefined,
    columns: undefined,
  });

  test.each([
    ["a small vocabulary", 2000, 256],
    ["Qwen3's", 151_936, 256],
    ["Gemma 3's", 262_144, 244],
    ["an unknown one", undefined, 244],
    ["one that fills the memory alone", 1e9, 1],
  ])("hold no more than 256 MB of them: %s", (_, vocabulary, tokens) => {
    expect(chooseBatchPreference(undefined, false, plan(vocabulary))).toEqual({
      rows: 8,
      tokens,
      padding: 0.05,
    });
  });

  test("are of equal length where they are run so anyway", () => {
    expect(chooseBatchPreference(undefined, false, plan(151_936, { unpadded: true }))).toEqual({
      rows: 8,
      tokens: 256,
      padding: 0,
    });
  });

  test("may be as long as others where only the last columns get logits, if they are of similar length", () => {
    const keep = { name: "logits_to_keep", source: "logitsToKeep", type: "int64" } as const;
    for (const vocabulary of [2000, 151_936, 262_144, 500_000]) {
      const { rows, tokens, padding } = chooseBatchPreference(undefined, false, {
        ...plan(vocabulary),
        inputs: [keep],
      });
      expect({ rows, tokens }).toEqual({ rows: 8, tokens: 256 });
      // The whole padding of a batch in one row, which decides for all.
      expect(rows * (1 + padding * tokens) * vocabulary * 4).toBeLessThanOrEqual(256e6);
      expect(padding).toBeGreaterThan(0.02);
    }
  });

  test("are what the caller says", () => {
    const wanted = { rows: 2, tokens: 4096, padding: 0.5 };
    expect(chooseBatchPreference(wanted, false, plan(151_936))).toEqual(wanted);
  });
});
