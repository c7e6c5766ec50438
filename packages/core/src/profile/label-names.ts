/** Names that say "this document answers the query", in the words of rerankers, of NLI and of duplicates. */
const relevant = new Set([
  "relevant",
  "highly relevant",
  "is relevant",
  "related",
  "yes",
  "true",
  "positive",
  "pos",
  "entailment",
  "entailed",
  "entails",
  "entail",
  "match",
  "matched",
  "matching",
  "duplicate",
  "duplicated",
  "paraphrase",
  "equivalent",
  "similar",
  "correct",
  "answer",
  "answerable",
  "supported",
  "supports",
]);

/** Names that say the opposite and are not "not" before one of the above. */
const irrelevant = new Set([
  "irrelevant",
  "unrelated",
  "no",
  "false",
  "negative",
  "neg",
  "contradiction",
  "contradicts",
  "neutral",
  "mismatch",
  "mismatched",
  "unmatched",
  "dissimilar",
  "different",
  "incorrect",
  "wrong",
  "unanswerable",
  "refuted",
  "refutes",
]);

type Meaning = "relevant" | "irrelevant" | "unknown" | "unnamed";

/** transformers calls a class that nobody named LABEL_1. */
const placeholder = /^(?:label ?|class ?)?(\d+)$/;

function wordsOf(name: string): string {
  return (
    name
      .trim()
      // notEntailment
      .replace(/([a-z])([A-Z])/g, "$1 $2")
      .toLowerCase()
      .replace(/[\s_\-./]+/g, " ")
      .trim()
  );
}

function meaningOf(name: string): Meaning {
  const words = wordsOf(name);
  if (words === "" || placeholder.test(words)) return "unnamed";
  if (relevant.has(words)) return "relevant";
  if (irrelevant.has(words)) return "irrelevant";
  const negated = /^(?:not|non|no|isn'?t|is not) ?(.+)$/.exec(words)?.[1];
  if (negated !== undefined && relevant.has(negated)) return "irrelevant";
  return "unknown";
}

/** Names of classes by their numbers, as `id2label` of config.json has them. */
export type ClassNames = Readonly<Record<string, string>>;

/** What config.json calls a model's classes. */
export interface Labels {
  /** `id2label`, or `label2id` where that one names no class and the other does; undefined where neither is there. */
  readonly names: ClassNames | undefined;
  /** What is wrong with them, as a clause; undefined where nothing is. */
  readonly contradiction: string | undefined;
}

/**
 * Reads both of config.json's tables. transformers makes `id2label` of nothing but itself, so that a model whose classes
 * are named in `label2id` alone has placeholders there; what they are is said all the same.
 */
export function labelsOf({
  id2label,
  label2id,
}: {
  readonly id2label?: ClassNames | null | undefined;
  readonly label2id?: unknown;
}): Labels {
  const names = id2label ?? undefined;
  const inverse = namesByNumber(label2id);
  const speaks = (some: ClassNames | undefined): boolean =>
    Object.values(some ?? {}).some((name) => meaningOf(name) !== "unnamed");
  const used = speaks(inverse) && !speaks(names) ? inverse : names;
  return { names: used, contradiction: contradictionOf(names, inverse, speaks) };
}

/** `label2id` the other way round; several names of one number become one that has no meaning. */
function namesByNumber(label2id: unknown): ClassNames | undefined {
  if (typeof label2id !== "object" || label2id === null || Array.isArray(label2id)) return undefined;
  const names = new Map<string, string>();
  for (const [name, number] of Object.entries(label2id)) {
    const place = String(number);
    if (!/^\d{1,4}$/.test(place)) continue;
    const other = names.get(place);
    names.set(place, other === undefined ? name : `${other} / ${name}`);
  }
  return names.size === 0 ? undefined : Object.fromEntries(names);
}

function contradictionOf(
  names: ClassNames | undefined,
  inverse: ClassNames | undefined,
  speaks: (names: ClassNames | undefined) => boolean,
): string | undefined {
  const misplaced = [
    ["id2label", names],
    ["label2id", inverse],
  ] as const;
  for (const [table, some] of misplaced) {
    for (const [number, name] of Object.entries(some ?? {})) {
      const said = placeholder.exec(wordsOf(name))?.[1];
      if (said !== undefined && Number(said) !== Number(number))
        return `${table} calls class ${number} ${JSON.stringify(name.slice(0, 40))}, which is the name of another`;
    }
  }
  if (names === undefined || inverse === undefined || !speaks(names) || !speaks(inverse)) return undefined;
  const agree = (first: string, second: string): boolean => {
    const meaning = meaningOf(first);
    const isSame = meaning === meaningOf(second) && (meaning === "relevant" || meaning === "irrelevant");
    return isSame || wordsOf(first) === wordsOf(second);
  };
  const other = Object.keys(inverse).find(
    (number) => names[number] !== undefined && !agree(names[number], inverse[number] as string),
  );
  return other === undefined
    ? undefined
    : `id2label calls class ${other} ${JSON.stringify((names[other] as string).slice(0, 40))}, and label2id ` +
        JSON.stringify((inverse[other] as string).slice(0, 40));
}

/**
 * A class by its name, whatever its case, or by its number.
 *
 * @returns its number; undefined where there is none such, or several.
 */
export function classNamed(wanted: string | number, labels: ClassNames): number | undefined {
  const plain = (name: string): string => name.trim().toLowerCase();
  const found = Object.entries(labels).filter(([number, name]) =>
    typeof wanted === "number" ? number === String(wanted) : plain(name) === plain(wanted),
  );
  const [only] = found;
  return only === undefined || found.length > 1 || !/^\d{1,4}$/.test(only[0]) ? undefined : Number(only[0]);
}

/** Labels as a message shows them. */
export function shownLabels(labels: ClassNames | null | undefined): string {
  const names = Object.values(labels ?? {}).map((name) => JSON.stringify(name.slice(0, 40)));
  return names.length > 6 ? `${names.slice(0, 6).join(", ")} and ${names.length - 6} more` : names.join(", ");
}

/**
 * The class of two that means relevant. Names decide where they have a meaning, whichever way round; classes without
 * names are as rerankers are trained, with relevance as class 1.
 *
 * @returns undefined where names have a meaning that does not decide, or contradict each other.
 */
export function relevantClass({ names: labels, contradiction }: Labels): 0 | 1 | undefined {
  if (contradiction !== undefined) return undefined;
  if (labels === undefined) return 1;
  const names = [labels["0"], labels["1"]];
  if (names.some((name) => name === undefined) || Object.keys(labels).length > 2) return undefined;
  const [first, second] = names.map((name) => meaningOf(name as string)) as [Meaning, Meaning];
  if (first === "unnamed" && second === "unnamed") return 1;
  if (first === second) return undefined;
  if (second === "relevant" || first === "irrelevant") return 1;
  if (first === "relevant" || second === "irrelevant") return 0;
  return undefined;
}
