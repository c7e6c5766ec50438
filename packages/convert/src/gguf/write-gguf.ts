import { basename, resolve } from "node:path";
import type { FileRequestOptions, ModelFiles, ModelProfile } from "@crossrank/core";
import { type MetadataValue, TensorWriteError, writeGgufFile } from "@crossrank/formats/gguf";
import * as z from "zod/mini";
import type { ArtifactWriter, WriteRequest } from "../artifact-writer.js";
import { lateInteractionFix } from "../source/architecture-names.js";
import type { ModelDescription } from "../source/description.js";
import { readSettings, requireSetting, tokenId } from "../source/source.js";
import { ggufDtypes } from "./dtypes.js";
import { ownMetadata } from "./metadata.js";
import { type GgufPlan, refusal, templateOf, text, uint32 } from "./plan.js";
import { planBert } from "./plan-bert.js";
import { planDecoder } from "./plan-decoder.js";
import { planModernBert } from "./plan-modern-bert.js";
import { fileTypeOf, isGgufDtype, storedTensors } from "./precision.js";
import { readTokenizerFile } from "./tokenizer-file.js";
import { vocabularyMetadata } from "./vocabulary.js";

/**
 * GGUF files that llama.cpp computes as the source does: encoders with their classifier, decoders with answer tokens,
 * and pooled vectors. `docs/guides/gguf.md` has the layout; {@link metadataKeys} what is ours in it.
 */
export const ggufWriter: ArtifactWriter = {
  format: "gguf",
  dtypes: ggufDtypes,
  path: (dtype) => `gguf/model-${dtype}.gguf`,
  check(description, profile, dtype) {
    const plan = planGguf(description, profile);
    if (dtype !== undefined && isGgufDtype(dtype)) storedTensors(description, plan, dtype);
  },
  write: writeGguf,
};

/** @throws {UnsupportedConversionError} for what llama.cpp would compute otherwise, or not at all. */
function planGguf(description: ModelDescription, profile: ModelProfile): GgufPlan {
  if (profile.family === "listwise")
    throw refusal(description, "a listwise model wants the vectors of several tokens of one sequence");
  if (profile.head.kind === "max-sim")
    throw refusal(
      description,
      "late interaction wants the vectors of all tokens, and llama.cpp's bindings give one of a sequence",
      lateInteractionFix,
    );
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
    case "gemma2":
      return planDecoder(description, profile, description.architecture);
    case "gemma3_text":
      return planDecoder(description, profile, "gemma3");
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
  const dtype = request.dtype.toUpperCase();
  if (!isGgufDtype(dtype))
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
    ["general.file_type", uint32(fileTypeOf(dtype))],
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
