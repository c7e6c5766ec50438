import { activatedProblem, isRead, type Problem } from "@crossrank/backend-kit";
import type { Head, OutputKind, OutputRequest } from "@crossrank/core";
import { type OutputTrace, plainOutputs } from "./activated-outputs.js";
import type { GraphPlan, GraphTensor, PlannedOutput } from "./graph-plan.js";

const floatTypes: readonly string[] = ["float32", "float16", "float64"];

/** Rank-2 outputs that are sentence vectors, not class logits, although nothing but their name says so. */
const vectorNames: readonly string[] = ["sentence_embedding", "pooler_output"];

/**
 * Kinds that a graph may be asked for. `sentence_embedding` is the end of sentence-transformers' whole chain, so it is
 * the pooled vector only where no modules follow the pooling.
 */
export function kindsToOffer(kinds: readonly OutputKind[], head: Head): readonly OutputKind[] {
  const endsWithPooling = head.kind === "cosine" && (head.modules ?? []).length === 0;
  return kinds.filter((kind) => kind !== "pooled" || endsWithPooling);
}

/** The first of `kinds` that the graph can give, and how; undefined when it gives none. */
export function planOutput(
  outputs: readonly GraphTensor[],
  { kinds, tokens = [] }: OutputRequest,
  head: Head,
): PlannedOutput | Problem | undefined {
  const floats = outputs.filter((output) => floatTypes.includes(output.type));
  for (const kind of kinds) {
    const found = findOutput(floats, kind);
    if (found === undefined) {
      continue;
    }
    const { name, shape } = found;
    switch (kind) {
      case "token-logits": {
        const vocabulary = shape?.at(-1);
        if (typeof vocabulary === "number" && tokens.some((token) => token >= vocabulary)) {
          return {
            problem: `output "${name}" has ${vocabulary} logits a token, and the answer tokens are ${tokens.join(", ")}`,
            fix: "Graph and tokenizer are of different models: check the file and the profile's head.",
          };
        }
        // With one position alone it need not be that of the last token: many graphs take the last column.
        const lastOnly = shape?.length === 2 || (shape?.length === 3 && shape[1] === 1);
        return {
          name,
          kind,
          tokens,
          vocabulary: typeof vocabulary === "number" ? vocabulary : undefined,
          unpadded: lastOnly,
        };
      }
      case "marked-states":
        return { name, kind, tokens, unpadded: false };
      case "pooled":
        return { name, kind, tokens: [], unpadded: "pooling" in head && head.pooling === "last-token" };
      default:
        return { name, kind, tokens: [], unpadded: false };
    }
  }
  return undefined;
}

/**
 * As `planOutput`, of what a graph gives as it is: an output that went through a sigmoid or the like is no logit, and the
 * output that holds its logits is taken in its place.
 *
 * @param trace how the outputs are made; undefined where that is not known.
 */
export function planPlainOutput(
  outputs: readonly GraphTensor[],
  request: OutputRequest,
  facts: {
    readonly head: Head;
    readonly trace: OutputTrace | undefined;
    readonly statesIdentity: boolean;
  },
): PlannedOutput | Problem | undefined {
  const { head, trace, statesIdentity } = facts;
  let refused: Problem | undefined;
  for (const kind of request.kinds) {
    const one = { ...request, kinds: [kind] };
    const planned = planOutput(outputs, one, head);
    if (trace === undefined || (kind !== "class-logits" && kind !== "token-logits")) {
      if (planned !== undefined) return planned;
      continue;
    }
    if (planned !== undefined && "problem" in planned) return planned;
    // Of several that might be meant, those that were made of logits.
    const candidates = planned === undefined ? outputs.map(({ name }) => name) : [planned.name];
    for (const name of candidates) {
      const activated = trace.activationOf(name);
      if (planned !== undefined && (activated === undefined || isRead(activated, head, statesIdentity))) {
        return planned;
      }
      const [plain] = activated === undefined ? [] : plainOutputs(activated, outputs, trace);
      // Its name does not matter: where it comes from says what it is.
      const other = plain === undefined ? undefined : planOutput([{ ...plain, name: "logits" }], one, head);
      if (plain !== undefined && other !== undefined) {
        return "problem" in other ? other : { ...other, name: plain.name };
      }
      if (planned !== undefined && activated !== undefined)
        refused ??= activatedProblem(name, activated, head, "onnx");
    }
  }
  return refused;
}

/** How many class logits the graph declares; undefined where it has none, or does not say how many. */
export function classesAmong(outputs: readonly GraphTensor[]): number | undefined {
  const found = findOutput(
    outputs.filter((output) => floatTypes.includes(output.type)),
    "class-logits",
  );
  if (found?.shape === undefined) return undefined;
  const classes = found.shape.length === 1 ? 1 : found.shape[1];
  return typeof classes === "number" ? classes : undefined;
}

/** What an output that wants unpadded rows and a fixed shape do to each other. */
export function shapeProblem({ output, rows, columns }: GraphPlan): Problem | undefined {
  if (!output.unpadded || (columns === undefined && (rows ?? 1) === 1)) {
    return undefined;
  }
  const fixed = columns === undefined ? `${rows} rows` : `${columns} tokens`;
  return {
    problem:
      `output "${output.name}" has one position of each sequence, probably the last column, and the graph is fixed to ` +
      `${fixed}, so that it would be padding's`,
    fix: "Export the graph with free dimensions, or with an output for every token.",
  };
}

/** A vector that the file says is pooled otherwise than the profile does. */
export function poolingProblem(
  output: PlannedOutput,
  head: Head,
  pooling: string | undefined,
): Problem | undefined {
  const wanted = "pooling" in head ? head.pooling : undefined;
  if (output.kind !== "pooled" || pooling === undefined || pooling === wanted) {
    return undefined;
  }
  return {
    problem: `output "${output.name}" is pooled as "${pooling}", and the profile's head says "${wanted}"`,
    fix: "Convert the model again, or correct the profile's head.",
  };
}

function findOutput(outputs: readonly GraphTensor[], kind: OutputKind): GraphTensor | undefined {
  switch (kind) {
    case "class-logits":
      return (
        named(outputs, ["logits"], [1, 2]) ??
        sole(outputs.filter((output) => output.shape?.length === 2 && !vectorNames.includes(output.name)))
      );
    case "hidden-states":
    case "marked-states":
      return (
        named(outputs, ["last_hidden_state", "token_embeddings"], [3]) ??
        sole(outputs.filter((output) => output.shape?.length === 3 && output.name !== "logits"))
      );
    case "pooled":
      return named(outputs, ["sentence_embedding"], [2]);
    case "token-logits":
      // By its name only: hidden states have the same form, and a number of theirs is no logit.
      return named(outputs, ["logits"], [2, 3]);
  }
}

/** By name, unless the graph declares a rank that the kind does not have. */
function named(
  outputs: readonly GraphTensor[],
  names: readonly string[],
  ranks: readonly number[],
): GraphTensor | undefined {
  return names
    .map((name) => outputs.find((output) => output.name === name))
    .find(
      (output) => output !== undefined && (output.shape === undefined || ranks.includes(output.shape.length)),
    );
}

function sole(outputs: readonly GraphTensor[]): GraphTensor | undefined {
  return outputs.length === 1 ? outputs[0] : undefined;
}
