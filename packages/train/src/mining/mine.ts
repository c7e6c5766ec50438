import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, rm, stat, truncate } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { InvalidInputError } from "@crossrank/core";
import { excludingOthers, writeInWhole, writeWholeFile } from "@crossrank/disk";
import { createRandom, searchBm25 } from "@crossrank/eval";
import { placeOf } from "../data/split.js";
import type { TextStore } from "../data/text-store.js";
import type { QueryGroup, TrainingData } from "../data/training-data.js";
import { MiningStateError } from "../errors.js";
import type { ScorePairs } from "../types.js";

/** A model that says how relevant a candidate is. */
export interface Teacher {
  /** Model, artifact and backend: what the scores depend on. */
  readonly identity: string;
  /** Logits, or cosines of a bi-encoder; NaN for a pair that cannot be scored. */
  readonly score: ScorePairs;
}

export interface MiningOptions {
  /** Judged queries: their relevant documents are never negatives. */
  readonly data: TrainingData;
  /** Documents among which negatives are looked for. */
  readonly corpus: TextStore;
  /** Undefined: the candidates' order is BM25's, and nothing is dropped as a false negative by its score. */
  readonly teacher: Teacher | undefined;
  /** The finished file; what is not finished lies beside it, as `<output>.part`. */
  readonly output: string;
  /**
   * `triplets`: a row for each negative. `lists`: a row for each query, with the teacher's scores, for distillation.
   */
  readonly form?: "triplets" | "lists" | undefined;
  /** Negatives of a query, at most. Default 4. */
  readonly negatives?: number | undefined;
  /** Candidates that BM25 gives the teacher. Default 50. */
  readonly depth?: number | undefined;
  /**
   * A candidate whose score comes within so much of the weakest relevant document's is likely relevant itself, and is
   * dropped. In the teacher's unit. Default 1 (logits).
   */
  readonly margin?: number | undefined;
  /** Candidates at the top that are left out whatever their score. Default 0. */
  readonly skipTop?: number | undefined;
  /** `hardest` (default): the best scored of what is left. `random`: drawn from it. */
  readonly pick?: "hardest" | "random" | undefined;
  /** 0 to 2^32 − 1. Default 0. */
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: MiningProgress) => void) | undefined;
}

export interface MiningProgress {
  readonly phase: "searching" | "scoring";
  /** Queries done, of how many. */
  readonly done: number;
  readonly total: number;
  readonly secondsLeft: number | undefined;
}

export interface MiningResult {
  /** Queries that have a relevant document. */
  readonly queries: number;
  readonly rows: number;
  readonly negatives: number;
  /** Candidates that were dropped since their score says that they are relevant. */
  readonly likelyRelevant: number;
  /** Candidates that are a relevant document of the query by their text. */
  readonly relevant: number;
  /** Queries for which no candidate was left. */
  readonly without: number;
  /** Queries that the teacher cannot score, since they fill it. */
  readonly unscored: number;
  /** Queries that an earlier run had done. */
  readonly resumed: number;
}

/** Queries that are searched together: the corpus is read once for each such part. */
const searchedTogether = 2000;
/** Pairs that a teacher gets at once. */
const chunk = 64;

interface Entry {
  readonly key: string;
  readonly rows: readonly string[];
  readonly negatives: number;
  readonly likelyRelevant: number;
  readonly relevant: number;
  readonly unscored: boolean;
}

/**
 * Looks for documents that are near to relevant and are not: BM25's candidates of each query, scored by a teacher. The
 * same inputs, options and seed give the same file, also when the work was stopped or killed on the way and goes on.
 *
 * @throws {InvalidInputError} for an option out of its range.
 * @throws {MiningStateError} when unfinished work of other inputs lies beside the output, or another process does it.
 * @throws the signal's reason after an abort; what was done is kept.
 */
export async function mineNegatives(options: MiningOptions): Promise<MiningResult> {
  const settings = checked(options);
  const path = resolve(`${options.output}.part`);
  await mkdir(dirname(path), { recursive: true });
  const busy = (): Error => new MiningStateError({ path, reason: "locked" });
  return excludingOthers(path, 0, busy, () => mineAlone(options, settings));
}

async function mineAlone(options: MiningOptions, settings: Settings): Promise<MiningResult> {
  const { data, corpus, teacher, output, signal, onProgress } = options;
  const groups = data.groups.filter(({ documents }) => documents.some(({ label }) => label > 0));
  const state = await State.open(output, identityOf(options, settings, groups));
  try {
    const began = performance.now();
    const resumed = state.done;
    for (let first = resumed; first < groups.length; first += searchedTogether) {
      const part = groups.slice(first, first + searchedTogether);
      const queries = new Map<string, string>();
      for (const { key, query } of part) queries.set(key, await data.texts.read(query));
      onProgress?.({ phase: "searching", done: first, total: groups.length, secondsLeft: undefined });
      // Relevant documents are among the best, and make room for others.
      const depth = settings.depth + 10;
      const found = await searchBm25(corpus, queries, { depth, signal });
      for (const [index, group] of part.entries()) {
        signal?.throwIfAborted();
        const candidates = found.get(group.key)?.documents ?? [];
        const query = queries.get(group.key) ?? "";
        await state.add(await mineOne({ group, query, candidates, data, corpus, teacher, settings, signal }));
        const done = first + index + 1;
        const each = (performance.now() - began) / (done - resumed);
        const secondsLeft = (each * (groups.length - done)) / 1000;
        onProgress?.({ phase: "scoring", done, total: groups.length, secondsLeft });
      }
    }
    return { ...(await state.finish()), queries: groups.length, resumed };
  } finally {
    await state.close();
  }
}

interface Settings {
  readonly form: "triplets" | "lists";
  readonly negatives: number;
  readonly depth: number;
  readonly margin: number;
  readonly skipTop: number;
  readonly pick: "hardest" | "random";
  readonly seed: number;
}

function checked(options: MiningOptions): Settings {
  const {
    form = "triplets",
    negatives = 4,
    depth = 50,
    margin = 1,
    skipTop = 0,
    pick = "hardest",
    seed = 0,
  } = options;
  const whole = (name: string, value: number, least: number, most: number): void => {
    if (Number.isSafeInteger(value) && value >= least && value <= most) return;
    throw new InvalidInputError(name, `is ${value}, and must be a whole number of ${least} to ${most}`);
  };
  whole("negatives", negatives, 1, 1000);
  whole("depth", depth, 1, 10_000);
  whole("skipTop", skipTop, 0, 10_000);
  whole("seed", seed, 0, 2 ** 32 - 1);
  if (!(margin >= 0 && margin <= 1e6)) {
    throw new InvalidInputError("margin", `is ${margin}, and must be a number of at least 0`);
  }
  if (form === "lists" && options.teacher === undefined) {
    throw new InvalidInputError("form", "is lists, which hold a teacher's scores: name a teacher");
  }
  return { form, negatives, depth, margin, skipTop, pick, seed };
}

async function mineOne(facts: {
  readonly group: QueryGroup;
  readonly query: string;
  readonly candidates: readonly string[];
  readonly data: TrainingData;
  readonly corpus: TextStore;
  readonly teacher: Teacher | undefined;
  readonly settings: Settings;
  readonly signal: AbortSignal | undefined;
}): Promise<Entry> {
  const { group, query, data, corpus, teacher, settings, signal } = facts;
  const { form, negatives: wanted, depth, margin, skipTop, pick, seed } = settings;
  const judged: { text: string; label: number }[] = [];
  for (const { text, label } of group.documents) judged.push({ text: await data.texts.read(text), label });
  const positives = judged.filter(({ label }) => label > 0).map(({ text }) => text);
  const plain = positives.map(plainOf);
  let relevant = 0;
  const others: string[] = [];
  const seen = new Set<string>();
  for (const text of await corpus.texts(facts.candidates)) {
    const own = plainOf(text);
    if (plain.some((positive) => isSame(own, positive))) relevant += 1;
    else if (!seen.has(own) && own !== plainOf(query) && others.length < depth) others.push(text);
    seen.add(own);
  }
  const scores = await scoresOf(teacher, query, [...positives, ...others], signal);
  const ofPositives = scores?.slice(0, positives.length);
  const ofOthers = scores?.slice(positives.length);
  const unscored = ofPositives?.some(Number.isNaN) ?? false;
  // The weakest: what a judge has called relevant is relevant, whatever the teacher thinks of it.
  const limit = ofPositives === undefined ? Number.POSITIVE_INFINITY : Math.min(...ofPositives) - margin;
  const ranked = others
    .flatMap((text, place) => {
      const score = ofOthers?.[place] ?? -place;
      return Number.isNaN(score) ? [] : [{ text, place, score }];
    })
    .sort((left, right) => right.score - left.score || left.place - right.place);
  const left = ranked
    .slice(skipTop)
    .filter(({ score }) => ofOthers === undefined || (!unscored && score < limit));
  const likelyRelevant = unscored ? 0 : Math.max(0, ranked.length - skipTop) - left.length;
  const chosen = pick === "hardest" ? left.slice(0, wanted) : draw(left, wanted, group.key, seed);
  const entry = { key: group.key, negatives: chosen.length, likelyRelevant, relevant, unscored };
  if (chosen.length === 0) return { ...entry, rows: [] };
  if (form === "lists") {
    const documents = [
      ...positives.map((text, index) => ({
        text,
        label: labelOf(judged, text),
        teacher: ofPositives?.[index],
      })),
      ...chosen.map(({ text, score }) => ({ text, label: 0, teacher: score })),
    ];
    return { ...entry, rows: [JSON.stringify({ query, documents })] };
  }
  const rows = positives.flatMap((positive) =>
    chosen.map(({ text }) => JSON.stringify({ query, positive, negative: text })),
  );
  return { ...entry, rows };
}

function labelOf(judged: readonly { text: string; label: number }[], text: string): number {
  return judged.find((one) => one.text === text)?.label ?? 1;
}

async function scoresOf(
  teacher: Teacher | undefined,
  query: string,
  documents: readonly string[],
  signal: AbortSignal | undefined,
): Promise<number[] | undefined> {
  if (teacher === undefined) return undefined;
  const scores: number[] = [];
  for (let at = 0; at < documents.length; at += chunk) {
    const pairs = documents.slice(at, at + chunk).map((document) => ({ query, document }));
    for (const score of await teacher.score(pairs, signal)) {
      if (Math.abs(score) === Number.POSITIVE_INFINITY) {
        throw new InvalidInputError("teacher", `gives ${score} for a pair: choose another model`);
      }
      scores.push(score);
    }
  }
  return scores;
}

/** What two copies of one text have in common: letters without their case and spacing. */
function plainOf(text: string): string {
  return text.normalize("NFKC").toLowerCase().replace(/\s+/gu, " ").trim();
}

/** Letters from which on one text that begins with another is taken as a longer cut of it. */
const leastCut = 50;

/** Also where one is the beginning of the other: collections cut their passages. */
function isSame(left: string, right: string): boolean {
  if (left === right) return true;
  const [shorter, longer] = left.length < right.length ? [left, right] : [right, left];
  return shorter.length >= leastCut && longer.startsWith(shorter);
}

/** By the query's own numbers: which queries were done before does not matter. */
function draw<Value>(values: readonly Value[], count: number, key: string, seed: number): Value[] {
  const random = createRandom(BigInt(`0x${placeOf(key, seed).slice(0, 15)}`));
  const mixed = values.map((value, place) => ({ value, place }));
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = random.below(last + 1);
    const kept = mixed[last];
    mixed[last] = mixed[other] as (typeof mixed)[number];
    mixed[other] = kept as (typeof mixed)[number];
  }
  return mixed
    .slice(0, count)
    .sort((left, right) => left.place - right.place)
    .map(({ value }) => value);
}

/** Of everything that the file depends on, lower-case hex. */
function identityOf(
  { data, corpus, teacher }: MiningOptions,
  settings: Settings,
  groups: readonly QueryGroup[],
): string {
  const hash = createHash("sha256").update(
    JSON.stringify([settings, teacher?.identity ?? null, corpus.size]),
  );
  for (const id of corpus.ids()) hash.update(corpus.hashOf(Number(id)));
  for (const { query, documents } of groups) {
    const said = documents.map(({ text, label }) => [data.texts.hashOf(text), label]);
    hash.update(JSON.stringify([data.texts.hashOf(query), said]));
  }
  return hash.digest("hex");
}

/**
 * What is done, a line a query, beside the output. A killed process leaves a last line that is cut: it is taken off,
 * and its query done again.
 */
class State {
  readonly #output: string;
  readonly #part: string;
  readonly #file: Awaited<ReturnType<typeof open>>;
  #closed = false;
  done: number;

  private constructor(output: string, part: string, file: Awaited<ReturnType<typeof open>>, done: number) {
    this.#output = output;
    this.#part = part;
    this.#file = file;
    this.done = done;
  }

  static async open(output: string, identity: string): Promise<State> {
    const part = `${output}.part`;
    const header = `${JSON.stringify({ crossrank: "mining", identity })}\n`;
    if (!(await exists(part))) await writeWholeFile(part, header);
    let first: string | undefined;
    let done = 0;
    let end = 0;
    for await (const { text, bytes } of linesOf(part)) {
      if (first === undefined) first = text;
      else done += 1;
      end += bytes;
    }
    if (first === undefined || `${first}\n` !== header) throw new MiningStateError({ path: part });
    if (end < (await stat(part)).size) await truncate(part, end);
    return new State(output, part, await open(part, "a"), done);
  }

  async add(entry: Entry): Promise<void> {
    await this.#file.writeFile(`${JSON.stringify(entry)}\n`);
    this.done += 1;
  }

  /** Writes the output in whole, and takes away what is not needed any more. */
  async finish(): Promise<Omit<MiningResult, "queries" | "resumed">> {
    const sums = { rows: 0, negatives: 0, likelyRelevant: 0, relevant: 0, without: 0, unscored: 0 };
    const part = this.#part;
    async function* rows(): AsyncGenerator<string> {
      let isFirst = true;
      for await (const { text } of linesOf(part)) {
        if (isFirst) {
          isFirst = false;
          continue;
        }
        const entry = readEntry(text, part);
        sums.rows += entry.rows.length;
        sums.negatives += entry.negatives;
        sums.likelyRelevant += entry.likelyRelevant;
        sums.relevant += entry.relevant;
        if (entry.unscored) sums.unscored += 1;
        if (entry.negatives === 0) sums.without += 1;
        yield entry.rows.map((row) => `${row}\n`).join("");
      }
    }
    await writeInWhole(this.#output, rows());
    await this.close();
    await rm(part, { force: true });
    return sums;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#file.close();
  }
}

/** @throws {MiningStateError} */
function readEntry(text: string, path: string): Entry {
  try {
    const entry: Entry = JSON.parse(text);
    if (Array.isArray(entry.rows) && Number.isFinite(entry.negatives)) return entry;
  } catch (cause) {
    throw new MiningStateError({ path, reason: "damaged" }, { cause });
  }
  throw new MiningStateError({ path, reason: "damaged" });
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return false;
      throw error;
    },
  );
}

/** Lines that have an end; what a killed process has begun is none. */
async function* linesOf(path: string): AsyncGenerator<{ readonly text: string; readonly bytes: number }> {
  let rest: Buffer[] = [];
  for await (const piece of createReadStream(path)) {
    const chunkOf = piece as Buffer;
    let at = 0;
    for (let end = chunkOf.indexOf(0x0a); end >= 0; end = chunkOf.indexOf(0x0a, at)) {
      const bytes = Buffer.concat([...rest, chunkOf.subarray(at, end)]);
      rest = [];
      at = end + 1;
      yield { text: bytes.toString("utf8"), bytes: bytes.length + 1 };
    }
    if (at < chunkOf.length) rest.push(Buffer.from(chunkOf.subarray(at)));
  }
}
