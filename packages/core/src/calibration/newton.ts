import { sigmoid } from "./calibration.js";

/** The sigmoid of `slope · logit + intercept` is the probability. */
export interface Line {
  readonly slope: number;
  readonly intercept: number;
}

/** Newton's method needs fewer than ten on any data that was tried; more is no convergence. */
const mostIterations = 100;

/** Halvings of a step that does not go down. */
const mostHalvings = 60;

/**
 * The line of least log-loss against Platt's targets, (n₊ + 1) / (n₊ + 2) and 1 / (n₋ + 2); see
 * https://www.csie.ntu.edu.tw/~cjlin/papers/plattprob.pdf. The loss is convex, so that there is one minimum.
 *
 * @param moves whether the intercept is fitted, else it is 0.
 * @returns undefined where no minimum was found, as for logits that are all equal.
 */
export function minimise(
  pairs: readonly { readonly logit: number; readonly relevant: boolean }[],
  {
    relevant,
    others,
    moves,
  }: { readonly relevant: number; readonly others: number; readonly moves: boolean },
): Line | undefined {
  // Of size 1, and about 0 where the intercept can make up for it: the steps of great and of small logits are the same.
  const most = pairs.reduce((greatest, { logit }) => Math.max(greatest, Math.abs(logit)), 0);
  if (most === 0) return undefined;
  const shares = pairs.map(({ logit }) => logit / most);
  const center = moves ? shares.reduce((sum, one) => sum + one, 0) / shares.length : 0;
  const spread = Math.sqrt(shares.reduce((sum, one) => sum + (one - center) ** 2, 0) / shares.length);
  // Equal up to their rounding.
  if (!(spread > 1e-12)) return undefined;
  const inputs = shares.map((one) => (one - center) / spread);
  const [high, low] = [(relevant + 1) / (relevant + 2), 1 / (others + 2)];
  const targets = pairs.map((pair) => (pair.relevant ? high : low));
  const count = pairs.length;

  const lossAt = (slope: number, intercept: number): number => {
    let loss = 0;
    for (let index = 0; index < count; index += 1) {
      const value = slope * (inputs[index] as number) + intercept;
      const target = targets[index] as number;
      // ln(1 + exp(value)) − target · value, without an overflow.
      loss += Math.max(value, 0) + Math.log1p(Math.exp(-Math.abs(value))) - target * value;
    }
    return loss;
  };

  let slope = 0;
  let intercept = moves ? Math.log((relevant + 1) / (others + 1)) : 0;
  let loss = lossAt(slope, intercept);
  for (let iteration = 0; iteration < mostIterations; iteration += 1) {
    let [g1, g0, h11, h10, h00] = [0, 0, 0, 0, 0];
    for (let index = 0; index < count; index += 1) {
      const input = inputs[index] as number;
      const probability = sigmoid(slope * input + intercept);
      const difference = probability - (targets[index] as number);
      const curve = probability * (1 - probability);
      g1 += difference * input;
      g0 += difference;
      h11 += curve * input * input;
      h10 += curve * input;
      h00 += curve;
    }
    // Where the curve is lost to rounding the step is a short one.
    h11 += 1e-12;
    h00 += 1e-12;
    const determinant = h11 * h00 - h10 * h10;
    const step1 = moves ? -(h00 * g1 - h10 * g0) / determinant : -g1 / h11;
    const step0 = moves ? -(h11 * g0 - h10 * g1) / determinant : 0;
    const descent = step1 * g1 + (moves ? step0 * g0 : 0);
    if (!(Number.isFinite(step1) && Number.isFinite(step0))) return undefined;
    // Half of it is what the loss can still lose.
    if (descent > -1e-13 * count) {
      const last = { slope: slope + step1, intercept: intercept + step0 };
      const scaled = last.slope / spread;
      return { slope: scaled / most, intercept: last.intercept - scaled * center };
    }
    let share = 1;
    let halvings = 0;
    let next = lossAt(slope + step1, intercept + step0);
    while (!(next <= loss + 1e-4 * share * descent)) {
      if (halvings === mostHalvings) return undefined;
      halvings += 1;
      share /= 2;
      next = lossAt(slope + share * step1, intercept + share * step0);
    }
    slope += share * step1;
    intercept += share * step0;
    loss = next;
  }
  return undefined;
}
