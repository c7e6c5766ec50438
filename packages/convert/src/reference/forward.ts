import type { Embeddings, FeedForward, HeadStep, Layer, ModelDescription } from "../source/description.js";
import { attend, relativeRows, type Span } from "./attention.js";
import { add, normalise, project, readAll, scaleBy, type Vectors, vectors } from "./matrix.js";
import { Pace } from "./pace.js";

/** Token ids of one sequence, without padding, and the segment of each. */
export interface InputSequence {
  readonly ids: Int32Array;
  readonly segments: Int32Array;
  /** Tokens at the end that no other token attends to. Default 0. */
  readonly unattended?: number | undefined;
}

/** Last hidden states of all sequences, stacked, and where each is. */
export interface HiddenStates {
  readonly states: Vectors;
  readonly spans: readonly Span[];
  /** The tokens that they are of. */
  readonly sequences: readonly InputSequence[];
}

/**
 * The last hidden states of every token, computed as the description says: weights in float32, everything else in
 * float64 (rotary angles and DeBERTa's buckets in float32, where the models' own code rounds them so). Layer by layer
 * over all sequences, so that each weight is read once and a few megabytes of it are in memory at a time.
 *
 * @throws {RangeError} for a token, a segment or a length that the model does not have.
 * @throws {ModelProfileError} when a weight cannot be read, or a number of it is not finite.
 * @throws the signal's reason, once aborted.
 */
export async function forward(
  description: ModelDescription,
  sequences: readonly InputSequence[],
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<HiddenStates> {
  const pace = new Pace(options.signal);
  await pace.rest();
  let start = 0;
  const spans = sequences.map(({ ids: { length }, unattended = 0 }): Span => {
    if (length > description.maxPositions)
      throw new RangeError(`a sequence of ${length} tokens, and the model takes ${description.maxPositions}`);
    start += length;
    return { start: start - length, length, attended: length - unattended };
  });
  const states = await embed(description.embeddings, sequences, spans, pace);
  const disentangled = description.layers
    .map(({ attention }) => attention.positions)
    .find((positions) => positions.kind === "disentangled");
  const relative = disentangled === undefined ? undefined : await relativeRows(disentangled);
  for (const layer of description.layers) await applyLayer(layer, states, spans, relative, pace);
  if (description.finalNorm !== undefined) await normalise(states, description.finalNorm);
  return { states, spans, sequences };
}

async function embed(
  { word, position, segment, norm, projection, scale = 1, zeroPadding = false }: Embeddings,
  sequences: readonly InputSequence[],
  spans: readonly Span[],
  pace: Pace,
): Promise<Vectors> {
  const [vocabulary = 0, width = 0] = word.shape;
  const total = spans.reduce((sum, { length }) => sum + length, 0);
  const states = vectors(total, width);
  // Each word's row is read once, in the order of the file.
  const placesOf = new Map<number, number[]>();
  for (const [index, { ids }] of sequences.entries()) {
    for (const [place, id] of ids.entries()) {
      if (!(id >= 0 && id < vocabulary))
        throw new RangeError(`token ${id}, and the model has a vocabulary of ${vocabulary}`);
      const places = placesOf.get(id) ?? [];
      places.push((spans[index] as Span).start + place);
      placesOf.set(id, places);
    }
  }
  for (const [id, places] of [...placesOf].sort(([a], [b]) => a - b)) {
    const row = await word.rows(id, id + 1);
    for (const place of places) states.data.set(row, place * width);
    await pace.rest();
  }
  const longest = Math.max(0, ...spans.map(({ length }) => length));
  const positions = await position?.rows(0, longest);
  const segments = segment === undefined ? undefined : await readAll(segment);
  const kinds = segment?.shape[0] ?? 0;
  for (const [index, { segments: ofTokens }] of sequences.entries()) {
    for (const [place, given] of ofTokens.entries()) {
      const kind = kinds === 1 ? 0 : given;
      if (segments !== undefined && !(kind >= 0 && kind < kinds))
        throw new RangeError(`segment ${kind}, and the model has ${kinds}`);
      const at = ((spans[index] as Span).start + place) * width;
      for (let i = 0; i < width; i += 1) {
        states.data[at + i] =
          ((states.data[at + i] as number) +
            (segments?.[kind * width + i] ?? 0) +
            (positions?.[place * width + i] ?? 0)) *
          scale;
      }
    }
  }
  if (norm !== undefined) await normalise(states, norm);
  for (const { start, length, attended = length } of zeroPadding ? spans : [])
    states.data.fill(0, (start + attended) * states.width, (start + length) * states.width);
  return projection === undefined ? states : project(states, projection, pace);
}

/** In place. */
async function applyLayer(
  layer: Layer,
  states: Vectors,
  spans: readonly Span[],
  relative: Vectors | undefined,
  pace: Pace,
): Promise<void> {
  const { attention, attentionNorm, attentionAfter, feedForward, feedForwardNorm, feedForwardAfter } = layer;
  if (layer.placement === "post") {
    add(states, await attend(states, spans, attention, relative, pace));
    if (attentionNorm !== undefined) await normalise(states, attentionNorm);
    add(states, await feed(states, feedForward, pace));
    await normalise(states, feedForwardNorm);
    return;
  }
  const first = copy(states);
  if (attentionNorm !== undefined) await normalise(first, attentionNorm);
  const attended = await attend(first, spans, attention, relative, pace);
  if (attentionAfter !== undefined) await normalise(attended, attentionAfter);
  add(states, attended);
  const second = copy(states);
  await normalise(second, feedForwardNorm);
  const fed = await feed(second, feedForward, pace);
  if (feedForwardAfter !== undefined) await normalise(fed, feedForwardAfter);
  add(states, fed);
}

async function feed(x: Vectors, { gate, up, down, activation }: FeedForward, pace: Pace): Promise<Vectors> {
  const inner = await project(x, gate ?? up, pace, activation);
  if (gate !== undefined) scaleBy(inner, await project(x, up, pace));
  return project(inner, down, pace);
}

function copy({ count, width, data }: Vectors): Vectors {
  return { count, width, data: data.slice() };
}

/**
 * Class logits of the sequences that have tokens, in order; (sequences, classes).
 * @throws as {@link forward}.
 */
export async function classify(
  head: Extract<ModelDescription["head"], { kind: "classifier" }>,
  { states, spans, sequences }: HiddenStates,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Vectors> {
  const pace = new Pace(options.signal);
  const { width } = states;
  const pooled = vectors(spans.length, width);
  for (const [index, { start, length }] of spans.entries()) {
    const tokens = head.pooling === "mean" ? length : 1;
    const first =
      head.pooling === "last" ? start + lastPlace(sequences[index] as InputSequence, head.passedOver) : start;
    for (let token = first; token < first + tokens; token += 1) {
      for (let i = 0; i < width; i += 1) {
        const at = index * width + i;
        pooled.data[at] = (pooled.data[at] as number) + (states.data[token * width + i] as number) / tokens;
      }
    }
  }
  let current = pooled;
  for (const step of head.steps) current = await applyStep(step, current, pace);
  return current;
}

/** The first place where no token is another than the one that is passed over. */
function lastPlace({ ids }: InputSequence, passedOver: number | undefined): number {
  return Math.max(
    0,
    ids.findLastIndex((id) => id !== passedOver),
  );
}

async function applyStep(step: HeadStep, x: Vectors, pace: Pace): Promise<Vectors> {
  if (step.kind === "linear") return project(x, step.linear, pace, step.activation);
  await normalise(x, step.norm);
  return x;
}

/**
 * Logits of some tokens of the vocabulary after the last token of each sequence; (sequences, tokens).
 * @throws {RangeError} for a token that the vocabulary does not have.
 * @throws as {@link forward}.
 */
export async function answer(
  { projection, cap }: Extract<ModelDescription["head"], { kind: "vocabulary" }>,
  tokens: readonly number[],
  { states, spans }: HiddenStates,
): Promise<Vectors> {
  const { width } = states;
  const logits = vectors(spans.length, tokens.length);
  for (const [column, token] of tokens.entries()) {
    const row = await projection.rows(token, token + 1);
    for (const [index, { start, length }] of spans.entries()) {
      const last = (start + length - 1) * width;
      let sum = 0;
      for (let i = 0; i < width; i += 1) sum += (states.data[last + i] as number) * (row[i] as number);
      logits.data[index * tokens.length + column] = cap === undefined ? sum : cap * Math.tanh(sum / cap);
    }
  }
  return logits;
}
