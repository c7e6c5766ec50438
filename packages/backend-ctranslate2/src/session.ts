import { type RuntimeClient, RuntimeSession, type SessionFacts } from "@crossrank/backend-kit";
import type { Batch, RawOutput } from "@crossrank/core";
import { type Classifier, classify } from "./classifier.js";
import type { EncoderFacts } from "./encoder.js";
import type { Calls, RunArgument } from "./protocol.js";

/** A model in CTranslate2's memory. */
export class CTranslate2Session extends RuntimeSession {
  readonly #client: RuntimeClient<Calls>;
  readonly #encoder: EncoderFacts;
  readonly #classifier: Classifier | undefined;

  constructor(
    facts: SessionFacts & {
      readonly client: RuntimeClient<Calls>;
      readonly encoder: EncoderFacts;
      /** Undefined: hidden states are given. */
      readonly classifier: Classifier | undefined;
    },
  ) {
    super(facts);
    this.#client = facts.client;
    this.#encoder = facts.encoder;
    this.#classifier = facts.classifier;
  }

  protected override async compute(batch: Batch, signal: AbortSignal | undefined): Promise<RawOutput> {
    const argument = this.#runArgument(batch);
    const { rows, columns } = batch;
    const { data: numbers } = await this.#client.call("run", argument, { signal }).catch((cause: unknown) => {
      // The batch is computed to its end, but nobody waits for it.
      if (signal?.aborted === true) throw signal.reason;
      throw this.runFailure(cause);
    });
    const { hidden } = this.#encoder;
    const vectors = this.#classifier === undefined ? rows * columns : rows;
    if (numbers.length !== vectors * hidden) {
      throw this.runError(`it gave ${numbers.length} numbers for ${vectors} vectors of ${hidden}`);
    }
    if (this.#classifier === undefined) {
      return { kind: "hidden-states", data: numbers, shape: [rows, columns, hidden] };
    }
    const data = classify(this.#classifier, numbers, rows);
    return { kind: "class-logits", data, shape: [rows, this.#classifier.classes] };
  }

  protected override close(): Promise<void> {
    return this.#client.close();
  }

  /** What CTranslate2 does not look at: an id or a segment beyond a table is a silent number, or the process's end. */
  #runArgument(batch: Batch): RunArgument {
    const { rows, columns, inputIds, attentionMask, segmentIds, lengths } = batch;
    const { vocabulary, longest, second } = this.#encoder;
    for (const array of [inputIds, attentionMask, segmentIds]) this.requireFilled(array, batch);
    if (lengths.length !== rows) throw this.runError(`${lengths.length} lengths for ${rows} rows`);
    if (columns > longest) {
      throw this.runError(`sequences of ${columns} tokens, and the file has positions for ${longest}`);
    }
    if (rows < 1 || columns < 1) throw this.runError(`a batch of ${rows} rows of ${columns} tokens`);
    const ids = new Int32Array(rows * columns);
    // A row of padding alone is computed as one token, and dropped by core: CTranslate2 divides by a length.
    const taken = lengths.map((length) => Math.max(length, 1));
    const features = second === undefined ? undefined : new Int32Array(rows * columns);
    for (let row = 0; row < rows; row += 1) {
      const length = lengths[row] as number;
      if (length < 0 || length > columns)
        throw this.runError(`a row of ${length} tokens in a batch of ${columns}`);
      for (let column = 0; column < columns; column += 1) {
        const place = row * columns + column;
        if (attentionMask[place] !== (column < length ? 1 : 0)) {
          throw this.runError(
            "an attention mask that is not the row's first tokens, which CTranslate2 has no place for",
          );
        }
        if (second?.by === "positions" && features !== undefined) features[place] = column;
        // What padding holds has no part in any number.
        if (column >= length) continue;
        const id = inputIds[place] as number;
        if (id < 0 || id >= vocabulary) {
          throw this.runError(`inputIds has ${id}, and the file's table has rows for 0 to ${vocabulary - 1}`);
        }
        ids[place] = id;
        if (second?.by !== "segments" || features === undefined || !this.capabilities.segmentIds) continue;
        const segment = segmentIds[place] as number;
        if (segment < 0 || segment >= second.rows) {
          throw this.runError(
            `segmentIds has ${segment}, and the file's table has rows for 0 to ${second.rows - 1}`,
          );
        }
        features[place] = segment;
      }
    }
    return { rows, columns, ids, lengths: taken, features, reading: this.#reading };
  }

  get #reading(): RunArgument["reading"] {
    if (this.#classifier === undefined) return "tokens";
    return this.#classifier.steps.length === 1 && this.#encoder.pooler !== undefined ? "pooled" : "first";
  }
}
