import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Contents, editGguf, text } from "../../../backend-llamacpp/test/edit-gguf.js";
import { makeLayout } from "./layouts.js";

/*
 * Conversions that a survey of 136 repositories found, of which it recorded a file's name and no configuration: what
 * such a file holds decides. published-conversions.test.ts makes a stand-in of each kind and reads it;
 * scripts/write-readme.mjs writes the guide's table.
 */

/** What comes of it: a profile of this family, or a refusal with this in it, in any case. */
export type Outcome = { readonly reads: string } | { readonly refuses: string };

interface StandIn {
  /** The metadata of this model's file as llama.cpp's converter wrote it (packages/formats/test/fixtures). */
  readonly metadataOf: string;
  /** `general.architecture`, where it is another one. */
  readonly architecture?: string;
  /** Its head is not among the tensors, or its names are another program's. */
  readonly isHeadless?: true;
  /** Keys that its converter did not write, by how they end. */
  readonly without?: readonly string[];
  /** Other files of the repository. */
  readonly beside?: readonly string[];
}

export interface Conversion {
  readonly repositories: readonly string[];
  readonly what: string;
  /** A GGUF of llama.cpp's converter, or one of layouts.ts. */
  readonly standIn: StandIn | { readonly layout: string };
  readonly alone: Outcome;
  /** With a fixture as the base that the card or `--base` names. */
  readonly withBase?: Outcome & { readonly base: string };
}

const rerankKeys = ["chat_template.rerank", "classifier.output_labels", "pooling_type"];
const xlmRoberta = "xlm-roberta-logit";
const yesNo = "qwen3-yes-no";
const crossEncoder: Outcome = { reads: "cross-encoder" };

/** The survey has no `general.architecture` of these: they are read or refused by it, and the two kinds stand for all. */
export const undecided: readonly Conversion[] = [
  {
    repositories: [
      "gpustack/jina-reranker-v2-base-multilingual-GGUF",
      "gpustack/gte-multilingual-reranker-base-GGUF",
    ],
    what: "GGUF by a fork of llama.cpp, whose `general.architecture` is not recorded",
    standIn: { metadataOf: xlmRoberta, architecture: "jina-bert-v3" },
    alone: { refuses: 'its architecture is "jina-bert-v3"' },
  },
];

export const conversions: readonly Conversion[] = [
  {
    repositories: [
      "gpustack/bge-reranker-v2-m3-GGUF",
      "ragbox/bge-reranker",
      "YorkieOH10/bge-reranker-v2-m3-Q8_0-GGUF",
      "klnstpr/bge-reranker-v2-m3-Q8_0-GGUF",
    ],
    what: "GGUF of an XLM-R with its classifier",
    standIn: { metadataOf: xlmRoberta, beside: ["imatrix.dat"] },
    alone: crossEncoder,
    withBase: { base: xlmRoberta, ...crossEncoder },
  },
  {
    repositories: [
      "Voodisss/Qwen3-Reranker-0.6B-GGUF-llama_cpp",
      "Voodisss/Qwen3-Reranker-4B-GGUF-llama_cpp",
      "Voodisss/Qwen3-Reranker-8B-GGUF-llama_cpp",
      "ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF",
    ],
    what: "GGUF of a Qwen3-Reranker with prompt and answers in its metadata",
    standIn: { metadataOf: yesNo },
    alone: { reads: "causal-lm" },
    withBase: { base: yesNo, reads: "causal-lm" },
  },
  {
    repositories: ["jolleyboy/gte-reranker-modernbert-base-GGUF"],
    what: "GGUF of a ModernBERT with its classifier",
    standIn: { metadataOf: "modernbert-mean" },
    alone: crossEncoder,
    withBase: { base: "modernbert-mean", ...crossEncoder },
  },
  {
    repositories: [
      "DevQuasar/Qwen.Qwen3-Reranker-0.6B-GGUF",
      "Mungert/Qwen3-Reranker-0.6B-GGUF",
      "QuantFactory/Qwen3-Reranker-4B-GGUF",
      "mradermacher/zerank-2-GGUF",
    ],
    what: "GGUF of a Qwen3 reranker, made as of any language model",
    standIn: { metadataOf: yesNo, without: rerankKeys, isHeadless: true },
    alone: { refuses: "tokenizer.chat_template.rerank" },
    withBase: { base: yesNo, reads: "causal-lm" },
  },
  {
    repositories: ["RichardErkhov/BAAI_-_bge-reranker-v2-gemma-gguf"],
    what: "GGUF of a Gemma reranker, made as of any language model",
    standIn: { metadataOf: "gemma-yes", isHeadless: true },
    alone: { refuses: "base" },
    withBase: { base: "gemma-yes", reads: "causal-lm" },
  },
  {
    repositories: ["darkmaniac7/bge-small-en-MNN"],
    what: "MNN with a tokenizer and no configuration",
    standIn: { layout: "mnn-alone" },
    alone: { refuses: "config.json" },
    withBase: { base: "bert-cosine-mean", reads: "bi-encoder" },
  },
  {
    repositories: ["tcashel/bge-reranker-base-coreml"],
    what: "Core ML package with a tokenizer and no configuration",
    standIn: { layout: "coreml-alone" },
    alone: { refuses: "config.json" },
    withBase: { base: xlmRoberta, ...crossEncoder },
  },
  {
    repositories: ["jinaai/jina-reranker-v3-GGUF"],
    what: "GGUF of a listwise model",
    standIn: { metadataOf: yesNo, without: rerankKeys, isHeadless: true, beside: ["projector.safetensors"] },
    alone: { refuses: "tokenizer.chat_template.rerank" },
  },
  {
    repositories: ["jinaai/jina-reranker-v3-mlx"],
    what: "safetensors of a listwise model, its head in a file of its own",
    standIn: { layout: "projector-elsewhere" },
    alone: { refuses: "projector" },
  },
  {
    repositories: ["jinaai/jina-reranker-m0-GGUF"],
    what: "GGUF of a vision model",
    standIn: { metadataOf: yesNo, architecture: "qwen2vl", beside: ["mlp_weights.npz", "test.txt"] },
    alone: { refuses: "vision" },
  },
  {
    repositories: ["mradermacher/InRanker-base-GGUF"],
    what: "GGUF of a T5",
    standIn: { metadataOf: xlmRoberta, architecture: "t5", isHeadless: true },
    alone: { refuses: "encoder-decoder" },
  },
  {
    repositories: ["gpustack/jina-reranker-v1-turbo-en-GGUF", "ggml-org/models (jina-reranker-v1-tiny-en/)"],
    what: "GGUF of a JinaBERT, whose attention knows distances and no positions",
    standIn: { metadataOf: "roberta-logit", architecture: "jina-bert-v2" },
    alone: { refuses: 'its architecture is "jina-bert-v2"' },
  },
  {
    repositories: ["bartowski/lb-reranker-0.5B-v1.0-GGUF"],
    what: "GGUF of a chat model that answers with a digit of 1 to 7",
    standIn: { metadataOf: "qwen2-one-zero", isHeadless: true },
    alone: { refuses: "tokenizer.chat_template.rerank" },
  },
  {
    repositories: ["cstr/*-GGUF (CrispEmbed)"],
    what: "GGUF for another engine, with tensors under its names",
    standIn: { metadataOf: "bert-logit", isHeadless: true, without: rerankKeys },
    alone: { refuses: "cls.output.weight" },
  },
];

/** The folder of a stand-in. */
export async function makeStandIn(standIn: Conversion["standIn"], place: string): Promise<string> {
  if ("layout" in standIn) return makeLayout(standIn.layout, place);
  mkdirSync(place, { recursive: true });
  const { metadataOf, architecture, isHeadless, without = [], beside = [] } = standIn;
  const head = readFileSync(
    fileURLToPath(
      new URL(`../../../formats/test/fixtures/gguf-tokenizers/${metadataOf}.gguf`, import.meta.url),
    ),
  );
  const edit = ({ entries }: Contents): Contents => {
    const own = entries.find(({ key }) => key === "general.architecture");
    const was = own?.value.toString("utf8", 8) ?? "";
    return {
      entries: entries
        .filter(({ key }) => !without.some((end) => key.endsWith(end)))
        .map((entry) => {
          if (architecture === undefined) return entry;
          if (entry === own) return { ...entry, value: text(architecture) };
          // Its other keys are named by it.
          return { ...entry, key: entry.key.replace(new RegExp(`^${was}\\.`), `${architecture}.`) };
        }),
      tensors: isHeadless
        ? []
        : [{ name: "cls.output.weight", dimensions: [1n], type: 0, data: Buffer.alloc(4) }],
    };
  };
  writeFileSync(join(place, "Model-Q8_0.gguf"), editGguf(head, edit));
  for (const name of beside) writeFileSync(join(place, name), "x");
  return place;
}

/** In the survey, and decided by nothing that can be built: no file of it tells its architecture. */
const unknown = "nvidia/Nemotron-3.5-Rerank-8B-BF16";

export const counts: Readonly<Record<"alone" | "withBase" | "refused" | "undecided", number>> = {
  alone: countOf(({ alone }) => "reads" in alone),
  withBase: countOf(({ alone, withBase }) => !("reads" in alone) && withBase !== undefined),
  refused: countOf(({ alone, withBase }) => !("reads" in alone) && withBase === undefined),
  undecided: undecided.flatMap(({ repositories }) => repositories).length + 1,
};

/** All repositories of the survey that are decided here, or nowhere. */
export const repositories: readonly string[] = [
  ...[...conversions, ...undecided].flatMap((one) => one.repositories),
  unknown,
];

function countOf(isOne: (conversion: Conversion) => boolean): number {
  return conversions.filter(isOne).flatMap((one) => one.repositories).length;
}

/** The guide's table. */
export function conversionsTable(): string {
  const shown = (outcome: Outcome): string => ("reads" in outcome ? outcome.reads : "refused");
  const lines = conversions.map(
    ({ repositories: ids, what, alone, withBase }) =>
      `| ${ids.map((id) => `\`${id}\``).join(", ")} | ${what} | ${shown(alone)} | ${withBase ? shown(withBase) : "refused"} |`,
  );
  const others = undecided.map(
    ({ repositories: ids, what }) =>
      `| ${ids.map((id) => `\`${id}\``).join(", ")} | ${what} | cross-encoder where it is \`bert\`, else refused | as alone |`,
  );
  return [
    "| repository | what it is | alone | with its base |",
    "|---|---|---|---|",
    ...lines,
    ...others,
    `| \`${unknown}\` | of images and text, with code of its own; no file of it was recorded | not known | not known |`,
  ].join("\n");
}
