import type { TrainingTarget } from "@crossrank/backend-mlx/training";
import type { TrainingExample, TrainingLoss } from "../types.js";

const losses: Readonly<Record<TrainingLoss, TrainingTarget["loss"]>> = {
  bce: "binary",
  // Of two answers, and of the difference of their logits: the same number.
  "yes-no": "binary",
  listwise: "listwise",
  "margin-mse": "margins",
  kl: "divergence",
};

/** What a batch of examples should be given, one row a document, in their order. */
export function targetOf(
  examples: readonly TrainingExample[],
  loss: TrainingLoss,
): Pick<TrainingTarget, "loss" | "labels" | "groups"> {
  const kind = losses[loss];
  const rows = examples.flatMap(({ documents }) => documents);
  if (kind === "binary") return { loss: kind, labels: Float32Array.from(rows, ({ label }) => label) };
  let next = 0;
  const groups = examples.map(({ documents }) => documents.map(() => next++));
  if (kind === "listwise") {
    // As shares of the query's relevance; a query without any teaches nothing.
    const shares = examples.flatMap(({ documents }) => {
      const sum = documents.reduce((total, { label }) => total + label, 0);
      return documents.map(({ label }) => (sum > 0 ? label / sum : 0));
    });
    return { loss: kind, labels: Float32Array.from(shares), groups };
  }
  return { loss: kind, labels: Float32Array.from(rows, ({ teacher = Number.NaN }) => teacher), groups };
}
