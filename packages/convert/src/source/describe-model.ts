import {
  type FileRequestOptions,
  type ModelFiles,
  type ModelProfile,
  ModelProfileError,
} from "@crossrank/core";
import * as z from "zod/mini";
import type { ArchitectureName } from "./architecture-names.js";
import { describeBert } from "./bert.js";
import { describeDebertaV2 } from "./deberta-v2.js";
import { describeDecoder } from "./decoder.js";
import type { ModelDescription } from "./description.js";
import { describeDistilBert } from "./distilbert.js";
import { describeElectra } from "./electra.js";
import { describeModernBert } from "./modernbert.js";
import { describeMpnet } from "./mpnet.js";
import { openWeights, type SourceWeights } from "./open-weights.js";
import { refuseQuantisedSettings, refuseQuantisedWeights } from "./quantised.js";
import { describeRoberta } from "./roberta.js";
import { shortened } from "./shortened.js";
import { classifierTensor, requireSetting, type Source, unsupported } from "./source.js";
import { refuseUnknownWindows } from "./windows.js";

interface Architecture {
  readonly describe: (source: Source) => ModelDescription | Promise<ModelDescription>;
  /** Tensors that are saved with such models and have no part in what the profile's head reads. */
  readonly harmless: RegExp;
  /** The same for models whose hidden states alone are used: heads of the training. */
  readonly harmlessHeads?: RegExp;
  /** Settings of config.json about windows that the description reads. Any other is refused. */
  readonly windows?: readonly string[];
}

/** A buffer of older versions of transformers. */
const positionIds = /^(\w+\.)?embeddings\.position_ids$/;

/** BERT's heads for pre-training. */
const pretraining = /^cls\.(predictions|seq_relationship)\./;

/** A RoBERTa without its classifier is saved with a pooler, which its classifier does not read. */
const roberta: Architecture = {
  describe: describeRoberta,
  harmless: joined(positionIds, /^lm_head\./, /^(roberta\.)?pooler\.dense\./),
};

/** A classifier of a decoder may be saved with the language model's head that it does not read. */
const decoder: Architecture = {
  describe: describeDecoder,
  // A buffer of older versions of transformers.
  harmless: /(^|\.)rotary_emb\.inv_freq$/,
  harmlessHeads: /^lm_head\.weight$/,
};

const windowsOfQwen: readonly string[] = [
  "sliding_window",
  "use_sliding_window",
  "max_window_layers",
  "layer_types",
];

const architectures: Readonly<Record<ArchitectureName, Architecture>> = {
  bert: {
    describe: describeBert,
    harmless: joined(positionIds, pretraining),
    harmlessHeads: /^(bert\.)?pooler\.dense\./,
  },
  roberta,
  "xlm-roberta": roberta,
  // The same code in transformers.
  camembert: roberta,
  electra: { describe: describeElectra, harmless: joined(positionIds, /^discriminator_predictions\./) },
  distilbert: {
    describe: describeDistilBert,
    harmless: joined(positionIds, /^vocab_(transform|layer_norm|projector)\./),
  },
  mpnet: {
    describe: describeMpnet,
    harmless: joined(positionIds, /^lm_head\./, /^(mpnet\.)?pooler\.dense\./),
  },
  modernbert: {
    describe: describeModernBert,
    harmless: /^decoder\.(weight|bias)$/,
    harmlessHeads: /^head\.(dense|norm)\./,
    windows: ["local_attention", "global_attn_every_n_layers", "layer_types", "sliding_window"],
  },
  "deberta-v2": {
    describe: describeDebertaV2,
    harmless: joined(positionIds, pretraining, /^(lm_predictions|mask_predictions)\./),
    harmlessHeads: /^pooler\.dense\./,
  },
  qwen3: { ...decoder, windows: windowsOfQwen },
  qwen2: { ...decoder, windows: windowsOfQwen },
  gemma: decoder,
  gemma2: { ...decoder, windows: ["sliding_window", "layer_types"] },
  gemma3_text: {
    ...decoder,
    windows: [
      "sliding_window",
      "layer_types",
      "sliding_window_pattern",
      "_sliding_window_pattern",
      "rope_local_base_freq",
    ],
  },
  llama: decoder,
  llama_bidirec: decoder,
  mistral: { ...decoder, windows: ["sliding_window", "layer_types"] },
};

function joined(...patterns: readonly RegExp[]): RegExp {
  return new RegExp(patterns.map(({ source }) => `(?:${source})`).join("|"));
}

function isKnown(type: string): type is ArchitectureName {
  return Object.hasOwn(architectures, type);
}

/** Names of `model_type` that can be described. */
export const describedArchitectures: readonly string[] = Object.keys(architectures);

/**
 * What a model computes, from its config.json and the headers of its safetensors files; no weight is read yet.
 *
 * @param options the signal also ends later reads of the weights.
 * @throws {UnsupportedConversionError} of format `description`: an architecture or a setting that is not known here, or
 * weights that the architecture as described would leave out.
 * @throws {ModelProfileError} a tensor is missing or has another shape than config.json says; a file is damaged.
 * @throws {ModelFileNotFoundError} config.json or the safetensors weights are missing.
 * @throws the signal's reason, once aborted.
 */
export async function describeModel(
  files: ModelFiles,
  profile: ModelProfile,
  options: FileRequestOptions = {},
): Promise<ModelDescription> {
  options.signal?.throwIfAborted();
  const { config, nulls } = await readConfig(files, options);
  const model = files.id;
  const type = config["model_type"];
  const architecture = typeof type === "string" && isKnown(type) ? architectures[type] : undefined;
  if (architecture === undefined) {
    throw unsupported(
      { model },
      `config.json has model_type ${shortened(JSON.stringify(type) ?? "nothing")}, and ${describedArchitectures.join(", ")} are known`,
    );
  }
  refuseOwnCode({ model, config });
  refuseQuantisedSettings({ model, config });
  refuseUnknownWindows({ model, config }, architecture.windows ?? []);
  const weights = await openWeights(files, options);
  await refuseQuantisedWeights({ model, config, weights }, files, architecture.harmless, options);
  leaveModulesOut(weights, profile);
  const source: Source = { model, config, nulls, profile, weights };
  const description = await architecture.describe(source);
  const { vocabularySize, paddingId } = description;
  requireSetting(
    source,
    paddingId < vocabularySize,
    `has vocab_size ${vocabularySize}, and padding is token ${paddingId}`,
  );
  requireAllUsed(description, weights, architecture);
  return description;
}

async function readConfig(
  files: ModelFiles,
  options: FileRequestOptions,
): Promise<Pick<Source, "config" | "nulls">> {
  const text = await files.readText("config.json", options);
  try {
    const parsed = z.record(z.string(), z.unknown()).parse(JSON.parse(text));
    const [given, nulls] = [Object.entries(parsed), new Set<string>()];
    for (const [name, value] of given) if (value === null) nulls.add(name);
    return { config: Object.fromEntries(given.filter(([name]) => !nulls.has(name))), nulls };
  } catch (cause) {
    throw new ModelProfileError(
      { model: files.id, file: "config.json", problem: "cannot be read", fix: "Download it again" },
      { cause },
    );
  }
}

/** Architectures with code of their own whose forward pass is known to be that of their `model_type`. */
const knownCode: ReadonlySet<string> = new Set([
  "JinaForRanking",
  "LlamaBidirectionalForSequenceClassification",
]);

/** `auto_map` replaces transformers' model by Python code of the repository, which may compute anything. */
function refuseOwnCode({ model, config }: Pick<Source, "model" | "config">): void {
  const map = z.record(z.string(), z.unknown()).safeParse(config["auto_map"]).data ?? {};
  const replaced = Object.keys(map).filter((name) => name.startsWith("AutoModel"));
  if (replaced.length === 0) return;
  const named = z.array(z.string()).safeParse(config["architectures"]).data ?? [];
  if (named.length > 0 && named.every((name) => knownCode.has(name))) return;
  throw unsupported(
    { model },
    `config.json has auto_map ${replaced.join(", ")}: the model is computed by Python code of its repository ` +
      `(${named.join(", ") || "architecture unknown"}), which may differ from ${String(config["model_type"])}`,
  );
}

/** Tensors in the model's own file that core's head modules compute. */
function leaveModulesOut(weights: SourceWeights, { head }: ModelProfile): void {
  const modules = "modules" in head ? (head.modules ?? []) : [];
  for (const module of modules) {
    if (module.kind === "normalize" || !weights.files.paths.includes(module.file)) continue;
    weights.leaveOut(module.weight);
    if (module.bias !== undefined) weights.leaveOut(module.bias);
    if (module.kind === "dense" && module.residualWeight !== undefined)
      weights.leaveOut(module.residualWeight);
  }
}

/** A decoder's classifier: the head of the language model beside it has no part in it. */
function isLastToken(head: ModelDescription["head"]): boolean {
  return head.kind === "classifier" && head.pooling === "last";
}

function requireAllUsed(
  { model, architecture, head }: ModelDescription,
  weights: SourceWeights,
  { harmless, harmlessHeads }: Architecture,
): void {
  const unused = weights
    .unused()
    .filter(
      (name) =>
        !harmless.test(name) && !((head.kind === "none" || isLastToken(head)) && harmlessHeads?.test(name)),
    );
  if (unused.length === 0) return;
  const readsNone = head.kind === "none" && unused.some((name) => classifierTensor.test(name));
  const more = unused.length > 5 ? ` and ${unused.length - 5} more` : "";
  throw unsupported(
    { model },
    `its weights hold ${unused.slice(0, 5).join(", ")}${more}, which ${architecture} as it is known here does not ` +
      `use: ${readsNone ? "it has a classifier, and the profile's head reads none" : "the model computes something else"}`,
    readsNone ? "Correct the head of the profile (crossrank.json, or the option `profile`)" : undefined,
  );
}
