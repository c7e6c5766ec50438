import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { CrossrankError, readProfile } from "../src/index.js";
import { recogniseFiles, recogniseModel } from "../src/profile/recognise.js";
import { fixtures } from "./folder-files.js";
import { memoryFiles } from "./memory-files.js";
import survey from "./survey.json" with { type: "json" };

/**
 * What a survey of November 2026 found of 136 published repositories, and what comes of each: a profile of a family, a
 * refusal with a word in it, or nothing here, where it is decided by what the survey does not have (the metadata of a GGUF,
 * the tensors of weights). Tokenizers are those of this repository's own tiny models.
 */
interface Repository {
  readonly id: string;
  readonly architecture?: string;
  readonly type?: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly files?: readonly string[];
  /** Class paths of modules.json. */
  readonly modules?: readonly string[];
  readonly pooling?: string;
  /** Its sentence-transformers files are those of a fixture. */
  readonly fixture?: string;
  /** Of the fixture's modules the first alone. */
  readonly chain?: boolean;
  /** Class logits that its artifact declares. */
  readonly labels?: number;
  readonly reads?: string;
  readonly refuses?: string;
  /** What its weights are, where no backend reads them. */
  readonly weights?: string;
  readonly elsewhere?: string;
}

const repositories = survey as readonly Repository[];

type Json = Readonly<Record<string, unknown>>;
const json = (fixture: string, path: string): Json =>
  JSON.parse(readFileSync(join(fixtures, fixture, path), "utf8")) as Json;

const tokenizers: Readonly<Record<string, string>> = {
  "xlm-roberta": "xlm-roberta-logit",
  roberta: "roberta-logit",
  "deberta-v2": "deberta-v2-logit",
  modernbert: "modernbert-cls",
  new: "xlm-roberta-logit",
  qwen3: "qwen3-yes-no",
  qwen2: "qwen2-one-zero",
  lfm2: "qwen3-yes-no",
  qwen3_vl: "qwen3-yes-no",
  qwen2_vl: "qwen3-yes-no",
  gemma: "gemma-yes",
  gemma3_text: "gemma-yes",
  minicpm: "gemma-yes",
  cost_wise_gemma: "gemma-yes",
  mistral: "gemma-yes",
  llama_bidirec: "gemma-yes",
};

/** Special tokens of others, by their `model_type`, in place of Gemma's. */
const specials: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  mistral: { "<bos>": "<s>", "<eos>": "</s>" },
  llama_bidirec: { "<bos>": "<|begin_of_text|>", "<eos>": "<|end_of_text|>" },
};

function renamed(tokenizer: Json, names: Readonly<Record<string, string>>): Json {
  const hasUnknown = names["<bos>"] === "<s>";
  const kept = (tokenizer["added_tokens"] as readonly { readonly content: string }[]).filter(
    ({ content }) => content in names || (hasUnknown && content === "<unk>"),
  );
  const own = { ...tokenizer, added_tokens: kept };
  const spelling = (found: string): string => `"${names[found.slice(1, -1)] ?? found}"`;
  return JSON.parse(JSON.stringify(own).replaceAll(/"<(?:bos|eos)>"/g, spelling)) as Json;
}

function filesOf({
  id,
  architecture,
  type,
  config,
  files = [],
  modules,
  pooling,
  fixture,
  chain,
}: Repository) {
  const own = fixture ?? tokenizers[type ?? ""] ?? "bert-logit";
  const content: Record<string, unknown> = Object.fromEntries(files.map((path) => [path, beginningOf(path)]));
  const isKnown = architecture !== undefined || type !== undefined;
  if (isKnown) {
    const {
      architectures: _,
      id2label: _labels,
      label2id: _ids,
      num_labels: _count,
      ...rest
    } = json(own, "config.json");
    content["config.json"] = {
      ...rest,
      ...(architecture === undefined ? {} : { architectures: [architecture] }),
      ...(type === undefined ? {} : { model_type: type }),
      ...(architecture?.endsWith("ForSequenceClassification") === true ? { num_labels: 1 } : {}),
      ...config,
    };
    const tokenizer = json(own, "tokenizer.json");
    const others = specials[type ?? ""];
    content["tokenizer.json"] = others === undefined ? tokenizer : renamed(tokenizer, others);
    if (type === "qwen3" && architecture === "JinaForRanking") {
      content["tokenizer.json"] = json("qwen3-listwise", "tokenizer.json");
    }
  }
  const names =
    modules ??
    (pooling === undefined
      ? undefined
      : ["x.Transformer", pooling === "static mean" ? "x.StaticEmbedding" : "x.Pooling"]);
  if (names !== undefined) {
    content["modules.json"] = names.map((name, index) => ({
      type: name,
      path: index === 0 ? "" : `${index}_M`,
    }));
    content["1_M/config.json"] = { pooling_mode: pooling };
  }
  if (fixture !== undefined) {
    for (const path of [
      "modules.json",
      "sentence_bert_config.json",
      "config_sentence_transformers.json",
      "chat_template.jinja",
      "1_LogitScore/config.json",
      "1_Pooling/config.json",
      "1_Dense/config.json",
      "2_Dense/config.json",
      "3_LayerNorm/config.json",
      "4_Dense/config.json",
    ]) {
      try {
        content[path] = readFileSync(join(fixtures, fixture, path), "utf8");
      } catch {
        // Not every model has all.
      }
    }
    if (chain === true) {
      content["modules.json"] = (JSON.parse(content["modules.json"] as string) as unknown[]).slice(0, 1);
    }
  }
  return { ...memoryFiles(content, id), revision: "0".repeat(40) };
}

/** How files of such a name begin. */
function beginningOf(path: string): string {
  if (path === "model.bin") return "\u0006\0\u000b\0\0\0TransformerSpec\0";
  if (/\.(?:bin|h5)$/.test(path)) return "PK\u0003\u0004";
  return path.endsWith(".xml") ? '<?xml version="1.0"?><net name="Model0" version="11">' : "x";
}

async function outcomeOf(repository: Repository): Promise<string> {
  const files = filesOf(repository);
  const { labels } = repository;
  const declared = labels === undefined ? undefined : async () => ({ labels, source: "its graph" }) as never;
  try {
    const { profile } = await readProfile(files, {}, undefined, declared);
    return profile.family;
  } catch (error) {
    if (!CrossrankError.isInstance(error)) throw error;
    // What is said first where no backend finds a file.
    return `${error.message} ${(await recogniseFiles(files))?.what ?? ""} ${(await recogniseModel(files))?.what ?? ""}`;
  }
}

test("every repository of the survey has its outcome", async () => {
  const count = { reads: 0, refused: 0, elsewhere: 0 };
  const wrong: string[] = [];
  for (const repository of repositories) {
    const { id, reads, refuses, weights, elsewhere } = repository;
    if (elsewhere !== undefined) {
      count.elsewhere += 1;
      continue;
    }
    const outcome = await outcomeOf(repository);
    const isRight =
      reads === undefined
        ? outcome.toLowerCase().includes((refuses as string).toLowerCase())
        : outcome === reads;
    const found = weights === undefined ? undefined : (await recogniseFiles(filesOf(repository)))?.name;
    if (!isRight || (weights !== undefined && !found?.toLowerCase().includes(weights.toLowerCase()))) {
      wrong.push(
        `${id}: ${reads ?? refuses} ${weights ?? ""}, and it is ${outcome.slice(0, 300)} ${found ?? ""}`,
      );
    } else if (reads === undefined || weights !== undefined) count.refused += 1;
    else count.reads += 1;
  }
  expect(count).toEqual({ reads: 87, refused: 22, elsewhere: 27 });
  expect(wrong).toEqual([]);
  expect(repositories).toHaveLength(136);
}, 120_000);
