import * as z from "zod/mini";
import { InvalidInputError, ModelProfileError } from "../contract/errors.js";
import { requireInstruction } from "../contract/instruction.js";
import type { ModelFiles } from "../contract/model-files.js";
import type {
  CrossrankJson,
  Family,
  Head,
  LateTemplate,
  ModelProfile,
  ProfileSources,
  TemplatePiece,
} from "../contract/model-profile.js";
import { readTemplates, type Templates, textsOf } from "../encoding/template.js";
import { english, explain, ModelReader } from "../files/model-reader.js";
import { openSafetensors } from "../files/safetensors.js";
import { modulesOf } from "../score/head.js";
import type { CatalogueAnswer } from "./catalogue.js";
import { readChatTemplate } from "./chat-template.js";
import { idBeyond } from "./check-ids.js";
import { classNamed, labelsOf, relevantClass, shownLabels } from "./label-names.js";
import { artifactMetadata, type LateFacts } from "./late-facts.js";
import { leftSide } from "./left-side.js";
import { jinaForRanking } from "./listwise.js";
import { type DeclaredLabels, labelsOfArtifact } from "./logits-shape.js";
import { readsPairsOfItsTokenizer } from "./pair-encoders.js";
import { type Config, configSchema, crossrankJsonSchema } from "./profile-schema.js";
import { tokenId } from "./ranges.js";
import {
  addedTokens,
  chatTemplateOf,
  type Identity,
  noLimit,
  type ProfileReading,
  type Put,
  type Reading,
  spellingsOf,
  type TokenizerConfig,
  type TokenizerJson,
  tokenizerConfigSchema,
  tokenizerSchema,
  type WholeReading,
} from "./reading.js";
import { readSentenceTransformers, type SentenceTransformersFacts } from "./sentence-transformers.js";
import { asItsClassReads } from "./tokenizer-settings.js";

type Fields = { -readonly [Field in keyof ModelProfile]?: ModelProfile[Field] };
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

/** Architectures without embeddings for segments whose config.json has no type_vocab_size to say so. */
const withoutSegments = new Set(["modernbert", "distilbert", "mpnet"]);

/**
 * Reads what a model is from its own files. Precedence, field by field: `overrides`, then `crossrank.json`, then
 * config.json, modules.json, tokenizer.json, the chat template and their kin.
 *
 * @param declaredLabels asks the artifact that would run how many class logits it gives, where config.json does not say
 * what the model is.
 * @throws {ModelFileNotFoundError} when tokenizer.json or config.json is missing.
 * @throws {ModelProfileError} when a file cannot be read, or describes what crossrank does not support.
 * @throws {InvalidInputError} when `overrides` does not have the form of a crossrank.json.
 */
export async function readProfile(
  files: ModelFiles,
  overrides: CrossrankJson = {},
  signal?: AbortSignal,
  declaredLabels?: DeclaredLabels,
): Promise<ProfileReading> {
  const parsedOverrides = crossrankJsonSchema.safeParse(overrides, english);
  if (!parsedOverrides.success) {
    throw new InvalidInputError("profile", `is not a valid profile: ${explain(parsedOverrides.error)}`);
  }
  const reader = new ModelReader(files, await files.list({ signal }), signal);
  const own = await reader.optional("crossrank.json", crossrankJsonSchema);
  // Who says what the model is knows it better than a table.
  const isStated = (parsedOverrides.data.family ?? own?.family) !== undefined;
  const repository = files.revision === undefined ? undefined : files.id;
  const facts = {
    own,
    overrides: parsedOverrides.data,
    declaredLabels,
    identity: { repository, base: files.base },
    signal,
  };
  // The table is long: whoever only imports core does not load it.
  const { betterRefusal, recogniseModel, refusalOf } = await import("./recognise.js");
  const reading = await readFrom(reader, files.id, facts).catch(async (error: unknown) => {
    throw (isStated ? undefined : await betterRefusal(error, files, { signal })) ?? error;
  });
  await requireHeadTensors(files, reader.present, reading.profile, signal);
  // Of a model that was read as one of late interaction, nothing else is belied by that.
  const isBelied = !isStated && reading.profile.family !== "late-interaction";
  const belied = isBelied ? await recogniseModel(files, { signal, certain: true }) : undefined;
  if (belied !== undefined) throw refusalOf(files.id, belied);
  return reading;
}

/**
 * Holds the tensors that the head's modules name against the headers of the files that have them, where these are at hand:
 * of a hub's file only the whole is. A file that is missing is the load's to say, and inspect shows a model without weights.
 *
 * @throws {ModelProfileError}
 */
async function requireHeadTensors(
  files: ModelFiles,
  present: ReadonlySet<string>,
  { head }: ModelProfile,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (files.revision !== undefined) return;
  const opened = new Map<string, ReadonlySet<string>>();
  for (const module of modulesOf(head)) {
    if (module.kind === "normalize" || !present.has(module.file)) continue;
    const names =
      opened.get(module.file) ?? new Set((await openSafetensors(files, module.file, { signal })).names);
    opened.set(module.file, names);
    const residual = module.kind === "dense" ? module.residualWeight : undefined;
    const missing = [module.weight, module.bias, residual].find(
      (name) => name !== undefined && !names.has(name),
    );
    if (missing === undefined) continue;
    throw new ModelProfileError({
      model: files.id,
      file: module.file,
      problem: `has no tensor ${missing}, which the model's head is made of`,
      fix: "Take config.json and weights from the same revision of the model, or name the file that has it by head.modules in a crossrank.json",
    });
  }
}

/** As {@link readProfile}. */
async function readFrom(
  reader: ModelReader,
  model: string,
  {
    own,
    overrides,
    declaredLabels,
    identity,
    signal,
  }: {
    readonly own: CrossrankJson | undefined;
    readonly overrides: CrossrankJson;
    readonly declaredLabels: DeclaredLabels | undefined;
    readonly identity: Identity;
    readonly signal: AbortSignal | undefined;
  },
): Promise<ProfileReading> {
  const { present } = reader;
  const tokenizerJson = await reader.required(
    "tokenizer.json",
    tokenizerSchema,
    "Name the model whose tokenizer it has by the option `base`, e.g. owner/name, or make it with transformers: AutoTokenizer.from_pretrained(model).save_pretrained(folder)",
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
  put("pairTemplate", [], "default");
  put("singleTemplate", [], "default");
  put("readsSegments", false, "default");
  const given: CrossrankJson = { ...own, ...overrides };
  const modules = await readSentenceTransformers(reader);

  let vocabularySize: number | undefined;
  let config: Config | undefined;
  let usedTokenizer = tokenizerJson;
  let tokenizerConfig: TokenizerConfig | undefined;
  // A crossrank.json that says all there is to say needs no config.json beside it (an .mnn folder, say).
  const selfContained =
    given.family && given.head && given.activation && given.maxLength && given.architecture;
  if (!selfContained || present.has("config.json")) {
    const reading = { reader, put, given, modules, tokenizerJson, declaredLabels, identity, signal };
    const facts = await readConfig(reading);
    vocabularySize = facts.vocabularySize;
    config = facts.config;
    tokenizerConfig = facts.tokenizerConfig;
    usedTokenizer = asItsClassReads(tokenizerJson, facts.tokenizerConfig, facts.config);
  } else {
    readPostProcessor(reader, put, tokenizerJson);
    if (given.family === "cross-encoder")
      requireStatedTemplate({ reader, given, modules }, given.architecture);
  }
  for (const [source, entries] of [
    ["crossrank.json", own],
    ["given by the caller", overrides],
  ] as const) {
    for (const [field, value] of Object.entries(entries ?? {})) {
      if (field === "$schema") continue;
      const read = field === "head" ? readHead(reader, value as CrossrankJson["head"], config) : value;
      put(field as keyof ModelProfile, read as never, source);
    }
  }
  if (fields.paddingId === undefined) {
    put("paddingId", 0, "default");
    put("paddingId", paddingOf(tokenizerJson), "tokenizer.json padding");
  }
  const profile = complete(model, fields);
  const isCatalogued = Object.values(sources).some((source) => source?.startsWith("catalogue: "));
  const beyond = vocabularySize === undefined ? undefined : idBeyond(vocabularySize, profile, tokenizerJson);
  if (beyond !== undefined) {
    throw reader.problem(
      "config.json",
      beyond,
      "Take tokenizer.json and config.json from the same revision of the model",
    );
  }
  // A template from elsewhere leaves nothing of the tokenizer's own to contradict.
  const specials = templateOf(profile, sources).flatMap((piece) => ("token" in piece ? [piece.token] : []));
  // As the table: whoever only imports core does not load it.
  const { tokenizerDisagreements } = await import("./tokenizer-disagreements.js");
  const settings = { ...tokenizerConfig, ...(modules?.lowerCase === true && { do_lower_case: undefined }) };
  return {
    profile,
    sources,
    disagreements: await tokenizerDisagreements(reader, usedTokenizer, settings, new Set(specials)),
    tokenizerJson: modules?.lowerCase ? lowerCased(usedTokenizer) : usedTokenizer,
    ...(isCatalogued && (await import("./read-catalogue.js")).catalogueFacts(profile, sources)),
  };
}

/** What the tokenizer itself puts around the family's texts. */
function templateOf(profile: ModelProfile, sources: ProfileSources): readonly TemplatePiece[] {
  const field = profile.family === "bi-encoder" ? "singleTemplate" : "pairTemplate";
  const isTokenizers = sources[field]?.startsWith("tokenizer.json") === true;
  return isTokenizers && (profile.family === "cross-encoder" || profile.family === "bi-encoder")
    ? profile[field]
    : [];
}

/** What the configuration says beside the profile. */
interface ConfigurationFacts {
  /** Rows of the embedding table, where config.json says so. */
  readonly vocabularySize: number | undefined;
  readonly tokenizerConfig: TokenizerConfig | undefined;
  readonly config: Config;
}

/** A long document's end would be read, and its beginning left out. */
function refuseLeftCuts(
  reader: ModelReader,
  tokenizer: { readonly json: TokenizerJson; readonly config: TokenizerConfig },
): void {
  const found = leftSide(tokenizer, "truncation_side");
  if (found === undefined) return;
  throw reader.problem(
    found.file,
    `${found.entry} is ${JSON.stringify(found.side)}: texts that are too long lose their beginning, which is not computed here`,
    'Give "truncation": "document-only" in a crossrank.json to have their ends cut instead, as most models are trained',
  );
}

async function readConfig(facts: Reading): Promise<ConfigurationFacts> {
  const { reader, put, given, modules, tokenizerJson } = facts;
  const config = await reader.required(
    "config.json",
    configSchema,
    "Pass the folder or repository that holds the model's Hugging Face files, name the model whose configuration it has by the option `base`, or put a complete crossrank.json there",
  );
  const foundConfig = await reader.optional("tokenizer_config.json", tokenizerConfigSchema);
  const tokenizerConfig = foundConfig ?? {};
  const architecture = config.model_type ?? undefined;
  put("architecture", architecture, "config.json model_type");
  const padding = config.pad_token_id ?? -1;
  put("paddingId", padding < 0 ? undefined : padding, "config.json pad_token_id");
  const named = config.architectures?.[0];
  const original =
    named === "HF_ColBERT" && modules === undefined && reader.present.has(artifactMetadata)
      ? await (await lateInteraction()).readOriginalColbert(reader)
      : undefined;
  const late = modules?.late ?? original?.late;
  readLimits(facts, config, late === undefined ? tokenizerConfig : {}, late);
  const templates = readPostProcessor(reader, put, tokenizerJson);
  const inputs = tokenizerConfig.model_input_names;
  if (templates !== undefined && inputs && !inputs.includes("token_type_ids")) {
    // transformers gives such a model no segments, and it then takes all for 0.
    const source = "tokenizer.json post_processor, segments 0 by tokenizer_config.json model_input_names";
    put("pairTemplate", ofOneSegment(templates.pair), source);
    put("singleTemplate", ofOneSegment(templates.single), source);
  }
  const answer = await askForReranker(facts, config, tokenizerConfig, templates?.single);
  const reading: WholeReading = { ...facts, answer };
  const known = answer?.known?.reranker;

  let family: Family | undefined;
  if (modules !== undefined && modules.family !== "classifier") {
    family = modules.family;
    put("family", family, "modules.json");
    put("head", modules.head, modules.headSource);
    readPrompts(put, modules, family);
    if (family === "bi-encoder") {
      const { putPrefixes } = await import("./read-catalogue.js");
      await putPrefixes(reading, config, modules);
    }
    if (family === "bi-encoder" || family === "late-interaction")
      put("activation", "identity", "modules.json");
    else readActivation(reading, config);
  } else if (original !== undefined) {
    family = "late-interaction";
    put("family", family, "config.json architectures");
    put("head", original.head, "the architecture HF_ColBERT");
    put("activation", "identity", "the architecture HF_ColBERT");
  } else if (named === "JinaForRanking") {
    family = "listwise";
    const rules = reader.check("tokenizer.json", () => jinaForRanking(addedTokens(tokenizerJson)));
    put("family", family, "config.json architectures");
    put("head", rules.head, "the architecture JinaForRanking");
    put("activation", "identity", "the architecture JinaForRanking");
    put("listTemplate", rules.template, "the architecture JinaForRanking");
  } else if (given.family === undefined || given.head === undefined || given.activation === undefined) {
    family = await readClassifier(reading, config);
    if (modules !== undefined) readPrompts(put, modules, family);
  }
  if (late !== undefined && given.lateTemplate === undefined) {
    const tokenizer = { json: tokenizerJson, config: tokenizerConfig, single: templates?.single };
    const template = await (await lateInteraction()).lateTemplateOf(reader, late, tokenizer);
    requireSeenExpansion(reader, template, config);
    put("lateTemplate", template, late.file);
  }
  readSegments(put, config, tokenizerConfig, given.family ?? family);

  const final = given.family ?? family;
  if (given.truncation === undefined && (final === "cross-encoder" || final === "bi-encoder"))
    refuseLeftCuts(reader, { json: tokenizerJson, config: tokenizerConfig });
  if (
    answer?.known !== undefined &&
    known !== undefined &&
    (final === "causal-lm" || final === "cross-encoder")
  ) {
    const { putKnownPrompt } = await import("./read-catalogue.js");
    await putKnownPrompt(reading, answer.known, known, tokenizerConfig);
  } else if (modules?.chat !== undefined && isPrompted(final) && given.pairTemplate === undefined) {
    await readChat(reading, modules, tokenizerConfig, final === "causal-lm");
  } else if (final === "causal-lm" && given.pairTemplate === undefined) {
    throw reader.problem(
      "sentence_bert_config.json",
      "its modality_config has no message, so that nothing says how query and document become a prompt",
      "Give pairTemplate in a crossrank.json",
    );
  }
  if (final === "cross-encoder") requireStatedTemplate(reading, config.model_type ?? given.architecture);
  if (
    final === "cross-encoder" &&
    templates === undefined &&
    known === undefined &&
    modules?.chat === undefined &&
    !given.pairTemplate
  ) {
    throw reader.problem(
      "tokenizer.json",
      "its post_processor describes no template for a pair",
      "Give pairTemplate in a crossrank.json",
    );
  }
  return { vocabularySize: config.vocab_size ?? undefined, tokenizerConfig: foundConfig, config };
}

/** Whether a pair may reach the model through a chat template. */
function isPrompted(family: Family | undefined): boolean {
  return family !== "bi-encoder" && family !== "late-interaction";
}

/** @param late has lengths of its own, in place of those of the tokenizer and of sentence-transformers. */
function readLimits(
  { reader, put, modules }: Pick<Reading, "reader" | "put" | "modules">,
  config: Config,
  tokenizerConfig: TokenizerConfig,
  late: LateFacts | undefined,
): void {
  const offset = offsetPositions.has(config.model_type ?? "") ? Math.max(config.pad_token_id ?? 1, 0) + 1 : 0;
  const positions = config.max_position_embeddings;
  const limits: readonly (readonly [limit: number | null | undefined, source: string])[] = [
    [
      typeof positions === "number" ? positions - offset : undefined,
      `config.json max_position_embeddings${offset === 0 ? "" : ` less ${offset}`}`,
    ],
    [tokenizerConfig.model_max_length, "tokenizer_config.json model_max_length"],
    late === undefined
      ? [modules?.maxLength, "sentence_bert_config.json max_seq_length"]
      : [Math.max(late.queryLength, late.documentLength), late.file],
  ];
  if (typeof positions === "number" && positions <= offset) {
    throw reader.problem(
      "config.json",
      `max_position_embeddings is ${positions}, which leaves no position behind the ${offset} for padding`,
      "Download it again, or mend it",
    );
  }
  let least: number | undefined;
  for (const [limit, source] of limits) {
    if (typeof limit !== "number" || limit >= (least ?? noLimit)) continue;
    least = limit;
    put("maxLength", limit, source);
  }
}

function readPostProcessor(
  reader: ModelReader,
  put: Put,
  tokenizerJson: TokenizerJson,
): Templates | undefined {
  const templates = reader.check("tokenizer.json", () => readTemplates(tokenizerJson["post_processor"]));
  put("pairTemplate", templates?.pair, "tokenizer.json post_processor");
  put("singleTemplate", templates?.single, "tokenizer.json post_processor");
  return templates;
}

function ofOneSegment(template: readonly TemplatePiece[]): TemplatePiece[] {
  return template.map((piece) => ("segment" in piece ? { ...piece, segment: 0 } : piece));
}

function readSegments(
  put: Put,
  config: Config,
  tokenizerConfig: TokenizerConfig,
  family: Family | undefined,
): void {
  const size = config.type_vocab_size;
  if (family !== "cross-encoder" && family !== "bi-encoder" && family !== "late-interaction") {
    put("readsSegments", false, `family ${family ?? "unknown"}`);
  } else if (typeof size === "number") put("readsSegments", size > 1, "config.json type_vocab_size");
  else if (withoutSegments.has(config.model_type ?? "")) {
    put("readsSegments", false, `the architecture ${config.model_type}`);
  } else if (tokenizerConfig.model_input_names) {
    const reads = tokenizerConfig.model_input_names.includes("token_type_ids");
    put("readsSegments", reads, "tokenizer_config.json model_input_names");
  } else put("readsSegments", true, "default");
}

/**
 * Asks the catalogue about a language model of which no file and nobody says how a pair becomes a prompt; undefined where
 * that is said, or where the tokenizer says it, as an encoder's does.
 */
async function askForReranker(
  reading: Reading,
  config: Config,
  tokenizerConfig: TokenizerConfig,
  single: readonly TemplatePiece[] | undefined,
): Promise<CatalogueAnswer | undefined> {
  const { given, modules } = reading;
  const architecture = config.model_type ?? given.architecture ?? "";
  const isDecided = (modules !== undefined && modules.family !== "classifier") || given.family !== undefined;
  if (isDecided || hasTemplate(reading, architecture)) return undefined;
  if (!/For(?:CausalLM|SequenceClassification)$/.test(config.architectures?.[0] ?? "")) return undefined;
  // The table is long: whoever only imports core does not load it.
  const { ask } = await import("./read-catalogue.js");
  return ask(reading, config, { kind: "reranker", single, tokenizerConfig });
}

/** sentence-transformers' prompts: an instruction where there is a chat template, else text before the query. */
function readPrompts(
  put: Put,
  { prompts, defaultPrompt, chat }: SentenceTransformersFacts,
  family: Family,
): void {
  const source = (name: string): string => `config_sentence_transformers.json prompts.${name}`;
  const first = (names: readonly string[]): string | undefined =>
    names.find((name) => Object.hasOwn(prompts, name));
  if (family === "bi-encoder") {
    // As encode_query and encode_document look for them.
    const query = first(["query", ...(defaultPrompt === undefined ? [] : [defaultPrompt])]);
    const document = first([
      "document",
      "passage",
      "corpus",
      ...(defaultPrompt === undefined ? [] : [defaultPrompt]),
    ]);
    if (query !== undefined) put("queryPrefix", prompts[query], source(query));
    if (document !== undefined) put("documentPrefix", prompts[document], source(document));
  } else if (defaultPrompt !== undefined && Object.hasOwn(prompts, defaultPrompt)) {
    // PyLate's `encode` puts it before texts of both kinds.
    if (family === "late-interaction") put("documentPrefix", prompts[defaultPrompt], source(defaultPrompt));
    const isPlain = chat === undefined || family === "late-interaction";
    put(isPlain ? "queryPrefix" : "instruction", prompts[defaultPrompt], source(defaultPrompt));
  }
}

async function readChat(
  { reader, put, tokenizerJson }: Reading,
  { chat }: SentenceTransformersFacts,
  tokenizerConfig: TokenizerConfig,
  needed: boolean,
): Promise<void> {
  const file = "chat_template.jinja";
  const text = (await reader.text(file)) ?? chatTemplateOf(tokenizerConfig);
  const source = reader.present.has(file) ? file : "tokenizer_config.json chat_template";
  if (text === undefined || chat === undefined) {
    if (!needed) return;
    throw reader.problem(
      "modules.json",
      `the model scores by an answer, and there is no ${file} that says how it is asked`,
      "Download the model again, or give pairTemplate in a crossrank.json",
    );
  }
  let templates: Awaited<ReturnType<typeof readChatTemplate>>;
  try {
    templates = await readChatTemplate(
      text,
      { format: chat.format, arguments: { ...spellingsOf(tokenizerConfig), ...chat.arguments } },
      addedTokens(tokenizerJson),
    );
  } catch (cause) {
    throw new ModelProfileError(
      {
        model: reader.model,
        file: source,
        problem: `does not give the prompt of a pair (${(cause as Error).message})`,
        fix: "Give pairTemplate in a crossrank.json",
      },
      { cause },
    );
  }
  put("pairTemplate", templates.pair, source);
  put("instructedTemplate", templates.instructed, source);
}

/**
 * Whether something says how query and document become one text: the model's kind, a chat template, the user, or the
 * catalogue.
 */
function hasTemplate({ given, modules, answer }: TemplateFacts, model: string | null | undefined): boolean {
  return (
    readsPairsOfItsTokenizer(model) ||
    modules?.chat !== undefined ||
    given.pairTemplate !== undefined ||
    answer?.known?.reranker !== undefined
  );
}

type TemplateFacts = Pick<Reading, "given" | "modules"> & Partial<Pick<WholeReading, "answer">>;

/**
 * A cross-encoder's, whoever says that it is one.
 *
 * @throws {ModelProfileError}
 */
function requireStatedTemplate(
  reading: TemplateFacts & Pick<Reading, "reader">,
  model: string | null | undefined,
): void {
  if (hasTemplate(reading, model)) return;
  const isInConfig = reading.reader.present.has("config.json");
  refuseContradiction(reading);
  throw reading.reader.problem(
    isInConfig ? "config.json" : "crossrank.json",
    `${isInConfig ? "model_type" : "architecture"} says ${JSON.stringify((model ?? "nothing").slice(0, 60))}, which is no encoder that is known, and ` +
      "nothing says which prompt it was trained on as a reranker: what a language model's tokenizer puts around two " +
      "texts is none",
    `Give pairTemplate in a crossrank.json, from the model's card${reading.answer?.hint ?? ""}`,
  );
}

/** @throws {ModelProfileError} where files say that it is a model of the catalogue, and its tokenizer is another's. */
function refuseContradiction({
  reader,
  answer,
}: Pick<Reading, "reader"> & Partial<Pick<WholeReading, "answer">>): void {
  const [contradiction] = answer?.contradictions ?? [];
  if (contradiction === undefined) return;
  throw reader.problem(
    "tokenizer.json",
    contradiction,
    "Take all files from the same revision of the model, or give family, head, activation and pairTemplate in a crossrank.json, from its card",
  );
}

/** Of transformers' PretrainedConfig, where config.json says nothing. */
const defaultLabels = 2;

/** Hugging Face's `…ForSequenceClassification`. */
async function readClassifier(reading: WholeReading, config: Config): Promise<Family> {
  const { reader, put, given, answer } = reading;
  const architecture = config.architectures?.[0];
  const known = answer?.known?.reranker;
  if (architecture?.endsWith("ForCausalLM") && answer?.known !== undefined && known?.head !== undefined) {
    put("family", "causal-lm", answer.known.source);
    put("head", known.head, answer.known.source);
    put("activation", known.activation, answer.known.source);
    return "causal-lm";
  }
  if (architecture?.endsWith("ForCausalLM") && given.head === undefined) {
    refuseContradiction(reading);
    throw reader.problem(
      "config.json",
      `architectures says ${architecture}, a language model, and nothing says which prompt it was trained on as a ` +
        "reranker and which tokens are its answers: there is no modules.json with a LogitScore",
      "Use a revision with sentence-transformers' files (modules.json, 1_LogitScore, chat_template.jinja), or give " +
        `family, head, activation and pairTemplate in a crossrank.json${answer?.hint ?? ""}`,
    );
  }
  const isStated = architecture?.endsWith("ForSequenceClassification") === true;
  const model = config.model_type ?? given.architecture;
  const isKnown = hasTemplate(reading, model);
  const saysLabels = config.id2label || config.num_labels;
  const asked =
    isKnown && !(isStated && saysLabels) ? await labelsOfArtifact(reading.declaredLabels) : undefined;
  // Where it says what transformers takes for granted, that is the source.
  const ofArtifact = isStated && asked?.labels === defaultLabels ? undefined : asked;
  if (!isStated && ofArtifact === undefined) {
    throw reader.problem(
      "config.json",
      `architectures says ${architecture ?? "nothing"}, and there is no modules.json: this is neither a ` +
        "sequence-classification cross-encoder nor a sentence-transformers model",
      `Choose another model, or say what it is in a crossrank.json (family, head, activation${isKnown ? "" : " and pairTemplate"})`,
    );
  }
  requireStatedTemplate(reading, model);
  put(
    "family",
    "cross-encoder",
    isStated ? "config.json architectures" : (ofArtifact?.source ?? "the artifact"),
  );
  const labels =
    ofArtifact?.labels ??
    (config.id2label ? Object.keys(config.id2label).length : (config.num_labels ?? defaultLabels));
  const labelSource =
    ofArtifact?.source ??
    (config.id2label
      ? "config.json id2label"
      : config.num_labels
        ? "config.json num_labels"
        : "transformers' default of 2 labels");
  if (labels === 1) put("head", { kind: "logit" }, labelSource);
  else if (labels === 2) putTwoClasses(reading, config, labelSource);
  else if (given.head === undefined) {
    const found = labelsOf(config).names;
    const names = shownLabels(found);
    const example = Object.values(found ?? {}).find((name) => /entail/i.test(name)) ?? "entailment";
    throw reader.problem(
      "config.json",
      `a head of ${labels} labels${names === "" ? "" : ` (${names})`} gives no single relevance, and nothing says which of them means relevant`,
      "Choose a reranker with one or two labels, or name the label by head.positive in a crossrank.json: " +
        `{ "head": { "kind": "class", "positive": ${JSON.stringify(example.slice(0, 40))} } }`,
    );
  }
  if (answer?.known !== undefined && known !== undefined && activationNamed(reading, config) === undefined) {
    put("activation", known.activation, answer.known.source);
  } else readActivation(reading, config);
  return "cross-encoder";
}

/**
 * sentence-transformers, `CrossEncoder._parse_model_config` and `get_default_activation_fn`: what its own settings
 * or config.json name, else Sigmoid for one number. The two classes of an older model have no activation there; a
 * probability is what their softmax would be.
 */
function putTwoClasses({ reader, put, given }: Reading, config: Config, source: string): void {
  const found = labelsOf(config);
  const positive = relevantClass(found);
  if (positive !== undefined) put("head", { kind: "two-class", positive }, source);
  else if (given.head === undefined) {
    throw reader.problem(
      "config.json",
      found.contradiction === undefined
        ? `its two classes are called ${shownLabels(found.names)}, which does not say which of them means relevant`
        : `it contradicts itself on which of its two classes means relevant: ${found.contradiction}`,
      'Say it by head.positive in a crossrank.json: { "head": { "kind": "two-class", "positive": 0 } }, or 1, or its name',
    );
  }
}

/** A head as a crossrank.json says it: a class by its name becomes its number. @throws {ModelProfileError} */
function readHead(
  reader: ModelReader,
  head: CrossrankJson["head"],
  config: Config | undefined,
): Head | undefined {
  if (head === undefined || (head.kind !== "class" && head.kind !== "two-class"))
    return head as Head | undefined;
  const { names: labels, contradiction } = labelsOf(config ?? {});
  const counted = config?.id2label ?? labels;
  const count = counted === undefined ? (config?.num_labels ?? undefined) : Object.keys(counted).length;
  const stated = "classes" in head ? head.classes : undefined;
  const classes = stated ?? (head.kind === "two-class" ? 2 : count);
  const { positive: wanted } = head;
  const positive =
    labels === undefined ? (typeof wanted === "number" ? wanted : undefined) : classNamed(wanted, labels);
  const known = shownLabels(labels);
  if (typeof wanted === "string" && contradiction !== undefined) {
    throw new ModelProfileError({
      model: reader.model,
      file: "crossrank.json",
      problem: `head.positive is ${JSON.stringify(wanted)}, and config.json contradicts itself: ${contradiction}`,
      fix: "Give its number",
    });
  }
  const isSound =
    positive !== undefined &&
    classes !== undefined &&
    positive < classes &&
    (head.kind === "class" || count === undefined || count === 2);
  // A number needs no names, and those of two classes may be wrong.
  if (head.kind === "two-class" && (wanted === 0 || wanted === 1))
    return { kind: "two-class", positive: wanted };
  if (!isSound || positive === undefined) {
    throw new ModelProfileError({
      model: reader.model,
      file: "crossrank.json",
      problem: `head.positive is ${JSON.stringify(wanted)}, and config.json ${known === "" ? "names no labels" : `has the labels ${known}`}`,
      fix: known === "" ? "Give its number, and with kind class the number of classes" : "Name one of these",
    });
  }
  return classes === 2
    ? { kind: "two-class", positive: positive === 0 ? 0 : 1 }
    : { kind: "class", positive, classes };
}

/** The class that a model's own files name; undefined where they are silent. */
function activationNamed({ modules }: Pick<Reading, "modules">, config: Config): string | undefined {
  const ofConfig = config.sentence_transformers?.activation_fn ?? config.sbert_ce_default_activation_function;
  return modules?.activation ?? ofConfig ?? undefined;
}

function readActivation({ reader, put, given, modules }: Reading, config: Config): void {
  const named = activationNamed({ modules }, config);
  const file = modules?.activation === undefined ? "config.json" : "config_sentence_transformers.json";
  const kind = named?.slice(named.lastIndexOf(".") + 1);
  if (named === undefined) {
    put("activation", "sigmoid", "sentence-transformers' default");
  } else if (kind === "Identity") {
    put("activation", "identity", `${file} activation_fn`);
  } else if (kind === "Sigmoid") {
    put("activation", "sigmoid", `${file} activation_fn`);
  } else if (kind === "Tanh") {
    put("activation", "tanh", `${file} activation_fn`);
  } else if (given.activation === undefined) {
    throw reader.problem(
      file,
      `activation ${named} is not supported`,
      'Set "activation": "identity" in a crossrank.json to get logits',
    );
  }
}

/** Heads that make sense in each family. */
const headsOf: Readonly<Record<Family, readonly Head["kind"][]>> = {
  "cross-encoder": ["logit", "two-class", "class", "pooled-chain"],
  "bi-encoder": ["cosine"],
  "causal-lm": ["answer-tokens"],
  listwise: ["marker-cosine"],
  "late-interaction": ["max-sim"],
};

function complete(model: string, fields: Fields): ModelProfile {
  const needed = ["family", "architecture", "maxLength", "head", "activation"] as const;
  const missing: string[] = needed.filter((field) => fields[field] === undefined);
  const templates: Readonly<Record<Family, keyof ModelProfile>> = {
    "cross-encoder": "pairTemplate",
    "causal-lm": "pairTemplate",
    "bi-encoder": "singleTemplate",
    listwise: "listTemplate",
    "late-interaction": "lateTemplate",
  };
  const template = fields.family === undefined ? undefined : fields[templates[fields.family]];
  if (
    fields.family !== undefined &&
    (template === undefined || (Array.isArray(template) && template.length === 0))
  )
    missing.push(templates[fields.family]);
  if (missing.length > 0) {
    throw new ModelProfileError({
      model,
      problem: `its files do not say: ${missing.join(", ")}`,
      fix: "Put these fields into a crossrank.json beside them",
    });
  }
  const profile = fields as ModelProfile;
  const contradiction = (problem: string, fix: string): ModelProfileError =>
    new ModelProfileError({ model, problem, fix });
  const { family, head } = profile;
  if (!headsOf[family].includes(head.kind)) {
    throw contradiction(
      `family ${family} and head ${head.kind} do not go together`,
      `A ${family} has head ${headsOf[family].join(" or ")}`,
    );
  }
  const lacking = (
    pieces: readonly TemplatePiece[],
    texts: readonly ("query" | "document" | "instruction")[],
  ) => texts.find((text) => !textsOf(pieces).has(text));
  const wanted = [
    ...(family === "cross-encoder" || family === "causal-lm"
      ? [["pairTemplate", profile.pairTemplate, ["query", "document"]] as const]
      : []),
    ...(profile.instructedTemplate === undefined
      ? []
      : [["instructedTemplate", profile.instructedTemplate, ["query", "document", "instruction"]] as const]),
    ...(family === "bi-encoder" ? [["singleTemplate", profile.singleTemplate, ["query"]] as const] : []),
    ...(family === "late-interaction" && profile.lateTemplate !== undefined
      ? ([
          ["lateTemplate.query", profile.lateTemplate.query, ["query"]],
          ["lateTemplate.document", profile.lateTemplate.document, ["document"]],
        ] as const)
      : []),
  ];
  for (const [field, pieces, texts] of wanted) {
    const text = lacking(pieces, texts);
    if (text !== undefined)
      throw contradiction(`${field} has no place for the ${text}`, "Mend it in the crossrank.json");
  }
  const unfit = family === "late-interaction" ? problemOfLate(profile) : undefined;
  if (unfit !== undefined) throw contradiction(unfit, "Mend it in the crossrank.json");
  requireInstruction(profile.instruction ?? "", { id: model, profile });
  return profile;
}

/** Few models are of it: whoever only imports core does not load it. */
const lateInteraction = () => import("./late-interaction.js");

/** ModernBERT's window where config.json does not say (transformers 5.23, `configuration_modernbert.py`). */
const usualWindow = 128;

/**
 * A token of the expansion that is not attended has to see one of the query's: where the model's window ends before, what
 * it gets is the runtime's choice. The shortest query has three tokens.
 *
 * @throws {ModelProfileError}
 */
function requireSeenExpansion(
  reader: ModelReader,
  { maxQueryTokens, expansion }: LateTemplate,
  { model_type: model, local_attention: window }: Config,
): void {
  if (model !== "modernbert" || expansion?.attended !== false) return;
  const reach = Math.floor((window ?? usualWindow) / 2);
  if (maxQueryTokens - 3 <= reach) return;
  throw reader.problem(
    "config_sentence_transformers.json",
    `queries are filled up to ${maxQueryTokens} tokens that the query does not attend to, and the model's tokens see ${reach} ` +
      "places (config.json local_attention): behind a short query they see nothing, and what that gives is up to each runtime",
    "Give lateTemplate in a crossrank.json, with maxQueryTokens within the window or expansion.attended true, as far as the model was trained for it",
  );
}

/** What in a late template cannot be, as a sentence without its period. */
function problemOfLate({ lateTemplate: template, maxLength }: ModelProfile): string | undefined {
  if (template === undefined) return undefined;
  const { query, document, maxQueryTokens, maxDocumentTokens, expansion, skipped } = template;
  for (const [name, pieces, most] of [
    ["query", query, maxQueryTokens],
    ["document", document, maxDocumentTokens],
  ] as const) {
    const own = pieces.filter((piece) => "id" in piece).length;
    if (pieces.length - own !== 1) return `lateTemplate.${name} has other pieces than tokens and one text`;
    if (most <= own)
      return `a ${name} is cut to ${most} tokens, of which ${own} are not its text's: no room is left for text`;
  }
  const hidden = new Set(skipped);
  if (!document.some((piece) => "id" in piece && !hidden.has(piece.id))) {
    return "lateTemplate.skipped has all the tokens that every document has, so that one may have no vector left";
  }
  return expansion !== undefined && maxQueryTokens > maxLength
    ? `queries are filled up to ${maxQueryTokens} tokens, and the model takes ${maxLength}`
    : undefined;
}

/** tokenizer.json's own padding entry, for models whose config.json names no pad_token_id. */
function paddingOf(tokenizerJson: unknown): number | undefined {
  return z.object({ padding: z.object({ pad_id: tokenId }) }).safeParse(tokenizerJson).data?.padding.pad_id;
}

/** sentence-transformers, `Transformer.__init__` with `do_lower_case`: a Lowercase before the other normalizers. */
function lowerCased(tokenizerJson: TokenizerJson): TokenizerJson {
  const { normalizer } = tokenizerJson;
  const present =
    normalizer?.type === "Sequence" && Array.isArray(normalizer["normalizers"])
      ? normalizer["normalizers"]
      : normalizer
        ? [normalizer]
        : [];
  return {
    ...tokenizerJson,
    normalizer: { type: "Sequence", normalizers: [{ type: "Lowercase" }, ...present] },
  };
}
