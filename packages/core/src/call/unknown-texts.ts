import type { CheckedPair } from "../families/family.js";
import type { Turns } from "../tokenizer/turns.js";
import type { UnknownShare, UnknownTextMeter } from "./unknown-text.js";

/** What a call found of texts that its tokenizer hardly knows. */
export interface FoundUnknown {
  readonly queries: number;
  readonly documents: number;
  /** Of the text of whose letters the largest share is unknown. */
  readonly worst: UnknownShare;
}

/** Texts of a call that are looked at, of each kind: more of them say the same. */
const mostTexts = 256;

/** By text; undefined for what is known. */
type Looked = Map<string, UnknownShare | undefined>;

/** Looks at the texts of a call. Used once. */
export class UnknownTexts {
  readonly #meter: UnknownTextMeter | undefined;
  readonly #queries: Looked = new Map();
  readonly #documents: Looked = new Map();

  constructor(meter: UnknownTextMeter | undefined) {
    this.#meter = meter;
  }

  *look(pairs: readonly CheckedPair[]): Turns<void> {
    if (this.#meter === undefined) return;
    for (const { query, text } of pairs) {
      this.#lookAt(query, this.#queries);
      this.#lookAt(text, this.#documents);
      yield;
      if (this.#queries.size >= mostTexts && this.#documents.size >= mostTexts) return;
    }
  }

  /** Of some of the pairs; a text that stands in several counts once. */
  foundIn(pairs: readonly CheckedPair[]): FoundUnknown | undefined {
    if (![...this.#queries.values(), ...this.#documents.values()].some((share) => share !== undefined))
      return undefined;
    const shares = (texts: readonly string[], known: Looked): UnknownShare[] =>
      [...new Set(texts)].flatMap((text) => known.get(text) ?? []);
    const queries = shares(
      pairs.map(({ query }) => query),
      this.#queries,
    );
    const documents = shares(
      pairs.map(({ text }) => text),
      this.#documents,
    );
    const [worst] = [...queries, ...documents].sort((a, b) => b.letters - a.letters || b.tokens - a.tokens);
    return worst && { queries: queries.length, documents: documents.length, worst };
  }

  #lookAt(text: string, known: Looked): void {
    if (known.size < mostTexts && !known.has(text)) known.set(text, this.#meter?.shareOf(text));
  }
}
