import type {
  CrossrankJson,
  ModelProfile,
  ProfileSources,
  TemplatePiece,
} from "../contract/model-profile.js";
import { type CatalogueAnswer, type Known, type KnownReranker, lookUp } from "./catalogue.js";
import { readChatTemplate } from "./chat-template.js";
import type { Config } from "./profile-schema.js";
import {
  addedTokens,
  chatTemplateOf,
  type ProfileReading,
  type Reading,
  spellingsOf,
  type TokenizerConfig,
  type WholeReading,
} from "./reading.js";
import type { SentenceTransformersFacts } from "./sentence-transformers.js";

/** How the source of a fact of the catalogue begins. */
const catalogueMark = "catalogue: ";

/** What the catalogue says of a model whose files are silent. */
export async function ask(
  { reader, given, tokenizerJson, identity, signal }: Reading,
  config: Config,
  {
    kind,
    single,
    tokenizerConfig,
  }: {
    kind: "reranker" | "prefixes";
    single?: readonly TemplatePiece[] | undefined;
    tokenizerConfig?: TokenizerConfig;
  },
): Promise<CatalogueAnswer> {
  return lookUp({
    ...{ reader, tokenizerJson, single, kind, signal, ...identity },
    architecture: config.model_type ?? given.architecture ?? "",
    chatTemplate: tokenizerConfig && chatTemplateOf(tokenizerConfig),
  });
}

/** Text before queries and documents, where sentence-transformers' settings have none for either. */
export async function putPrefixes(
  reading: Reading,
  config: Config,
  { prompts, defaultPrompt }: SentenceTransformersFacts,
): Promise<void> {
  const { put, given } = reading;
  const isStated =
    defaultPrompt !== undefined ||
    ["query", "document", "passage", "corpus"].some((name) => Object.hasOwn(prompts, name));
  if (isStated || (given.queryPrefix !== undefined && given.documentPrefix !== undefined)) return;
  const { known, doubt } = await ask(reading, config, { kind: "prefixes" });
  if (doubt !== undefined) {
    // As a fact: a copy without the weights, or without the card, would not know better.
    const source = `${catalogueMark}none, because ${doubt}`;
    put("queryPrefix", "", source);
    put("documentPrefix", "", source);
  }
  if (known?.prefixes === undefined) return;
  put("queryPrefix", known.prefixes.query, known.source);
  put("documentPrefix", known.prefixes.document, known.source);
}

/**
 * The prompt of a model of the catalogue: its own chat template's, where that one has places for query and document.
 *
 * @throws {ModelProfileError} where that template has another wording than the catalogue: it was trained otherwise.
 */
export async function putKnownPrompt(
  reading: WholeReading,
  { name, source }: Known,
  known: KnownReranker,
  tokenizerConfig: TokenizerConfig,
): Promise<void> {
  const { reader, put, tokenizerJson } = reading;
  const file = "chat_template.jinja";
  const text = (await reader.text(file)) ?? chatTemplateOf(tokenizerConfig);
  const own =
    text === undefined
      ? undefined
      : await readChatTemplate(
          text,
          { format: "flat", arguments: { ...spellingsOf(tokenizerConfig), add_generation_prompt: true } },
          addedTokens(tokenizerJson),
          // A chat's template has no places for query and document.
        ).catch(() => undefined);
  if (own === undefined || text === undefined) {
    put("pairTemplate", known.pair, source);
    put("instructedTemplate", known.instructed, source);
    put("instruction", known.instruction, source);
    return;
  }
  const where = reader.present.has(file) ? file : "tokenizer_config.json chat_template";
  if (!known.quotedBy(text)) {
    throw reader.problem(
      where,
      `it has a prompt of its own, which is not that of ${name}: it was trained otherwise, and nothing says which tokens are its answers`,
      "Give family, head and activation in a crossrank.json, from the model's card",
    );
  }
  put("pairTemplate", own.pair, where);
  put("instructedTemplate", own.instructed, where);
  if (own.instructed !== undefined) put("instruction", known.instruction, source);
}

/** The fields that the catalogue gave, for whoever writes the model's files anew, elsewhere. */
export function catalogueFacts(
  profile: ModelProfile,
  sources: ProfileSources,
): Pick<ProfileReading, "catalogue"> {
  const fields = (Object.keys(sources) as (keyof ModelProfile)[]).filter((field) =>
    sources[field]?.startsWith(catalogueMark),
  );
  const [first = "family"] = fields;
  return {
    catalogue: {
      source: (sources[first] ?? "").slice(catalogueMark.length),
      facts: Object.fromEntries(fields.map((field) => [field, profile[field]])) as CrossrankJson,
    },
  };
}
