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
function meaningOf(name: string): Meaning {
  const words = name
    .trim()
    // notEntailment
    .replace(/([a-z])([A-Z])/g, "$1 $2")
    .toLowerCase()
    .replace(/[\s_\-./]+/g, " ")
    .trim();
  if (words === "" || /^(?:label ?|class ?)?\d+$/.test(words)) return "unnamed";
  if (relevant.has(words)) return "relevant";
  if (irrelevant.has(words)) return "irrelevant";
  const negated = /^(?:not|non|no|isn'?t|is not) ?(.+)$/.exec(words)?.[1];
  if (negated !== undefined && relevant.has(negated)) return "irrelevant";
  return "unknown";
}

/**
 * A class by its name, whatever its case, or by its number.
 *
 * @param labels `id2label` of config.json.
 * @returns its number; undefined where there is none such, or several.
 */
export function classNamed(
  wanted: string | number,
  labels: Readonly<Record<string, string>>,
): number | undefined {
  const plain = (name: string): string => name.trim().toLowerCase();
  const found = Object.entries(labels).filter(([number, name]) =>
    typeof wanted === "number" ? number === String(wanted) : plain(name) === plain(wanted),
  );
  const [only] = found;
  return only === undefined || found.length > 1 || !/^\d{1,4}$/.test(only[0]) ? undefined : Number(only[0]);
}

/** Labels as a message shows them. */
export function shownLabels(labels: Readonly<Record<string, string>> | null | undefined): string {
  const names = Object.values(labels ?? {}).map((name) => JSON.stringify(name.slice(0, 40)));
  return names.length > 6 ? `${names.slice(0, 6).join(", ")} and ${names.length - 6} more` : names.join(", ");
}

/**
 * The class of two that means relevant. Names decide where they have a meaning, whichever way round; classes without
 * names are as rerankers are trained, with relevance as class 1.
 *
 * @param labels `id2label` of config.json; undefined where it is missing.
 * @returns undefined where names have a meaning that does not decide.
 */
export function relevantClass(labels: Readonly<Record<string, string>> | undefined): 0 | 1 | undefined {
  if (labels === undefined) return 1;
  const names = [labels["0"], labels["1"]];
  if (names.some((name) => name === undefined)) return undefined;
  const [first, second] = names.map((name) => meaningOf(name as string)) as [Meaning, Meaning];
  if (first === "unnamed" && second === "unnamed") return 1;
  if (first === second) return undefined;
  if (second === "relevant" || first === "irrelevant") return 1;
  if (first === "relevant" || second === "irrelevant") return 0;
  return undefined;
}
