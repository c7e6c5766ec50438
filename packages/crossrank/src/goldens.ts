import { readFile } from "node:fs/promises";
import { CrossrankError, type ModelFiles } from "@crossrank/core";
import { type Goldens, readGoldens } from "@crossrank/core/verify";
import { CommandError, describeSystemError } from "./failure.js";

/** Goldens, and where they are from. */
export interface FoundGoldens {
  readonly goldens: Goldens;
  /** A file, or the address of a publication. */
  readonly source: string;
  readonly note?: string | undefined;
}

export interface GoldensOptions {
  /** Path of a golden.json. */
  readonly goldens?: string;
  /** Repository whose published scores to use. */
  readonly published?: string;
}

/** One entry of published-goldens.json, which scripts/convert-published-goldens.mjs writes. */
interface PublishedSource {
  readonly name: string;
  readonly url: string;
  readonly note: string;
  readonly dtype: string;
  readonly measure: "logit" | "score";
  /** Query and document. */
  readonly pairs: readonly (readonly [string, string])[];
  /** By repository id; one number a pair. */
  readonly models: Readonly<
    Record<string, { readonly tolerance: number; readonly expected: readonly number[] }>
  >;
}

/**
 * The goldens to hold a model against: those asked for, else its own golden.json, else all that are published for its
 * repository id.
 *
 * @throws {CommandError} when there are none.
 */
export async function findGoldens(
  model: ModelFiles,
  options: GoldensOptions,
  signal: AbortSignal,
): Promise<readonly FoundGoldens[]> {
  const { goldens: path, published: id } = options;
  if (path !== undefined) return [{ goldens: await readGoldensFile(path, signal), source: path }];
  if (id !== undefined) {
    const found = await publishedGoldens(id);
    if (found.length > 0) return found;
    throw new CommandError(
      `no scores are published for --published ${id}. Known: ${(await publishedModels()).join(", ")}`,
    );
  }
  const own = await readGoldens(model, { signal });
  if (own !== undefined) return [{ goldens: own, source: "golden.json" }];
  // A folder has no repository id, and its name says nothing.
  const known = model.revision === undefined ? [] : await publishedGoldens(model.id);
  if (known.length > 0) return known;
  throw new CommandError(
    `${model.id} has no golden.json to be held against, and no scores are published for it. Put one beside its files, ` +
      "pass one with --goldens FILE (README.md of crossrank describes it), or name the repository that it was " +
      "converted from with --published ID",
  );
}

/**
 * A repository's id as the hub tells it apart: without its case, and under the name that it has today. In 2025
 * `cross-encoder/ms-marco-MiniLM-L-12-v2` became `…-L12-v2`, and so did all of that owner; the hub leads from the old name
 * to the new one.
 */
function todaysId(id: string): string {
  const plain = id.toLowerCase();
  return plain.startsWith("cross-encoder/") ? plain.replace(/-l-(\d+)(?=-|$)/g, "-l$1") : plain;
}

async function publishedGoldens(id: string): Promise<FoundGoldens[]> {
  const wanted = todaysId(id);
  return (await publishedSources()).flatMap(({ name, url, note, dtype, measure, pairs, models }) =>
    Object.entries(models)
      .filter(([model]) => todaysId(model) === wanted)
      .map(([, { tolerance, expected }]): FoundGoldens => {
        const cases = pairs.map(([query, document], index) => ({
          name: `${index + 1}`,
          query,
          document,
          expected: { "document-only": { [measure]: expected[index] } },
        }));
        return {
          goldens: { specificationVersion: "1", reference: { name, dtype }, tolerance, cases },
          source: url,
          note,
        };
      }),
  );
}

async function publishedModels(): Promise<string[]> {
  const ids = (await publishedSources()).flatMap(({ models }) => Object.keys(models));
  return [...new Set(ids)].sort();
}

async function publishedSources(): Promise<readonly PublishedSource[]> {
  const { default: sources } = await import("./published-goldens.json", { with: { type: "json" } });
  return sources as unknown as readonly PublishedSource[];
}

/** Core reads and checks a model's golden.json; this file is given to it as one. */
async function readGoldensFile(path: string, signal: AbortSignal): Promise<Goldens> {
  let text: string;
  try {
    text = (await readFile(path, { encoding: "utf8", signal })).replace(/^\ufeff/, "");
  } catch (cause) {
    signal.throwIfAborted();
    throw new CommandError(
      `cannot read --goldens ${path}: ${describeSystemError(cause)}. Pass a file in the form of a golden.json`,
      { cause },
    );
  }
  const only = async (): Promise<never> => {
    throw new TypeError("goldens are text");
  };
  const files: ModelFiles = {
    id: path,
    revision: undefined,
    list: async () => [{ path: "golden.json", size: text.length }],
    readText: async () => text,
    readBytes: only,
    localPath: only,
  };
  try {
    return (await readGoldens(files)) as Goldens;
  } catch (cause) {
    if (!CrossrankError.isInstance(cause)) throw cause;
    throw new CommandError(cause.message.replace(`${path}: golden.json`, `--goldens ${path}`), { cause });
  }
}
