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
  for (const ids of [idsOfProfile(profile), idsOfTokenizer(tokenizer)]) {
    for (const [what, token, id] of ids) {
      if (id < size) continue;
      return `vocab_size is ${size}, and ${what} ${JSON.stringify(token.slice(0, 40))} has the id ${id}`;
    }
  }
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
function* idsOfTokenizer({ model, added_tokens }: Vocabulary): Generator<NamedId> {
  const special = new Set<string>();
  for (const { id, content, special: isSpecial } of added_tokens ?? []) {
    if (isSpecial === true) special.add(content);
    else yield ["the added token", content, id];
  }
  const { vocab } = model;
  if (Array.isArray(vocab)) {
    for (const [id, entry] of vocab.entries()) {
      const token = String((entry as readonly unknown[] | null)?.[0]);
      if (!special.has(token)) yield ["the token", token, id];
    }
    return;
  }
  // Not Object.entries: see forEachEntry.
  const byToken = (vocab ?? {}) as Readonly<Record<string, unknown>>;
  for (const token of Object.keys(byToken)) {
    const id = byToken[token];
    if (typeof id === "number" && !special.has(token)) yield ["the token", token, id];
  }
}
