import type { Pair } from "@crossrank/core";
import { createLateEncoder, createPairEncoder, createTextTokenizer } from "@crossrank/core/encoding";
import { assert } from "../assert.js";
import {
  columnsFor,
  type FixtureContext,
  type Item,
  isMovedByCompany,
  isRefused,
  mostRows,
  optionsOf,
} from "../context.js";
import type { Row } from "../recorder.js";
import {
  alone,
  type Check,
  distance,
  isClose,
  logits,
  rejection,
  report,
  requireClose,
  requireFinite,
  type Terms,
} from "./common.js";

/** Items whose scores can be compared with those in other company, by the instruction they were given. */
async function groups(context: FixtureContext, { items }: Terms): Promise<Map<string, Item[]>> {
  const outcomes = await context.alone("document-only");
  const result = new Map<string, Item[]>();
  const queries = new Set<string>();
  for (const item of items) {
    const outcome = outcomes.get(item);
    if (outcome === undefined || isRefused(item)) continue;
    if (outcome.scores === undefined) throw outcome.error;
    // Listwise, documents of one query are one list: two golden lists of one query cannot go together.
    const query = item.pairs[0]?.query ?? "";
    if (context.profile.family === "listwise" && queries.has(query)) continue;
    queries.add(query);
    const key = item.instruction ?? "";
    result.set(key, [...(result.get(key) ?? []), item]);
  }
  return result;
}

async function aloneLogits(context: FixtureContext, item: Item): Promise<(number | null)[]> {
  const outcome = (await context.alone("document-only")).get(item);
  if (outcome?.scores === undefined) throw outcome?.error;
  return logits(outcome.scores);
}

export const batching: Check = async (context, terms) => {
  const { reranker, recorder } = await context.opened();
  // Scores of rows that affect each other are as the company they are in; only that there are some can be asked.
  const isHeld = !isMovedByCompany(reranker.session.capabilities);
  const problems: string[] = [];
  let together = 0;
  for (const items of (await groups(context, terms)).values()) {
    const options = optionsOf(items[0] as Item);
    const all = items.flatMap((item) => item.pairs.map((pair, index) => ({ item, pair, index })));
    // Round and round through the items, so that a list's documents do not stand together either.
    const mixed = all.toSorted((a, b) => a.index - b.index);
    const isList = context.profile.family === "listwise";
    // In a list the order matters and a second copy of a document is one more document.
    const orders = isList ? [all, mixed] : [all, [...all.slice(0, 3), ...all.toReversed()]];
    for (const order of orders) {
      recorder.take();
      const { scores: found } = await reranker.score(
        order.map(({ pair }) => pair),
        options,
      );
      together = Math.max(
        together,
        ...recorder.take().map(({ lengths }) => lengths.filter((length) => length > 0).length),
      );
      for (const [position, { item, index }] of order.entries()) {
        const wanted = (await aloneLogits(context, item))[index];
        const logit = found[position]?.logit;
        if (isClose(logit, wanted, terms.batchTolerance)) continue;
        if (!isHeld && Number.isFinite(logit) && Number.isFinite(wanted)) continue;
        problems.push(`${item.name}: ${found[position]?.logit} among ${order.length}, ${wanted} alone`);
      }
    }
  }
  report(problems);
  const { batchPreference } = reranker.session.capabilities;
  const wanted = mostRows(reranker.session.capabilities) > 1 && batchPreference.rows > 1;
  if (wanted && context.profile.family !== "listwise") {
    assert.ok(together > 1, "no batch held more than one sequence, although the backend takes more");
  }
};

export const padding: Check = async (context, { batchTolerance }) => {
  const { session } = await context.opened();
  const { sequenceLengths, batchSize } = session.capabilities;
  const rows = await context.sequences();
  const longest = Math.min(
    context.profile.maxLength,
    session.capabilities.maxSequenceLength ?? Number.POSITIVE_INFINITY,
  );
  const wanted = new Map<Row, number[]>();
  for (const row of rows) wanted.set(row, await alone(context, session, row));

  for (const row of rows) {
    const { length } = row.ids;
    const widths =
      sequenceLengths === "any"
        ? [...new Set([length, length + 1, length + 5, longest])].filter((width) => width <= longest)
        : sequenceLengths.filter((width) => width >= length);
    for (const columns of widths) {
      // Where the number of rows is fixed, the others are padding rows: before and after.
      const places = "exactly" in batchSize ? [0, batchSize.exactly - 1] : [0];
      for (const place of places) {
        const slots = [...new Array<undefined>(place).fill(undefined), row];
        const found = (await context.run(session, slots, { columns }))[place] as number[];
        const what = `${length} tokens in slot ${place} of ${columns} columns`;
        requireClose(found, wanted.get(row) as number[], batchTolerance, what);
      }
    }
  }
};

/** Rows of one batch, against each of them alone. Where rows affect scores, numbers have only to be finite. */
export const independentRows: Check = async (context, { batchTolerance }) => {
  const { session } = await context.opened();
  const { rowsAffectScores } = session.capabilities;
  const rows = await context.sequences();
  const room = Math.min(mostRows(session.capabilities), rows.length);
  for (const order of [rows.slice(0, room), rows.toReversed().slice(0, room)]) {
    const found = await context.run(session, order);
    for (const [slot, row] of order.entries()) {
      const what = `${row.ids.length} tokens as row ${slot} of ${order.length}`;
      const numbers = found[slot] as number[];
      if (rowsAffectScores) {
        requireFinite(numbers, what);
        continue;
      }
      const apart = distance(numbers, await alone(context, session, row));
      assert.ok(
        apart <= batchTolerance,
        `${what}: numbers differ by ${apart} from those alone, more than ${batchTolerance}. ` +
          "A backend whose rows affect each other declares capabilities.rowsAffectScores: true",
      );
    }
  }
};

/** Pairs by the length that their sequence (where texts are read apart: the document's) would have without a limit. */
function pairsOfLength(context: FixtureContext): (length: number) => Pair | undefined {
  const { profile, tokenizerJson, fixture, items } = context;
  const tokenizer = createTextTokenizer(tokenizerJson, fixture.name);
  const noLimit = 1_000_000;
  const encoder = createPairEncoder(tokenizer, { ...profile, maxLength: noLimit });
  const late =
    profile.lateTemplate &&
    createLateEncoder(tokenizer, { ...profile.lateTemplate, maxDocumentTokens: noLimit }, noLimit);
  const query = items.map(({ pairs }) => pairs[0]?.query ?? "").find((text) => /^\w+$/.test(text)) ?? "tea";
  const lengthOf = (document: string): number => {
    const text = profile.documentPrefix + document;
    if (late !== undefined) return late.encodeDocument(text).ids.length;
    return profile.family === "bi-encoder"
      ? encoder.encodeSingle(text).ids.length
      : encoder.encodePair(encoder.encodeQuery(profile.queryPrefix + query, profile.instruction), text).ids
          .length;
  };
  // A word of one token wherever it stands.
  const words = items.flatMap(({ pairs }) => pairs[0]?.query.split(/\s+/) ?? []);
  const repeat = (word: string, times: number): string => new Array<string>(times).fill(word).join(" ");
  const unit = ["a", "the", ...words].find((word) => {
    if (!/^\w+$/.test(word)) return false;
    const one = lengthOf(word);
    return [2, 3, 9].every((times) => lengthOf(repeat(word, times)) === one + times - 1);
  });
  if (unit === undefined) throw new Error("the fixture's goldens have no word of one token");
  const least = lengthOf(unit);
  return (length) => {
    if (length < least) return undefined;
    const document = repeat(unit, length - least + 1);
    if (lengthOf(document) !== length) throw new Error(`cannot make a pair of ${length} tokens`);
    return { query, document };
  };
}

export const limits: Check = async (context, { batchTolerance }) => {
  const { reranker, recorder } = await context.opened();
  const declared = reranker.session.capabilities;
  const { maxLength } = reranker.profile;
  assert.ok(maxLength <= context.profile.maxLength, "the artifact cannot be longer than the model");

  if (context.profile.family !== "listwise") {
    const pairOf = pairsOfLength(context);
    const lengths = declared.sequenceLengths === "any" ? [] : declared.sequenceLengths;
    const targets = new Set([...lengths, maxLength].flatMap((length) => [length - 1, length, length + 1]));
    const seen = new Map<number, number>();
    for (const target of targets) {
      const pair = target <= maxLength + 1 ? pairOf(target) : undefined;
      if (pair === undefined) continue;
      recorder.take();
      const [score] = (await reranker.score([pair])).scores;
      const tokens = Math.min(target, maxLength);
      assert.equal(score?.tokens, tokens, `tokens of a pair of ${target} (limit ${maxLength})`);
      assert.equal(score?.truncatedTokens, target - tokens, `tokens cut of ${target} (limit ${maxLength})`);
      assert.ok(Number.isFinite(score?.logit), `a logit for ${target} tokens`);
      const batch = recorder.take().at(-1);
      assert.equal(batch?.columns, columnsFor(declared, tokens), `columns for ${tokens} tokens`);
      seen.set(target, score?.logit as number);
    }
    const [full, beyond] = [seen.get(maxLength), seen.get(maxLength + 1)];
    assert.ok(full !== undefined && beyond !== undefined, "a pair at the limit, and one beyond it");
    requireClose(
      [beyond],
      [full],
      batchTolerance,
      "a pair that is one token too long, and what is left of it",
    );
  }

  // And everything else that core sends keeps to what is declared.
  recorder.take();
  for (const item of context.items.filter((candidate) => !isRefused(candidate)).slice(0, 40)) {
    await rejection(reranker.score(item.pairs, optionsOf(item)));
  }
  const batches = recorder.take();
  assert.ok(batches.length > 0, "some batches were run");
  for (const { rows, columns } of batches) {
    const { batchSize, sequenceLengths } = declared;
    assert.ok("exactly" in batchSize ? rows === batchSize.exactly : rows <= batchSize.max, `${rows} rows`);
    assert.ok(sequenceLengths === "any" || sequenceLengths.includes(columns), `${columns} columns`);
    assert.ok(columns <= (declared.maxSequenceLength ?? columns), `${columns} columns`);
  }
};

export const repetition: Check = async (context, { repeatTolerance }) => {
  const { session } = await context.opened();
  const rows = await context.sequences();
  const [a, b] = [rows[0] as Row, rows.at(-1) as Row];
  const first = await alone(context, session, a);
  const other = await alone(context, session, b);
  assert.ok(distance(first, other) > 0, "two different sequences give different numbers");
  for (const round of [2, 3, 4]) {
    requireClose(await alone(context, session, a), first, repeatTolerance, `run ${round} of one batch`);
    requireClose(await alone(context, session, b), other, repeatTolerance, `run ${round} of another batch`);
  }
};

export const sessions: Check = async (context, { batchTolerance }) => {
  const rows = await context.sequences();
  const [a, b] = [rows[0] as Row, rows.at(-1) as Row];
  const { session } = await context.opened();
  const wanted = [await alone(context, session, a), await alone(context, session, b)] as const;
  const [left, right] = await Promise.all([context.load(), context.load()]);
  try {
    const found = await Promise.all([alone(context, left, a), alone(context, right, b)]);
    requireClose(found[0], wanted[0], batchTolerance, "one session while another runs");
    requireClose(found[1], wanted[1], batchTolerance, "the other session");
    requireClose(await alone(context, left, b), wanted[1], batchTolerance, "the first session's second run");
    await left.dispose();
    requireClose(await alone(context, right, a), wanted[0], batchTolerance, "a session after another's end");
  } finally {
    await Promise.all([left.dispose(), right.dispose()]);
  }
};

export const concurrency: Check = async (context, terms) => {
  const { reranker, session } = await context.opened();
  const rows = await context.sequences();
  const wanted = new Map<Row, number[]>();
  for (const row of rows) wanted.set(row, await alone(context, session, row));
  const lanes = Math.min(session.capabilities.concurrentRuns, 16);
  const asked = Array.from({ length: lanes }, (_, lane) => rows[lane % rows.length] as Row);
  for (let round = 0; round < 3; round += 1) {
    const found = await Promise.all(asked.map((row) => alone(context, session, row)));
    for (const [lane, row] of asked.entries()) {
      requireClose(found[lane] as number[], wanted.get(row) as number[], terms.batchTolerance, `run ${lane}`);
    }
  }
  // More calls than runs: core makes them wait.
  const items = [...(await groups(context, terms)).values()].flat().slice(0, 2 * lanes + 4);
  const results = await Promise.all(items.map((item) => reranker.score(item.pairs, optionsOf(item))));
  for (const [index, item] of items.entries()) {
    const expected = await aloneLogits(context, item);
    const found = logits(results[index]?.scores ?? []);
    const isSame = expected.every((logit, pair) => isClose(found[pair], logit, terms.batchTolerance));
    assert.ok(
      isSame,
      `${item.name}: ${found.join(", ")} among ${items.length} calls, ${expected.join(", ")} alone`,
    );
  }
};
