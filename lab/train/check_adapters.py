"""Whether peft loads what crossrank trained, and computes the merged folder's logits.

    pip install -r lab/train/requirements.txt peft==0.20.0 accelerate
    python lab/train/check_adapters.py BASE FOLDER...

BASE is a model's folder, FOLDER one that a training wrote (adapter/ and merged/). Prints the largest difference of
logits, and fails above 2e-5.
"""

import json
import sys
from pathlib import Path

import peft
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

base, *folders = sys.argv[1:]
causal = json.loads(Path(base, "config.json").read_text())["architectures"][0].endswith("CausalLM")
kind = AutoModelForCausalLM if causal else AutoModelForSequenceClassification
print(f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")


def logits(model):
    torch.manual_seed(0)
    given = [torch.randint(5, 1000, (1, length)) for length in (4, 9, 23)]
    with torch.no_grad():
        return torch.cat([model(input_ids=ids).logits[0, -1:].flatten()[:1400] for ids in given])


for folder in folders:
    plain = kind.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").eval()
    before = logits(plain)
    adapted = peft.PeftModel.from_pretrained(plain, f"{folder}/adapter").eval()
    merged = kind.from_pretrained(f"{folder}/merged", dtype=torch.float32, attn_implementation="eager").eval()
    ours, theirs = logits(merged), logits(adapted)
    difference = (ours - theirs).abs().max().item()
    print(f"{folder}: {difference:.2e} between adapter and merged, {(ours - before).abs().max().item():.3f} from the base")
    if difference > 2e-5 or (ours - before).abs().max().item() < 1e-3:
        sys.exit(1)
