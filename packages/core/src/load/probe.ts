import { ProbeFailedError } from "../contract/errors.js";
import type { Expectations } from "../contract/model-profile.js";

/** Fixed pairs of which no reranker gives the same score to all. The first comes twice, to see determinism. */
const probePairs: readonly { readonly query: string; readonly document: string }[] = [
  { query: "What is the capital of France?", document: "Paris is the capital and largest city of France." },
  { query: "What is the capital of France?", document: "Apples are red and sweet." },
  {
    query: "how to boil an egg",
    document: "Put the egg into boiling water and wait seven minutes, then cool it.",
  },
  { query: "What is the capital of France?", document: "Paris is the capital and largest city of France." },
];

/** Equal runs may differ by this much (in logits): some runtimes reduce in parallel, in no fixed order. */
const repeatTolerance = 1e-3;

/**
 * Scores a few fixed pairs and refuses a model that does not behave like a reranker: a missing head, a head that
 * is constant, an artifact that is not the model it says it is. Such a model gives plausible numbers otherwise.
 *
 * @param score logits of pairs, in order; rejects on a non-finite one.
 * @throws {ProbeFailedError}
 */
export async function probe(
  score: (pairs: readonly { query: string; document: string }[]) => Promise<readonly number[]>,
  facts: {
    readonly model: string;
    readonly backend: string;
    /** The artifact's main file. */
    readonly file: string;
    readonly expectations: Expectations | undefined;
  },
): Promise<void> {
  const { model, backend, file, expectations } = facts;
  const expected = expectations?.pairs ?? [];
  const all = await score([...probePairs, ...expected]);
  const logits = all.slice(0, probePairs.length);
  const fail = (problem: string, fix: string, seen = logits): never => {
    throw new ProbeFailedError({ model, backend, logits: seen, problem, fix });
  };
  const distinct = new Set(logits);
  if (distinct.size === 1) {
    fail(
      `every probe pair scored ${logits[0]}`,
      "The classification head is missing from the artifact or constant; export the model with its head",
    );
  }
  const repeated = Math.abs((logits[0] as number) - (logits.at(-1) as number));
  if (repeated > repeatTolerance) {
    fail(
      `one pair scored ${logits[0]} and then ${logits.at(-1)}`,
      "The runtime is not deterministic, or a dropout was left in the export; export it in evaluation mode",
    );
  }
  expected.forEach(({ query, document, logit }, index) => {
    const seen = all[probePairs.length + index] as number;
    if (!(Math.abs(seen - logit) <= (expectations?.tolerance ?? 0))) {
      fail(
        `the pair (${JSON.stringify(query)}, ${JSON.stringify(document)}) scored ${seen}, and the model's own ` +
          `expectation is ${logit} ± ${expectations?.tolerance}`,
        `The artifact ${file} is not this model, or is damaged; download or convert it again`,
        all.slice(probePairs.length),
      );
    }
  });
}
