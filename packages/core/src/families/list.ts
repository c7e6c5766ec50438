import type { EncodedList, ListDocument } from "../encoding/list-encoder.js";
import { readMarks } from "../score/head.js";
import { type ListVectors, scoreList } from "../score/list.js";
import { dot } from "../score/vector.js";
import {
  type CallProgress,
  type CheckedPair,
  cutOf,
  type Family,
  type FamilyResources,
  overflowing,
  type Stage,
} from "./family.js";

/** Listwise: the documents of a query share sequences. Documents of one query stand together, in their order. */
export const listFamily: Family = function* (pairs, resources, progress) {
  const lists = new Map<string, number[]>();
  for (const [position, { query }] of pairs.entries()) {
    const list = lists.get(query);
    if (list === undefined) lists.set(query, [position]);
    else list.push(position);
  }
  for (const [query, positions] of lists) {
    const texts = positions.map((position) => (pairs[position] as CheckedPair).text);
    yield listStage({ query, texts, positions }, resources, progress);
  }
};

/** A query and its documents; `positions` are those of the documents' pairs. */
interface List {
  readonly query: string;
  readonly texts: readonly string[];
  readonly positions: readonly number[];
}

function listStage(
  { query, texts, positions }: List,
  { profile, listEncoder: encoder, chain }: FamilyResources,
  progress: CallProgress,
): Stage {
  const { head, queryPrefix, documentPrefix } = profile;
  if (head.kind !== "marker-cosine" || encoder === undefined)
    throw new TypeError("a listwise model has a marker-cosine head and a list template");
  const documents: ListDocument[] = [];
  const lists: EncodedList[] = [];
  /** Of each of the lists; a hole until it has come back. */
  const vectors: (ListVectors | undefined)[] = [];
  return {
    *encode() {
      progress.noteQuery({ illFormed: !query.isWellFormed() }, query);
      for (const text of texts) {
        progress.noteDocument({ illFormed: !text.isWellFormed() }, text);
        documents.push(yield* encoder.inTurns.cutDocument(documentPrefix + text));
        yield undefined;
      }
      if ((yield* encoder.inTurns.measureQuery(queryPrefix + query)) === undefined) {
        for (const [index, { tokens, truncatedTokens, truncatedTokensIsMinimum }] of documents.entries()) {
          const cut = { truncatedTokens: tokens + truncatedTokens, truncatedTokensIsMinimum };
          progress.put(positions[index] as number, overflowing(cut));
          progress.advance(1);
        }
        return;
      }
      for (const list of encoder.inTurns.encodeList(queryPrefix + query, documents)) {
        if (list !== undefined) lists.push(list);
        yield list?.sequence;
      }
    },
    read(member, output, row) {
      const { sequence, documents: members } = lists[member] as EncodedList;
      const marks = [...sequence.ids].filter((id) => id === head.query || id === head.document);
      const found = readMarks(output, row, marks.length).map((mark) => chain(mark));
      let document = 0;
      for (const [mark, vector] of found.entries()) {
        const index = members[document] as number;
        if (marks[mark] === head.query) progress.requireFinite(dot(vector, vector), -1, query);
        else {
          progress.requireFinite(dot(vector, vector), positions[index] as number, texts[index] as string);
          document += 1;
        }
      }
      vectors[member] = {
        query: found[marks.indexOf(head.query)] as Float64Array,
        documents: found.filter((_, mark) => marks[mark] === head.document),
      };
      progress.advance(members.length);
    },
    // What came back before a failure is scored too, for callers who asked for the part that is there.
    conclude() {
      const there = lists.flatMap(({ documents: members }, list) => {
        const found = vectors[list];
        return found === undefined ? [] : [{ members, found }];
      });
      const cosines = scoreList(there.map(({ found }) => found));
      for (const [index, document] of there.flatMap(({ members }) => members).entries()) {
        const { tokens, ...cut } = documents[document] as ListDocument;
        const cosine = cosines[index] as number;
        const position = positions[document] as number;
        progress.requireFinite(cosine, position, texts[document] as string);
        progress.put(position, { logit: cosine, score: cosine, tokens, ...cutOf(cut) });
      }
    },
  };
}
