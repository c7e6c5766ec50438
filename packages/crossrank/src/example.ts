import { InvalidInputError, type ProfileReading, type TemplatePiece } from "@crossrank/core";
import {
  createListEncoder,
  createPairEncoder,
  createTextTokenizer,
  type TextTokenizer,
} from "@crossrank/core/encoding";

/** What `inspect` encodes, to show what a model gets to read. */
export const example = {
  query: "What is the capital of France?",
  document: "Paris is the capital of France.",
  otherDocument: "Bread is baked in an oven.",
  instruction: "Find the passage that answers the question.",
} as const;

export interface ExampleToken {
  /** As tokenizer.json's vocabulary spells it. */
  readonly token: string;
  readonly id: number;
  readonly segment: number;
  /** The piece of the template that it belongs to, as {@link nameOfPiece} gives it. */
  readonly piece: string;
  /** Position of that piece in the sequence, from 0: two pieces may have one name. */
  readonly position: number;
}

export interface ExampleSequence {
  readonly encodes: "pair" | "instructed pair" | "query" | "document" | "list";
  readonly tokens: readonly ExampleToken[];
  /** Why there are no tokens, or what was cut. */
  readonly note?: string | undefined;
}

/** A special token's spelling, a text's name, or wording in quotation marks. */
export function nameOfPiece(piece: TemplatePiece): string {
  if ("split" in piece) return "split";
  if ("id" in piece) return piece.token;
  return "literal" in piece ? JSON.stringify(piece.literal) : piece.text;
}

/** A piece with its text put in. */
interface FilledPiece {
  readonly name: string;
  readonly segment: 0 | 1;
  /** A special token's id, or the string that is tokenised together with its neighbours'. Undefined for a split. */
  readonly content: number | string | undefined;
}

/**
 * The example as the model gets it: the ids are those of core's encoders, and each is assigned to the template's piece
 * whose characters it begins with.
 */
export function encodeExample(reading: ProfileReading, model: string): ExampleSequence[] {
  try {
    return encodeWhole(reading, model);
  } catch (error) {
    // A maximum length without room is a fact about the model, and the other facts are wanted all the more.
    if (!InvalidInputError.isInstance(error)) throw error;
    return [
      { encodes: reading.profile.family === "listwise" ? "list" : "pair", tokens: [], note: error.message },
    ];
  }
}

function encodeWhole({ profile, tokenizerJson }: ProfileReading, model: string): ExampleSequence[] {
  const tokenizer = createTextTokenizer(tokenizerJson, model);
  const spellings = spellingsOf(tokenizerJson);
  const { listTemplate, maxLength, queryPrefix, documentPrefix } = profile;

  const show = (
    encodes: ExampleSequence["encodes"],
    pieces: readonly FilledPiece[],
    sequence: { readonly ids: Int32Array; readonly segmentIds: Int32Array; readonly queryOverflow: boolean },
  ): ExampleSequence => {
    if (sequence.queryOverflow) {
      return { encodes, tokens: [], note: `the example's query does not fit into ${maxLength} tokens` };
    }
    const owners = ownersOf(pieces, tokenizer, sequence.ids);
    const tokens = Array.from(sequence.ids, (id, at): ExampleToken => {
      const position = owners?.[at] ?? 0;
      return {
        token: spellings.get(id) ?? "",
        id,
        segment: sequence.segmentIds[at] ?? 0,
        piece: owners === undefined ? "cut sequence" : (pieces[position]?.name ?? ""),
        position,
      };
    });
    return { encodes, tokens, ...(owners === undefined ? { note: `cut to ${maxLength} tokens` } : {}) };
  };

  if (profile.family === "listwise" && listTemplate !== undefined) {
    const encoder = createListEncoder(tokenizer, listTemplate, maxLength);
    const documents = [example.document, example.otherDocument].map((text) => documentPrefix + text);
    if (encoder.measureQuery(queryPrefix + example.query) === undefined)
      return [{ encodes: "list", tokens: [], note: "the example's query is too long for this model" }];
    const cut = documents.map((document) => encoder.cutDocument(document));
    return [...encoder.encodeList(queryPrefix + example.query, cut)].map(
      ({ sequence, documents: members }) => {
        const filled = (pieces: readonly TemplatePiece[], index: number): FilledPiece[] =>
          fill(
            pieces,
            {
              query: queryPrefix + example.query,
              document: cut[members[index] as number]?.text ?? "",
              instruction: "",
            },
            { index, count: members.length },
          );
        return show(
          "list",
          [
            ...filled(listTemplate.before, 0),
            ...members.flatMap((_, index) => [
              ...(index === 0 ? [] : filled(listTemplate.separator, index)),
              ...filled(listTemplate.item, index),
            ]),
            ...filled(listTemplate.after, 0),
          ],
          sequence,
        );
      },
    );
  }

  const encoder = createPairEncoder(tokenizer, profile);
  if (profile.family === "bi-encoder") {
    const texts = { query: queryPrefix + example.query, document: documentPrefix + example.document };
    return (["query", "document"] as const).map((encodes) => {
      const pieces = fill(profile.singleTemplate, { query: texts[encodes], document: "", instruction: "" });
      const named = pieces.map((piece) => (piece.name === "query" ? { ...piece, name: encodes } : piece));
      return show(encodes, named, encoder.encodeSingle(texts[encodes]));
    });
  }

  const pair = (encodes: ExampleSequence["encodes"], instruction: string): ExampleSequence => {
    const template = instruction === "" ? profile.pairTemplate : (profile.instructedTemplate ?? []);
    const texts = {
      query: queryPrefix + example.query,
      document: documentPrefix + example.document,
      instruction,
    };
    const sequence = encoder.encodePair(encoder.encodeQuery(texts.query, instruction), texts.document);
    return show(encodes, fill(template, texts), sequence);
  };
  const own = profile.instruction ?? "";
  return [
    pair(own === "" ? "pair" : "instructed pair", own),
    ...(own === "" && profile.instructedTemplate !== undefined
      ? [pair("instructed pair", example.instruction)]
      : []),
  ];
}

function fill(
  pieces: readonly TemplatePiece[],
  texts: Readonly<Record<"query" | "document" | "instruction", string>>,
  numbers?: { readonly index: number; readonly count: number },
): FilledPiece[] {
  return pieces.map((piece): FilledPiece => {
    const name = nameOfPiece(piece);
    if ("split" in piece) return { name, segment: 0, content: undefined };
    if ("id" in piece) return { name, segment: piece.segment, content: piece.id };
    if ("text" in piece) return { name, segment: piece.segment, content: texts[piece.text] };
    const literal = numbers
      ? piece.literal
          .replaceAll("{index}", String(numbers.index))
          .replaceAll("{count}", String(numbers.count))
      : piece.literal;
    return { name: JSON.stringify(literal), segment: piece.segment, content: literal };
  });
}

/**
 * For each id of the sequence the position of its piece. Neighbouring strings are tokenised as one, as core does it; a
 * token that spans two pieces goes to the second. Undefined when the ids are not the whole example's, which a short
 * maximum length has cut.
 */
function ownersOf(
  pieces: readonly FilledPiece[],
  tokenizer: TextTokenizer,
  ids: Int32Array,
): number[] | undefined {
  const owners: number[] = [];
  const whole: number[] = [];
  let run: { readonly position: number; readonly text: string }[] = [];
  let segment = 0;
  const encode = (text: string): readonly number[] => tokenizer.encode(text, Number.MAX_SAFE_INTEGER).ids;
  const close = (): void => {
    const all = encode(run.map(({ text }) => text).join(""));
    let end = all.length;
    // From the last piece back: what its predecessors' characters already settle is theirs.
    const ends = run.map((_, index) => {
      if (index === run.length - 1) return end;
      const before = encode(
        run
          .slice(0, index + 1)
          .map(({ text }) => text)
          .join(""),
      );
      let common = 0;
      while (common < before.length && before[common] === all[common]) common += 1;
      return common;
    });
    for (let index = run.length - 1; index >= 0; index -= 1) {
      end = Math.min(end, ends[index] as number);
      ends[index] = end;
    }
    let at = 0;
    for (const [index, { position }] of run.entries()) {
      for (; at < (ends[index] as number); at += 1) owners.push(position);
    }
    whole.push(...all);
    run = [];
  };
  for (const [position, piece] of pieces.entries()) {
    const { content } = piece;
    if (typeof content !== "string" || piece.segment !== segment) close();
    if (content === undefined) continue;
    segment = piece.segment;
    if (typeof content === "number") {
      owners.push(position);
      whole.push(content);
    } else run.push({ position, text: content });
  }
  close();
  const same = whole.length === ids.length && whole.every((id, at) => id === ids[at]);
  return same ? owners : undefined;
}

/** tokenizer.json's vocabulary, as id → spelling. */
export function spellingsOf(tokenizerJson: unknown): Map<number, string> {
  const { model, added_tokens } = tokenizerJson as {
    model: { vocab?: Record<string, number> | (readonly [string, number])[] };
    added_tokens?: readonly { id: number; content: string }[] | null;
  };
  const vocabulary = model.vocab ?? {};
  const spellings = new Map<number, string>();
  if (Array.isArray(vocabulary)) for (const [id, [token]] of vocabulary.entries()) spellings.set(id, token);
  else for (const [token, id] of Object.entries(vocabulary)) spellings.set(id, token);
  for (const { id, content } of added_tokens ?? []) spellings.set(id, content);
  return spellings;
}
