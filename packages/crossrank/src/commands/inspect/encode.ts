import {
  InvalidInputError,
  type LateTemplate,
  type ProfileReading,
  type TemplatePiece,
} from "@crossrank/core";
import {
  createLateEncoder,
  createListEncoder,
  createPairEncoder,
  createTextTokenizer,
  type EncodedSequence,
  type TextTokenizer,
} from "@crossrank/core/encoding";
import { assignTokens, endOfTokens, type FilledPiece, fill, matchCut, type PieceKind } from "./pieces.js";

/** Texts that a model is shown to read. */
export interface Texts {
  readonly query: string;
  readonly documents: readonly string[];
  /** `""` for none. Default: the model's own. */
  readonly instruction?: string | undefined;
}

/** What `inspect` encodes where nobody gives it texts. */
export const example = {
  query: "What is the capital of France?",
  document: "Paris is the capital of France.",
  otherDocument: "Bread is baked in an oven.",
  instruction: "Find the passage that answers the question.",
} as const;

export interface ShownToken {
  /** As tokenizer.json's vocabulary spells it. */
  readonly token: string;
  readonly id: number;
  readonly segment: number;
  /** The piece of the template that it belongs to, as `nameOfPiece` of describe.ts gives it. */
  readonly piece: string;
  readonly kind: PieceKind;
  /** Position of that piece in the sequence, from 0: two pieces may have one name. */
  readonly position: number;
  /** False of a query's expansion that the query's tokens do not attend to. Default true. */
  readonly isAttended?: boolean | undefined;
}

/** What was cut from one text. */
export interface Cut {
  readonly from: "query" | "document" | "instruction";
  /** Of a document: its place among those that were given. */
  readonly document?: number | undefined;
  readonly tokens: number;
  /** The text was not read to its end, and more than `tokens` was cut. */
  readonly isMinimum: boolean;
  /** The characters that the model does not read. */
  readonly text: string;
}

export interface ShownSequence {
  readonly encodes: "pair" | "instructed pair" | "query" | "document" | "list";
  /** Places of its documents among those that were given; none for a query by itself. */
  readonly documents: readonly number[];
  readonly tokens: readonly ShownToken[];
  readonly cuts: readonly Cut[];
  /** The whole text before it is tokenised and cut, special tokens spelled out, where the template has wording. */
  readonly prompt?: string | undefined;
  /** Nothing is run: the query leaves no room for the document. */
  readonly queryOverflow: boolean;
  /** Why there are no tokens, or what cannot be said of them. */
  readonly note?: string | undefined;
}

/**
 * Texts as the model gets them: the ids are those of core's encoders, which score with them too, and each is assigned to
 * the template's piece whose characters it begins with.
 */
export function encodeTexts(reading: ProfileReading, model: string, texts: Texts): ShownSequence[] {
  try {
    return new SequenceViewer(reading, model).view(texts);
  } catch (error) {
    // A maximum length without room is a fact about the model, and the other facts are wanted all the more.
    if (!InvalidInputError.isInstance(error)) throw error;
    const encodes = reading.profile.family === "listwise" ? "list" : "pair";
    return [{ encodes, documents: [], tokens: [], cuts: [], queryOverflow: false, note: error.message }];
  }
}

/** The example, in every form that the model takes a pair in. */
export function encodeExample(reading: ProfileReading, model: string): ShownSequence[] {
  const { family, instruction = "", instructedTemplate } = reading.profile;
  const documents = [example.document, ...(family === "listwise" ? [example.otherDocument] : [])];
  const texts = { query: example.query, documents };
  return [
    ...encodeTexts(reading, model, texts),
    ...(instruction === "" && instructedTemplate !== undefined
      ? encodeTexts(reading, model, { ...texts, instruction: example.instruction })
      : []),
  ];
}

class SequenceViewer {
  readonly #reading: ProfileReading;
  readonly #tokenizer: TextTokenizer;
  readonly #spellings: ReadonlyMap<number, string>;

  constructor(reading: ProfileReading, model: string) {
    this.#reading = reading;
    this.#tokenizer = createTextTokenizer(reading.tokenizerJson, model);
    this.#spellings = spellingsOf(reading.tokenizerJson);
  }

  view({ query, documents, instruction }: Texts): ShownSequence[] {
    const { profile } = this.#reading;
    const own = instruction ?? profile.instruction ?? "";
    if (profile.family === "listwise") return this.#lists(query, documents);
    if (profile.lateTemplate !== undefined) return this.#apart(profile.lateTemplate, query, documents);
    const encoder = createPairEncoder(this.#tokenizer, profile);
    if (profile.family === "bi-encoder") {
      const single = (encodes: "query" | "document", text: string, at?: number): ShownSequence => {
        const pieces = fill(profile.singleTemplate, { query: text, document: "", instruction: "" }).map(
          (piece): FilledPiece =>
            piece.kind === "query" ? { ...piece, name: encodes, kind: "document", document: at } : piece,
        );
        const shown = this.#show(encodes, pieces, encoder.encodeSingle(text), at === undefined ? [] : [at]);
        return encodes === "document" ? shown : asQuery(shown);
      };
      return [
        single("query", profile.queryPrefix + query),
        ...documents.map((document, at) => single("document", profile.documentPrefix + document, at)),
      ];
    }
    const encoded = encoder.encodeQuery(profile.queryPrefix + query, own);
    const template = own === "" ? profile.pairTemplate : (profile.instructedTemplate ?? []);
    return documents.map((document, at) => {
      const text = profile.documentPrefix + document;
      const pieces = fill(template, {
        query: profile.queryPrefix + query,
        document: text,
        instruction: own,
      }).map((piece) => (piece.kind === "document" ? { ...piece, document: at } : piece));
      return this.#show(own === "" ? "pair" : "instructed pair", pieces, encoder.encodePair(encoded, text), [
        at,
      ]);
    });
  }

  /** Of a late-interaction model. */
  #apart(template: LateTemplate, query: string, documents: readonly string[]): ShownSequence[] {
    const { maxLength, queryPrefix, documentPrefix } = this.#reading.profile;
    const encoder = createLateEncoder(this.#tokenizer, template, maxLength);
    // What is cut is shown as a document's is, and then called the query's.
    const ofQuery = fill(template.query, { query: queryPrefix + query, document: "", instruction: "" }).map(
      (piece): FilledPiece => (piece.kind === "query" ? { ...piece, kind: "document" } : piece),
    );
    const sequence = encoder.encodeQuery(queryPrefix + query);
    const own = sequence.ids.length - (sequence.expansion ?? 0);
    const shown = asQuery(
      this.#show("query", ofQuery, { ...sequence, ids: sequence.ids.subarray(0, own) }, []),
    );
    const isAttended = (sequence.unattended ?? 0) === 0;
    const expansion = [...sequence.ids.subarray(own)].map(
      (id): ShownToken => ({
        ...{ token: this.#spellings.get(id) ?? "", id, segment: 0, piece: "expansion", kind: "special" },
        position: ofQuery.length,
        ...(isAttended ? {} : { isAttended }),
      }),
    );
    return [
      { ...shown, tokens: [...shown.tokens, ...expansion] },
      ...documents.map((document, at) => {
        const text = documentPrefix + document;
        const pieces = fill(template.document, { query: "", document: text, instruction: "" }).map(
          (piece): FilledPiece => (piece.kind === "document" ? { ...piece, document: at } : piece),
        );
        return this.#show("document", pieces, encoder.encodeDocument(text), [at]);
      }),
    ];
  }

  #lists(query: string, documents: readonly string[]): ShownSequence[] {
    const { listTemplate: template, maxLength, queryPrefix, documentPrefix } = this.#reading.profile;
    if (template === undefined) return [];
    const encoder = createListEncoder(this.#tokenizer, template, maxLength);
    const asked = queryPrefix + query;
    const given = documents.map((document) => documentPrefix + document);
    const cut = given.map((document) => encoder.cutDocument(document));
    const cuts = cut.flatMap(({ truncatedTokens, truncatedTokensIsMinimum }, at): Cut[] => {
      if (truncatedTokens === 0) return [];
      const end = endOfTokens(this.#tokenizer, "", given[at] as string, template.maxDocumentTokens);
      return [
        {
          from: "document",
          document: at,
          tokens: truncatedTokens,
          isMinimum: truncatedTokensIsMinimum,
          text: (given[at] as string).slice(end),
        },
      ];
    });
    if (encoder.measureQuery(asked) === undefined) {
      const note = `the query has more than the ${template.maxQueryTokens} tokens that this model reads of one`;
      return [
        { encodes: "list", documents: given.map((_, at) => at), tokens: [], cuts, queryOverflow: true, note },
      ];
    }
    return [...encoder.encodeList(asked, cut)].map(({ sequence, documents: members }) => {
      const filled = (pieces: readonly TemplatePiece[], index: number): FilledPiece[] =>
        fill(
          pieces,
          { query: asked, document: cut[members[index] as number]?.text ?? "", instruction: "" },
          { index, count: members.length },
        ).map((piece) => (piece.kind === "document" ? { ...piece, document: members[index] } : piece));
      const pieces = [
        ...filled(template.before, 0),
        ...members.flatMap((_, index) => [
          ...(index === 0 ? [] : filled(template.separator, index)),
          ...filled(template.item, index),
        ]),
        ...filled(template.after, 0),
      ];
      const shown = this.#show("list", pieces, sequence, members);
      return { ...shown, cuts: cuts.filter(({ document }) => members.includes(document as number)) };
    });
  }

  #show(
    encodes: ShownSequence["encodes"],
    pieces: readonly FilledPiece[],
    sequence: EncodedSequence,
    documents: readonly number[],
  ): ShownSequence {
    const { maxLength } = this.#reading.profile;
    const { ids, segmentIds, queryOverflow } = sequence;
    const hasWording = pieces.some(({ kind }) => kind === "wording");
    const prompt = hasWording ? this.#spell(pieces) : undefined;
    const common = { encodes, documents, ...(prompt === undefined ? {} : { prompt }), queryOverflow };
    if (queryOverflow) {
      const document = pieces.find(({ kind }) => kind === "document");
      return {
        ...common,
        tokens: [],
        cuts: [
          {
            from: "document",
            document: document?.document,
            tokens: sequence.truncatedTokens,
            isMinimum: sequence.truncatedTokensIsMinimum,
            text: typeof document?.content === "string" ? document.content : "",
          },
        ],
        note: `the query does not fit into ${maxLength} tokens with anything of the document: the pair is not run, and ranks last`,
      };
    }
    const shortened = pieces.map((piece) => this.#shortened(piece));
    const whole = assignTokens(shortened, this.#tokenizer);
    const places = matchCut(ids, whole, pieces, sequence.truncatedQueryTokens);
    const positions = places.map((place) => (place === undefined ? undefined : whole[place]?.position));
    const tokens = Array.from(ids, (id, at): ShownToken => {
      const position = positions[at];
      const piece = position === undefined ? undefined : pieces[position];
      return {
        token: this.#spellings.get(id) ?? "",
        id,
        segment: segmentIds[at] ?? 0,
        piece: piece?.name ?? "cut sequence",
        kind: piece?.kind ?? "wording",
        // Behind a cut it counts as of the piece before it.
        position: position ?? positions.findLast((known, index) => index < at && known !== undefined) ?? 0,
      };
    });
    const cuts = this.#cuts(sequence, { pieces, tokens });
    const isSure = positions.every((position) => position !== undefined);
    return {
      ...common,
      tokens,
      cuts,
      ...(isSure ? {} : { note: "behind the cut, tokens are not those of the whole text" }),
    };
  }

  /** What was cut of each text, with its characters. */
  #cuts(
    sequence: EncodedSequence,
    { pieces, tokens }: { readonly pieces: readonly FilledPiece[]; readonly tokens: readonly ShownToken[] },
  ): Cut[] {
    const { truncatedTokens, truncatedQueryTokens, truncatedTokensIsMinimum } = sequence;
    const cutOf = (position: number, cut: number, isMinimum: boolean): Cut[] => {
      const piece = pieces[position];
      if (piece === undefined || typeof piece.content !== "string" || cut === 0) return [];
      const run = startOfRun(pieces, position);
      // Each once, also of a query that stands at two places: the run's tokens are what is counted.
      const kept = tokens.filter((token) => token.position >= run && token.position <= position).length;
      const before = pieces
        .slice(run, position)
        .map(({ content }) => content)
        .join("");
      const end = endOfTokens(this.#tokenizer, before, piece.content, kept);
      const from = piece.kind as Cut["from"];
      return [{ from, document: piece.document, tokens: cut, isMinimum, text: piece.content.slice(end) }];
    };
    const at = (kind: PieceKind): number => pieces.findLastIndex((piece) => piece.kind === kind);
    return [
      ...cutOf(at("query"), truncatedQueryTokens, false),
      ...cutOf(at("document"), truncatedTokens, truncatedTokensIsMinimum),
    ];
  }

  /** A text of which all that can be kept is there: what comes behind has no part in the sequence. */
  #shortened(piece: FilledPiece): FilledPiece {
    const { content } = piece;
    const most = Math.max(50_000, this.#reading.profile.maxLength * 64);
    return typeof content === "string" && content.length > most
      ? { ...piece, content: content.slice(0, most) }
      : piece;
  }

  #spell(pieces: readonly FilledPiece[]): string {
    return pieces
      .map(({ content }) =>
        typeof content === "number" ? (this.#spellings.get(content) ?? "") : (content ?? ""),
      )
      .join("");
  }
}

/** The piece at which the string begins that is tokenised as one with this piece's. */
function startOfRun(pieces: readonly FilledPiece[], position: number): number {
  let start = position;
  while (
    start > 0 &&
    typeof pieces[start - 1]?.content === "string" &&
    pieces[start - 1]?.segment === pieces[position]?.segment
  )
    start -= 1;
  return start;
}

/** A text by itself is cut as a document is. */
function asQuery(shown: ShownSequence): ShownSequence {
  return {
    ...shown,
    tokens: shown.tokens.map((token) =>
      token.kind === "document" ? { ...token, kind: "query" as const } : token,
    ),
    cuts: shown.cuts.map((cut) => ({ ...cut, from: "query" as const, document: undefined })),
  };
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
