import type { LlamaContextSequence, LlamaEmbeddingContext, LlamaModel, Token } from "node-llama-cpp";
import type { PlannedOutput } from "./run-plan.js";

/** One llama.cpp context: one sequence at a time. */
export interface Lane {
  /** The numbers of one sequence. @throws {Error} when llama.cpp fails. */
  evaluate(ids: readonly number[]): Promise<readonly number[]>;
  /** Forgets what it keeps of earlier sequences, so that a batch gives the same numbers whatever came before it. */
  reset(): Promise<void>;
  dispose(): Promise<void>;
}

export interface LaneOptions {
  readonly model: LlamaModel;
  readonly threads: number;
  readonly longest: number | undefined;
}

export function openLane(output: PlannedOutput, options: LaneOptions): Lane {
  return output.kind === "token-logits"
    ? new LogitLane(output.tokens, options)
    : new VectorLane(output, options);
}

/**
 * Contexts begin at this many tokens and double as longer sequences come: llama.cpp allocates its buffers for the
 * longest at once, and attention's grow with the square.
 */
const leastContext = 512;

function contextSizeFor(length: number, longest: number | undefined): number {
  let size = leastContext;
  while (size < length) size *= 2;
  // node-llama-cpp wants one token of room behind the sequence.
  return Math.max(length, Math.min(size, longest ?? size)) + 1;
}

/** Rank pooling's raw outputs, or a pooled vector: both are what llama.cpp calls the sequence's embedding. */
class VectorLane implements Lane {
  readonly #output: Exclude<PlannedOutput, { kind: "token-logits" }>;
  readonly #options: LaneOptions;
  readonly #ends: SequenceEnds;
  #context: LlamaEmbeddingContext | undefined;
  /** Tokens that the context computes as one. llama.cpp may round its own size up, beyond its batch. */
  #room = 0;

  constructor(output: Exclude<PlannedOutput, { kind: "token-logits" }>, options: LaneOptions) {
    this.#output = output;
    this.#options = options;
    this.#ends = endsOf(options.model);
  }

  async evaluate(ids: readonly number[]): Promise<readonly number[]> {
    requireEnds(ids, this.#ends);
    const context = await this.#contextFor(ids.length);
    const { vector } = await context.getEmbeddingFor(ids as unknown as Token[]);
    return this.#numbers(vector);
  }

  async reset(): Promise<void> {
    // Every sequence begins anew.
  }

  async dispose(): Promise<void> {
    await this.#context?.dispose();
    this.#context = undefined;
  }

  async #contextFor(length: number): Promise<LlamaEmbeddingContext> {
    if (this.#context !== undefined && length <= this.#room) return this.#context;
    await this.dispose();
    const { model, threads, longest } = this.#options;
    const contextSize = contextSizeFor(length, longest);
    // A sequence longer than a batch would be pooled in pieces.
    this.#context = await model.createEmbeddingContext({ contextSize, batchSize: contextSize, threads });
    this.#room = contextSize - 1;
    return this.#context;
  }

  #numbers(vector: readonly number[]): readonly number[] {
    const output = this.#output;
    const [first = Number.NaN] = vector;
    if (output.kind === "pooled") return requireLength(vector, output.size);
    if (output.kind === "ranked-answers") {
      const shares = requireLength(vector, output.columns.length);
      return output.columns.map((column) => Math.log(shares[column] as number));
    }
    if (output.kind === "ranked-classes") {
      const shares = requireLength(vector, Math.max(2, output.classes)).map(Math.log);
      return output.classes === 1 ? [(shares[0] as number) - (shares[1] as number)] : shares;
    }
    if (output.folded === undefined) return requireLength(vector, output.classes);
    requireLength(vector, 1);
    return output.folded === 1 ? [0, first] : [first, 0];
  }
}

/** Logits after the last token. What a sequence shares with the one before is not computed again. */
class LogitLane implements Lane {
  readonly #tokens: readonly number[];
  readonly #options: LaneOptions;
  #sequence: LlamaContextSequence | undefined;
  #room = 0;

  constructor(tokens: readonly number[], options: LaneOptions) {
    this.#tokens = tokens;
    this.#options = options;
  }

  async evaluate(ids: readonly number[]): Promise<readonly number[]> {
    const tokens = ids as readonly Token[];
    const last = tokens.at(-1);
    if (last === undefined) throw new Error("a sequence without tokens");
    const sequence = await this.#sequenceFor(tokens.length);
    // The last token is computed in any case. Without shifts: a shifted cache is not what the model would compute.
    await sequence.adaptStateToTokens(tokens.slice(0, -1) as Token[], false);
    const rest = tokens.slice(sequence.nextTokenIndex, -1);
    const wanted = [...new Set(this.#tokens)] as Token[];
    const results = await sequence.controlledEvaluate([
      ...rest,
      [last, { generateNext: { logits: { filter: { tokens: wanted } } } }],
    ]);
    const logits = results[rest.length]?.next.logits;
    return this.#tokens.map((token) => {
      const logit = logits?.get(token as Token);
      if (logit === undefined) throw new Error(`llama.cpp gave no logit for token ${token}`);
      return logit;
    });
  }

  async reset(): Promise<void> {
    await this.#sequence?.clearHistory();
  }

  async dispose(): Promise<void> {
    await this.#sequence?.context.dispose();
    this.#sequence = undefined;
  }

  async #sequenceFor(length: number): Promise<LlamaContextSequence> {
    if (this.#sequence !== undefined && length <= this.#room) return this.#sequence;
    await this.dispose();
    const { model, threads, longest } = this.#options;
    const contextSize = contextSizeFor(length, longest);
    const context = await model.createContext({
      sequences: 1,
      contextSize,
      // A decoder may be computed in pieces, and its buffers hold a vocabulary of logits for each token of one.
      batchSize: Math.min(contextSize, leastContext),
      threads,
      swaFullCache: true,
    });
    this.#sequence = context.getSequence();
    this.#room = contextSize - 1;
    return this.#sequence;
  }
}

/** Ids that node-llama-cpp puts before or behind a sequence that lacks them. */
interface SequenceEnds {
  readonly first: number | null;
  readonly last: number | null;
}

/** As node-llama-cpp 3.22.1's `src/utils/tokenizerUtils.ts` decides it, from what its public API tells. */
function endsOf({ vocabularyType, tokens }: LlamaModel): SequenceEnds {
  switch (vocabularyType as string) {
    case "rwkv":
      return { first: null, last: null };
    case "wpm":
      return { first: tokens.bos, last: tokens.sep };
    case "ugm":
      return { first: null, last: tokens.eos };
    default:
      return {
        first: tokens.shouldPrependBosToken ? tokens.bos : null,
        last: tokens.shouldAppendEosToken ? tokens.eos : null,
      };
  }
}

function requireEnds(ids: readonly number[], { first, last }: SequenceEnds): void {
  const wrong = (place: string, wanted: number, found: number | undefined): Error =>
    new Error(
      `the file's vocabulary has token ${wanted} at the ${place} of a sequence, and the model's template has ` +
        `${found}; node-llama-cpp would add it, and the score be another: convert the file again`,
    );
  if (first !== null && ids[0] !== first) throw wrong("beginning", first, ids[0]);
  if (last !== null && ids.at(-1) !== last) throw wrong("end", last, ids.at(-1));
}

function requireLength(vector: readonly number[], length: number): readonly number[] {
  if (vector.length !== length) throw new Error(`llama.cpp gave ${vector.length} numbers, not ${length}`);
  return vector;
}
