import type { Batch, ModelFiles, ModelProfile } from "@crossrank/core";
import {
  createPairEncoder,
  createTextTokenizer,
  type EncodedSequence,
  type PairEncoder,
} from "@crossrank/core/encoding";
import { TrainingSetupError } from "../errors.js";
import type { TrainingExample } from "../types.js";

/** Texts as the model reads them when it scores: core's own encoding, template, instruction and truncation. */
export class ExampleEncoder {
  readonly #profile: ModelProfile;
  readonly #encoder: PairEncoder;
  readonly #paddingId: number;

  /** @throws {InvalidInputError} when `maxTokens` leaves no room for texts. */
  constructor(profile: ModelProfile, encoder: PairEncoder) {
    this.#profile = profile;
    this.#encoder = encoder;
    this.#paddingId = profile.paddingId;
  }

  static async open(
    model: ModelFiles,
    { profile, tokenizerJson }: { readonly profile: ModelProfile; readonly tokenizerJson: unknown },
    maxTokens: number,
  ): Promise<ExampleEncoder> {
    const tokenizer = createTextTokenizer(
      tokenizerJson as Parameters<typeof createTextTokenizer>[0],
      model.id,
    );
    return new ExampleEncoder(profile, createPairEncoder(tokenizer, { ...profile, maxLength: maxTokens }));
  }

  /** One sequence a document. @throws {TrainingSetupError} for a query that leaves no room for its documents. */
  encode(example: TrainingExample): readonly EncodedSequence[] {
    const { queryPrefix, documentPrefix, instruction = "" } = this.#profile;
    const query = this.#encoder.encodeQuery(queryPrefix + example.query, instruction);
    return example.documents.map(({ text }) => {
      const sequence = this.#encoder.encodePair(query, documentPrefix + text);
      if (sequence.queryOverflow)
        throw new TrainingSetupError({
          subject: `The query "${shortened(example.query)}"`,
          problem: "fills the whole sequence and leaves no room for a document",
          fix: "Leave it out, or raise the most tokens of a pair",
        });
      return sequence;
    });
  }

  batchOf(sequences: readonly EncodedSequence[]): Batch {
    const rows = sequences.length;
    const columns = Math.max(...sequences.map(({ ids }) => ids.length));
    const inputIds = new Int32Array(rows * columns).fill(this.#paddingId);
    const attentionMask = new Int32Array(rows * columns);
    const segmentIds = new Int32Array(rows * columns);
    const lengths = Int32Array.from(sequences, ({ ids }) => ids.length);
    for (const [row, { ids, segmentIds: segments }] of sequences.entries()) {
      inputIds.set(ids, row * columns);
      segmentIds.set(segments, row * columns);
      attentionMask.fill(1, row * columns, row * columns + ids.length);
    }
    return { rows, columns, inputIds, attentionMask, segmentIds, lengths };
  }
}

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
