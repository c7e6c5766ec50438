/** sentencepiece_model.proto: a piece is text, score and type; the model has pieces, trainer and normalizer. */
const types = { normal: 1, unknown: 2, control: 3 } as const;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 128);
  }
}

const delimited = (field: number, content: Uint8Array): Buffer =>
  Buffer.concat([varint(field * 8 + 2), varint(content.length), content]);
const integer = (field: number, value: number): Buffer => Buffer.concat([varint(field * 8), varint(value)]);

function float(field: number, value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return Buffer.concat([varint(field * 8 + 5), bytes]);
}

function piece(text: string, score: number, type: number): Buffer {
  return delimited(1, Buffer.concat([delimited(1, Buffer.from(text)), float(2, score), integer(3, type)]));
}

/**
 * The sentencepiece.bpe.model that an XLM-RoBERTa's tokenizer.json was made of. Its own special tokens are the first
 * three; fairseq's order of ids and the mask are the tokenizer class's.
 */
export function sentencePieceModel(tokenizer: Record<string, unknown>): Uint8Array {
  const { model, normalizer } = tokenizer as {
    model: { vocab: readonly (readonly [string, number])[] };
    normalizer: { precompiled_charsmap: string };
  };
  const pieces = model.vocab.slice(4).filter(([text]) => text !== "<mask>");
  const unigram = integer(3, 1);
  return Buffer.concat([
    piece("<unk>", 0, types.unknown),
    piece("<s>", 0, types.control),
    piece("</s>", 0, types.control),
    ...pieces.map(([text, score]) => piece(text, score, types.normal)),
    delimited(2, unigram),
    delimited(3, delimited(2, Buffer.from(normalizer.precompiled_charsmap, "base64"))),
  ]);
}
