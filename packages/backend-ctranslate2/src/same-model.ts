import type { TensorFile } from "@crossrank/core/files";
import {
  type ByteSource,
  type CTranslate2Header,
  type CTranslate2Variable,
  readCTranslate2Header,
  readNumbers,
  variableOf,
} from "@crossrank/formats/ctranslate2";

/** A variable of the file, and the tensors that it was made of, by the ends of their names; one below the other. */
interface Pair {
  readonly variable: string;
  readonly tensors: readonly RegExp[];
}

/** As transformers' modeling files call them: BERT's build, and DistilBERT's. */
const embeddings: readonly Pair[] = ["gamma", "beta"].map((kind) => ({
  variable: `encoder/layernorm_embedding/${kind}`,
  tensors: [norm("embeddings\\.LayerNorm", kind)],
}));

function norm(name: string, kind: string): RegExp {
  return new RegExp(`(^|\\.)${name}\\.(${kind}|${kind === "gamma" ? "weight" : "bias"})$`);
}

/** What training changes most: everything of the last layer but the large matrices of its middle. */
function ofLayer(index: number): readonly Pair[] {
  const scope = `encoder/layer_${index}`;
  const named = (...names: readonly string[]): RegExp =>
    new RegExp(`(^|\\.)layer\\.${index}\\.(${names.join("|")})$`.replaceAll("/", "\\."));
  const pair = (variable: string, ...tensors: readonly RegExp[]): Pair => ({
    variable: `${scope}/${variable}`,
    tensors,
  });
  const normed = (kind: string, own: string): readonly Pair[] => [
    pair(
      `self_attention/layer_norm/${kind}`,
      named(`attention/output/LayerNorm/(?:${kind}|${own})`, `sa_layer_norm/${own}`),
    ),
    pair(`ffn/layer_norm/${kind}`, named(`output/LayerNorm/(?:${kind}|${own})`, `output_layer_norm/${own}`)),
  ];
  const projections = (own: string): readonly RegExp[] =>
    [
      ["query", "q_lin"],
      ["key", "k_lin"],
      ["value", "v_lin"],
    ].map(([bert, distil]) => named(`attention/self/${bert}/${own}`, `attention/${distil}/${own}`));
  return [
    ...normed("gamma", "weight"),
    ...normed("beta", "bias"),
    pair("self_attention/linear_0/weight", ...projections("weight")),
    pair("self_attention/linear_0/bias", ...projections("bias")),
    pair("self_attention/linear_1/bias", named("attention/output/dense/bias", "attention/out_lin/bias")),
    pair("ffn/linear_0/bias", named("intermediate/dense/bias", "ffn/lin1/bias")),
    pair("ffn/linear_1/bias", named("output/dense/bias", "ffn/lin2/bias")),
  ];
}

/**
 * Whether an artifact was made of these weights, by the norm of the embeddings and the last layer: models trained from
 * one base are alike in all but small differences. "unknown" where the weights have other names than are known here.
 *
 * @throws {ModelProfileError} where the file of weights is damaged.
 */
export async function compareWeights(
  tensors: TensorFile,
  source: ByteSource,
  layers: number,
): Promise<Likeness> {
  const header = await readCTranslate2Header(source);
  let likeness: Likeness = "same";
  for (const pair of [...embeddings, ...ofLayer(layers - 1)]) {
    const found = await comparePair(pair, tensors, header, source);
    if (found === "other") return found;
    if (found === "unknown") likeness = found;
  }
  return likeness;
}

export type Likeness = "same" | "other" | "unknown";

async function comparePair(
  { variable, tensors: patterns }: Pair,
  tensors: TensorFile,
  header: CTranslate2Header,
  source: ByteSource,
): Promise<Likeness> {
  const found = variableOf(header, variable);
  const names = patterns.map((pattern) => tensors.names.find((name) => pattern.test(name)));
  // A linear layer may have no bias, in both.
  if (found === undefined) {
    return variable.endsWith("/bias") && names.every((name) => name === undefined) ? "same" : "other";
  }
  const own: number[] = [];
  for (const name of names) {
    if (name === undefined) return "unknown";
    for (const number of (await tensors.read(name)).data) own.push(number);
  }
  return (await isSame(own, { variable, found, header, source })) ? "same" : "other";
}

async function isSame(
  own: readonly number[],
  {
    variable,
    found,
    header,
    source,
  }: {
    readonly variable: string;
    readonly found: CTranslate2Variable;
    readonly header: CTranslate2Header;
    readonly source: ByteSource;
  },
): Promise<boolean> {
  const numbers = await readNumbers(source, found);
  if (numbers.length !== own.length) return false;
  if (found.type !== "int8") {
    const rounding = found.type === "float32" ? 1e-6 : 1e-3;
    return own.every(
      (number, index) => Math.abs((numbers[index] as number) - number) <= rounding * Math.abs(number) + 1e-7,
    );
  }
  const scale = variableOf(header, `${variable}_scale`);
  if (scale === undefined) return false;
  const scales = await readNumbers(source, scale);
  const columns = own.length / scales.length;
  // Rounded to whole numbers, however ties are.
  return own.every((number, index) => {
    const exact = number * (scales[Math.floor(index / columns)] as number);
    return Math.abs((numbers[index] as number) - exact) <= 0.51;
  });
}
