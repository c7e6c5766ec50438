import type { Problem } from "@crossrank/backend-kit";
import type { LoadRequest, ModelFile } from "@crossrank/core";
import { openSafetensors, type TensorFile } from "@crossrank/core/files";
import type { ByteSource } from "@crossrank/formats/ctranslate2";
import { type ArtifactChoice, classifierFile } from "./artifact.js";
import type { EncoderFacts } from "./encoder.js";
import { compareWeights } from "./same-model.js";

/** A layer behind the encoder: y = activation(W x + b), in float32. */
export interface ClassifierStep {
  /** (outputs, inputs). */
  readonly weight: Float32Array;
  readonly outputs: number;
  readonly bias: Float32Array | undefined;
  readonly activation: "identity" | "tanh" | "relu";
}

export interface Classifier {
  readonly steps: readonly ClassifierStep[];
  readonly classes: number;
  /** It is part of what was loaded. */
  readonly file: ModelFile;
}

interface StepNames {
  readonly tensor: string;
  readonly activation: ClassifierStep["activation"];
}

const weightsFile = "model.safetensors";
const mostClasses = 4096;

/**
 * The layers between CTranslate2's encoder and the class logits. They lie beside an artifact of `crossrank convert`; of
 * one that CTranslate2's own converter wrote, which leaves them out, they are read from the model's safetensors.
 *
 * @throws {ModelProfileError} where a file of weights is damaged.
 */
export async function readClassifier(
  { files, profile, signal }: Pick<LoadRequest, "files" | "profile" | "signal">,
  { beside, folder }: ArtifactChoice,
  facts: EncoderFacts,
  source: ByteSource,
): Promise<Classifier | Problem> {
  const own = beside.get(classifierFile);
  const file = own ?? weightsAmong(await files.list({ signal }), folder);
  if (file === undefined) return missing("there is no file that holds it");
  const tensors = await openSafetensors(files, file.path, { signal });
  if (own === undefined && (await compareWeights(tensors, source, facts.layers)) !== "same") {
    return otherWeights(file.path);
  }
  const names = own === undefined ? namesOf(tensors, facts, profile.architecture) : [last];
  if (names === undefined) return missing(`${file.path} has none that fits`);
  const steps: ClassifierStep[] = [];
  for (const { tensor, activation } of names) {
    const name = `${tensor}.weight`;
    if (!tensors.names.includes(name)) return missing(`${file.path} has no ${name}`);
    const [outputs = 0, inputs, ...rest] = tensors.shape(name);
    if (
      inputs !== facts.hidden ||
      rest.length > 0 ||
      outputs < 1 ||
      outputs > Math.max(mostClasses, facts.hidden)
    ) {
      return missing(`${name} of ${file.path} has shape ${tensors.shape(name).join(" × ")}`);
    }
    const bias = tensors.names.includes(`${tensor}.bias`)
      ? (await tensors.read(`${tensor}.bias`)).data
      : undefined;
    if (bias !== undefined && bias.length !== outputs)
      return missing(`${tensor}.bias of ${file.path} has another length`);
    steps.push({ weight: (await tensors.read(name)).data, outputs, bias, activation });
  }
  return { steps, classes: steps.at(-1)?.outputs ?? 0, file };
}

/**
 * Holds an artifact that needs no weights of the model against them nevertheless, where they lie in the same folder of
 * this machine: people put such folders together by hand. Whoever publishes a repository vouches for what it holds, and
 * its weights would have to be downloaded.
 *
 * @returns what is wrong; undefined where nothing is.
 * @throws {ModelProfileError} where a file of weights is damaged.
 */
export async function judgeWeights(
  { files, profile, signal }: Pick<LoadRequest, "files" | "profile" | "signal">,
  { beside, folder }: ArtifactChoice,
  facts: EncoderFacts,
  source: ByteSource,
): Promise<Problem | undefined> {
  const file = weightsAmong(await files.list({ signal }), folder);
  if (files.revision !== undefined || file === undefined) return undefined;
  const tensors = await openSafetensors(files, file.path, { signal });
  if ((await compareWeights(tensors, source, facts.layers)) === "other") return otherWeights(file.path);
  const own = beside.get(classifierFile);
  const name = namesOf(tensors, facts, profile.architecture)?.at(-1)?.tensor;
  if (own === undefined || name === undefined) return undefined;
  const classifier = await openSafetensors(files, own.path, { signal });
  for (const part of ["weight", "bias"]) {
    const [theirs, ours] = [`${name}.${part}`, `${last.tensor}.${part}`];
    if (!tensors.names.includes(theirs) || !classifier.names.includes(ours)) continue;
    const [wanted, found] = [(await tensors.read(theirs)).data, (await classifier.read(ours)).data];
    // The artifact's are those of the weights, in float32.
    const isOther = wanted.length !== found.length || wanted.some((number, index) => number !== found[index]);
    if (isOther) return otherWeights(`${file.path} (${theirs})`);
  }
  return undefined;
}

function weightsAmong(listed: readonly ModelFile[], folder: string): ModelFile | undefined {
  return (
    listed.find(({ path }) => path === weightsFile) ??
    listed.find(({ path }) => path === folder + weightsFile)
  );
}

function otherWeights(file: string): Problem {
  return {
    problem: `${file} holds weights of another model than the artifact: numbers of theirs differ`,
    fix: "Write the artifact anew with `crossrank convert --to ctranslate2`",
  };
}

const last: StepNames = { tensor: "classifier", activation: "identity" };

/** By transformers' modeling files of the architectures that CTranslate2's converter has. */
function namesOf(
  { names }: TensorFile,
  { pooler }: EncoderFacts,
  architecture: string,
): readonly StepNames[] | undefined {
  if (architecture === "bert") return pooler === "tanh" ? [last] : undefined;
  // Whatever pooler the file has: the classifier of these takes the first token's vector itself.
  if (["roberta", "xlm-roberta", "camembert"].includes(architecture)) {
    return [
      { tensor: "classifier.dense", activation: "tanh" },
      { tensor: "classifier.out_proj", activation: "identity" },
    ];
  }
  if (architecture === "distilbert" && names.includes("pre_classifier.weight")) {
    return [{ tensor: "pre_classifier", activation: "relu" }, last];
  }
  return undefined;
}

function missing(why: string): Problem {
  return {
    problem: `it ends before the layers that make a score of its vector, and ${why}`,
    fix:
      "Put the model's model.safetensors into the model's folder, from which they are read, or write the artifact with " +
      "`crossrank convert --to ctranslate2`",
  };
}

/**
 * Class logits of vectors.
 *
 * @param vectors (rows, inputs).
 */
export function classify({ steps }: Classifier, vectors: Float32Array, rows: number): Float32Array {
  let current = vectors;
  for (const { weight, outputs, bias, activation } of steps) {
    const inputs = weight.length / outputs;
    const next = new Float32Array(rows * outputs);
    for (let row = 0; row < rows; row += 1) {
      for (let output = 0; output < outputs; output += 1) {
        let sum = bias?.[output] ?? 0;
        for (let input = 0; input < inputs; input += 1) {
          sum += (weight[output * inputs + input] as number) * (current[row * inputs + input] as number);
        }
        next[row * outputs + output] = activated(sum, activation);
      }
    }
    current = next;
  }
  return current;
}

function activated(number: number, activation: ClassifierStep["activation"]): number {
  if (activation === "tanh") return Math.tanh(number);
  // Not Math.max, which would make a number of what is none.
  return activation === "relu" && number < 0 ? 0 : number;
}
