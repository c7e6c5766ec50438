import type { Task } from "@crossrank/eval";
import { CommandError } from "../../failure.js";
import { readLines } from "./read-lines.js";

/** A pair that somebody has judged. */
export interface JudgedPair {
  readonly query: string;
  readonly document: string;
  readonly relevant: boolean;
}

/**
 * Judged pairs of a JSONL file, or of standard input for `"-"`. Blank lines are none.
 *
 * @throws {CommandError} naming file and line; a file with one bad line gives no pairs at all.
 */
export async function readJudgedPairs(
  source: string,
  { relevantFrom, signal }: { readonly relevantFrom: number; readonly signal: AbortSignal },
): Promise<JudgedPair[]> {
  const { lines, name } = await readLines(source, signal);
  return lines.flatMap((line, index) =>
    line.trim() === "" ? [] : [readPair(line, `${name}:${index + 1}`, relevantFrom)],
  );
}

function readPair(line: string, place: string, relevantFrom: number): JudgedPair {
  const fail = (problem: string): CommandError =>
    new CommandError(
      `${place}: ${problem}; nothing was scored. Each line must be an object like {"query": "…", "document": "…", "relevance": 1}`,
    );
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw fail("not valid JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw fail("not a JSON object");
  const entries = value as Readonly<Record<string, unknown>>;
  const one = (names: readonly string[]): unknown => {
    const given = names.filter((name) => entries[name] !== undefined);
    if (given.length > 1) throw fail(`both "${given[0]}" and "${given[1]}"`);
    if (given.length === 0) throw fail(`no "${names[0]}"`);
    return entries[given[0] as string];
  };
  const query = one(["query"]);
  if (typeof query !== "string" || query.trim() === "") throw fail('"query" is no text');
  const document = one(["document", "text"]);
  const text = typeof document === "object" && document !== null ? Reflect.get(document, "text") : document;
  if (typeof text !== "string") throw fail('"document" is neither a text nor an object with one');
  const grade = one(["relevance", "relevant", "label"]);
  const isGrade = typeof grade === "boolean" || (typeof grade === "number" && Number.isFinite(grade));
  if (!isGrade) throw fail('"relevance" is neither a number nor true or false');
  return { query, document: text, relevant: Number(grade) >= relevantFrom };
}

/** Judged pairs of a task: those of its judgements whose documents are there, and the rest of its candidates on request. */
export async function judgedPairsOf(
  task: Task,
  {
    limit,
    relevantFrom,
    unjudged,
    signal,
  }: {
    readonly limit: number | undefined;
    readonly relevantFrom: number;
    readonly unjudged: "left-out" | "not-relevant";
    readonly signal: AbortSignal;
  },
): Promise<JudgedPair[]> {
  const pairs: JudgedPair[] = [];
  for (const [id, query] of [...task.queries].slice(0, limit)) {
    signal.throwIfAborted();
    const judged = task.qrels.get(id) ?? new Map<string, number>();
    const others = unjudged === "left-out" ? [] : (task.candidates?.queries.get(id)?.documents ?? []);
    const documents = [...new Set([...judged.keys(), ...others])].filter((one) => task.documents.has(one));
    const texts = await task.documents.texts(documents);
    for (const [index, document] of documents.entries()) {
      const relevant = (judged.get(document) ?? 0) >= relevantFrom;
      pairs.push({ query, document: texts[index] as string, relevant });
    }
  }
  return pairs;
}
