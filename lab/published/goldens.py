"""Logits that transformers gives for published forms whose weights no fixture has.

Makes the folders with make.mjs and writes packages/crossrank/test/published/goldens.json, which the test of published
models holds crossrank against. With transformers 5.24.0 and torch 2.15.0, on one thread:

    python lab/published/goldens.py
"""

import json
import pathlib
import subprocess
import tempfile

import torch
import transformers

root = pathlib.Path(__file__).resolve().parents[2]
target = root / "packages/crossrank/test/published/goldens.json"
query = "what is red"
documents = ["The sky is blue today.", "water is wet and cold", "Mars is red"]
instruction = "Given a web search query, retrieve relevant passages that answer the query"

# How each makes a number of a pair.
layouts = {
    "sharded-bf16": "classifier",
    "electra-weights": "classifier",
    "distilbert-weights": "classifier",
    "three-labels": "entailment",
    "untied-weights": "answers",
    "qwen3-classifier-with-prompt": "last-token",
    "qwen2-plain": "mxbai",
    "zerank-plain": "zerank",
}

# mxbai_rerank/mxbai_rerank_v2.py of mixedbread-ai/mxbai-rerank at 8e709dc.
mxbai_task = (
    "You are a search relevance expert who evaluates how well documents match search queries. For each query-document "
    "pair, carefully analyze the semantic relationship between them, then provide your binary relevance judgment "
    "(0 for not relevant, 1 for relevant).\nRelevance:"
)
mxbai_system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."


def in_parts(tokenizer, *parts: str):
    """Each part is tokenised by itself."""
    ids = [id for part in parts for id in tokenizer(part, add_special_tokens=False)["input_ids"]]
    return {"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids), dtype=torch.long)}


def mxbai(tokenizer, document: str):
    return in_parts(
        tokenizer,
        f"<|im_start|>system\n{mxbai_system}<|im_end|>\n<|im_start|>user\n",
        f"query: {query}",
        "\n",
        f"document: {document}",
        "\n",
        mxbai_task,
        "<|im_end|>\n<|im_start|>assistant\n",
    )


def zerank(tokenizer, document: str):
    """modeling_zeranker.py of zeroentropy/zerank-1-small, with the chat template of Qwen3."""
    turns = f"<|im_start|>system\n{query}<|im_end|>\n<|im_start|>user\n{document}<|im_end|>\n<|im_start|>assistant\n"
    return in_parts(tokenizer, turns)


def prompt(tokenizer, document: str):
    messages = [
        {"role": "system", "content": instruction},
        {"role": "query", "content": query},
        {"role": "document", "content": document},
    ]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    encoded = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    return {"input_ids": encoded["input_ids"], "attention_mask": encoded["attention_mask"]}


def logits(folder: pathlib.Path, kind: str) -> list[float]:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    auto = (
        transformers.AutoModelForCausalLM
        if kind in ("answers", "mxbai", "zerank")
        else transformers.AutoModelForSequenceClassification
    )
    model = auto.from_pretrained(folder, dtype=torch.float32).eval()
    results = []
    for document in documents:
        if kind == "classifier":
            output = model(**tokenizer(query, document, return_tensors="pt")).logits[0, 0]
        elif kind == "entailment":
            classes = model(**tokenizer(query, document, return_tensors="pt")).logits[0]
            output = classes[1] - torch.logsumexp(classes[[0, 2]], 0)
        elif kind == "last-token":
            output = model(**prompt(tokenizer, document)).logits[0, 0]
        elif kind == "mxbai":
            last = model(**mxbai(tokenizer, document)).logits[0, -1]
            one, zero = (tokenizer(answer, add_special_tokens=False)["input_ids"][0] for answer in "10")
            output = last[one] - last[zero]
        elif kind == "zerank":
            last = model(**zerank(tokenizer, document)).logits[0, -1]
            output = last[tokenizer.encode("Yes", add_special_tokens=False)[0]] / 5
        else:
            yes, no = tokenizer.convert_tokens_to_ids(["yes", "no"])
            last = model(**prompt(tokenizer, document)).logits[0, -1]
            output = last[yes] - last[no]
        results.append(output.item())
    return results


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        make = ["node", str(root / "lab/published/make.mjs"), folder, *layouts]
        subprocess.run(make, check=True)
        found = {name: logits(pathlib.Path(folder, name), kind) for name, kind in layouts.items()}
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    lines = [f"    {json.dumps(name)}: {json.dumps(numbers)}" for name, numbers in found.items()]
    text = f'{{\n  "versions": {json.dumps(versions)},\n  "logits": {{\n' + ",\n".join(lines) + "\n  }\n}\n"
    target.write_text(text.replace('{"', '{ "').replace('"}', '" }'))


if __name__ == "__main__":
    main()
