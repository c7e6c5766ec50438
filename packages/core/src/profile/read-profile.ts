import { en } from "zod/locales";
import * as z from "zod/mini";
import { $ZodError } from "zod/v4/core";
import {
  CrossrankError,
  InvalidInputError,
  ModelFileNotFoundError,
  ModelProfileError,
} from "../contract/errors.js";
import type { ModelFiles } from "../contract/model-files.js";
import type { CrossrankJson, Head, ModelProfile, ProfileSources } from "../contract/model-profile.js";
import { countSpecialTokens, readTemplates, type Templates } from "../encode/template.js";
import { type Config, configSchema, crossrankJsonSchema } from "./profile-schema.js";

/** A model's profile, the tokenizer that goes with it, and where each fact was found. */
export interface ProfileReading {
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  /** Parsed tokenizer.json. */
  readonly tokenizerJson: unknown;
}

type Fields = { -readonly [Field in keyof ModelProfile]?: ModelProfile[Field] };
/** Enters a fact and its source; a fact that a file does not give leaves what is there. */
type Put = <Field extends keyof ModelProfile>(
  field: Field,
  value: ModelProfile[Field] | undefined,
  source: string,
) => void;
type Sources = { -readonly [Field in keyof ProfileSources]: string };

/**
 * Architectures whose position table starts after the padding id, so that it holds
 * max_position_embeddings − pad_token_id − 1 positions (transformers, `create_position_ids_from_input_ids`).
 */
const offsetPositions = new Set([
  "roberta",
  "xlm-roberta",
  "xlm-roberta-xl",
  "camembert",
  "mpnet",
  "data2vec-text",
]);

/** tokenizer_config.json writes "no limit" as 1e30. */
const noLimit = 1e9;

/**
 * Reads what a model is from its own files. Precedence, field by field: `overrides`, then `crossrank.json`, then
 * config.json, modules.json, tokenizer.json and their kin.
 *
 * @throws {ModelFileNotFoundError} when tokenizer.json or config.json is missing.
 * @throws {ModelProfileError} when a file cannot be read, or describes what crossrank does not support.
 * @throws {InvalidInputError} when `overrides` does not have the form of a crossrank.json.
 */
export async function readProfile(
  files: ModelFiles,
  overrides: CrossrankJson = {},
  signal?: AbortSignal,
): Promise<ProfileReading> {
  const parsedOverrides = crossrankJsonSchema.safeParse(overrides, english);
  if (!parsedOverrides.success) {
    throw new InvalidInputError("profile", `is not a valid profile: ${explain(parsedOverrides.error)}`);
  }
  const present = new Set((await files.list({ signal })).map((file) => file.path));
  const reader = new ModelReader(files, present, signal);

  const own = await reader.optional("crossrank.json", crossrankJsonSchema);
  const tokenizerJson = await reader.required(
    "tokenizer.json",
    z.looseObject({ model: z.looseObject({}) }),
    "Make it with transformers: AutoTokenizer.from_pretrained(model).save_pretrained(folder)",
  );
  const fields: Fields = {};
  const sources: Sources = {};
  const put: Put = (field, value, source) => {
    if (value === undefined) return;
    fields[field] = value;
    sources[field] = source;
  };

  put("specificationVersion", "1", "crossrank");
  put("truncation", "document-only", "default");
  put("queryPrefix", "", "default");
  put("documentPrefix", "", "default");
  const templates = reader.check("tokenizer.json", () =>
    readTemplates((tokenizerJson as { post_processor?: unknown }).post_processor),
  );
  put("pairTemplate", templates?.pair, "tokenizer.json post_processor");
  put("singleTemplate", templates?.single, "tokenizer.json post_processor");

  // A crossrank.json that says all there is to say needs no config.json beside it (an .mnn folder, say).
  const given: CrossrankJson = { ...own, ...parsedOverrides.data };
  const selfContained =
    given.family && given.head && given.activation && given.maxLength && given.architecture;
  if (!selfContained || present.has("config.json")) {
    await readConfig(reader, put, given, templates);
  }
  for (const [source, entries] of [
    ["crossrank.json", own],
    ["given by the caller", parsedOverrides.data],
  ] as const) {
    for (const [field, value] of Object.entries(entries ?? {})) {
      if (field !== "$schema") put(field as keyof ModelProfile, value as never, source);
    }
  }
  if (fields.paddingId === undefined) {
    put("paddingId", 0, "default");
    put("paddingId", paddingOf(tokenizerJson), "tokenizer.json padding");
  }
  return { profile: complete(files.id, fields), sources, tokenizerJson };
}

async function readConfig(
  reader: ModelReader,
  put: Put,
  given: CrossrankJson,
  templates: Templates | undefined,
): Promise<void> {
  const config = await reader.required(
    "config.json",
    configSchema,
    "Pass the folder or repository that holds the model's Hugging Face files, or put a complete crossrank.json there",
  );
  const architecture = config.model_type ?? undefined;
  put("architecture", architecture, "config.json model_type");
  put("paddingId", config.pad_token_id ?? undefined, "config.json pad_token_id");

  const modules = await reader.optional(
    "modules.json",
    z.array(z.object({ type: z.string(), path: z.string() })),
  );
  let maxLength: { value: number; source: string } | undefined;
  const limit = (value: number | null | undefined, source: string): void => {
    if (
      typeof value === "number" &&
      value > 0 &&
      value < noLimit &&
      !(maxLength && maxLength.value <= value)
    ) {
      maxLength = { value, source };
    }
  };
  if (typeof config.max_position_embeddings === "number") {
    const offset = offsetPositions.has(architecture ?? "") ? (config.pad_token_id ?? 1) + 1 : 0;
    limit(
      config.max_position_embeddings - offset,
      `config.json max_position_embeddings${offset === 0 ? "" : ` less ${offset}`}`,
    );
  }
  const tokenizerConfig = await reader.optional(
    "tokenizer_config.json",
    z.object({ model_max_length: z.nullish(z.number()) }),
  );
  limit(tokenizerConfig?.model_max_length, "tokenizer_config.json model_max_length");

  if (modules !== undefined) {
    const sentenceBert = await reader.optional(
      "sentence_bert_config.json",
      z.object({ max_seq_length: z.nullish(z.number()) }),
    );
    limit(sentenceBert?.max_seq_length, "sentence_bert_config.json max_seq_length");
    put("family", "bi-encoder", "modules.json");
    put("activation", "identity", "modules.json");
    if (given.head === undefined) put("head", await readPoolingHead(reader, modules), "modules.json Pooling");
    const prompts = await reader.optional(
      "config_sentence_transformers.json",
      z.object({ prompts: z.nullish(z.record(z.string(), z.string())) }),
    );
    put("queryPrefix", prompts?.prompts?.["query"], "config_sentence_transformers.json prompts.query");
    put(
      "documentPrefix",
      prompts?.prompts?.["document"],
      "config_sentence_transformers.json prompts.document",
    );
  } else if (given.family === undefined || given.head === undefined || given.activation === undefined) {
    readClassifier(reader, config, put, given);
  }
  if (given.family === undefined && modules === undefined && templates === undefined) {
    throw reader.problem(
      "tokenizer.json",
      "its post_processor describes no template for a pair",
      "Give pairTemplate in a crossrank.json",
    );
  }
  put("maxLength", maxLength?.value, maxLength?.source ?? "");
}

/** sentence-transformers' bi-encoders: Transformer, Pooling, then at most Normalize. */
async function readPoolingHead(
  reader: ModelReader,
  modules: readonly { readonly type: string; readonly path: string }[],
): Promise<Head> {
  const kinds = modules.map(({ type }) => type.slice(type.lastIndexOf(".") + 1));
  const pooling = modules[kinds.indexOf("Pooling")];
  const unsupported = kinds.filter((kind) => !["Transformer", "Pooling", "Normalize"].includes(kind));
  if (pooling === undefined || unsupported.length > 0) {
    throw reader.problem(
      "modules.json",
      `the chain ${kinds.join(" → ")} is not one that this version of crossrank computes`,
      "Supported: Transformer → Pooling (cls or mean) → Normalize",
    );
  }
  const file = `${pooling.path}/config.json`;
  const entries = await reader.required(file, z.looseObject({}), "Download the model again");
  const modes = [
    ...Object.entries(entries)
      .filter(([name, value]) => name.startsWith("pooling_mode_") && value === true)
      .map(([name]) => name.slice("pooling_mode_".length)),
    ...(typeof entries["pooling_mode"] === "string" ? [entries["pooling_mode"]] : []),
  ];
  if (modes.length === 1 && (modes[0] === "cls_token" || modes[0] === "cls"))
    return { kind: "cosine", pooling: "cls" };
  if (modes.length === 1 && (modes[0] === "mean_tokens" || modes[0] === "mean")) {
    return { kind: "cosine", pooling: "mean" };
  }
  throw reader.problem(
    file,
    `pooling ${modes.join(" + ") || "(none)"} is not supported`,
    "Supported: cls, mean",
  );
}

/** Hugging Face's `…ForSequenceClassification`. */
function readClassifier(reader: ModelReader, config: Config, put: Put, given: CrossrankJson): void {
  const architecture = config.architectures?.[0];
  if (!architecture?.endsWith("ForSequenceClassification")) {
    throw reader.problem(
      "config.json",
      `architectures says ${architecture ?? "nothing"}, and there is no modules.json: this is neither a ` +
        "sequence-classification cross-encoder nor a sentence-transformers bi-encoder",
      "Choose another model, or say what it is in a crossrank.json (family, head, activation)",
    );
  }
  put("family", "cross-encoder", "config.json architectures");
  // transformers' PretrainedConfig has two labels where config.json says nothing.
  const labels = config.id2label ? Object.keys(config.id2label).length : (config.num_labels ?? 2);
  const labelSource = config.id2label
    ? "config.json id2label"
    : config.num_labels
      ? "config.json num_labels"
      : "transformers' default of 2 labels";
  if (labels === 1) put("head", { kind: "logit" }, labelSource);
  else if (labels === 2) put("head", { kind: "two-class", positive: 1 }, labelSource);
  else if (given.head === undefined) {
    throw reader.problem(
      "config.json",
      `a head of ${labels} labels gives no single relevance`,
      "Choose a reranker with one or two labels",
    );
  }
  // sentence-transformers, CrossEncoder.get_default_activation_fn: what config.json names, else Sigmoid for one label.
  const named = config.sentence_transformers?.activation_fn ?? config.sbert_ce_default_activation_function;
  const kind = named?.slice(named.lastIndexOf(".") + 1);
  if (named === null || named === undefined) {
    put("activation", "sigmoid", "sentence-transformers' default");
  } else if (kind === "Identity") {
    put("activation", "identity", "config.json activation_fn");
  } else if (kind === "Sigmoid") {
    put("activation", "sigmoid", "config.json activation_fn");
  } else if (given.activation === undefined) {
    throw reader.problem(
      "config.json",
      `activation ${named} is not supported`,
      'Set "activation": "identity" in a crossrank.json to get logits',
    );
  }
}

function complete(model: string, fields: Fields): ModelProfile {
  const needed = [
    "family",
    "architecture",
    "pairTemplate",
    "singleTemplate",
    "maxLength",
    "head",
    "activation",
  ] as const;
  const missing = needed.filter((field) => fields[field] === undefined);
  if (missing.length > 0) {
    throw new ModelProfileError({
      model,
      problem: `its files do not say: ${missing.join(", ")}`,
      fix: "Put these fields into a crossrank.json beside them",
    });
  }
  const profile = fields as ModelProfile;
  const template = profile.family === "bi-encoder" ? profile.singleTemplate : profile.pairTemplate;
  const minimum = countSpecialTokens(template) + (profile.family === "bi-encoder" ? 1 : 2);
  if (profile.maxLength < minimum) {
    throw new InvalidInputError(
      "maxLength",
      `is ${profile.maxLength}, and the template alone needs at least ${minimum} tokens`,
    );
  }
  if ((profile.head.kind === "cosine") !== (profile.family === "bi-encoder")) {
    throw new ModelProfileError({
      model,
      problem: `family ${profile.family} and head ${profile.head.kind} do not go together`,
      fix: "A bi-encoder has head cosine, a cross-encoder logit or two-class",
    });
  }
  return profile;
}

/** tokenizer.json's own padding entry, for models whose config.json names no pad_token_id. */
function paddingOf(tokenizerJson: unknown): number | undefined {
  return z.object({ padding: z.object({ pad_id: z.int() }) }).safeParse(tokenizerJson).data?.padding.pad_id;
}

/** zod/mini has no messages of its own. */
const english = { error: en().localeError };

function explain(error: $ZodError): string {
  return error.issues.map((issue) => `${issue.path.join(".") || "top level"}: ${issue.message}`).join("; ");
}

/** Reads and checks JSON files of one model, with errors that name the file. */
class ModelReader {
  readonly #files: ModelFiles;
  readonly #present: ReadonlySet<string>;
  readonly #signal: AbortSignal | undefined;

  constructor(files: ModelFiles, present: ReadonlySet<string>, signal: AbortSignal | undefined) {
    this.#files = files;
    this.#present = present;
    this.#signal = signal;
  }

  async required<T>(path: string, schema: z.ZodMiniType<T>, fix: string): Promise<T> {
    const value = await this.optional(path, schema);
    if (value !== undefined) return value;
    throw new ModelFileNotFoundError({
      model: this.#files.id,
      expected: [path],
      found: [...this.#present].filter((name) => !name.includes("/")).slice(0, 12),
      fix: `${fix}.`,
    });
  }

  async optional<T>(path: string, schema: z.ZodMiniType<T>): Promise<T | undefined> {
    if (!this.#present.has(path)) return undefined;
    const text = await this.#files.readText(path, { signal: this.#signal });
    return this.check(path, () => schema.parse(JSON.parse(text), english));
  }

  check<T>(path: string, read: () => T): T {
    try {
      return read();
    } catch (cause) {
      if (CrossrankError.isInstance(cause)) throw cause;
      const detail = cause instanceof $ZodError ? explain(cause) : (cause as Error).message;
      throw new ModelProfileError(
        {
          model: this.#files.id,
          file: path,
          problem: `cannot be read (${detail})`,
          fix: "Download it again, or mend it",
        },
        { cause },
      );
    }
  }

  problem(file: string, problem: string, fix: string): ModelProfileError {
    return new ModelProfileError({ model: this.#files.id, file, problem, fix });
  }
}
