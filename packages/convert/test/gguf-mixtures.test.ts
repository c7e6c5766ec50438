import { readFile } from "node:fs/promises";
import type { TensorType } from "@crossrank/formats/gguf";
import { expect, test } from "vitest";
import { type GgufPlan, matrix, type PlannedTensor, table } from "../src/gguf/plan.js";
import { type GgufDtype, storedTensors } from "../src/gguf/precision.js";
import { bert, weight } from "./gguf-model.js";

/**
 * Types of tensors as llama.cpp's quantiser chose them for models of these sizes, by precision and tensor, layer by layer
 * ("Q6_K 3, Q4_K 21"): lab/gguf/check_files.py --types.
 */
const mixtures: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, string>>>>>> =
  JSON.parse(await readFile(new URL("fixtures/gguf-mixtures.json", import.meta.url), "utf8"));

const encoderTensors = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down"];

/** A plan of these sizes, its tensors two rows each. */
function planOf(name: string): GgufPlan {
  const [, architecture, layers, width, feedForward, untied] =
    /^(.*?)-(\d+)-(\d+)-(\d+)(-untied)?$/.exec(name) ?? [];
  const isDecoder = architecture !== "bert" && architecture !== "modern-bert";
  const names = isDecoder ? [...encoderTensors, "ffn_gate"] : encoderTensors;
  const ofLayer = architecture === "modern-bert" ? ["attn_qkv", ...names.slice(3)] : names;
  const tensors: PlannedTensor[] = [table("token_embd.weight", weight("words", 2, Number(width)))];
  for (let layer = 0; layer < Number(layers); layer++) {
    for (const of of ofLayer) {
      const columns = Number(of === "ffn_down" ? feedForward : width);
      tensors.push(matrix(`blk.${layer}.${of}.weight`, weight(of, 2, columns)));
    }
  }
  if (untied !== undefined) tensors.push(table("output.weight", weight("output", 2, Number(width))));
  return { architecture: architecture as GgufPlan["architecture"], hyperparameters: [], tensors };
}

/** As the fixture writes them. */
function grouped(plan: GgufPlan, dtype: GgufDtype): Record<string, string> {
  const types = new Map<string, TensorType[]>();
  for (const { name, type } of storedTensors(bert(), plan, dtype).tensors) {
    const kind = name.replace(/^blk\.\d+\.|\.weight$/g, "");
    types.set(kind, [...(types.get(kind) ?? []), type]);
  }
  return Object.fromEntries([...types].map(([kind, layers]) => [kind, runsOf(layers)]));
}

function runsOf(layers: readonly TensorType[]): string {
  const runs: { readonly type: TensorType; count: number }[] = [];
  for (const type of layers) {
    const last = runs.at(-1);
    if (last?.type === type) last.count += 1;
    else runs.push({ type, count: 1 });
  }
  return runs.map(({ type, count }) => `${type} ${count}`).join(", ");
}

test.each(Object.keys(mixtures))(
  "%s: each tensor has the type that llama.cpp's quantiser gives it",
  (name) => {
    const plan = planOf(name);
    const found = Object.keys(mixtures[name] ?? {}).map((dtype) => [
      dtype,
      grouped(plan, dtype as GgufDtype),
    ]);
    expect(found).toHaveLength(5);
    expect(Object.fromEntries(found)).toEqual(mixtures[name]);
  },
);
