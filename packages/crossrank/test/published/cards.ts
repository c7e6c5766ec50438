/** Model cards as they are published, as far as they say what a model is. */

const fence = "```";

export const cards = {
  qwen3: `---
license: apache-2.0
base_model:
- Qwen/Qwen3-0.6B-Base
library_name: transformers
pipeline_tag: text-ranking
---
# Qwen3-Reranker-0.6B

${fence}python
def format_instruction(instruction, query, doc):
    return "<Instruct>: {instruction}\\n<Query>: {query}\\n<Document>: {doc}".format(instruction=instruction,query=query, doc=doc)

prefix = "<|im_start|>system\\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. Note that the answer can only be \\"yes\\" or \\"no\\".<|im_end|>\\n<|im_start|>user\\n"
suffix = "<|im_end|>\\n<|im_start|>assistant\\n<think>\\n\\n</think>\\n\\n"
${fence}
`,
  gemma: `---
license: gemma
pipeline_tag: text-classification
---
# bge-reranker-v2-gemma

${fence}python
prompt = "Given a query A and a passage B, determine whether the passage contains an answer to the query by providing a prediction of either 'Yes' or 'No'."
query_inputs = tokenizer(f'A: {query}')
passage_inputs = tokenizer(f'B: {passage}')
${fence}
`,
  /** No card, but the code beside it. */
  zerank: `
messages = [
    {"role": "system", "content": system_prompt},
    {"role": "user", "content": user_message},
]
yes = tokenizer.encode("Yes", add_special_tokens=False)[0]
logits = [float(logit) / 5.0 for logit in yes_logits]
`,
};

/** The card of a model that was made from another, with more lines of YAML. */
export function cardOf(base: string, ...lines: readonly string[]): string {
  return `---\n${[`base_model:\n- ${base}`, ...lines].join("\n")}\n---\n# A model\n`;
}
