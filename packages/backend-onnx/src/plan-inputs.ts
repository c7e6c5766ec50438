import { batchSizeProblem, type Problem } from "@crossrank/backend-kit";
import {
  describeTensors,
  type GraphPlan,
  type GraphTensor,
  type PlannedInput,
  shortened,
} from "./graph-plan.js";

/** Names as Hugging Face's models and exporters use them. */
const tokenInputs = {
  input_ids: "inputIds",
  attention_mask: "attentionMask",
  token_type_ids: "segmentIds",
  position_ids: "positions",
} as const;

/** As optimum, transformers.js and onnxruntime-genai name the cache of a decoder. */
const pastName = /^past_key_values\.\d+\.(key|value)$/;
const keepNames: readonly string[] = ["logits_to_keep", "num_logits_to_keep"];

const tokenFix =
  "Export a model whose inputs are input_ids, attention_mask and, if need be, token_type_ids and position_ids, as " +
  "int32 or int64 of shape (batch, sequence), with or without the cache of a decoder.";

/** Whether an input takes keys or values of earlier tokens. */
export function isPast(name: string): boolean {
  return pastName.test(name);
}

/**
 * Inputs of the graph → how to feed them.
 *
 * @param headSize numbers of a decoder's key, for a graph that has a name in its place, as onnxruntime-genai's builder
 *   writes it.
 */
export function planInputs(
  inputs: readonly GraphTensor[],
  headSize?: number,
): Pick<GraphPlan, "inputs" | "rows" | "columns"> | Problem {
  const wanted = describeTensors(inputs).join(", ");
  const planned: PlannedInput[] = [];
  for (const input of inputs) {
    const plan = planInput(input, headSize);
    if ("problem" in plan) {
      return { ...plan, problem: `${plan.problem}; the graph wants ${wanted}` };
    }
    planned.push(plan);
  }
  for (const source of ["inputIds", "attentionMask"] as const) {
    if (!planned.some((input) => input.source === source)) {
      const name = source === "inputIds" ? "input_ids" : "attention_mask";
      return {
        problem: `the graph has no input "${name}"; it wants ${wanted || "nothing"}`,
        fix:
          source === "inputIds"
            ? "Export a model that reads token ids."
            : "Without it padding would change scores: export the model with attention_mask.",
      };
    }
  }
  const problem = sizeProblem(inputs);
  if (problem !== undefined) return problem;
  const ofTokens = inputs.filter(({ name }) => Object.hasOwn(tokenInputs, name));
  const ofRows = inputs.filter(({ name }) => Object.hasOwn(tokenInputs, name) || pastName.test(name));
  return { inputs: planned, rows: fixedDimension(ofRows, 0), columns: fixedDimension(ofTokens, 1) };
}

function planInput({ name, type, shape }: GraphTensor, headSize: number | undefined): PlannedInput | Problem {
  if (Object.hasOwn(tokenInputs, name)) {
    if (!isInteger(type)) {
      return { problem: `input "${name}" has type ${type}`, fix: tokenFix };
    }
    if (shape !== undefined && shape.length !== 2) {
      return { problem: `input "${name}" has ${shape.length} dimensions`, fix: tokenFix };
    }
    return { name, source: tokenInputs[name as keyof typeof tokenInputs], type };
  }
  if (pastName.test(name)) {
    return planPast({ name, type, shape }, headSize);
  }
  if (name === "use_cache_branch" && type === "bool") {
    if (shape !== undefined && shape.length > mostBranchDimensions) {
      return { problem: `input "${name}" has ${shape.length} dimensions`, fix: sizeFix };
    }
    return { name, source: "cacheBranch", shape: shape === undefined ? [] : shape.map(() => 1) };
  }
  // One with a dimension holds positions, not a count (transformers, `logits_to_keep` as a tensor).
  if (keepNames.includes(name) && isInteger(type) && shape === undefined) {
    return { name, source: "logitsToKeep", type };
  }
  if (keepNames.includes(name)) {
    return {
      problem: `input "${name}" is no single integer`,
      fix: `Export the model with ${name} as an int64 scalar, or without it.`,
    };
  }
  return { problem: `unknown input "${shortened(name)}"`, fix: tokenFix };
}

function planPast({ name, type, shape }: GraphTensor, headSize: number | undefined): PlannedInput | Problem {
  const [, heads, past, declared] = shape ?? [];
  const size = typeof declared === "number" ? declared : headSize;
  if (shape?.length !== 4 || typeof heads !== "number" || typeof size !== "number") {
    return {
      problem: `input "${name}" does not declare how large it is`,
      fix:
        "It has to be (batch, heads, past length, size) with fixed heads and size: export the model again with " +
        "those as numbers, or without its cache, or put its config.json with head_dim beside it.",
    };
  }
  if (typeof past === "number" && past !== 0) {
    return {
      problem: `input "${name}" has a past of always ${past} tokens`,
      fix: "Export the model with a free past length, or without its cache.",
    };
  }
  if (type !== "float32" && type !== "float16") {
    return {
      problem: `input "${name}" has type ${type}`,
      fix: "Export the model with a cache in float32 or float16, or without its cache.",
    };
  }
  if (![heads, size].every((number) => number >= 1 && number <= mostOfPast)) {
    return { problem: `input "${name}" has ${heads} heads of ${size} numbers`, fix: sizeFix };
  }
  return { name, source: "past", type, heads, size };
}

/** Heads, and numbers of each. */
const mostOfPast = 1 << 16;
const mostBranchDimensions = 8;

const sizeFix = "The file is damaged, or was not exported for reranking: export the model again.";

/** Fixed dimensions that no batch can have, or that contradict each other. */
function sizeProblem(inputs: readonly GraphTensor[]): Problem | undefined {
  const ofTokens = inputs.filter(({ name }) => Object.hasOwn(tokenInputs, name));
  const ofRows = inputs.filter(({ name }) => Object.hasOwn(tokenInputs, name) || pastName.test(name));
  const sizes: (number | undefined)[] = [];
  for (const [what, axis, tensors] of [
    ["rows", 0, ofRows],
    ["columns", 1, ofTokens],
  ] as const) {
    const [size, other] = new Set(
      tensors.map(({ shape }) => shape?.[axis]).filter((dimension) => typeof dimension === "number"),
    );
    if (other !== undefined) {
      return { problem: `its inputs are fixed to ${size} and to ${other} ${what}`, fix: sizeFix };
    }
    sizes.push(size);
  }
  const problem = batchSizeProblem({ rows: sizes[0], columns: sizes[1] });
  return problem === undefined ? undefined : { problem, fix: sizeFix };
}

function isInteger(type: string): type is "int32" | "int64" {
  return type === "int32" || type === "int64";
}

function fixedDimension(inputs: readonly GraphTensor[], axis: number): number | undefined {
  return inputs.map((input) => input.shape?.[axis]).find((dimension) => typeof dimension === "number");
}
