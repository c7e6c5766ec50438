import { createHash } from "node:crypto";
import type { LoadRequest, ModelProfile, OutputKind } from "@crossrank/core";
import type { GgufHeader, GgufTensor } from "@crossrank/formats/gguf";
import { judgeConfig } from "./judge-config.js";
import { requireSomeWindow } from "./judge-layout.js";
import { judgeVocabulary } from "./judge-vocabulary.js";
import { Metadata } from "./metadata.js";
import { Refusal } from "./refusal.js";
import { type PlannedOutput, poolingTypes, type RunPlan } from "./run-plan.js";

/** What the file is held against. */
export interface JudgeFacts {
  readonly profile: Pick<ModelProfile, "head" | "readsSegments" | "pairTemplate" | "architecture">;
  readonly output: LoadRequest["output"];
  /** The model's config.json, parsed; undefined when there is none. */
  readonly config: unknown;
  /** The model's tokenizer.json as text; undefined when there is none. */
  readonly tokenizerJson: string | undefined;
}

type OutputFacts = Pick<JudgeFacts, "profile" | "output" | "config">;

/** llama.cpp's architectures that are fed and read here, with the `model_type`s that each one computes. */
const architectures: Readonly<
  Record<string, { readonly models: readonly string[]; readonly causal: boolean }>
> = {
  bert: { models: ["bert", "roberta", "xlm-roberta", "camembert"], causal: false },
  "modern-bert": { models: ["modernbert"], causal: false },
  qwen2: { models: ["qwen2"], causal: true },
  qwen3: { models: ["qwen3"], causal: true },
  gemma: { models: ["gemma"], causal: true },
  gemma2: { models: ["gemma2"], causal: true },
  gemma3: { models: ["gemma3_text", "gemma3"], causal: true },
};

const convert = "Write the file with `crossrank convert --to gguf`";
const convertWhole = `${convert}, from the model's safetensors: it keeps the pooler and both segments, which other converters leave out`;

/**
 * Reads out of the metadata how to run a file, and refuses one that llama.cpp would score wrongly.
 *
 * @returns undefined when the file gives none of the outputs asked for.
 * @throws {Refusal} with what is wrong.
 */
export function judgeArtifact(header: GgufHeader, facts: JudgeFacts): RunPlan | undefined {
  const { profile } = facts;
  const metadata = new Metadata(header.metadata);
  const architecture = metadata.requiredText("general.architecture");
  const known = architectures[architecture];
  if (known === undefined) {
    throw new Refusal(
      `its architecture is "${architecture}", and crossrank reads ${Object.keys(architectures).join(", ")}`,
      "Use another format of this model, such as ONNX",
    );
  }
  if (!known.models.includes(profile.architecture)) {
    throw new Refusal(
      `its architecture is "${architecture}", and the model beside it is "${profile.architecture}"`,
      "Put the GGUF file beside the model that it was made from",
    );
  }
  requireWhole(metadata);
  requireSomeWindow(metadata, architecture);
  judgeConfig(metadata, architecture, facts.config);

  const segmentVocabulary = metadata.count("crossrank.segment_vocabulary");
  const vocabulary = judgeVocabularySize(metadata, header, segmentVocabulary);
  judgeVocabulary(metadata, {
    vocabulary,
    tokenizerJson: facts.tokenizerJson,
    tokenizerSha256:
      facts.tokenizerJson === undefined
        ? undefined
        : createHash("sha256").update(facts.tokenizerJson).digest("hex"),
  });
  const output = planOutput(header, metadata, architecture, facts, vocabulary);
  if (output === undefined) return undefined;
  if (output.kind === "class-logits") requireSegments(profile, segmentVocabulary);
  return {
    output,
    architecture,
    vocabulary,
    segmentVocabulary,
    maxSequenceLength: longestSequence(metadata, header, architecture),
    causal: known.causal,
  };
}

function requireWhole(metadata: Metadata): void {
  const parts = metadata.count("split.count");
  if (parts !== undefined && parts > 1) {
    throw new Refusal(
      `it is one of ${parts} parts of a model`,
      "Put all of them into one folder under the names that they were made with, which end in -00001-of-00003.gguf " +
        "and the like, or merge them with llama.cpp's `llama-gguf-split --merge`",
    );
  }
  const type = metadata.text("general.type") ?? "model";
  if (type !== "model") {
    throw new Refusal(
      `it is no model: its "general.type" is ${JSON.stringify(type.slice(0, 40))}`,
      "Name the file of the model itself",
    );
  }
  const version = metadata.count("crossrank.version");
  if (version !== undefined && version !== 1) {
    throw new Refusal(
      `its crossrank.version is ${version}, which this release does not know`,
      "Install a newer one",
    );
  }
}

/** Tokens of one segment. */
function judgeVocabularySize(metadata: Metadata, header: GgufHeader, doubled: number | undefined): number {
  const tokens = metadata.strings("tokenizer.ggml.tokens", "latin1");
  const rows = requireTensor(header, "token_embd.weight").dimensions[1];
  if (rows !== tokens.length) {
    throw new Refusal(
      `it has ${tokens.length} tokens and ${rows} rows of token embeddings`,
      "Tokens and weights are of different models: convert it again",
    );
  }
  // llama.cpp aborts the process on the second of two equal tokens.
  if (new Set(tokens).size !== tokens.length) {
    throw new Refusal("its vocabulary has a token twice, on which llama.cpp aborts", convert);
  }
  if (doubled === undefined) return tokens.length;
  if (tokens.length !== 2 * doubled) {
    throw new Refusal(
      `its vocabulary of ${tokens.length} tokens is not the ${doubled} of each segment twice`,
      convert,
    );
  }
  return doubled;
}

function planOutput(
  header: GgufHeader,
  metadata: Metadata,
  architecture: string,
  { profile, output, config }: OutputFacts,
  vocabulary: number,
): PlannedOutput | undefined {
  const { causal } = architectures[architecture] as { causal: boolean };
  const pooling = metadata.count(`${architecture}.pooling_type`);
  const embeddingSize = metadata.requiredCount(`${architecture}.embedding_length`);
  for (const kind of output.kinds) {
    switch (kind) {
      case "class-logits":
        if (causal) {
          const planned = planRankedClasses(header, metadata, architecture, profile.head);
          if (planned === undefined) continue;
          return planned;
        }
        // A chain's modules are core's: where the file is pooled without a head, the next kind is right.
        if (profile.head.kind === "pooled-chain" && pooling !== poolingTypes.rank) continue;
        return planClassLogits(header, metadata, architecture, profile, config, embeddingSize);
      case "pooled":
        if (!("pooling" in profile.head)) continue;
        return { kind, size: embeddingSize, pooling: planPooling(header, pooling, profile.head.pooling) };
      case "token-logits":
        if (!causal) continue;
        return planAnswers(header, metadata, architecture, { profile, output, config }, vocabulary);
      default:
        continue;
    }
  }
  return undefined;
}

function planClassLogits(
  header: GgufHeader,
  metadata: Metadata,
  architecture: string,
  { head }: JudgeFacts["profile"],
  config: unknown,
  embeddingSize: number,
): PlannedOutput {
  const pooling = metadata.count(`${architecture}.pooling_type`);
  if (pooling !== undefined && pooling !== poolingTypes.rank) {
    throw new Refusal(
      `its pooling type is ${poolingName(pooling)}, that of an embedding model, and the model is a cross-encoder`,
      convert,
    );
  }
  if (architecture === "modern-bert" && classifierPooling(config) !== "mean") {
    throw new Refusal(
      "the model's classifier reads the first token, and llama.cpp's rank pooling of ModernBERT takes the mean",
      "Use another format of this model, such as ONNX",
    );
  }
  // Rank pooling computes cls.output(tanh(cls(first token))), of ModernBERT cls.output(norm(gelu(cls(mean)))).
  const dense = header.tensors.get("cls.weight");
  const projection = header.tensors.get("cls.output.weight");
  const hasNorm = architecture !== "modern-bert" || header.tensors.has("cls.norm.weight");
  if (dense === undefined || projection === undefined || !hasNorm) {
    const missing = [
      dense === undefined ? "cls.weight (the model's pooler, or its head's first layer)" : "",
      projection === undefined ? "cls.output.weight (its classifier)" : "",
      hasNorm ? "" : "cls.norm.weight",
    ].filter((text) => text !== "");
    throw new Refusal(
      `its classification head is not whole: it lacks ${missing.join(" and ")}`,
      convertWhole,
    );
  }
  if (dense.dimensions[0] !== embeddingSize || (dense.dimensions[1] ?? 1) !== embeddingSize) {
    throw new Refusal(
      `cls.weight has the shape ${dense.dimensions.join(" × ")}, which is no pooler of ${embeddingSize} by ${embeddingSize}`,
      convert,
    );
  }
  const folded = metadata.count("crossrank.folded_two_class");
  const wanted = head.kind === "two-class" ? 2 : 1;
  const outputs = projection.dimensions[1] ?? 1;
  if (folded !== undefined) {
    if (head.kind !== "two-class" || folded !== head.positive || outputs !== 1) {
      throw new Refusal(
        `its head holds class ${folded} less the other, and the model's profile has another head`,
        convert,
      );
    }
    return { kind: "class-logits", classes: 2, folded: head.positive };
  }
  if (outputs !== wanted) {
    throw new Refusal(`its head has ${outputs} outputs, and the model's profile wants ${wanted}`, convert);
  }
  return { kind: "class-logits", classes: wanted, folded: undefined };
}

/**
 * A decoder's classifier, as `crossrank convert` writes it: the rows of its classes as the rank head, one class with a row
 * of zeros behind it. llama.cpp reads Qwen3's rank head on the last token, and puts a softmax behind it; other decoders'
 * on the first token, which knows nothing of the text.
 */
function planRankedClasses(
  header: GgufHeader,
  metadata: Metadata,
  architecture: string,
  { kind, ...head }: JudgeFacts["profile"]["head"],
): PlannedOutput | undefined {
  const classes = metadata.count("crossrank.ranked_classes");
  if (classes === undefined) return undefined;
  const pooling = metadata.count(`${architecture}.pooling_type`);
  if (architecture !== "qwen3" || pooling !== poolingTypes.rank) {
    throw new Refusal(
      `its classifier is read on the last token, and llama.cpp ranks ${architecture} with pooling type ${pooling ?? "none"} by another`,
      convert,
    );
  }
  const rows = requireTensor(header, "cls.output.weight").dimensions[1] ?? 1;
  const more = ["cls.weight", "cls.bias", "cls.output.bias", "cls.norm.weight"].find((name) =>
    header.tensors.has(name),
  );
  if (classes < 1 || rows !== Math.max(2, classes) || more !== undefined) {
    throw new Refusal(
      `its rank head has ${rows} rows${more === undefined ? "" : ` and ${more}`}, which is not the classifier of ${classes} classes that it says`,
      convert,
    );
  }
  const wanted =
    kind === "logit" ? 1 : kind === "two-class" ? 2 : "classes" in head ? head.classes : undefined;
  if (wanted !== classes)
    throw new Refusal(`its head has ${classes} classes, and the model's profile has another head`, convert);
  return { kind: "ranked-classes", classes };
}

function planPooling(
  header: GgufHeader,
  pooling: number | undefined,
  wanted: "cls" | "mean" | "last-token",
): 1 | 2 | 3 {
  const type = poolingTypes[wanted];
  // Some converters leave pooling to the command line; the model's own files say it here.
  if (pooling !== undefined && pooling !== poolingTypes.none && pooling !== type) {
    throw new Refusal(
      `its pooling type is ${poolingName(pooling)}, and the model pools by ${wanted}`,
      convert,
    );
  }
  const module = ["dense_2.weight", "dense_3.weight"].find((name) => header.tensors.has(name));
  if (module !== undefined) {
    throw new Refusal(
      `it has "${module}", which llama.cpp puts behind the pooling, where crossrank computes the model's modules itself`,
      convert,
    );
  }
  return type;
}

/**
 * Logits of answer tokens come from the output matrix. A file without one has that of the token embeddings, which
 * llama.cpp takes in its place: right where the model ties them. llama.cpp's converter leaves it out of a reranker that
 * does not, and keeps the rows of its two answers as the rank head.
 */
function planAnswers(
  header: GgufHeader,
  metadata: Metadata,
  architecture: string,
  { profile, output, config }: OutputFacts,
  vocabulary: number,
): PlannedOutput {
  const tokens = output.tokens ?? [];
  if (header.tensors.has("output.weight") || tiesEmbeddings(config, profile.architecture) === true) {
    return { kind: "token-logits", tokens: planTokens(header, tokens, vocabulary) };
  }
  const head = header.tensors.get("cls.output.weight");
  if (head === undefined) {
    if (config === undefined) {
      return { kind: "token-logits", tokens: planTokens(header, tokens, vocabulary) };
    }
    throw new Refusal(
      'it has no tensor "output.weight", in whose place llama.cpp takes the token embeddings, and config.json does not tie them (tie_word_embeddings)',
      convert,
    );
  }
  if (header.tensors.has("cls.output.bias") || header.tensors.has("cls.weight")) {
    throw new Refusal("its rank head is more than the rows of two answers", convert);
  }
  const labels = metadata.strings(`${architecture}.classifier.output_labels`);
  const spelled = metadata.strings("tokenizer.ggml.tokens");
  const columns = tokens.map((token) => labels.indexOf(spelled[token] ?? ""));
  const [first, second] = columns;
  if (
    (head.dimensions[1] ?? 1) !== 2 ||
    labels.length !== 2 ||
    columns.length !== 2 ||
    !(first === 0 || first === 1) ||
    second !== 1 - first
  ) {
    throw new Refusal(
      `its rank head answers ${labels.map((label) => JSON.stringify(label.slice(0, 40))).join(" and ")}, and the model's answers are ` +
        tokens.map((token) => JSON.stringify(spelled[token] ?? token)).join(" and "),
      convert,
    );
  }
  return { kind: "ranked-answers", columns: [first, second as 0 | 1] };
}

/** transformers' own defaults, for a config.json that does not say: true in Gemma's class, false in Qwen's. */
function tiesEmbeddings(config: unknown, architecture: string): boolean | undefined {
  if (typeof config !== "object" || config === null) return undefined;
  const tied: unknown = Reflect.get(config, "tie_word_embeddings");
  return typeof tied === "boolean" ? tied : architecture.startsWith("gemma");
}

function planTokens(header: GgufHeader, tokens: readonly number[], vocabulary: number): readonly number[] {
  const rows = header.tensors.get("output.weight")?.dimensions[1] ?? vocabulary;
  const outside = tokens.find((token) => token >= rows);
  if (outside !== undefined) {
    throw new Refusal(
      `it has ${rows} logits a token, and none for the answer token ${outside}`,
      "File and tokenizer are of different models: check the file and the profile's head",
    );
  }
  return tokens;
}

function requireSegments(profile: JudgeFacts["profile"], segmentVocabulary: number | undefined): void {
  const usesSegments =
    profile.readsSegments && profile.pairTemplate.some((piece) => "segment" in piece && piece.segment === 1);
  if (usesSegments && segmentVocabulary === undefined) {
    throw new Refusal(
      "the model reads segments, and llama.cpp knows none: without a vocabulary for each segment the scores are " +
        "several logits off",
      convertWhole,
    );
  }
}

function longestSequence(metadata: Metadata, header: GgufHeader, architecture: string): number | undefined {
  const declared = metadata.count(`${architecture}.context_length`);
  // RoBERTa's declares two more than it has rows for, and the row behind the last one is somebody else's memory.
  const rows = header.tensors.get("position_embd.weight")?.dimensions[1];
  const limits = [declared, rows].filter((limit) => limit !== undefined);
  const least = Math.min(...limits);
  if (least < 1) throw new Refusal("it has no room for a single token", convert);
  return Number.isFinite(least) ? least : undefined;
}

function requireTensor(header: GgufHeader, name: string): GgufTensor {
  const tensor = header.tensors.get(name);
  if (tensor === undefined) throw new Refusal(`it has no tensor "${name}"`, convert);
  return tensor;
}

function poolingName(type: number): string {
  return Object.entries(poolingTypes).find(([, value]) => value === type)?.[0] ?? String(type);
}

/** Of ModernBERT; without one it is the first token (transformers' `ModernBertConfig`). */
function classifierPooling(config: unknown): unknown {
  return typeof config === "object" && config !== null
    ? Reflect.get(config, "classifier_pooling")
    : undefined;
}

/** Kinds that llama.cpp can give at all. */
export const offeredKinds: readonly OutputKind[] = ["class-logits", "pooled", "token-logits"];
