import { createHash } from "node:crypto";
import { createRandom } from "@crossrank/eval";
import { TrainingSetupError } from "../errors.js";
import {
  isListwise,
  needsTeacher,
  type TrainingExample,
  type TrainingLoss,
  type TrainingSet,
} from "../types.js";
import { placeOf } from "./split.js";
import type { TextStore } from "./text-store.js";
import type { JudgedDocument, QueryGroup } from "./training-data.js";

export interface TrainingSetOptions {
  readonly loss: TrainingLoss;
  /** Documents of an example of a listwise loss, at most; at least 2. Default 8. */
  readonly listSize?: number | undefined;
  /** Which negatives share a list. Default 0. */
  readonly seed?: number | undefined;
}

interface Place {
  readonly query: number;
  readonly documents: readonly JudgedDocument[];
}

/**
 * Examples of judged queries, for a loss. A pointwise one gets a pair an example: of a triplet two. A listwise one gets
 * a list for each relevant document, with documents of lower labels behind it; `kl`, which learns the teacher's order
 * and not the labels, gets all documents of a query, in lists of `listSize`.
 *
 * @throws {TrainingSetupError} when the data do not have what the loss needs.
 */
export function createTrainingSet(
  texts: TextStore,
  groups: readonly QueryGroup[],
  { loss, listSize = 8, seed = 0 }: TrainingSetOptions,
): TrainingSet {
  if (!Number.isSafeInteger(listSize) || listSize < 2 || listSize > 1000) {
    throw new TrainingSetupError({
      subject: "listSize",
      problem: `is ${listSize}`,
      fix: "Give a whole number of 2 to 1000.",
    });
  }
  if (needsTeacher(loss)) requireTeacher(groups, loss);
  const places = groups.flatMap((group) => placesOf(group, loss, listSize, seed));
  if (places.length === 0) {
    throw new TrainingSetupError({
      subject: `The loss ${loss}`,
      problem: "finds no query with documents of different labels",
      fix: "Mine negatives for the queries with crossrank mine, or give rows of both kinds.",
    });
  }
  if (!isListwise(loss)) requireBothKinds(places);
  const hash = createHash("sha256");
  for (const { query, documents } of places) {
    const said = documents.map(({ text, label, teacher }) => [texts.hashOf(text), label, teacher ?? null]);
    hash.update(`${JSON.stringify([texts.hashOf(query), said])}\n`);
  }
  return {
    size: places.length,
    sha256: hash.digest("hex"),
    read: async (numbers, signal) => {
      const examples: TrainingExample[] = [];
      for (const number of numbers) {
        signal?.throwIfAborted();
        const place = places[number];
        if (place === undefined) throw new RangeError(`There is no example ${number}.`);
        const documents: TrainingExample["documents"][number][] = [];
        for (const { text, label, teacher } of place.documents) {
          documents.push({ text: await texts.read(text), label, teacher });
        }
        examples.push({ query: await texts.read(place.query), documents });
      }
      return examples;
    },
  };
}

function placesOf(group: QueryGroup, loss: TrainingLoss, listSize: number, seed: number): Place[] {
  const { query, documents } = group;
  if (!isListwise(loss)) {
    return documents.flatMap((document) =>
      Array.from({ length: document.times }, () => ({ query, documents: [document] })),
    );
  }
  const random = createRandom(BigInt(`0x${placeOf(group.key, seed).slice(0, 15)}`));
  if (loss === "kl") {
    const lists: JudgedDocument[][] = [];
    const mixed = shuffle(documents, random.below);
    for (let at = 0; at < mixed.length; at += listSize) lists.push(mixed.slice(at, at + listSize));
    return lists.flatMap((list) => (list.length < 2 ? [] : [{ query, documents: bestFirst(list) }]));
  }
  return documents
    .filter(({ label }) => label > 0)
    .flatMap((positive) => {
      const lower = documents.filter(({ label }) => label < positive.label);
      const chosen = shuffle(lower, random.below).slice(0, listSize - 1);
      return chosen.length === 0 ? [] : [{ query, documents: [positive, ...bestFirst(chosen)] }];
    });
}

function bestFirst(documents: readonly JudgedDocument[]): JudgedDocument[] {
  return [...documents].sort((left, right) => right.label - left.label);
}

function shuffle<Value>(values: readonly Value[], below: (limit: number) => number): Value[] {
  const mixed = [...values];
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = below(last + 1);
    [mixed[last], mixed[other]] = [mixed[other] as Value, mixed[last] as Value];
  }
  return mixed;
}

function requireTeacher(groups: readonly QueryGroup[], loss: TrainingLoss): void {
  let without = 0;
  for (const { documents } of groups)
    without += documents.filter(({ teacher }) => teacher === undefined).length;
  if (without === 0) return;
  throw new TrainingSetupError({
    subject: `The loss ${loss}`,
    problem: `needs a teacher's score for each document, and ${without} have none`,
    fix: "Write lists with scores by crossrank mine --form lists, or name a teacher for training.",
  });
}

function requireBothKinds(places: readonly Place[]): void {
  const labels = places.map(({ documents }) => documents[0]?.label ?? 0);
  const [first] = labels;
  if (labels.some((label) => label !== first)) return;
  throw new TrainingSetupError({
    subject: "The data",
    problem: `gives all ${labels.length} pairs one label, ${first}, of which a model learns to say it always`,
    fix: "Mine negatives for the queries with crossrank mine, or give rows of both kinds.",
  });
}
