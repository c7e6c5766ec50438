import { join } from "node:path";
import { type FileRequestOptions, type ModelFiles, ModelProfileError } from "@crossrank/core";
import { betterRefusal, ModelReader } from "@crossrank/core/files";
import { readEnvironment } from "../environment.js";
import { DerivedFiles, type Replacement } from "./derived-files.js";
import { profileOfGguf } from "./gguf-facts.js";

export interface CompleteModelOptions extends FileRequestOptions {
  /** The model whose configuration and tokenizer belong to these files, where they have none of their own. */
  readonly base?: ModelFiles | undefined;
  /** Path of the GGUF file that will be run, whose metadata are read. Default: the only one there is. */
  readonly gguf?: string | undefined;
  /** Where texts that are made are written when a local path is asked for. Default: beside the hub's cache. */
  readonly folder?: string | undefined;
}

/** Files that say what a model is, by where a profile is read from. */
const rankingFiles = ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"];
/** With what corrects them: a base that is read by its crossrank.json is another model without it. */
const configurationFiles = ["config.json", "crossrank.json", ...rankingFiles];
const tokenizerFiles = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
];

/** SentencePiece models under the names that transformers gives them. */
const sentencePieceFiles = ["sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model"];

/** Bytes; the largest published one (Gemma's) has 4.2 MB. */
const largestSentencePiece = 64 << 20;

/** Bytes of a Git LFS pointer, by its specification. */
const longestPointer = 1024;

const saveCommand =
  "Make it with transformers: AutoTokenizer.from_pretrained(model).save_pretrained(folder), or name the model that has it with the option `base`";

/**
 * The same files, with what a model needs beside its weights found where it lies: a tokenizer in `tokenizer/`, that of
 * `base`, one made of the older files of its class, or of a GGUF's own metadata, and then its profile too. Files that
 * are at their usual places are left alone, and a model that has them all is returned as it is.
 *
 * @throws {ModelProfileError} where nothing says how to tokenise, naming what is missing.
 */
export async function completeModel(
  files: ModelFiles,
  options: CompleteModelOptions = {},
): Promise<ModelFiles> {
  const { base, folder, signal } = options;
  const paths = new Set((await files.list({ signal })).map(({ path }) => path));
  const replacements = new Map<string, Replacement>();
  const find = (path: string, source: ModelFiles, at: string): void => {
    if (!paths.has(path) && !replacements.has(path)) replacements.set(path, { files: source, path: at });
  };

  if (!paths.has("tokenizer.json") && paths.has("tokenizer/tokenizer.json")) {
    for (const path of paths) {
      if (path.startsWith("tokenizer/")) find(path.slice("tokenizer/".length), files, path);
    }
  }
  if (base !== undefined) {
    const isBare = await isBareLanguageModel(files, paths, signal);
    await takeFromBase(base, paths, replacements, find, isBare, signal);
  }
  const has = (path: string): boolean => paths.has(path) || replacements.has(path);
  if (!has("tokenizer.json")) {
    const gguf = ggufOf(paths, options.gguf);
    // Of a kind that is not read, its tokenizer is not what is wrong.
    const made = await madeTokenizer(files, paths, signal).catch(async (error: unknown) => {
      throw (has("crossrank.json") ? undefined : await betterRefusal(error, files, { signal })) ?? error;
    });
    if (made !== undefined) replacements.set("tokenizer.json", { text: made });
    else if (gguf !== undefined) {
      for (const [path, text] of await readGguf(
        files,
        gguf,
        has("config.json") || has("crossrank.json"),
        options,
      )) {
        replacements.set(path, { text });
      }
    }
  }
  if (replacements.size === 0 && base === undefined) return files;
  const place = folder ?? join((await readEnvironment()).cacheFolder, "..", "crossrank", "derived");
  return new DerivedFiles(files, replacements, place, base?.id);
}

/**
 * Whether config.json tells of a language model, and no file of how it ranks: another form of a reranker without
 * sentence-transformers' files, which the model that it was made of has.
 */
async function isBareLanguageModel(
  files: ModelFiles,
  paths: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (!paths.has("config.json")) return false;
  if ([...rankingFiles, "crossrank.json"].some((path) => paths.has(path))) return false;
  try {
    const config: unknown = JSON.parse(await files.readText("config.json", { signal }));
    const named: unknown = Reflect.get(Object(config), "architectures");
    return Array.isArray(named) && String(named[0]).endsWith("ForCausalLM");
  } catch {
    signal?.throwIfAborted();
    // Whoever reads the profile says what is wrong with it.
    return false;
  }
}

async function takeFromBase(
  base: ModelFiles,
  paths: ReadonlySet<string>,
  replacements: ReadonlyMap<string, Replacement>,
  find: (path: string, source: ModelFiles, at: string) => void,
  /** The files say nothing of how they rank: the base does, with its own template. */
  isBare: boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  const whole = await completeModel(base, { signal });
  const theirs = new Set((await whole.list({ signal })).map(({ path }) => path));
  // Configuration and modules belong together, and so do a tokenizer's files: all from one place.
  const hasConfiguration = paths.has("config.json") || paths.has("crossrank.json");
  const hasTokenizer = paths.has("tokenizer.json") || replacements.has("tokenizer.json");
  for (const path of theirs) {
    const isConfiguration = configurationFiles.includes(path) || /^\d+_[A-Za-z]+\//.test(path);
    if (isConfiguration && (!hasConfiguration || isBare)) find(path, whole, path);
    if (isBare && path === "chat_template.jinja") find(path, whole, path);
    // What a card quotes is evidence of which model it is.
    if (path === "README.md") find(path, whole, path);
    if (tokenizerFiles.includes(path) && !hasTokenizer) find(path, whole, path);
  }
}

/** tokenizer.json of the older files, as text; undefined where there are none of them. */
async function madeTokenizer(
  files: ModelFiles,
  paths: ReadonlySet<string>,
  signal: AbortSignal | undefined,
): Promise<string | undefined> {
  const sentencePiece = sentencePieceFiles.find((path) => paths.has(path));
  const source = paths.has("vocab.txt")
    ? "vocab.txt"
    : paths.has("vocab.json") && paths.has("merges.txt")
      ? "vocab.json"
      : sentencePiece;
  if (source === undefined) return undefined;
  // Bounded, and with a word for what stands for a file that was not fetched.
  const reader = new ModelReader(files, await files.list({ signal }), signal);
  const text = (path: string): Promise<string | undefined> => reader.text(path);
  const json = async (path: string): Promise<unknown> => {
    const content = await text(path);
    if (content === undefined) return undefined;
    try {
      return JSON.parse(content.replace(/^\ufeff/, ""));
    } catch (cause) {
      throw unreadable(files.id, path, "it is no JSON", cause);
    }
  };
  const config = await json("config.json");
  const modelType: unknown =
    typeof config === "object" && config !== null ? Reflect.get(config, "model_type") : undefined;
  // Loaded here: most models have their tokenizer.json.
  const { buildTokenizer, TokenizerFormatError } = await import("@crossrank/formats/tokenizer");
  try {
    return JSON.stringify(
      buildTokenizer({
        wordPieces: await text("vocab.txt"),
        vocabulary: await json("vocab.json"),
        merges: await text("merges.txt"),
        sentencePiece:
          sentencePiece === undefined ? undefined : await bytesOf(files, reader, sentencePiece, signal),
        configuration: await json("tokenizer_config.json"),
        specialTokens: await json("special_tokens_map.json"),
        addedTokens: await json("added_tokens.json"),
        modelType: typeof modelType === "string" ? modelType : undefined,
      }),
    );
  } catch (cause) {
    if (!(cause instanceof TokenizerFormatError)) throw cause;
    throw unreadable(files.id, source, `no tokenizer.json can be made of it: ${cause.message}`, cause);
  }
}

async function bytesOf(
  files: ModelFiles,
  reader: ModelReader,
  path: string,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const size = (await files.list({ signal })).find((file) => file.path === path)?.size ?? 0;
  if (size > largestSentencePiece) {
    throw unreadable(
      files.id,
      path,
      `it has ${size} bytes, and no tokenizer has more than ${largestSentencePiece}`,
    );
  }
  // No SentencePiece model is so short, and a Git LFS pointer is.
  if (size <= longestPointer) await reader.text(path);
  return files.readBytes(path, { start: 0, end: size }, { signal });
}

/** The GGUF whose metadata are read: the one named, or the only one. */
function ggufOf(paths: ReadonlySet<string>, named: string | undefined): string | undefined {
  if (named !== undefined) return named;
  const all = [...paths].filter((path) => path.toLowerCase().endsWith(".gguf"));
  return all.length === 1 ? all[0] : undefined;
}

async function readGguf(
  files: ModelFiles,
  path: string,
  hasProfile: boolean,
  options: CompleteModelOptions,
): Promise<[string, string][]> {
  const { GgufFormatError, readGgufHeader } = await import("@crossrank/formats/gguf");
  const { TokenizerFormatError, tokenizerOfGguf } = await import("@crossrank/formats/tokenizer");
  try {
    const file = (await files.list(options)).find((one) => one.path === path);
    // Of a file that lies elsewhere its head alone; what is not there says so itself.
    const header = await readGgufHeader(
      file === undefined
        ? await files.localPath(path, options)
        : { size: file.size, read: (start, end) => files.readBytes(path, { start, end }, options) },
    );
    const tokenizer = tokenizerOfGguf(header.metadata);
    const made: [string, string][] = [["tokenizer.json", JSON.stringify(tokenizer)]];
    if (!hasProfile) {
      made.push(["crossrank.json", JSON.stringify(profileOfGguf(files.id, path, header, tokenizer))]);
    }
    return made;
  } catch (cause) {
    if (!(cause instanceof TokenizerFormatError) && !(cause instanceof GgufFormatError)) throw cause;
    throw unreadable(files.id, path, `no tokenizer can be read out of it: ${cause.message}`, cause);
  }
}

function unreadable(model: string, file: string, problem: string, cause?: unknown): ModelProfileError {
  return new ModelProfileError({ model, file, problem, fix: saveCommand }, { cause });
}
