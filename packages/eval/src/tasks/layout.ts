import type { ModelFile } from "@crossrank/core";
import type { DatasetCard } from "./dataset-card.js";
import { TaskLayoutError } from "./errors.js";
import { formatOf } from "./rows.js";
import type { TaskLayout } from "./task.js";

/** Which files make up a task, by path. */
export interface Layout {
  readonly layout: TaskLayout;
  readonly split: string | undefined;
  readonly subset: string | undefined;
  /** Rows of query, positives and negatives; then there are no other parts. */
  readonly rows: readonly string[];
  readonly documents: readonly string[];
  readonly queries: readonly string[];
  readonly qrels: readonly string[];
  readonly candidates: readonly string[];
}

export interface LayoutWishes {
  readonly split?: string | undefined;
  readonly subset?: string | undefined;
  readonly parts?: TaskParts | undefined;
}

/** Paths of a task's parts, relative to its root, where their names do not tell. */
export interface TaskParts {
  readonly documents: string;
  readonly queries: string;
  readonly qrels?: string | undefined;
  readonly candidates?: string | undefined;
}

/** Config name → split → paths. */
type Configs = ReadonlyMap<string, ReadonlyMap<string, readonly string[]>>;

const lookedFor = [
  "a BEIR folder: corpus.jsonl, queries.jsonl, qrels/<split>.tsv, optional candidates.trec",
  "an MTEB retrieval dataset: the configs corpus, queries and qrels (or default), optional top_ranked, in its README.md " +
    "or as folders, jsonl or parquet",
  "an MTEB reranking dataset: <split>.jsonl or <split>*.parquet with query, positive and negative",
  "a TREC run with text: topics and docs (or queries and corpus) as jsonl or tsv, with one *.trec or *.run file, " +
    "qrels.txt, or both; all but parquet may end in .gz",
] as const;

const dataFormats: ReadonlySet<string> = new Set(["jsonl", "json", "ndjson", "parquet", "tsv"]);

/**
 * Finds a task's parts by the names of its files, the card's `configs` first.
 * @throws {TaskLayoutError} that lists what was looked for and what is there.
 */
export function findLayout(
  task: string,
  files: readonly ModelFile[],
  card: DatasetCard | undefined,
  wishes: LayoutWishes,
): Layout {
  const paths = files.map((file) => file.path).filter((path) => !/(?:^|\/)\./.test(path));
  if (wishes.parts !== undefined) return givenLayout(task, paths, wishes, wishes.parts);
  const finder = new LayoutFinder(task, paths, wishes);
  const declared = card === undefined ? undefined : resolvePatterns(card.configs, paths);
  return (
    (declared === undefined ? undefined : finder.retrieval(declared)) ??
    finder.retrieval(configsOf(paths)) ??
    finder.trec() ??
    (declared === undefined ? undefined : finder.reranking(declared)) ??
    finder.reranking(configsOf(paths)) ??
    finder.fail()
  );
}

function givenLayout(task: string, paths: readonly string[], wishes: LayoutWishes, parts: TaskParts): Layout {
  for (const path of Object.values(parts) as (string | undefined)[]) {
    if (path === undefined || paths.includes(path)) continue;
    throw new TaskLayoutError({
      task,
      problem: `has no file ${path}`,
      expected: [path],
      found: shortened(paths),
      fix: "Check the paths in options.parts.",
    });
  }
  const one = (path: string | undefined): string[] => (path === undefined ? [] : [path]);
  return {
    layout: "trec",
    split: wishes.split,
    subset: undefined,
    rows: [],
    documents: [parts.documents],
    queries: [parts.queries],
    qrels: one(parts.qrels),
    candidates: one(parts.candidates),
  };
}

class LayoutFinder {
  readonly #task: string;
  readonly #paths: readonly string[];
  readonly #wishes: LayoutWishes;

  constructor(task: string, paths: readonly string[], wishes: LayoutWishes) {
    this.#task = task;
    this.#paths = paths;
    this.#wishes = wishes;
  }

  /** Config names and the choice of splits are those of MTEB's `RetrievalDatasetLoader`. */
  retrieval(configs: Configs): Layout | undefined {
    const { subset } = this.#wishes;
    const plain = subset === undefined || subset === "default";
    const name = (part: string): string => (plain ? part : `${subset}-${part}`);
    const corpus = configs.get(name("corpus"));
    const queries = configs.get(name("queries")) ?? configs.get("query");
    const qrels = plain ? (configs.get("qrels") ?? configs.get("default")) : configs.get(name("qrels"));
    if (corpus === undefined) {
      const subsets = [...configs.keys()].flatMap((config) => /^(.+)-corpus$/.exec(config)?.[1] ?? []);
      if (subsets.length > 0) throw this.#noSubset(subsets);
    }
    if (corpus === undefined || queries === undefined || qrels === undefined) return undefined;
    if (configs.has(name("instruction")) || configs.has(name("instructions"))) throw this.#instructions();
    const split = this.#chooseSplit("qrels", qrels, undefined);
    const topRanked = configs.get(name("top_ranked"));
    const runs = this.#paths.filter(isRunFile);
    if (topRanked === undefined && runs.length > 1) throw this.#severalRuns(runs);
    const isBeir = [...corpus.values()].flat().some((path) => /^corpus\.jsonl(?:\.gz)?$/.test(path));
    return {
      layout: isBeir && topRanked === undefined ? "beir" : "mteb-retrieval",
      split,
      subset: plain ? undefined : subset,
      rows: [],
      documents: corpus.get(this.#chooseSplit("corpus", corpus, split)) ?? [],
      queries: queries.get(this.#chooseSplit("queries", queries, split)) ?? [],
      qrels: qrels.get(split) ?? [],
      candidates: topRanked?.get(this.#chooseSplit("top_ranked", topRanked, split)) ?? runs,
    };
  }

  trec(): Layout | undefined {
    const runs = this.#paths.filter(isRunFile);
    const documents = this.#only(
      /^(?:docs|documents|collection|corpus)\.(?:jsonl|ndjson|json|tsv)(?:\.gz)?$/,
    );
    const queries = this.#only(/^(?:topics|queries)\.(?:jsonl|ndjson|json|tsv)(?:\.gz)?$/);
    const qrels = this.#only(/^(?:qrels(?:\.(?:txt|tsv|trec|qrels|jsonl))?|[^/]+\.qrels)(?:\.gz)?$/);
    if (documents === undefined || queries === undefined) return undefined;
    if (runs.length === 0 && qrels === undefined) return undefined;
    if (runs.length > 1) throw this.#severalRuns(runs);
    return {
      layout: "trec",
      split: this.#wishes.split,
      subset: undefined,
      rows: [],
      documents: [documents],
      queries: [queries],
      qrels: qrels === undefined ? [] : [qrels],
      candidates: runs,
    };
  }

  /** Whether the rows are those of a reranking dataset shows when they are read. */
  reranking(configs: Configs): Layout | undefined {
    const { subset } = this.#wishes;
    const candidates = [...configs.keys()].filter((config) => !isPart(config));
    const name = subset ?? (candidates.length === 1 ? candidates[0] : "default");
    const rows = name === undefined ? undefined : configs.get(name);
    if (rows === undefined || name === undefined) {
      if (candidates.length > 0) throw this.#noSubset(candidates);
      return undefined;
    }
    const split = this.#chooseSplit("rows", rows, undefined);
    return {
      layout: "mteb-reranking",
      split,
      subset: name === "default" ? undefined : name,
      rows: rows.get(split) ?? [],
      documents: [],
      queries: [],
      qrels: [],
      candidates: [],
    };
  }

  fail(): never {
    throw new TaskLayoutError({
      task: this.#task,
      problem: "is of no known layout",
      expected: lookedFor,
      found: shortened(this.#paths),
      fix: "Bring the files into one of these, or name them in options.parts.",
    });
  }

  /**
   * The split asked for; without a wish `test`; else the only one there is. The corpus and the queries of many
   * datasets have one split of another name, which is then the one.
   */
  #chooseSplit(part: string, splits: ReadonlyMap<string, unknown>, preferred: string | undefined): string {
    const wished = preferred ?? this.#wishes.split ?? "test";
    if (splits.has(wished)) return wished;
    const [only, ...others] = [...splits.keys()];
    const mayDiffer = preferred !== undefined || this.#wishes.split === undefined;
    if (only !== undefined && others.length === 0 && mayDiffer) return only;
    throw new TaskLayoutError({
      task: this.#task,
      problem: `has no split ${wished} of its ${part}`,
      expected: [`the split ${wished}`],
      found: [...splits.keys()],
      fix: "Choose one with options.split.",
    });
  }

  #only(pattern: RegExp): string | undefined {
    const found = this.#paths.filter((path) => pattern.test(path));
    return found.length === 1 ? found[0] : undefined;
  }

  #noSubset(subsets: readonly string[]): TaskLayoutError {
    const { subset } = this.#wishes;
    return new TaskLayoutError({
      task: this.#task,
      problem: subset === undefined ? "has several subsets" : `has no subset ${subset}`,
      expected: [subset === undefined ? "a choice of one" : `the subset ${subset}`],
      found: shortened(subsets),
      fix: "Choose one with options.subset.",
    });
  }

  #severalRuns(runs: readonly string[]): TaskLayoutError {
    return new TaskLayoutError({
      task: this.#task,
      problem: "has several run files",
      expected: ["one *.trec or *.run file"],
      found: shortened(runs),
      fix: "Choose one with options.parts, or leave one in the folder.",
    });
  }

  #instructions(): TaskLayoutError {
    return new TaskLayoutError({
      task: this.#task,
      problem: "has instructions for its queries, which are not supported",
      expected: ["a task without the config instruction"],
      found: ["instruction"],
      fix: "Scores without the instructions would not be this task's: choose another task.",
    });
  }
}

/** Names of a retrieval dataset's configs, with or without the subset before them. */
function isPart(config: string): boolean {
  return /^(?:.+-)?(?:corpus|queries|query|qrels|top_ranked|instructions?)$/.test(config);
}

const splitNames =
  /^(?:train(?:ing)?|test(?:ing)?|dev(?:elopment)?|val(?:id(?:ation)?)?|eval(?:uation)?)(?:[-_.].*)?$/;

function isRunFile(path: string): boolean {
  return /^[^/]+\.(?:trec|run)(?:\.gz)?$/.test(path) && !/^qrels\./.test(path);
}

/**
 * Configs by the names of files alone: `<config>/<split>.jsonl`, `<config>/<split>-00000-of-00003.parquet`, and for
 * files of the root `corpus.jsonl`, `queries.jsonl` (one config each) or `<split>.jsonl` of the config `default`, as
 * files in `data/` are.
 */
function configsOf(paths: readonly string[]): Configs {
  const configs = new Map<string, Map<string, string[]>>();
  for (const path of [...paths].sort()) {
    if (!dataFormats.has(formatOf(path))) continue;
    const slash = path.lastIndexOf("/");
    const folder = slash < 0 ? "" : path.slice(0, slash);
    const stem = path
      .slice(slash + 1)
      .replace(/\.gz$/, "")
      .replace(/\.[^.]*$/, "")
      .replace(/-\d{5}-of-\d{5}(?:-[0-9a-f]+)?$/, "");
    const own = folder === "" && isPart(stem) && !stem.endsWith("qrels");
    const config = own ? stem : folder === "" || folder === "data" ? "default" : folder;
    // Other files of the root (settings, descriptions) are no splits.
    if (config === "default" && !splitNames.test(stem)) continue;
    const splits = configs.get(config) ?? new Map<string, string[]>();
    configs.set(config, splits);
    splits.set(stem, [...(splits.get(stem) ?? []), path]);
  }
  return configs;
}

/** Splits whose patterns match nothing are left out; each file counts once, in path order. */
function resolvePatterns(configs: Configs, paths: readonly string[]): Configs {
  const resolved = new Map<string, Map<string, string[]>>();
  for (const [name, splits] of configs) {
    for (const [split, patterns] of splits) {
      const matchers = patterns.map(globMatcher);
      const matched = paths
        .filter((path) => dataFormats.has(formatOf(path)) && matchers.some((matcher) => matcher.test(path)))
        .sort();
      if (matched.length === 0) continue;
      const found = resolved.get(name) ?? new Map<string, string[]>();
      resolved.set(name, found);
      found.set(split, matched);
    }
  }
  return resolved;
}

/** `*` and `?` within a path's segment, `**` across them; what else a pattern may hold is meant literally. */
function globMatcher(pattern: string): RegExp {
  const source = pattern.replace(/\*\*\/?|\*|\?|[\\^$+.()|[\]{}]/g, (part) => {
    if (part === "**/") return "(?:.*/)?";
    if (part === "**") return ".*";
    if (part === "*") return "[^/]*";
    if (part === "?") return "[^/]";
    return `\\${part}`;
  });
  return new RegExp(`^${source}$`);
}

function shortened(names: readonly string[]): string[] {
  const most = 20;
  if (names.length <= most) return [...names];
  return [...names.slice(0, most), `and ${names.length - most} more`];
}
