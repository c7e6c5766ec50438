import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type CrossrankJson, ModelProfileError, type ProfileReading, readProfile } from "../src/index.js";
import { catalogue } from "../src/profile/catalogue-facts.js";
import { fixtures, folderFiles } from "./folder-files.js";
import { memoryFiles } from "./memory-files.js";

type Json = Readonly<Record<string, unknown>>;

const at = (fixture: string, path: string): Json =>
  JSON.parse(readFileSync(join(fixtures, fixture, path), "utf8")) as Json;

interface Given {
  readonly fixture?: string;
  /** Over config.json; `undefined` takes an entry out. */
  readonly config?: Json;
  readonly tokenizer?: (tokenizer: Json) => Json;
  readonly tokenizerConfig?: Json;
  readonly card?: string;
  readonly files?: Json;
  /** Of a hub. */
  readonly repository?: string;
  readonly base?: string;
  readonly profile?: CrossrankJson;
}

/** A language model as it is published without sentence-transformers' files. */
function read({
  fixture = "qwen3-yes-no",
  config,
  tokenizer = (own) => own,
  tokenizerConfig,
  card,
  files = {},
  repository,
  base,
  profile,
}: Given): Promise<ProfileReading> {
  const model = memoryFiles(
    {
      "config.json": { ...at(fixture, "config.json"), ...config },
      "tokenizer.json": tokenizer(at(fixture, "tokenizer.json")),
      "tokenizer_config.json": { ...at(fixture, "tokenizer_config.json"), ...tokenizerConfig },
      ...(card === undefined ? {} : { "README.md": card }),
      ...files,
    },
    repository,
  );
  return readProfile(
    {
      ...model,
      revision: repository === undefined ? undefined : "0".repeat(40),
      ...(base === undefined ? {} : { base }),
    },
    profile,
  );
}

/** The part of Qwen3-Reranker's card that says how it is asked, as Python spells it. */
const qwenCard = `---
license: apache-2.0
base_model:
- Qwen/Qwen3-0.6B-Base
library_name: transformers
pipeline_tag: text-ranking
---
# Qwen3-Reranker-0.6B

\`\`\`python
def format_instruction(instruction, query, doc):
    output = "<Instruct>: {instruction}\\n<Query>: {query}\\n<Document>: {doc}".format(instruction=instruction,query=query, doc=doc)
    return output

prefix = "<|im_start|>system\\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be \\"yes\\" or \\"no\\".<|im_end|>\\n<|im_start|>user\\n"
suffix = "<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n"
\`\`\`
`;

const gemmaCard = `---
license: gemma
pipeline_tag: text-classification
---
\`\`\`python
def get_inputs(pairs, tokenizer, prompt=None, max_length=1024):
    if prompt is None:
        prompt = "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a prediction of either 'Yes' or 'No'."
    query_inputs = tokenizer(f'A: {query}', return_tensors=None)
    passage_inputs = tokenizer(f'B: {passage}', return_tensors=None)
\`\`\`
`;

const contextualCard = `---
base_model: Qwen/Qwen3-1.7B-Base
---
\`\`\`python
prompt = f"Check whether a given document contains information helpful to answer the query.\\n<Document> {doc}\\n<Query> {query}{instruction} ??"
next_logits = out.logits[:, -1, :]
scores_bf16 = next_logits[:, 0].to(torch.bfloat16)
\`\`\`
`;

const zerankCode = `
            {"role": "system", "content": system_prompt},
            {"role": "user", "content": user_message},
        self.inner_yes_token_id = self.inner_tokenizer.encode(
            "Yes", add_special_tokens=False
        )[0]
        all_logits.extend([float(logit) / 5.0 for logit in yes_logits])
`;

const conversionOf = (id: string, more = ""): string =>
  `---\nbase_model: ${id}\n${more}---\n# A conversion\n`;

const classifier = {
  architectures: ["Qwen3ForSequenceClassification"],
  id2label: { 0: "LABEL_0" },
  label2id: { LABEL_0: 0 },
};

const parts = ["pairTemplate", "instructedTemplate", "instruction", "head", "activation", "family"] as const;

describe("a model that the catalogue knows", () => {
  test.each<[string, Given]>([
    ["by its card, which quotes the prompt", { card: qwenCard }],
    ["by its card, beside weights", { card: qwenCard, files: { "model.safetensors": "…" } }],
    ["by a card that spells it plainly", { card: qwenCard.replaceAll('\\"', '"') }],
    ["by the base_model of a conversion", { card: conversionOf("Qwen/Qwen3-Reranker-0.6B") }],
    [
      "of a list of one",
      { card: "---\nbase_model:\n  - Qwen/Qwen3-Reranker-8B\nlibrary_name: transformers.js\n---\n" },
    ],
    [
      "of one that says that it is quantised, beside weights",
      {
        card: conversionOf("Qwen/Qwen3-Reranker-4B", "base_model_relation: quantized\n"),
        files: { "model.safetensors": "…" },
      },
    ],
    ["by what the user says it is a form of", { base: "Qwen/Qwen3-Reranker-0.6B" }],
    ["by its repository", { repository: "Qwen/Qwen3-Reranker-0.6B" }],
    ["by its repository, in another case", { repository: "qwen/qwen3-reranker-4b" }],
    ["by a folder of it", { repository: "onnx-community/Qwen3-Reranker-0.6B-ONNX/onnx" }],
    [
      "by a chat template with the prompt in it",
      {
        files: {
          "chat_template.jinja": readFileSync(join(fixtures, "qwen3-yes-no", "chat_template.jinja"), "utf8"),
        },
      },
    ],
  ])("is Qwen3-Reranker, as its sentence-transformers files say it: %s", async (_, given) => {
    const reading = await read(given);
    const own = await readProfile(folderFiles(join(fixtures, "qwen3-yes-no")));
    for (const part of parts) expect(reading.profile[part], part).toEqual(own.profile[part]);
    expect(reading.sources.head).toMatch(/^catalogue: Qwen3-Reranker, from the model card .* because /);
    expect(reading.catalogue?.source).toMatch(/^Qwen3-Reranker, from/);
    expect(reading.catalogue?.facts).toMatchObject({ family: "causal-lm", head: own.profile.head });
  });

  test("says that a repository's name is the only evidence", async () => {
    const { sources } = await read({ repository: "Qwen/Qwen3-Reranker-0.6B" });
    expect(sources.pairTemplate).toContain("known alone because its repository is Qwen/Qwen3-Reranker-0.6B");
    expect((await read({ card: qwenCard, repository: "a/b" })).sources.pairTemplate).toContain(
      "because README.md has",
    );
  });

  test("is written anew elsewhere with the facts as a crossrank.json", async () => {
    const known = await read({ repository: "mixedbread-ai/mxbai-rerank-base-v2", fixture: "qwen2-one-zero" });
    const again = await read({
      fixture: "qwen2-one-zero",
      files: { "crossrank.json": known.catalogue?.facts },
    });
    expect(again.profile).toEqual(known.profile);
    expect(again.catalogue).toBeUndefined();
  });

  test("mxbai-rerank v2, tokenised in parts as its authors' package does", async () => {
    const { profile } = await read({
      fixture: "qwen2-one-zero",
      repository: "mixedbread-ai/mxbai-rerank-large-v2",
    });
    expect(profile).toMatchObject({
      family: "causal-lm",
      head: { kind: "answer-tokens", positive: 16, negative: 15 },
      activation: "identity",
    });
    expect(profile.instruction).toBeUndefined();
    expect(profile.pairTemplate.filter((piece) => "split" in piece)).toHaveLength(6);
    expect(profile.pairTemplate.slice(0, 2)).toEqual([
      { token: "<|im_start|>", id: 1301, segment: 0 },
      { literal: "system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.", segment: 0 },
    ]);
    expect(profile.instructedTemplate).toContainEqual({ text: "instruction", segment: 0 });
  });

  test("llama-nemotron-rerank, a classifier that is asked in words, by its base and by its repository", async () => {
    const names: Readonly<Record<string, string>> = {
      "<bos>": "<|begin_of_text|>",
      "<eos>": "<|end_of_text|>",
    };
    const tokenizer = (own: Json): Json => {
      const added = own["added_tokens"] as readonly { readonly content: string }[];
      const kept = { ...own, added_tokens: added.filter(({ content }) => content in names) };
      return JSON.parse(JSON.stringify(kept).replaceAll(/<(?:bos|eos)>/g, (found) => names[found] as string));
    };
    const model = {
      fixture: "gemma-yes",
      tokenizer,
      config: {
        architectures: ["LlamaBidirectionalForSequenceClassification"],
        model_type: "llama_bidirec",
        auto_map: { AutoModelForSequenceClassification: "code.LlamaBidirectionalForSequenceClassification" },
        id2label: { 0: "LABEL_0" },
      },
    };
    for (const evidence of [
      { base: "nvidia/llama-nemotron-rerank-1b-v2" },
      { repository: "nvidia/llama-nemotron-rerank-1b-v2" },
    ]) {
      const { profile } = await read({ ...model, ...evidence });
      expect(profile).toMatchObject({
        family: "cross-encoder",
        head: { kind: "logit" },
        activation: "identity",
      });
      expect(profile.pairTemplate.slice(-4)).toEqual([
        { literal: "question:", segment: 0 },
        { text: "query", segment: 0 },
        { literal: " \n \n passage:", segment: 0 },
        { text: "document", segment: 0 },
      ]);
    }
    // A bidirectional Llama of somebody else's is asked in somebody else's words.
    await expect(read(model)).rejects.toThrow(/pairTemplate/);
  });

  test("bge-reranker-v2-gemma, as its crossrank.json here says it", async () => {
    const { profile } = await read({ fixture: "gemma-yes", card: gemmaCard });
    const own = at("gemma-yes", "crossrank.json");
    expect(profile).toMatchObject({ head: own["head"], activation: "sigmoid" });
    expect(profile.instructedTemplate).toBeUndefined();
    expect(profile.pairTemplate).toEqual(own["pairTemplate"]);
  });

  test.each<[string, Given]>([
    ["its code", { files: { "modeling_zeranker.py": zerankCode } }],
    ["zerank-1-small", { repository: "zeroentropy/zerank-1-small" }],
    [
      "zerank-2 in a revision with code",
      { repository: "zeroentropy/zerank-2", files: { "modeling_zeranker.py": zerankCode } },
    ],
    [
      "a GGUF's card",
      { card: conversionOf("zeroentropy/zerank-2"), files: { "zerank-2.Q8_0.gguf": "GGUF" } },
    ],
  ])("zerank, divided by 5, by %s", async (_, given) => {
    const { profile } = await read({ fixture: "qwen3-system-user", ...given });
    const own = await readProfile(folderFiles(join(fixtures, "qwen3-system-user")));
    expect(profile.head).toEqual({ ...own.profile.head, temperature: 5 });
    expect(profile.activation).toBe("sigmoid");
    const untrimmed = profile.pairTemplate.map((piece) =>
      "text" in piece ? { text: piece.text, segment: 0 } : piece,
    );
    expect(untrimmed).toEqual(own.profile.pairTemplate);
    expect(profile.pairTemplate).toContainEqual({ text: "document", segment: 0, trim: true });
  });

  test("zerank-2 with sentence-transformers' files is what these say", async () => {
    const own = await readProfile(folderFiles(join(fixtures, "qwen3-system-user")));
    const files = folderFiles(join(fixtures, "qwen3-system-user"), "zeroentropy/zerank-2");
    const reading = await readProfile({ ...files, revision: "0".repeat(40) });
    expect(reading.profile).toEqual(own.profile);
    expect(reading.catalogue).toBeUndefined();
  });

  test("ctxl-rerank v2, the document first, the score in the first row", async () => {
    const { profile } = await read({ card: contextualCard });
    expect(profile.head).toEqual({ kind: "answer-tokens", positive: 0 });
    expect(profile.activation).toBe("identity");
    expect(profile.pairTemplate.flatMap((piece) => ("text" in piece ? [piece.text] : []))).toEqual([
      "document",
      "query",
    ]);
    expect(profile.instructedTemplate?.at(-1)).toEqual({ literal: " ??", segment: 0 });
    const mistral = await read({
      fixture: "gemma-yes",
      card: contextualCard,
      config: { model_type: "mistral", architectures: ["MistralForCausalLM"] },
      tokenizer: (own) => ({
        ...own,
        added_tokens: [{ id: 2, content: "<s>", special: true }],
        post_processor: JSON.parse(
          JSON.stringify(own["post_processor"]).replaceAll("<bos>", "<s>"),
        ) as unknown,
      }),
    });
    expect(mistral.profile.pairTemplate[0]).toMatchObject({ token: "<s>", id: 2 });
  });

  test.each<[string, Given]>([
    ["quoted", { card: qwenCard, files: { "model.safetensors": "…" } }],
    ["by its repository", { repository: "tomaarsen/Qwen3-Reranker-0.6B-seq-cls" }],
  ])("with a classifier for an answer: its prompt, and the head of config.json, %s", async (_, given) => {
    const { profile, sources } = await read({ ...given, config: classifier });
    const own = await readProfile(folderFiles(join(fixtures, "qwen3-yes-no")));
    expect(profile).toMatchObject({
      family: "cross-encoder",
      head: { kind: "logit" },
      activation: "sigmoid",
    });
    expect(profile.pairTemplate).toEqual(own.profile.pairTemplate);
    expect(sources.head).toBe("config.json id2label");
  });

  test("a classifier's own activation counts", async () => {
    const config = {
      ...classifier,
      sentence_transformers: { activation_fn: "torch.nn.modules.linear.Identity" },
    };
    const { profile, sources } = await read({ card: qwenCard, config });
    expect(profile.activation).toBe("identity");
    expect(sources.activation).toBe("config.json activation_fn");
  });

  test("two classes named by the answers", async () => {
    const { profile } = await read({
      fixture: "qwen2-one-zero",
      repository: "michaelfeil/mxbai-rerank-base-v2-seq",
      config: { architectures: ["Qwen2ForSequenceClassification"], id2label: { 0: "0", 1: "1" } },
    });
    expect(profile.head).toEqual({ kind: "two-class", positive: 1 });
  });

  test("what crossrank.json and the caller say goes before", async () => {
    const pairTemplate = [
      { text: "query", segment: 0 },
      { literal: " / ", segment: 0 },
      { text: "document", segment: 0 },
    ] as const;
    for (const where of [
      { files: { "crossrank.json": { activation: "identity" } } },
      { profile: { activation: "identity" } },
    ] as const) {
      const { profile, sources } = await read({ card: qwenCard, ...where });
      expect(profile.activation).toBe("identity");
      expect(sources.activation).not.toContain("catalogue");
      expect(sources.head).toContain("catalogue");
    }
    const stated = read({ card: qwenCard, profile: { pairTemplate } });
    await expect(stated).rejects.toThrow(/family, head, activation/);
  });
});

const withToken = (content: string, special: boolean) => (own: Json) => ({
  ...own,
  added_tokens: [...(own["added_tokens"] as Json[]), { id: 1307, content, special }],
});
const withVocabulary = (change: (vocabulary: Record<string, unknown>) => void) => (own: Json) => {
  const vocabulary: Record<string, unknown> = { ...((own["model"] as Json)["vocab"] as Json) };
  change(vocabulary);
  return { ...own, model: { ...(own["model"] as Json), vocab: vocabulary } };
};
/** Qwen's vocabulary in size, with ids of another. */
const asLargeAsQwen = withVocabulary((vocabulary) => {
  for (let id = 2000; id < 102_000; id += 1) vocabulary[`token${id}`] = id;
});
const large = { vocab_size: 151_936 };

describe("a near miss is refused", () => {
  const misses: readonly (readonly [string, Given])[] = [
    [
      "a chat model",
      {
        tokenizerConfig: {
          chat_template:
            "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}",
        },
      },
    ],
    [
      "a chat model whose card names a reranker",
      { card: "# Qwen3-0.6B\nSee also Qwen/Qwen3-Reranker-0.6B.\n" },
    ],
    ["a base model", { card: conversionOf("Qwen/Qwen3-0.6B-Base") }],
    [
      "Qwen3-Embedding without modules.json",
      {
        repository: "Qwen/Qwen3-Embedding-0.6B",
        card: 'task = "Given a web search query, retrieve relevant passages that answer the query"\n<Instruct>:',
      },
    ],
    ["a folder of the name", { files: { "Qwen3-Reranker-0.6B": "" } }],
    ["another owner", { repository: "somebody/Qwen3-Reranker-0.6B" }],
    ["a repository whose name goes on", { repository: "Qwen/Qwen3-Reranker-0.6B-Instruct" }],
    ["a part of the prompt", { card: qwenCard.replace("based on the Query and the Instruct provided", "") }],
    [
      "other answers in the prompt",
      { card: qwenCard.replace('\\"yes\\" or \\"no\\"', '\\"true\\" or \\"false\\"') },
    ],
    ["a finetune", { card: conversionOf("Qwen/Qwen3-Reranker-0.6B", "base_model_relation: finetune\n") }],
    ["an adapter merged", { card: conversionOf("Qwen/Qwen3-Reranker-0.6B", "base_model_relation: merge\n") }],
    [
      "one with weights of its own",
      { card: conversionOf("Qwen/Qwen3-Reranker-0.6B"), files: { "model.safetensors": "…" } },
    ],
    [
      "one with weights in parts",
      { card: conversionOf("Qwen/Qwen3-Reranker-0.6B"), files: { "model-00001-of-00002.safetensors": "…" } },
    ],
    [
      "one that was loaded from it",
      { config: { _name_or_path: "Qwen/Qwen3-Reranker-0.6B" }, files: { "model.safetensors": "…" } },
    ],
    // An export of a finetune has it too.
    ["an export of what was loaded from it", { config: { _name_or_path: "Qwen/Qwen3-Reranker-0.6B" } }],
    [
      "weights in a folder",
      { card: conversionOf("Qwen/Qwen3-Reranker-0.6B"), files: { "pytorch/model.safetensors": "…" } },
    ],
    [
      "what training leaves",
      { card: conversionOf("Qwen/Qwen3-Reranker-0.6B"), files: { "training_args.bin": "…" } },
    ],
    [
      "a tag of training",
      { card: conversionOf("Qwen/Qwen3-Reranker-0.6B", "tags:\n- generated_from_trainer\n") },
    ],
    [
      "a title that says that it is fine-tuned",
      { card: "---\nbase_model: Qwen/Qwen3-Reranker-0.6B\n---\n# My legal reranker, fine-tuned\n" },
    ],
    [
      "the sentence of a trainer",
      {
        card: `${conversionOf("Qwen/Qwen3-Reranker-0.6B")}This model is a fine-tuned version of [Qwen/Qwen3-Reranker-0.6B](…).\n`,
      },
    ],
    [
      "one that was loaded from it and says another base",
      { config: { _name_or_path: "Qwen/Qwen3-Reranker-0.6B" }, card: conversionOf("Qwen/Qwen3-0.6B") },
    ],
    ["a merge of two", { card: "---\nbase_model:\n- Qwen/Qwen3-Reranker-0.6B\n- Qwen/Qwen3-0.6B\n---\n" }],
    ["a base that is none of the catalogue", { base: "Qwen/Qwen3-0.6B" }],
    [
      "a chat model whose card cites a reranker's prompt",
      { card: qwenCard.replace("pipeline_tag: text-ranking", "pipeline_tag: text-generation") },
    ],
    [
      "another precision of a chat model, whose card cites a reranker's prompt",
      { card: qwenCard.replace("library_name:", "base_model_relation: quantized\nlibrary_name:") },
    ],
    ["quotes of two models", { card: `${qwenCard}\n${contextualCard}` }],
    ["a token of its own", { card: qwenCard, tokenizer: withToken("<|relevance|>", true) }],
    ["a token of its own that is not special", { card: qwenCard, tokenizer: withToken("<score>", false) }],
    ["jina's tokens", { card: qwenCard, tokenizer: withToken("<|rerank_token|>", true) }],
    [
      "no token of the answer",
      { card: qwenCard, tokenizer: withVocabulary((vocabulary) => delete vocabulary["yes"]) },
    ],
    [
      "no token of the other answer",
      {
        repository: "Qwen/Qwen3-Reranker-0.6B",
        tokenizer: withVocabulary((vocabulary) => delete vocabulary["no"]),
      },
    ],
    ["no turns", { card: qwenCard, tokenizer: (own) => ({ ...own, added_tokens: [] }) }],
    [
      "turns that are no special tokens",
      {
        card: qwenCard,
        tokenizer: (own) => ({
          ...own,
          added_tokens: (own["added_tokens"] as Json[]).map((token) => ({ ...token, special: false })),
        }),
      },
    ],
    ["another vocabulary", { card: qwenCard, tokenizer: asLargeAsQwen, config: large }],
    [
      "another vocabulary under the name",
      { repository: "Qwen/Qwen3-Reranker-8B", tokenizer: asLargeAsQwen, config: large },
    ],
    [
      "another architecture",
      { card: qwenCard, config: { model_type: "llama", architectures: ["LlamaForCausalLM"] } },
    ],
    [
      "another generation",
      { card: qwenCard, config: { model_type: "qwen2", architectures: ["Qwen2ForCausalLM"] } },
    ],
    [
      "a head of three labels",
      { card: qwenCard, config: { ...classifier, id2label: { 0: "a", 1: "b", 2: "c" } } },
    ],
    [
      "a head of names that say nothing",
      { card: qwenCard, config: { ...classifier, id2label: { 0: "red", 1: "blue" } } },
    ],
    [
      "a chat template with a prompt of its own",
      {
        repository: "Qwen/Qwen3-Reranker-0.6B",
        files: {
          "chat_template.jinja":
            "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}Relevant (true or false):",
        },
      },
    ],
    ["mxbai's prompt on Gemma", { fixture: "gemma-yes", repository: "mixedbread-ai/mxbai-rerank-base-v2" }],
    ["Gemma, plain", { fixture: "gemma-yes" }],
    ["Gemma, whose card is another's", { fixture: "gemma-yes", card: qwenCard }],
    [
      "Gemma with a token of its own",
      { fixture: "gemma-yes", card: gemmaCard, tokenizer: withToken("<|score|>", false) },
    ],
    [
      "Gemma 2 with the card of the first",
      {
        fixture: "gemma-yes",
        card: gemmaCard,
        config: { model_type: "gemma2", architectures: ["Gemma2ForCausalLM"] },
      },
    ],
    [
      "Gemma without Yes",
      {
        fixture: "gemma-yes",
        card: gemmaCard,
        tokenizer: withVocabulary((vocabulary) => delete vocabulary["Yes"]),
      },
    ],
    ["Qwen2, plain", { fixture: "qwen2-one-zero" }],
    ["Qwen2.5 Instruct", { fixture: "qwen2-one-zero", repository: "Qwen/Qwen2.5-0.5B-Instruct" }],
    ["lb-reranker", { fixture: "qwen2-one-zero", repository: "lightblue/lb-reranker-0.5B-v1.0" }],
    [
      "zerank's code without its division",
      { files: { "modeling_zeranker.py": zerankCode.replace(" / 5.0", "") } },
    ],
    ["a classifier, plain", { config: classifier }],
    [
      "a classifier that was trained on",
      {
        config: classifier,
        card: conversionOf("tomaarsen/Qwen3-Reranker-0.6B-seq-cls"),
        files: { "model.safetensors": "…" },
      },
    ],
    ["a card of 4 MB of nothing", { card: "x".repeat(4 << 20) }],
    ["a card that is a pointer", { card: "version https://git-lfs.github.com/spec/v1\n" }],
  ];

  test.each(misses)("%s", async (_, given) => {
    const error = await read(given).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(ModelProfileError);
    expect((error as Error).message).toMatch(/crossrank\.json|same revision/);
  });

  test("with the way to say which model it is, where it may be one", async () => {
    await expect(read({})).rejects.toThrow(
      /another form of Qwen3-Reranker \(Qwen\/Qwen3-Reranker-0\.6B\).*`base`/,
    );
    await expect(read({ card: qwenCard, tokenizer: withToken("<|relevance|>", true) })).rejects.toThrow(
      /README\.md has the wording of Qwen3-Reranker, and tokenizer\.json has the added token "<\|relevance\|>"/,
    );
  });
});

describe("text before queries and documents of an embedding model", () => {
  const embedder = (prompts: Json | undefined, more: Json = {}): Json => ({
    "config.json": { ...at("bert-cosine-mean", "config.json"), ...more },
    "tokenizer.json": at("bert-cosine-mean", "tokenizer.json"),
    "modules.json": at("bert-cosine-mean", "modules.json"),
    "1_Pooling/config.json": at("bert-cosine-mean", "1_Pooling/config.json"),
    ...(prompts === undefined ? {} : { "config_sentence_transformers.json": prompts }),
  });
  const of = (id: string, prompts?: Json, card?: string, more?: Json): Promise<ProfileReading> =>
    readProfile({
      ...memoryFiles(
        { ...embedder(prompts, more), ...(card === undefined ? {} : { "README.md": card }) },
        id,
      ),
      revision: "0".repeat(40),
    });

  test.each([
    ["BAAI/bge-small-en-v1.5", "Represent this sentence for searching relevant passages: ", ""],
    ["BAAI/bge-large-zh", "为这个句子生成表示以用于检索相关文章：", ""],
    ["intfloat/e5-base-v2", "query: ", "passage: "],
    ["intfloat/multilingual-e5-small", "query: ", "passage: "],
  ])("is %s's", async (id, query, document) => {
    const { profile, sources } = await of(id);
    expect(profile).toMatchObject({ queryPrefix: query, documentPrefix: document });
    expect(sources.queryPrefix).toMatch(/^catalogue: /);
    const conversion = await of("somebody/onnx", undefined, conversionOf(id));
    expect(conversion.profile).toMatchObject({ queryPrefix: query, documentPrefix: document });
  });

  test("is e5's where the card says so", async () => {
    const card = '# Each input text should start with "query: " or "passage: ".';
    expect((await of("a/b", undefined, card)).profile).toMatchObject({
      queryPrefix: "query: ",
      documentPrefix: "passage: ",
    });
  });

  test("is that of the base which a card states, not of a model that it cites", async () => {
    const cited = 'Compared to E5 (Each input text should start with "query: " or "passage: ")';
    const quantized = conversionOf("BAAI/bge-small-en-v1.5", "base_model_relation: quantized\n");
    expect((await of("a/b", undefined, quantized + cited)).profile).toMatchObject({
      queryPrefix: "Represent this sentence for searching relevant passages: ",
      documentPrefix: "",
    });
    for (const card of [
      conversionOf("some/embedder", "base_model_relation: finetune\n"),
      conversionOf("some/embedder", "base_model_relation: quantized\n"),
      "---\npipeline_tag: text-generation\n---\n",
    ]) {
      expect((await of("a/b", undefined, card + cited)).profile).toMatchObject({
        queryPrefix: "",
        documentPrefix: "",
      });
    }
  });

  test("is none where the files say so, in a finetune, and of what is not known", async () => {
    const none = { queryPrefix: "", documentPrefix: "" };
    const card = conversionOf("BAAI/bge-small-en-v1.5", "base_model_relation: finetune\n");
    for (const { profile, catalogue: used } of [
      await of("BAAI/bge-small-en-v1.5", { prompts: { query: "" } }),
      await of("a/b"),
      await of("a/bge-small-en-v1.5"),
      await of("BAAI/bge-small-en-v1.5-finetuned"),
      await of("BAAI/bge-m3"),
      await of("a/b", undefined, card),
      // Every card of the series has a table with the English wording in it.
      await of("a/b", undefined, "| bge | `Represent this sentence for searching relevant passages: ` |"),
      await of("intfloat/e5-base-v2", undefined, undefined, { model_type: "roberta", pad_token_id: 1 }),
    ]) {
      expect(profile).toMatchObject(none);
      expect(used).toBeUndefined();
    }
    const trained = await of(
      "a/b",
      undefined,
      `${conversionOf("BAAI/bge-small-en-v1.5")}\nfinetuned from it\n`,
    );
    expect(trained.profile).toMatchObject(none);
    const { profile } = await of("BAAI/bge-small-en-v1.5", { prompts: { query: "q: " } });
    expect(profile).toMatchObject({ queryPrefix: "q: ", documentPrefix: "" });
  });
});

test("what a copy without the weights must know is a fact of the reading", async () => {
  const files = {
    "config.json": at("bert-cosine-mean", "config.json"),
    "tokenizer.json": at("bert-cosine-mean", "tokenizer.json"),
    "modules.json": at("bert-cosine-mean", "modules.json"),
    "1_Pooling/config.json": at("bert-cosine-mean", "1_Pooling/config.json"),
    "README.md": conversionOf("BAAI/bge-small-en-v1.5"),
  };
  const whole = await readProfile(memoryFiles({ ...files, "model.safetensors": "…" }));
  const facts = { queryPrefix: "", documentPrefix: "" };
  expect(whole.profile).toMatchObject(facts);
  expect(whole.catalogue).toEqual({
    source:
      "none, because README.md has the base_model BAAI/bge-small-en-v1.5, and model.safetensors may be trained further",
    facts,
  });
  const copy = await readProfile(memoryFiles({ ...files, "crossrank.json": whole.catalogue?.facts }));
  expect(copy.profile).toEqual(whole.profile);
});

test("every entry has a source, a repository, and one meaning", () => {
  const all = catalogue.flatMap(({ repositories, architectures }) =>
    repositories.flatMap((id) => architectures.map((one) => `${id.toLowerCase()} ${one}`)),
  );
  expect(new Set(all).size).toBe(all.length);
  for (const { source, repositories, quotes, reranker, prefixes } of catalogue) {
    expect(source).not.toBe("");
    expect(repositories.length).toBeGreaterThan(0);
    expect((reranker === undefined) !== (prefixes === undefined)).toBe(true);
    // One short word is said by many.
    if (quotes !== undefined) expect(quotes.join("").length).toBeGreaterThan(40);
  }
});
