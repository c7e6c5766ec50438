"""Tokens a core-second of training, torch and crossrank by turns on the same work, one thread each.

    OPENBLAS_NUM_THREADS=1 python lab/train/measure_speed.py [ROUNDS]

A BERT cross-encoder in the shape of MiniLM-L6 (6 layers of 384), random weights, batches of 8 x 128 tokens, forward,
backward, clip and AdamW. Low ranks (16, query and value, head) are written here as peft computes them. Prints each round
and the median ratio. Processor time, so that other work on the machine counts for little.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

root = Path(__file__).parents[2]
torch.set_num_threads(1)
ROWS, COLUMNS, STEPS = 8, 128, 3


class LowRank(nn.Module):
    def __init__(self, linear):
        super().__init__()
        self.linear = linear
        self.a = nn.Linear(linear.in_features, 16, bias=False)
        self.b = nn.Linear(16, linear.out_features, bias=False)

    def forward(self, x):
        return self.linear(x) + 2 * self.b(self.a(x))


def theirs(folder, method):
    model = BertForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa").eval()
    if method == "lora":
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        for layer in model.bert.encoder.layer:
            own = layer.attention.self
            own.query, own.value = LowRank(own.query), LowRank(own.value)
        for module in (model.bert.pooler, model.classifier):
            for parameter in module.parameters():
                parameter.requires_grad_(True)
        for name, parameter in model.named_parameters():
            if ".a." in name or ".b." in name:
                parameter.requires_grad_(True)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, 2e-5)
    ids = torch.tensor([10 + place * 131 % 900 for place in range(ROWS * COLUMNS)]).view(ROWS, COLUMNS)
    labels = torch.tensor([float(row % 2) for row in range(ROWS)])

    def step():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, 0]
        nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    step()
    begin = time.process_time()
    for _ in range(STEPS):
        step()
    return STEPS * ROWS * COLUMNS / (time.process_time() - begin)


def ours(folder, method):
    command = ["node", str(root / "packages/train/.measure-speed.mjs"), folder, method, str(ROWS), str(COLUMNS), str(STEPS)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    tokens, micros = map(int, subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.split())
    return tokens / (micros / 1e6)


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    # Node finds packages from where a module lies.
    module = root / "packages/train/.measure-speed.mjs"
    shutil.copy(root / "lab/train/measure_speed.mjs", module)
    try:
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(0)
            config = BertConfig(vocab_size=1400, hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=1)
            shutil.copytree(root / "packages/conformance/fixtures/bert-logit", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("onnx", "golden.json"))
            BertForSequenceClassification(config).save_pretrained(folder)
            for method in ("lora", "full"):
                ratios = []
                for place in range(rounds):
                    pair = (ours(folder, method), theirs(folder, method)) if place % 2 == 0 else (theirs(folder, method), ours(folder, method))[::-1]
                    ratios.append(pair[0] / pair[1])
                    print(f"{method}: crossrank {pair[0]:.0f}, torch {pair[1]:.0f} tokens a core-second", flush=True)
                print(f"{method}: {statistics.median(ratios):.2f} of torch's")
    finally:
        module.unlink()


if __name__ == "__main__":
    main()
