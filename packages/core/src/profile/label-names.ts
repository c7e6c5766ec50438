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
