import * as z from "zod/mini";
import type { CrossrankJson, ModelProfile, ProfileSources } from "../contract/model-profile.js";
import type { ModelReader } from "../files/model-reader.js";
import type { CatalogueAnswer } from "./catalogue.js";
import type { DeclaredLabels } from "./logits-shape.js";
import type { AddedToken } from "./prompt-template.js";
import { positionCount, tokenId } from "./ranges.js";
import type { SentenceTransformersFacts } from "./sentence-transformers.js";

// What the parts of a reading share: read-profile.ts reads a model's own files, read-catalogue.ts what they leave out.

/** A model's profile, the tokenizer that goes with it, and where each fact was found. */
export interface ProfileReading {
  readonly profile: ModelProfile;
  readonly sources: ProfileSources;
  /** Parsed tokenizer.json, as the model uses it: with sentence-transformers' `do_lower_case` worked in. */
  readonly tokenizerJson: unknown;
  /** Where files of its tokenizer contradict each other and which was followed, as sentences without their periods. */
  readonly disagreements: readonly string[];
  /** Facts that no file of the model says, of the catalogue of published models, and how the model is known. */
  readonly catalogue?: { readonly source: string; readonly facts: CrossrankJson };
}

/** What is known of a model beside its files' content. */
export interface Identity {
  /** Undefined of a folder, whose name says nothing. */
  readonly repository: string | undefined;
  /** The repository of which these files are another form, where the user says so. */
  readonly base: string | undefined;
}

/** Enters a fact and its source; a fact that a file does not give leaves what is there. */
export type Put = <Field extends keyof ModelProfile>(
  field: Field,
  value: ModelProfile[Field] | undefined,
  source: string,
) => void;

/** Everything that the parts of a reading share. */
export interface Reading {
  readonly reader: ModelReader;
  readonly put: Put;
  /** What crossrank.json and the caller say: need not be found elsewhere. */
  readonly given: CrossrankJson;
  readonly modules: SentenceTransformersFacts | undefined;
  readonly tokenizerJson: TokenizerJson;
  readonly declaredLabels: DeclaredLabels | undefined;
  readonly identity: Identity;
  readonly signal: AbortSignal | undefined;
}

/** With what the catalogue says of the model, where its files do not say how a pair becomes a prompt. */
export interface WholeReading extends Reading {
  readonly answer: CatalogueAnswer | undefined;
}

/** tokenizer_config.json writes "no limit" as 1e30. */
export const noLimit = 1e9;

/** The entries of tokenizer_config.json that are read. */
export interface TokenizerConfig {
  model_max_length?: number | null | undefined;
  model_input_names?: string[] | null | undefined;
  tokenizer_class?: string | null | undefined;
  chat_template?: string | { name: string; template: string }[] | null | undefined;
  [name: string]: unknown;
}

export const tokenizerConfigSchema: z.ZodMiniType<TokenizerConfig> = z.looseObject({
  // transformers writes "no limit" as 1e30.
  model_max_length: z.nullish(z.union([positionCount, z.number().check(z.gte(noLimit))])),
  model_input_names: z.nullish(z.array(z.string())),
  tokenizer_class: z.nullish(z.string()),
  chat_template: z.nullish(
    z.union([z.string(), z.array(z.object({ name: z.string(), template: z.string() }))]),
  ),
});

/** The parts of tokenizer.json that a profile is read from. */
export interface TokenizerJson {
  model: Record<string, unknown>;
  normalizer?: { type: string; [name: string]: unknown } | null | undefined;
  added_tokens?:
    | { id: number; content: string; special?: boolean | null | undefined; [name: string]: unknown }[]
    | null
    | undefined;
  [name: string]: unknown;
}

export const tokenizerSchema: z.ZodMiniType<TokenizerJson> = z.looseObject({
  model: z.looseObject({}),
  normalizer: z.nullish(z.looseObject({ type: z.string() })),
  added_tokens: z.nullish(
    z.array(z.looseObject({ id: tokenId, content: z.string(), special: z.nullish(z.boolean()) })),
  ),
});

export function chatTemplateOf({ chat_template: ofTokenizer }: TokenizerConfig): string | undefined {
  const found = Array.isArray(ofTokenizer)
    ? ofTokenizer.find(({ name }) => name === "default")?.template
    : ofTokenizer;
  return found ?? undefined;
}

/** Special tokens that a chat template may spell by their names. */
export function spellingsOf(tokenizerConfig: TokenizerConfig): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(tokenizerConfig).filter(
      ([name, value]) => name.endsWith("_token") && typeof value === "string",
    ),
  );
}

export function addedTokens(tokenizerJson: TokenizerJson): AddedToken[] {
  return (tokenizerJson.added_tokens ?? []).map(({ id, content, special }) => ({
    id,
    content,
    special: special === true,
  }));
}
