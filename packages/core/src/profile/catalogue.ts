import type { Head, TemplatePiece } from "../contract/model-profile.js";
import type { ModelReader } from "../files/model-reader.js";
import { type CatalogueEntry, catalogue, type Prompt, type TokenizerFacts } from "./catalogue-facts.js";
import { readCardBase, readCardTask, saysTrained } from "./model-card.js";
import { type AddedToken, piecesOfPrompt, standInFor } from "./prompt-template.js";

/*
 * What is known of a published model whose own files are silent. A model is known by its architecture, by a tokenizer that
 * fits, and by evidence: a file of it that quotes the prompt, a card or a user who says what it is another form of, or, at
 * last, the id of its repository. The architecture alone is none: a chat model has the same.
 */

/** A model that the catalogue knows, and how. */
export interface Known {
  readonly name: string;
  /** `"catalogue: Qwen3-Reranker (…), by README.md, which quotes its prompt"`. */
  readonly source: string;
  readonly prefixes: CatalogueEntry["prefixes"];
  readonly reranker: KnownReranker | undefined;
}

export interface KnownReranker {
  /** Without an instruction. */
  readonly pair: readonly TemplatePiece[];
  readonly instructed: readonly TemplatePiece[] | undefined;
  readonly instruction: string | undefined;
  /** Of a language model whose next token is the answer. */
  /** Undefined where its answer is a classifier's. */
  readonly head: Extract<Head, { kind: "answer-tokens" }> | undefined;
  readonly activation: "identity" | "sigmoid";
  /** Whether a text, such as a chat template, has the wording of its prompt. */
  readonly quotedBy: (text: string) => boolean;
}

export interface CatalogueQuestion {
  readonly reader: ModelReader;
  /** `model_type` of config.json. */
  readonly architecture: string;
  readonly tokenizerJson: TokenizerJson;
  /** What goes around one text, by the tokenizer. */
  readonly single: readonly TemplatePiece[] | undefined;
  /** Its repository's id; undefined of a folder. */
  readonly repository: string | undefined;
  /** The repository of which the user says that this is another form of it. */
  readonly base: string | undefined;
  /** `chat_template` of tokenizer_config.json. */
  readonly chatTemplate: string | undefined;
  /** What is wanted of an entry. */
  readonly kind: "reranker" | "prefixes";
  readonly signal: AbortSignal | undefined;
}

interface TokenizerJson {
  readonly model: Readonly<Record<string, unknown>>;
  readonly added_tokens?:
    | readonly {
        readonly id: number;
        readonly content: string;
        readonly special?: boolean | null | undefined;
      }[]
    | null
    | undefined;
}

/** What the catalogue answers: the model, or what speaks against what its files say it is. */
export interface CatalogueAnswer {
  readonly known?: Known;
  /** Sentences without their periods: evidence of an entry that its tokenizer contradicts. */
  readonly contradictions: readonly string[];
  /** Why a model whose card names an entry is not taken for it, where only the files beside the card tell. */
  readonly doubt?: string;
  /** How a user says which model it is, where its files do not: the end of a sentence, or nothing. */
  readonly hint: string;
}

/**
 * How much evidence says, most first: the words of what makes its prompt, what it is said to be a form of, the words of
 * its card, which may quote another model to compare with it, its name.
 */
const strengths = ["quote", "statement", "card", "name"] as const;

interface Evidence {
  readonly strength: (typeof strengths)[number];
  readonly text: string;
}

/** Looks a model up. No file that is missing or cannot be had is an error: it says nothing. */
export async function lookUp(question: CatalogueQuestion): Promise<CatalogueAnswer> {
  const { architecture, kind, tokenizerJson } = question;
  const entries = catalogue.filter(
    (entry) => entry.architectures.includes(architecture) && entry[kind] !== undefined,
  );
  if (entries.length === 0) return { contradictions: [], hint: "" };
  const fitting = entries.map((entry) => ({
    entry,
    misfit: entry.reranker && misfit(entry, entry.reranker.tokenizer, tokenizerJson),
  }));
  const candidates = fitting
    .filter(({ misfit: problem }) => problem === undefined)
    .map(({ entry }) => `${entry.name} (${entry.repositories[0]})`);
  const hint =
    candidates.length === 0
      ? ""
      : `; where it is another form of ${candidates.join(" or ")}, name that repository by the option \`base\``;
  const texts = await textsOf(question);
  const found = fitting.flatMap(({ entry, misfit: problem }) => {
    const evidence = evidenceOf(entry, question, texts);
    return typeof evidence === "object" ? [{ entry, evidence, problem }] : [];
  });
  for (const strength of strengths) {
    const [first, ...others] = found.filter(({ evidence }) => evidence.strength === strength);
    // Evidence of two models is evidence of none.
    if (first === undefined || others.length > 0) continue;
    const { entry, evidence, problem } = first;
    if (problem !== undefined) return { contradictions: [`${evidence.text}, and ${problem}`], hint };
    return { known: describe(entry, evidence, question), contradictions: [], hint };
  }
  const { statement } = texts;
  const isDoubted =
    statement?.weights !== undefined && entries.some((entry) => isListed(entry, statement.model));
  return {
    contradictions: [],
    hint,
    ...(isDoubted && {
      doubt: `README.md has the base_model ${statement.model}, and ${statement.weights} may be trained further`,
    }),
  };
}

const cardName = "README.md";

/** What cards of rerankers and of embedders say that they are for. */
const tasks: Readonly<Record<CatalogueQuestion["kind"], readonly string[]>> = {
  reranker: ["text-ranking", "text-classification", "sentence-similarity", "feature-extraction"],
  prefixes: ["sentence-similarity", "feature-extraction", "text-ranking", "text-classification", "fill-mask"],
};

interface Texts {
  /** What may quote a prompt, by the name of its file, in plain words. */
  readonly quoting: ReadonlyMap<string, string>;
  readonly statement: Statement | undefined;
}

async function textsOf({
  reader,
  kind,
  chatTemplate,
  architecture,
  signal,
}: CatalogueQuestion): Promise<Texts> {
  const code = catalogue
    .filter((entry) => entry.architectures.includes(architecture))
    .flatMap((entry) => entry.code ?? []);
  const quoting = new Map<string, string>();
  const names = kind === "reranker" ? ["chat_template.jinja", ...code, cardName] : [cardName];
  let statement: Statement | undefined;
  for (const name of names) {
    const text = await reader.text(name).catch(() => {
      signal?.throwIfAborted();
      return undefined;
    });
    if (text === undefined) continue;
    if (name === cardName) statement = statementOf(text, reader.present);
    if (name !== cardName || !isForeign(text, kind, architecture)) quoting.set(name, plain(text));
  }
  if (chatTemplate !== undefined) quoting.set("tokenizer_config.json chat_template", plain(chatTemplate));
  return { quoting, statement };
}

/**
 * Whether a card says that what it quotes is another model's: it is for another task, or made of a model that is none of
 * the catalogue's. A reranker is trained of a language model that is none either; another precision of one is no reranker.
 */
function isForeign(card: string, kind: CatalogueQuestion["kind"], architecture: string): boolean {
  const task = readCardTask(card);
  if (task !== undefined && !tasks[kind].includes(task)) return true;
  const { models, relation } = readCardBase(card);
  if (relation === undefined || (kind === "reranker" && relation !== "quantized")) return false;
  const entries = catalogue.filter((entry) => entry.architectures.includes(architecture));
  return models.some((model) => !entries.some((entry) => isListed(entry, model)));
}

/** Without the signs by which a program's text, or a line's end, differ from the words. */
function plain(text: string): string {
  return text
    .slice(0, 2 ** 20)
    .replace(/\\n/g, " ")
    .replace(/\\(["'])/g, "$1")
    .replace(/\s+/g, " ");
}

function quotes({ quotes: wording }: CatalogueEntry, text: string): boolean {
  return wording?.every((piece) => text.includes(piece)) === true;
}

function evidenceOf(
  entry: CatalogueEntry,
  { repository, base }: CatalogueQuestion,
  { quoting, statement }: Texts,
): Evidence | undefined {
  for (const [file, text] of quoting) {
    if (file !== cardName && quotes(entry, text)) return quotation(file, entry, "quote");
  }
  if (isListed(entry, base)) return { strength: "statement", text: `the option base says ${base}` };
  if (statement !== undefined && statement.weights === undefined && isListed(entry, statement.model))
    return { strength: "statement", text: `README.md has the base_model ${statement.model}` };
  const card = quoting.get(cardName);
  if (card !== undefined && quotes(entry, card)) return quotation(cardName, entry, "card");
  if (isListed(entry, repository)) return { strength: "name", text: `its repository is ${repository}` };
  return undefined;
}

function quotation(file: string, { name }: CatalogueEntry, strength: Evidence["strength"]): Evidence {
  return { strength, text: `${file} has the wording of ${name}` };
}

function isListed(entry: CatalogueEntry, id: string | undefined): boolean {
  return id !== undefined && entry.repositories.some((one) => isOf(id, one));
}

/**
 * Weights and what training leaves beside them, in whatever folder: such a model may have been trained further, with
 * another prompt.
 */
const trained =
  /\.(?:safetensors|h5|msgpack|pt|pth|ckpt)$|(?:^|\/)(?:pytorch_model[^/]*|training_args)\.bin$|(?:^|\/)trainer_state\.json$/i;

/** What a card says its model to be another form of. */
interface Statement {
  readonly model: string;
  /** A file beside it that leaves it open; undefined where there is none, or where the card decides. */
  readonly weights: string | undefined;
}

/**
 * `_name_or_path` of config.json is none: whoever trains a model on leaves there what was loaded, and an export of that
 * has no other sign of it.
 */
function statementOf(card: string, present: ReadonlySet<string>): Statement | undefined {
  const { models, relation } = readCardBase(card);
  const [model] = models;
  if (model === undefined || models.length > 1) return undefined;
  if (relation === "quantized") return { model, weights: undefined };
  if (relation !== undefined || saysTrained(card)) return undefined;
  return { model, weights: [...present].find((path) => trained.test(path)) };
}

/** Ids are told apart as on the hub, where case makes no difference; a folder of a repository is of it. */
function isOf(id: string, repository: string): boolean {
  const [own, listed] = [id.toLowerCase(), repository.toLowerCase()];
  return own === listed || own.startsWith(`${listed}/`);
}

/** Why a tokenizer is not the one that the prompt was trained with, as a sentence without its period. */
function misfit(
  { name, reranker }: CatalogueEntry,
  { special, added, ids }: TokenizerFacts,
  tokenizerJson: TokenizerJson,
): string | undefined {
  const tokens = tokenizerJson.added_tokens ?? [];
  const specials = new Set(tokens.filter((token) => token.special === true).map(({ content }) => content));
  const lacking = special.find((token) => !specials.has(token));
  if (lacking !== undefined)
    return `tokenizer.json has no special token ${lacking}, which the prompt of ${name} spells`;
  const foreign = tokens.find(({ content }) => !added.test(content))?.content;
  if (foreign !== undefined)
    return `tokenizer.json has the added token ${JSON.stringify(foreign.slice(0, 40))}, which ${name} does not have: it was trained otherwise`;
  const { answers } = reranker as NonNullable<CatalogueEntry["reranker"]>;
  for (const answer of [answers?.positive, answers?.negative]) {
    if (typeof answer === "string" && idOf(answer, tokenizerJson) === undefined)
      return `tokenizer.json has no token ${JSON.stringify(answer)}, the answer of ${name}`;
  }
  if (ids === undefined || sizeOf(tokenizerJson) < ids.from) return undefined;
  const other = Object.entries(ids.of).find(([token, id]) => idOf(token, tokenizerJson) !== id);
  return (
    other &&
    `the token ${JSON.stringify(other[0])} of tokenizer.json is ${idOf(other[0], tokenizerJson) ?? "missing"} and not ${other[1]}, as ${name} has it`
  );
}

function vocabularyOf({ model }: TokenizerJson): Readonly<Record<string, unknown>> {
  const { vocab } = model;
  return typeof vocab === "object" && vocab !== null && !Array.isArray(vocab)
    ? (vocab as Readonly<Record<string, unknown>>)
    : {};
}

function sizeOf(tokenizerJson: TokenizerJson): number {
  return Object.keys(vocabularyOf(tokenizerJson)).length;
}

function idOf(token: string, tokenizerJson: TokenizerJson): number | undefined {
  const vocabulary = vocabularyOf(tokenizerJson);
  const id = Object.hasOwn(vocabulary, token) ? vocabulary[token] : undefined;
  return typeof id === "number" ? id : undefined;
}

function describe(entry: CatalogueEntry, evidence: Evidence, question: CatalogueQuestion): Known {
  const alone = evidence.strength === "name" ? " alone" : "";
  return {
    name: entry.name,
    source: `catalogue: ${entry.name}, from ${entry.source}; known${alone} because ${evidence.text}`,
    prefixes: entry.prefixes,
    reranker: entry.reranker && rerankerOf(entry, entry.reranker, question),
  };
}

function rerankerOf(
  entry: CatalogueEntry,
  { prompt, answers, activation }: NonNullable<CatalogueEntry["reranker"]>,
  { tokenizerJson, single }: CatalogueQuestion,
): KnownReranker {
  const id = (answer: string | number): number =>
    typeof answer === "number" ? answer : (idOf(answer, tokenizerJson) as number);
  const pieces = (parts: readonly string[]): readonly TemplatePiece[] =>
    piecesOf(parts, prompt, tokenizerJson, single);
  return {
    pair: pieces(prompt.parts),
    instructed: prompt.instructed && pieces(prompt.instructed),
    instruction: prompt.instruction,
    head: answers && {
      kind: "answer-tokens",
      positive: id(answers.positive),
      ...(answers.negative === undefined ? {} : { negative: id(answers.negative) }),
      ...(answers.temperature === undefined ? {} : { temperature: answers.temperature }),
    },
    activation,
    quotedBy: (text) => quotes(entry, plain(text)),
  };
}

function piecesOf(
  parts: readonly string[],
  { trim, framed }: Prompt,
  tokenizerJson: TokenizerJson,
  single: readonly TemplatePiece[] | undefined,
): readonly TemplatePiece[] {
  const added = (tokenizerJson.added_tokens ?? []).map(
    ({ id, content, special }): AddedToken => ({ id, content, special: special === true }),
  );
  const pieces = parts.flatMap((part, index): TemplatePiece[] => {
    const text = part.replace(/\{(query|document|instruction)\}/g, (_, slot: "query") => standInFor(slot));
    return [
      ...(index === 0 ? [] : [{ split: true } as const]),
      ...piecesOfPrompt(text, added, trim === true),
    ];
  });
  if (framed !== true || single === undefined) return pieces;
  return single.flatMap((piece) => ("text" in piece ? pieces : [piece]));
}
