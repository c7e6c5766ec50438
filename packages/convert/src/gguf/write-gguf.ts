import { basename, resolve } from "node:path";
import type { FileRequestOptions, ModelFiles, ModelProfile } from "@crossrank/core";
import {
  type FileTensor,
  layouts,
  type MetadataValue,
  type TensorType,
  TensorWriteError,
  writeGgufFile,
} from "@crossrank/formats/gguf";
import * as z from "zod/mini";
import type { ArtifactWriter, WriteRequest } from "../artifact-writer.js";
import type { ModelDescription } from "../source/description.js";
import { readSettings, requireSetting, tokenId } from "../source/source.js";
import { ownMetadata } from "./metadata.js";
import { type GgufPlan, type PlannedTensor, refusal, templateOf, text, uint32 } from "./plan.js";
import { planBert } from "./plan-bert.js";
import { planDecoder } from "./plan-decoder.js";
import { planModernBert } from "./plan-modern-bert.js";
import { readTokenizerFile } from "./tokenizer-file.js";
import { vocabularyMetadata } from "./vocabulary.js";

/** llama.cpp's `llama_ftype` of each precision. */
const fileTypes: Readonly<Record<TensorType, number>> = { F32: 0, F16: 1, Q8_0: 7, Q4_0: 2 };

/**
 * GGUF files that llama.cpp computes as the source does: encoders with their classifier, decoders with answer tokens,
 * and pooled vectors. `docs/guides/gguf.md` has the layout; {@link metadataKeys} what is ours in it.
 */
export const ggufWriter: ArtifactWriter = {
  format: "gguf",
  dtypes: ["F32", "F16", "Q8_0", "Q4_0"],
  path: (dtype) => `gguf/model-${dtype}.gguf`,
  check(description, profile, dtype) {
    const plan = planGguf(description, profile);
    if (dtype !== undefined && isTensorType(dtype)) storedTensors(description, plan, dtype);
  },
  write: writeGguf,
};

/** @throws {UnsupportedConversionError} for what llama.cpp would compute otherwise, or not at all. */
function planGguf(description: ModelDescription, profile: ModelProfile): GgufPlan {
  if (profile.family === "listwise")
    throw refusal(description, "a listwise model wants the vectors of several tokens of one sequence");
  switch (description.architecture) {
    case "bert":
    case "roberta":
    case "xlm-roberta":
      return planBert(description, profile);
    case "modernbert":
      return planModernBert(description, profile);
    case "qwen2":
    case "qwen3":
    case "gemma":
      return planDecoder(description, profile, description.architecture);
    case "mpnet":
      throw refusal(description, "llama.cpp has no MPNet: its attention knows relative positions");
    case "deberta-v2":
      throw refusal(description, "llama.cpp has no DeBERTa: its attention knows relative positions");
    default:
      throw refusal(description, `crossrank does not write architecture ${description.architecture} as GGUF`);
  }
}

async function writeGguf(request: WriteRequest): Promise<readonly string[]> {
  const { description, profile, files, signal, onProgress } = request;
  const dtype = Object.keys(fileTypes).find((name) => name === request.dtype.toUpperCase());
  if (dtype === undefined || !isTensorType(dtype))
    throw refusal(
      description,
      `there is no precision ${request.dtype}`,
      `Use ${ggufWriter.dtypes.join(", ")}`,
    );
  const plan = planGguf(description, profile);
  const { tensors, kept } = storedTensors(description, plan, dtype);

  const tokenizer = await readTokenizerFile(files, { signal });
  const { bos, eos } = await readEnds(description, files, { signal });
  const metadata = new Map<string, MetadataValue>([
    ["general.architecture", text(plan.architecture)],
    ["general.name", text(basename(description.model))],
    ["general.file_type", uint32(fileTypes[dtype])],
    ["general.quantization_version", uint32(2)],
    ...plan.hyperparameters.map(([key, value]) => [`${plan.architecture}.${key}`, value] as const),
    [
      `${plan.architecture}.vocab_size`,
      uint32(description.vocabularySize * (plan.segmentVocabulary ? 2 : 1)),
    ],
    ...vocabularyMetadata({
      model: description.model,
      profile,
      tokenizer,
      template: templateOf(profile),
      size: description.vocabularySize,
      segmentVocabulary: plan.segmentVocabulary,
      bos,
      eos,
      segmentRows: plan.segmentRows,
      ranksPrompts: plan.ranksPrompts ?? false,
    }),
    ...ownMetadata({
      profile,
      segmentVocabulary: plan.segmentVocabulary,
      foldedTwoClass: plan.foldedTwoClass,
      rankedClasses: plan.rankedClasses,
      tokenizer: tokenizer.bytes,
      source: request.metadata,
      dtype,
      keptTensors: kept,
    }),
  ]);

  const path = resolve(request.path);
  for (const { name, type, weight } of tensors)
    request.onTensor?.({ name, shape: weight.shape, dtype: type });
  try {
    await writeGgufFile(path, metadata, tensors, { signal, onProgress });
  } catch (error) {
    if (error instanceof TensorWriteError) throw refusal(description, error.message, "Use precision F32");
    throw error;
  }
  return [path];
}

function isTensorType(name: string): name is TensorType {
  return Object.hasOwn(fileTypes, name);
}

interface StoredTensors {
  readonly tensors: readonly FileTensor[];
  /** Names of those whose rows are no whole blocks. */
  readonly kept: readonly string[];
}

/**
 * The plan's tensors as the file holds them.
 *
 * A file is known by the type of most of its layers' weights. One whose rows mostly do not fit the blocks would be an
 * F16 file under another name.
 *
 * @throws {UnsupportedConversionError} for a precision that most of the layers' weights cannot have.
 */
function storedTensors(description: ModelDescription, plan: GgufPlan, dtype: TensorType): StoredTensors {
  const tensors = plan.tensors.map((tensor) => withType(tensor, dtype));
  const matrices = tensors.filter(
    ({ type }, index) => plan.tensors[index]?.role !== "exact" && type !== "F32",
  );
  const kept = dtype === "F16" ? [] : matrices.filter(({ type }) => type === "F16");
  const inLayers = matrices.filter(({ name }) => name.startsWith("blk."));
  const counted = inLayers.length > 0 ? inLayers : matrices;
  const keptWeights = weightsOf(counted.filter((tensor) => kept.includes(tensor)));
  if (keptWeights > 0 && 2 * keptWeights >= weightsOf(counted)) {
    const widths = [...new Set(kept.map(({ weight }) => weight.shape[1] ?? 0))].sort((a, b) => a - b);
    const { block } = layouts[dtype];
    throw refusal(
      description,
      `${dtype} holds numbers in blocks of ${block}, and rows of ${widths.join(" and of ")} are no multiple of ${block}: ` +
        "most weights of the file would be F16",
      "Take F16",
    );
  }
  return { tensors, kept: kept.map(({ name }) => name) };
}

function weightsOf(tensors: readonly FileTensor[]): number {
  return tensors.reduce(
    (sum, { weight }) => sum + weight.shape.reduce((product, size) => product * size, 1),
    0,
  );
}

/**
 * As llama.cpp's quantiser: what has one dimension, positions and segments stay F32, and a row that is no multiple of
 * the block becomes F16. Unlike it, the head stays F32, and Q4_0 holds its tables as Q8_0.
 */
function withType({ name, role, weight }: PlannedTensor, dtype: TensorType): FileTensor {
  if (role === "exact" || weight.shape.length < 2) return { name, type: "F32", weight };
  const type = role === "table" && dtype === "Q4_0" ? "Q8_0" : dtype;
  const fits = (weight.shape[1] ?? 0) % layouts[type].block === 0;
  return { name, type: fits ? type : "F16", weight };
}

const oneOrSeveral = z.nullish(z.union([tokenId, z.array(tokenId)]));
const endsSchema = z.object({ bos_token_id: oneOrSeveral, eos_token_id: oneOrSeveral });

/** @throws {ModelProfileError} for what is no token of the model's. */
async function readEnds(
  { model, vocabularySize }: ModelDescription,
  files: ModelFiles,
  options: FileRequestOptions,
): Promise<{ readonly bos: number | undefined; readonly eos: number | undefined }> {
  const config = JSON.parse(await files.readText("config.json", options)) as Record<string, unknown>;
  const { bos_token_id, eos_token_id } = readSettings({ model, config }, endsSchema);
  const tokenOf = (name: string, ids: number | readonly number[] | null | undefined): number | undefined => {
    const id = (typeof ids === "object" ? ids?.[0] : ids) ?? undefined;
    requireSetting(
      { model },
      id === undefined || id < vocabularySize,
      `has ${name} ${id}, and vocab_size ${vocabularySize}`,
    );
    return id;
  };
  return { bos: tokenOf("bos_token_id", bos_token_id), eos: tokenOf("eos_token_id", eos_token_id) };
}
