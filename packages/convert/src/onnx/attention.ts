import { domains, Graph } from "@crossrank/formats/onnx";
import type { Attention, AttentionPositions, Norm } from "../source/description.js";
import { bucketScores } from "./buckets.js";
import { relativeScores } from "./disentangled.js";
import type { Emitter } from "./emitter.js";
import type { Sequence } from "./sequence.js";

interface Place {
  readonly emitter: Emitter;
  readonly sequence: Sequence;
  readonly attention: Attention;
  /** Normed input, (batch, length, hidden). */
  readonly x: string;
  /** Only the first token's result is read: no other token asks. */
  readonly keepsFirst: boolean;
  /** Stands before the names of nodes and weights. */
  readonly name: string;
}

/**
 * All heads' softmax(q kᵀ · scale + positions + mask) v, before the output projection: (batch, length, heads · headSize),
 * or of the first token alone (batch, 1, heads · headSize).
 */
export function attend(place: Place): string {
  const { emitter, attention } = place;
  if (!emitter.microsoft || !evenHeads(attention) || attention.cap !== undefined) return explicit(place);
  return attention.positions.kind === "disentangled" ? explicit(place) : fused(place);
}

function evenHeads({ heads, keyValueHeads, queryNorm, keyNorm }: Attention): boolean {
  return heads === keyValueHeads && queryNorm === undefined && keyNorm === undefined;
}

function headAttributes({
  heads,
  headSize,
  scale,
}: Attention): Record<string, { integer: number } | { float: number }> {
  const usual = Math.abs(scale * Math.sqrt(headSize) - 1) < 1e-6;
  return { num_heads: { integer: heads }, ...(usual ? {} : { scale: { float: scale } }) };
}

/** MultiHeadAttention: rotary positions before it, and a mask of places beside that of padding. */
function fused({ emitter, sequence, attention, x, keepsFirst, name }: Place): string {
  const { graph } = emitter;
  const { query, key, value, positions, heads } = attention;
  const rotary = positions.kind === "rotary" || positions.kind === "scaled-rotary";
  const linears = [query, key, value];
  const [forQuery, forKey, forValue] = [`${name}.q`, `${name}.k`, `${name}.v`];
  let [q, k, v]: readonly [string, string, string] = keepsFirst
    ? [
        ...emitter.linearsApart(firstOf(emitter, sequence, x), [query], [forQuery], rotary),
        ...emitter.linearsApart(x, [key, value], [forKey, forValue], rotary),
      ]
    : emitter.linearsApart(x, linears, [forQuery, forKey, forValue], rotary);
  if (rotary) {
    const { cos, sin } = angles(emitter, sequence, positions, attention.headSize);
    const rotate = (vectors: string): string =>
      graph.node("RotaryEmbedding", [vectors, graph.integers([0]), cos, sin], `${vectors}.rotated`, {
        domain: domains.microsoft,
        attributes: { num_heads: { integer: heads } },
      });
    k = rotate(k);
    // The first place's angle is 0.
    if (!keepsFirst) q = rotate(q);
  }
  // The operator adds it as it parts the heads.
  const bias = rotary ? undefined : emitter.bias(linears, `${name}.qkv.bias`);
  const placeMask = sequence.placeMask(attention.causal, attention.reach, keepsFirst);
  const added = withBuckets(emitter, sequence, attention, placeMask, keepsFirst);
  const output = `${name}.mixed`;
  const whole = [q, k, v, ...(bias === undefined ? [] : [bias])];
  const masked = [q, k, v, bias ?? "", sequence.rawMask, ...(added === undefined ? [] : [added])];
  // One query gains nothing by it.
  if (added !== undefined || keepsFirst) return multiHead(graph, attention, masked, output);
  return withoutPadding(emitter, sequence, attention, { whole, masked, output });
}

function multiHead(graph: Graph, attention: Attention, inputs: readonly string[], output: string): string {
  return graph.node("MultiHeadAttention", inputs, output, {
    domain: domains.microsoft,
    attributes: headAttributes(attention),
  });
}

/**
 * Attention where only padding hides anything. Without a mask the operator need not write its scores out (in ONNX
 * Runtime 1.30 on processors), so a batch without padding goes its own way: up to 1.06 times as fast a model at 480
 * tokens (lab/int8).
 */
function withoutPadding(
  emitter: Emitter,
  sequence: Sequence,
  attention: Attention,
  { whole, masked, output }: { whole: readonly string[]; masked: readonly string[]; output: string },
): string {
  const branch = (inputs: readonly string[], name: string): { graph: Graph } => {
    const graph = new Graph();
    multiHead(graph, attention, inputs, name);
    graph.outputs.push({
      name,
      type: "float32",
      shape: ["batch", "sequence", attention.heads * attention.headSize],
    });
    return { graph };
  };
  const attributes = {
    then_branch: branch(whole, `${output}.whole`),
    else_branch: branch(masked, `${output}.masked`),
  };
  return emitter.graph.node("If", [sequence.unpadded], output, { attributes });
}

/** What is added to all scores: a mask of places, the bias of their distances, or both; undefined for neither. */
function withBuckets(
  emitter: Emitter,
  sequence: Sequence,
  { positions }: Attention,
  mask: string | undefined,
  keepsFirst: boolean,
): string | undefined {
  if (positions.kind !== "bucketed") return mask;
  const bias = bucketScores(emitter, sequence, positions, keepsFirst);
  if (mask === undefined) return bias;
  const name = `${bias}.${mask}`;
  return sequence.shared(name, () => emitter.graph.node("Add", [bias, mask], name));
}

/** Every step an operator of its own. */
function explicit({ emitter, sequence, attention, x, keepsFirst, name }: Place): string {
  const { graph } = emitter;
  const { heads, keyValueHeads, headSize, positions, scale } = attention;
  const split = (what: "query" | "key" | "value", count: number, norm?: Norm): string => {
    const input = keepsFirst && what === "query" ? firstOf(emitter, sequence, x) : x;
    const flat = emitter.linear(input, attention[what], `${name}.${what}`);
    const apart = emitter.reshape(flat, [0, 0, count, headSize], `${name}.${what}.heads`);
    const normed = norm === undefined ? apart : emitter.norm(apart, norm, `${name}.${what}.norm`);
    return emitter.transpose(normed, [0, 2, 1, 3], `${name}.${what}.apart`);
  };
  let query = split("query", heads, attention.queryNorm);
  let key = split("key", keyValueHeads, attention.keyNorm);
  let value = split("value", keyValueHeads);
  if (positions.kind === "rotary" || positions.kind === "scaled-rotary") {
    const { cos, sin } = angles(emitter, sequence, positions, headSize);
    // The first place's angle is 0.
    if (!keepsFirst) query = rotated(emitter, query, { cos, sin, headSize });
    key = rotated(emitter, key, { cos, sin, headSize });
  }
  key = repeated(emitter, key, attention);
  value = repeated(emitter, value, attention);
  query = graph.node("Mul", [query, emitter.number(scale)], `${name}.query.scaled`);
  const turned = emitter.transpose(key, [0, 1, 3, 2], `${name}.key.turned`);
  let scores = graph.node("MatMul", [query, turned], `${name}.scores`);
  if (positions.kind === "disentangled") {
    const relative = relativeScores({
      emitter,
      sequence,
      attention,
      positions,
      query,
      key,
      keepsFirst,
      name,
    });
    if (relative !== undefined) scores = graph.node("Add", [scores, relative], `${name}.scores.placed`);
  }
  if (attention.cap !== undefined) {
    const shares = graph.node("Mul", [scores, emitter.number(1 / attention.cap)], `${name}.scores.shares`);
    const bent = graph.node("Tanh", [shares], `${name}.scores.bent`);
    scores = graph.node("Mul", [bent, emitter.number(attention.cap)], `${name}.scores.capped`);
  }
  const ofPlaces = sequence.placeMask(attention.causal, attention.reach, keepsFirst);
  const placeMask = withBuckets(emitter, sequence, attention, ofPlaces, keepsFirst);
  // The smaller masks first, once for all layers of a kind.
  const mask =
    placeMask === undefined
      ? sequence.paddingMask
      : sequence.shared(`mask.${placeMask}`, () =>
          graph.node("Add", [sequence.paddingMask, placeMask], `mask.${placeMask}`),
        );
  scores = graph.node("Add", [scores, mask], `${name}.scores.masked`);
  const shares = graph.node("Softmax", [scores], `${name}.shares`, { attributes: { axis: { integer: -1 } } });
  const mixed = emitter.transpose(
    graph.node("MatMul", [shares, value], `${name}.mixed.heads`),
    [0, 2, 1, 3],
    `${name}.mixed.apart`,
  );
  return emitter.reshape(mixed, [0, 0, heads * headSize], `${name}.mixed`);
}

/** (batch, length, hidden) → (batch, 1, hidden). */
export function firstOf({ graph }: Emitter, sequence: Sequence, x: string): string {
  return sequence.shared(`first.${x}`, () =>
    graph.node("Gather", [x, graph.integers([0])], `${x}.first`, { attributes: { axis: { integer: 1 } } }),
  );
}

/** (batch, key heads, length, size) → (batch, heads, length, size): each key head for its group of query heads. */
function repeated(emitter: Emitter, x: string, { heads, keyValueHeads, headSize }: Attention): string {
  if (heads === keyValueHeads) return x;
  const { graph } = emitter;
  const apart = graph.node("Unsqueeze", [x, graph.integers([2])], `${x}.group`);
  const shape = graph.integers([1, 1, heads / keyValueHeads, 1, 1]);
  const all = graph.node("Expand", [apart, shape], `${x}.groups`);
  return emitter.reshape(all, [0, heads, -1, headSize], `${x}.repeated`);
}

/**
 * Cosine and sine of place / theta^(2i/size), each (length, size / 2); computed in the graph, so that no table limits
 * the length. The frequencies are rounded to float32, as the models' own code has them.
 */
function angles(
  emitter: Emitter,
  sequence: Sequence,
  positions: Extract<AttentionPositions, { kind: "rotary" | "scaled-rotary" }>,
  headSize: number,
): { readonly cos: string; readonly sin: string } {
  const { graph } = emitter;
  // Layers of one model may have several, such as Gemma 3's with and without a window.
  const name =
    positions.kind === "rotary"
      ? `rotary.${positions.theta}`
      : sequence.alias("rotary.scaled", positions.frequencies.join());
  const angle = sequence.shared(name, () => {
    const frequencies =
      positions.kind === "scaled-rotary"
        ? positions.frequencies
        : Array.from({ length: headSize / 2 }, (_, index) => 1 / positions.theta ** ((2 * index) / headSize));
    const row = emitter.floats(`${name}.frequencies`, frequencies, [1, headSize / 2]);
    const places = emitter.cast(sequence.positions, "float32", `${name}.places`);
    const column = graph.node("Unsqueeze", [places, graph.integers([1])], `${name}.column`);
    return graph.node("Mul", [column, row], `${name}.angles`);
  });
  return {
    cos: sequence.shared(`${name}.cos`, () => graph.node("Cos", [angle], `${name}.cos`)),
    sin: sequence.shared(`${name}.sin`, () => graph.node("Sin", [angle], `${name}.sin`)),
  };
}

/** (x1, x2) → (x1 cos − x2 sin, x2 cos + x1 sin). */
function rotated(
  { graph }: Emitter,
  x: string,
  { cos, sin, headSize }: { cos: string; sin: string; headSize: number },
): string {
  const [first, second] = graph.nodeOfMany(
    "Split",
    [x, graph.integers([headSize / 2, headSize / 2])],
    [`${x}.1`, `${x}.2`],
    { attributes: { axis: { integer: -1 } } },
  );
  const product = (part: string, by: string, name: string): string =>
    graph.node("Mul", [part, by], `${x}.${name}`);
  const left = graph.node("Sub", [product(first, cos, "1c"), product(second, sin, "2s")], `${x}.left`);
  const right = graph.node("Add", [product(second, cos, "2c"), product(first, sin, "1s")], `${x}.right`);
  return graph.node("Concat", [left, right], `${x}.rotated`, { attributes: { axis: { integer: -1 } } });
}
