import { ProbeFailedError } from "../contract/errors.js";
import type { Expectations } from "../contract/model-profile.js";

interface ProbePair {
  readonly query: string;
  readonly document: string;
}

/** Fixed pairs of which no reranker gives the same score to all. */
const probePairs: readonly ProbePair[] = [
  { query: "What is the capital of France?", document: "Paris is the capital and largest city of France." },
  { query: "What is the capital of France?", document: "Apples are red and sweet." },
  {
    query: "how to boil an egg",
    document: "Put the egg into boiling water and wait seven minutes, then cool it.",
  },
];

/** Another pair of as many tokens, in most templates: a batch takes both without padding, however little it allows. */
function ofTheLengthOf({ query, document }: ProbePair): ProbePair {
  return { query: document, document: query };
}

/** Equal runs may differ by this much (in logits): some runtimes reduce in parallel, in no fixed order. */
const repeatTolerance = 1e-3;

/** A pair in company may differ by this much (in logits) from the same pair alone: kernels depend on a batch's shape. */
const companyTolerance = 5e-2;

/** What the probe saw of a model that it let pass. */
export interface ProbeReport {
  /** Largest |Δ logit| between a pair alone and among the other probe pairs; 0 where rows share no batch. */
  readonly movedInCompany: number;
}

/**
 * Scores a few fixed pairs and refuses a model that does not behave like a reranker: a missing head, a head that
 * is constant, an artifact that is not the model it says it is. Such a model gives plausible numbers otherwise.
 *
 * @param score logits of pairs, in order, all of one call; rejects on a non-finite one.
 * @throws {ProbeFailedError}
 */
export async function probe(
  score: (pairs: readonly ProbePair[]) => Promise<readonly number[]>,
  facts: {
    readonly model: string;
    readonly backend: string;
    /** The artifact's main file. */
    readonly file: string;
    /** Whether several rows can share a batch; otherwise a pair has no company, and none is tried. */
    readonly rowsShareBatches: boolean;
    /** As the session declares it: a pair may then score otherwise in company, which is measured and not refused. */
    readonly rowsAffectScores: boolean;
    readonly expectations: Expectations | undefined;
  },
): Promise<ProbeReport> {
  const { model, backend, file, rowsShareBatches, rowsAffectScores, expectations } = facts;
  const fail = (problem: string, fix: string, logits: readonly number[]): never => {
    throw new ProbeFailedError({ model, backend, logits, problem, fix });
  };
  const alone = async (pairs: readonly ProbePair[]): Promise<number[]> => {
    const logits: number[] = [];
    for (const pair of pairs) logits.push(...(await score([pair])));
    return logits;
  };
  const logits = await alone(probePairs);
  if (new Set(logits).size === 1) {
    fail(
      `every probe pair scored ${logits[0]}`,
      "The classification head is missing from the artifact or constant; export the model with its head",
      logits,
    );
  }
  const [first = Number.NaN] = logits;
  const [again = Number.NaN] = await alone(probePairs.slice(0, 1));
  if (!(Math.abs(first - again) <= repeatTolerance)) {
    fail(
      `one pair scored ${first} and then ${again}, alone both times`,
      "The runtime is not deterministic, or a dropout was left in the export; export it in evaluation mode",
      [...logits, again],
    );
  }
  const company = rowsShareBatches
    ? await score([...probePairs, ofTheLengthOf(probePairs[0] as ProbePair)])
    : [];
  const moves = logits.map((logit, index) => Math.abs((company[index] ?? logit) - logit));
  const movedInCompany = Math.max(0, ...moves);
  if (!rowsAffectScores && !(movedInCompany <= companyTolerance)) {
    fail(
      `a pair scored otherwise among others than alone, by up to ${movedInCompany}`,
      "The artifact computes a batch as a whole (activations quantised together, or a mask that is not applied), and " +
        "the backend does not declare it; run one row a batch, or export it again",
      [...logits, ...company],
    );
  }
  const expected = expectations?.pairs ?? [];
  const seen = await alone(expected);
  expected.forEach(({ query, document, logit }, index) => {
    if (Math.abs((seen[index] as number) - logit) <= (expectations?.tolerance ?? 0)) return;
    fail(
      `the pair (${JSON.stringify(query)}, ${JSON.stringify(document)}) scored ${seen[index]}, and the model's own ` +
        `expectation is ${logit} ± ${expectations?.tolerance}`,
      `The artifact ${file} is not this model, or is damaged; download or convert it again`,
      seen,
    );
  });
  return { movedInCompany };
}
