import type { Head, ModelProfile, TemplatePiece } from "../contract/model-profile.js";

/** The parts of tokenizer.json that say which ids a text may become. */
interface Vocabulary {
  readonly model: { readonly vocab?: unknown };
  readonly added_tokens?:
    | readonly { readonly id: number; readonly content: string; readonly special?: unknown }[]
    | null
    | undefined;
}

/**
 * Holds every id that can reach a model against the rows of its embedding table, for all runtimes at once: some read
 * another row for an id that there is none for.
 *
 * @param size rows of the table (config.json `vocab_size`).
 * @returns what is beyond, as a sentence without its period; undefined when nothing is.
 */
export function idBeyond(size: number, profile: ModelProfile, tokenizer: Vocabulary): string | undefined {
  const found = beyondAmong(size, idsOfProfile(profile)) ?? beyondInTokenizer(size, tokenizer);
  if (found === undefined) return undefined;
  const [what, token, id] = found;
  return `vocab_size is ${size}, and ${what} ${JSON.stringify(token.slice(0, 40))} has the id ${id}`;
}

function beyondAmong(size: number, ids: Iterable<NamedId>): NamedId | undefined {
  for (const named of ids) if (!(named[2] < size)) return named;
  return undefined;
}

type NamedId = readonly [what: string, token: string, id: number];

function* idsOfProfile(profile: ModelProfile): Generator<NamedId> {
  yield ["the padding", "", profile.paddingId];
  const { listTemplate: list, lateTemplate: late } = profile;
  const templates: readonly (readonly TemplatePiece[] | undefined)[] = [
    profile.pairTemplate,
    profile.instructedTemplate,
    profile.singleTemplate,
    list?.before,
    list?.item,
    list?.separator,
    list?.after,
    late?.query,
    late?.document,
  ];
  for (const piece of templates.flatMap((template) => template ?? [])) {
    if ("id" in piece) yield ["a template's", piece.token, piece.id];
  }
  if (late?.expansion !== undefined) yield ["the expansion", "", late.expansion.token];
  for (const id of idsOfHead(profile.head)) yield ["the head's token", "", id];
}

function idsOfHead(head: Head): readonly number[] {
  if (head.kind === "answer-tokens")
    return [head.positive, ...(head.negative === undefined ? [] : [head.negative])];
  return head.kind === "marker-cosine" ? [head.query, head.document] : [];
}

/** No text becomes a special token, and so those may lie beyond. */
function beyondInTokenizer(size: number, { model, added_tokens }: Vocabulary): NamedId | undefined {
  const special = new Set<string>();
  const added: NamedId[] = [];
  for (const { id, content, special: isSpecial } of added_tokens ?? []) {
    if (isSpecial === true) special.add(content);
    else added.push(["the added token", content, id]);
  }
  const found = beyondAmong(size, added);
  if (found !== undefined) return found;
  // Plain loops, and nothing made of an entry that is within: there may be a quarter of a million.
  const { vocab } = model;
  if (Array.isArray(vocab)) {
    for (let id = Math.max(0, Math.ceil(size)); id < vocab.length; id += 1) {
      const token = String((vocab[id] as readonly unknown[] | null)?.[0]);
      if (!special.has(token)) return ["the token", token, id];
    }
    return undefined;
  }
  const byToken = (vocab ?? {}) as Readonly<Record<string, unknown>>;
  for (const token of Object.keys(byToken)) {
    const id = byToken[token];
    if (typeof id === "number" && !(id < size) && !special.has(token)) return ["the token", token, id];
  }
  return undefined;
}
