import type { TensorPlace, TrainedParameter } from "@crossrank/backend-mlx/training";

/** Trained numbers by the place of their parameter. */
export type TrainedValues = (place: number) => Promise<Float32Array>;

/** A matrix with what was trained beside it. A fused one has several `b`, each for some of its rows. */
export interface TrainedMatrix {
  readonly tensor: Pick<TensorPlace, "name" | "path" | "shape" | "dtype">;
  /** "bert.encoder.layer.0.attention.self.query" */
  readonly module: string;
  readonly rank: number;
  readonly scale: number;
  /** Place among the parameters. */
  readonly a: number;
  readonly b: readonly { readonly place: number; readonly tensor: TensorPlace }[];
}

/** Numbers that take the place of a tensor, or of some of its rows. */
export interface TrainedTensor {
  readonly tensor: TensorPlace;
  readonly place: number;
}

/** Parameters by what they are to a model's files. */
export function sortParameters(parameters: readonly TrainedParameter[]): {
  readonly matrices: readonly TrainedMatrix[];
  readonly tensors: readonly TrainedTensor[];
} {
  const matrices = new Map<string, { a: number; b: { place: number; tensor: TensorPlace }[] }>();
  const tensors: TrainedTensor[] = [];
  for (const [place, { role, tensor }] of parameters.entries()) {
    if (role === "whole") {
      tensors.push({ place, tensor });
      continue;
    }
    const known = matrices.get(tensor.name) ?? { a: -1, b: [] };
    matrices.set(tensor.name, known);
    if (role === "a") known.a = place;
    else known.b.push({ place, tensor });
  }
  return {
    tensors,
    matrices: [...matrices.values()].map(({ a, b }) => {
      const { tensor, shape, ...facts } = parameters[a] as TrainedParameter;
      return {
        tensor,
        module: tensor.name.replace(/\.weight$/, ""),
        rank: shape[0] as number,
        scale: "scale" in facts ? facts.scale : 1,
        a,
        b: b.sort((one, other) => one.tensor.row - other.tensor.row),
      };
    }),
  };
}

/** (outputs, rank) of a whole matrix: rows that are not trained are 0. */
export async function wholeB(matrix: TrainedMatrix, values: TrainedValues): Promise<Float32Array> {
  const whole = new Float32Array((matrix.tensor.shape[0] as number) * matrix.rank);
  for (const { place, tensor } of matrix.b) whole.set(await values(place), tensor.row * matrix.rank);
  return whole;
}
