import type { Problem } from "@crossrank/backend-kit";
import type { BatchPreference } from "@crossrank/core";
import {
  type GraphPlan,
  type GraphTensor,
  type PlannedInput,
  type Sharing,
  shortened,
} from "./graph-plan.js";

/** Keys and values, in bytes: of all beginnings that a worker keeps, and again of the copies that one run is fed. */
export const keptBytes = 256e6;
/** How many beginnings a worker keeps: batches of two calls may take turns on it. */
export const mostKept = 2;
/** A shorter beginning is not worth a run of its own. */
export const leastShared = 8;

/**
 * What core is told of batches whose rows share: padding costs nothing, because the session cuts them anew, and the
 * longer a batch, the later a call that stops is heard.
 */
export const sharingPreference: BatchPreference = { rows: 8, tokens: 1 << 16, padding: 1 };

const fix = "Leave the option `sharePrefix` out: every sequence is then computed whole.";

/** As {@link planSharing} says it, with what to do. */
export function sharingProblem(problem: string): Problem {
  return { problem: `its rows cannot share their beginning: ${problem}`, fix };
}

/**
 * Whether and how rows of the graph can share what they begin with, by what they declare.
 *
 * @param facts.operators of the graph, with their domains; undefined where they are not known.
 * @param facts.together how batches are cut without sharing.
 */
export function planSharing(
  plan: GraphPlan,
  graph: { readonly inputs: readonly GraphTensor[]; readonly outputs: readonly GraphTensor[] },
  facts: {
    readonly operators: ReadonlySet<string> | undefined;
    /** Whether rotary frequencies depend on how long the whole sequence is. */
    readonly rotatesByLength: boolean;
    readonly together: BatchPreference;
  },
): Sharing | Problem {
  const { inputs, output, rows, columns } = plan;
  const pasts = inputs.filter((input) => input.source === "past");
  if (output.kind !== "token-logits") return sharingProblem("it is no language model that answers");
  if (pasts.length === 0) return sharingProblem("the graph takes no past_key_values");
  if (rows !== undefined || columns !== undefined) return sharingProblem("the graph has a fixed shape");
  const other = inputs.find(({ source }) => source === "cacheBranch" || source === "segmentIds");
  if (other !== undefined) return sharingProblem(`the graph takes "${other.name}"`);
  if (facts.rotatesByLength) {
    return sharingProblem("its rotary frequencies depend on how long the whole sequence is (config.json)");
  }
  const presents: [input: string, output: string][] = [];
  for (const past of pasts) {
    const declared = graph.inputs.find(({ name }) => name === past.name);
    if (typeof declared?.shape?.[2] === "number") {
      return sharingProblem(`input "${shortened(past.name)}" takes no earlier tokens`);
    }
    const present = past.name.replace("past_key_values.", "present.");
    if (!graph.outputs.some((one) => one.name === present && fits(one, past))) {
      return sharingProblem(`no output "${shortened(present)}" holds what the input of that place takes`);
    }
    presents.push([past.name, present]);
  }
  const tokenBytes = pasts.reduce((sum, past) => sum + bytesOfToken(past), 0);
  const mostTokens = Math.floor(keptBytes / mostKept / tokenBytes);
  if (mostTokens < leastShared) return sharingProblem(`one token's keys and values take ${tokenBytes} bytes`);
  // ONNX Runtime 1.30 on the processor: several rows of several tokens behind a past are an error of that operator.
  const oneByOne = facts.operators?.has("com.microsoft.GroupQueryAttention") ?? true;
  const mostRests = oneByOne ? 1 : facts.together.rows;
  return {
    presents: Object.fromEntries(presents),
    tokenBytes,
    mostTokens,
    mostRests,
    together: facts.together,
  };
}

type Past = Extract<PlannedInput, { source: "past" }>;

function bytesOfToken({ heads, size, type }: Past): number {
  return heads * size * (type === "float32" ? 4 : 2);
}

function fits({ type, shape }: GraphTensor, past: Past): boolean {
  if (type !== past.type) return false;
  const [, heads = past.heads, length, size = past.size] = shape ?? [];
  const isFree = (dimension: number | string, wanted: number): boolean =>
    typeof dimension !== "number" || dimension === wanted;
  return (
    (shape === undefined || shape.length === 4) &&
    typeof length !== "number" &&
    isFree(heads, past.heads) &&
    isFree(size, past.size)
  );
}
