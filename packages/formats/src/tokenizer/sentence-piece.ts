import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { TokenizerFormatError } from "./errors.js";

/** `ModelProto.SentencePiece.Type`. */
export const pieceTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

export interface SentencePiece {
  readonly piece: string;
  readonly score: number;
  /** One of `pieceTypes`. */
  readonly type: number;
}

/** What a SentencePiece model (`*.model`) says about ids. */
export interface SentencePieceModel {
  readonly pieces: readonly SentencePiece[];
  readonly kind: "unigram" | "bpe";
  readonly byteFallback: boolean;
  readonly unknownId: number;
  /** The text of the unknown piece. */
  readonly unknownPiece: string;
  /** Empty where texts are not changed. */
  readonly characterMap: Uint8Array;
}

/** Field numbers: sentencepiece_model.proto of the SentencePiece project. */
const fields = {
  model: { pieces: 1, trainer: 2, normalizer: 3 },
  piece: { text: 1, score: 2, type: 3 },
  trainer: { kind: 3, byteFallback: 35, unknownId: 40, unknownPiece: 45 },
  normalizer: { characterMap: 2 },
} as const;

/** No published vocabulary comes near it: Gemma's has 262,144 pieces. */
const mostPieces = 4_000_000;

/**
 * Reads a SentencePiece model.
 *
 * @throws {TokenizerFormatError} when the bytes are none, or of a kind that tokenizer.json does not know.
 */
export function readSentencePiece(bytes: Uint8Array): SentencePieceModel {
  try {
    return read(bytes);
  } catch (cause) {
    if (cause instanceof TokenizerFormatError) throw cause;
    throw new TokenizerFormatError("it is no SentencePiece model, or it is damaged", { cause });
  }
}

function read(bytes: Uint8Array): SentencePieceModel {
  const pieces: SentencePiece[] = [];
  // The values of a file that leaves them out: the defaults of the schema.
  let kind = 1;
  let byteFallback = false;
  let unknownId = 0;
  let unknownPiece = "<unk>";
  let characterMap: Uint8Array = new Uint8Array();
  const reader = new BinaryReader(bytes);
  forEachField(reader, (field, wire) => {
    if (wire !== WireType.LengthDelimited) return false;
    if (field === fields.model.pieces) {
      if (pieces.length >= mostPieces)
        throw new TokenizerFormatError(`it has more than ${mostPieces} pieces`);
      pieces.push(readPiece(new BinaryReader(reader.bytes())));
    } else if (field === fields.model.trainer) {
      const trainer = new BinaryReader(reader.bytes());
      forEachField(trainer, (entry) => {
        if (entry === fields.trainer.kind) kind = trainer.int32();
        else if (entry === fields.trainer.byteFallback) byteFallback = trainer.bool();
        else if (entry === fields.trainer.unknownId) unknownId = trainer.int32();
        else if (entry === fields.trainer.unknownPiece) unknownPiece = trainer.string();
        else return false;
        return true;
      });
    } else if (field === fields.model.normalizer) {
      const normalizer = new BinaryReader(reader.bytes());
      forEachField(normalizer, (entry) => {
        if (entry !== fields.normalizer.characterMap) return false;
        characterMap = normalizer.bytes();
        return true;
      });
    } else return false;
    return true;
  });
  if (pieces.length === 0)
    throw new TokenizerFormatError("it holds no pieces, so it is no SentencePiece model");
  if (kind !== 1 && kind !== 2) {
    throw new TokenizerFormatError(
      `it was trained as ${{ 3: "words", 4: "characters" }[kind] ?? `kind ${kind}`}, and only unigram and bpe have a form in tokenizer.json`,
    );
  }
  if (unknownId < 0 || unknownId >= pieces.length) {
    throw new TokenizerFormatError(`its unknown piece is ${unknownId}, and it has ${pieces.length} pieces`);
  }
  return {
    pieces,
    kind: kind === 1 ? "unigram" : "bpe",
    byteFallback,
    unknownId,
    unknownPiece,
    characterMap,
  };
}

function readPiece(reader: BinaryReader): SentencePiece {
  let piece = "";
  let score = 0;
  let type: number = pieceTypes.normal;
  forEachField(reader, (field) => {
    if (field === fields.piece.text) piece = reader.string();
    else if (field === fields.piece.score) score = reader.float();
    else if (field === fields.piece.type) type = reader.int32();
    else return false;
    return true;
  });
  if (!Number.isFinite(score))
    throw new TokenizerFormatError(`its piece ${JSON.stringify(piece)} has no finite score`);
  return { piece, score, type };
}

/** Gives each field to `take`, which reads it and says so; what it leaves is skipped. */
function forEachField(reader: BinaryReader, take: (field: number, wire: WireType) => boolean): void {
  while (reader.pos < reader.len) {
    const [field, wire] = reader.tag();
    if (!take(field, wire)) reader.skip(wire, field);
  }
}

/**
 * The merges of byte pairs that give a SentencePiece BPE model's pieces: those of higher score first. The order, and
 * what decides among equals, are `generate_merges` of transformers (convert_slow_tokenizer.py, 4.57.6).
 *
 * @param vocabulary the text and score of each id.
 */
export function mergesOf(
  vocabulary: readonly (readonly [piece: string, score: number])[],
): [string, string][] {
  const ids = new Map(vocabulary.map(([piece], id) => [piece, id]));
  const scores = new Map(vocabulary);
  const merges: { left: string; right: string; score: number; leftLength: number; rightLength: number }[] =
    [];
  for (const [piece, score] of scores) {
    const characters = Array.from(piece);
    const found: { left: string; right: string; leftId: number; rightId: number; cut: number }[] = [];
    let left = "";
    for (let cut = 1; cut < characters.length; cut += 1) {
      left += characters[cut - 1] as string;
      const right = piece.slice(left.length);
      const leftId = ids.get(left);
      const rightId = ids.get(right);
      if (leftId !== undefined && rightId !== undefined) found.push({ left, right, leftId, rightId, cut });
    }
    found.sort((a, b) => a.leftId - b.leftId || a.rightId - b.rightId);
    for (const { left: first, right, cut } of found) {
      merges.push({ left: first, right, score, leftLength: cut, rightLength: characters.length - cut });
    }
  }
  merges.sort((a, b) => b.score - a.score || b.leftLength - a.leftLength || b.rightLength - a.rightLength);
  return merges.map(({ left, right }) => [left, right]);
}
