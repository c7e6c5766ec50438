import { readFile } from "node:fs/promises";
import type { RunComparisonOptions } from "@crossrank/eval";
import { CommandError, describeSystemError } from "../../failure.js";

type Material = Pick<RunComparisonOptions, "queries" | "documents" | "pairs" | "relevant">;

/**
 * A file of pairs. Ids are positions: `1`, `2` … of queries and of documents, in the order in which each text first
 * stands.
 *
 * @throws {CommandError} naming the line.
 */
export async function readPairs(path: string, signal: AbortSignal): Promise<Material> {
  let text: string;
  try {
    text = (await readFile(path, { encoding: "utf8", signal })).replace(/^\ufeff/, "");
  } catch (cause) {
    signal.throwIfAborted();
    throw new CommandError(`cannot read --pairs ${path}: ${describeSystemError(cause)}`, { cause });
  }
  const queries = new Numbers();
  const documents = new Numbers();
  const pairs = new Map<string, string[]>();
  const relevant = new Map<string, string[]>();
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const row = parseRow(line, `${path}:${index + 1}`);
    const query = queries.idOf(row.query);
    const list = pairs.get(query) ?? [];
    pairs.set(query, list);
    for (const document of row.documents) {
      const id = documents.idOf(document);
      if (!list.includes(id)) list.push(id);
      if (!row.relevant) continue;
      const right = relevant.get(query) ?? [];
      relevant.set(query, right);
      if (!right.includes(id)) right.push(id);
    }
  }
  if (pairs.size === 0) throw new CommandError(`--pairs ${path} holds no pairs`);
  return { queries: queries.texts, documents: documents.texts, pairs, relevant };
}

/** Numbers texts as they come. */
class Numbers {
  readonly texts = new Map<string, string>();
  readonly #ids = new Map<string, string>();

  idOf(text: string): string {
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    const id = String(this.#ids.size + 1);
    this.#ids.set(text, id);
    this.texts.set(id, text);
    return id;
  }
}

function parseRow(
  line: string,
  place: string,
): { readonly query: string; readonly documents: readonly string[]; readonly relevant: boolean } {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (cause) {
    throw new CommandError(`${place}: is not JSON (${(cause as Error).message})`, { cause });
  }
  const row = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const { query, document, documents, relevant } = row;
  if (typeof query !== "string" || query.trim() === "") {
    throw new CommandError(`${place}: needs a "query", a text that is not empty`);
  }
  const list = document === undefined ? documents : [document];
  if (!Array.isArray(list) || list.length === 0 || !list.every((one) => typeof one === "string")) {
    throw new CommandError(`${place}: needs a "document", a text, or "documents", a list of texts`);
  }
  if (relevant !== undefined && (typeof relevant !== "boolean" || document === undefined)) {
    throw new CommandError(`${place}: "relevant" is true or false, beside one "document"`);
  }
  return { query, documents: list as string[], relevant: relevant === true };
}
