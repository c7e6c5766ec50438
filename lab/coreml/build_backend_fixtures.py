"""The packages and goldens of packages/backend-coreml/test/fixtures, from the fixtures of packages/conformance.

    build_backend_fixtures.py

Packages: the seed's port of xlm-roberta-logit (lengths 16, 32 and 64), and bert-logit as plain coremltools converts it:
in fp32 and fp16 with the attention written out, and in fp16 with scaled_dot_product_attention. Goldens, for 16
pairs of each model: logits of torch in float32, whose weights and constants were first rounded to half precision as the
packages' are (bert-logit by transformers, xlm-roberta-logit by the port, whose scale and epsilon are rounded too); and
what single operations give (operation_goldens.py). coremltools writes dates and random identifiers, so a
second build has other bytes.
"""

import json
import pathlib
import shutil
import subprocess
import sys

import torch
from transformers import AutoModelForSequenceClassification

import seed_port

here = pathlib.Path(__file__).resolve().parent
packages = here.parent.parent / "packages"
sources = packages / "conformance" / "fixtures"
target = packages / "backend-coreml" / "test" / "fixtures"

builds = {
    "xlm-roberta-logit_seed-port": ("seed_port.py", "xlm-roberta-logit", ["--lengths", "16,32,64"]),
    "bert-logit_plain_fp32": ("plain_conversion.py", "bert-logit", ["--precision", "fp32"]),
    "bert-logit_plain": ("plain_conversion.py", "bert-logit", []),
    "bert-logit_sdpa": ("plain_conversion.py", "bert-logit", ["--attention", "sdpa"]),
}


def in_half(number):
    return torch.tensor(number).half().float().item()


def rounded(model):
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor.copy_(tensor.half().float())
    return model


def transformers_logit(name):
    model = AutoModelForSequenceClassification.from_pretrained(sources / name, attn_implementation="eager").eval()
    model = rounded(model)
    return lambda ids, mask, segments: model(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits


def port_logit(name):
    model = seed_port.load(sources / name)
    norms = [module for module in model.modules() if isinstance(module, seed_port.LayerNormANE)]
    # The packages hold the bias itself, not that divided by the weight.
    biases = [(module.bias * module.weight).detach().half().float() for module in norms]
    rounded(model)
    with torch.no_grad():
        for module, bias in zip(norms, biases):
            module.bias.copy_(bias / module.weight)
    for module in model.modules():
        if isinstance(module, seed_port.Attention):
            module.scale = in_half(module.scale)
        if isinstance(module, seed_port.LayerNormANE):
            module.epsilon = in_half(module.epsilon)
    return lambda ids, mask, segments: model(ids[:, None, None, :], mask[:, None, None, :])


def goldens(name, logit, count=16):
    pairs = []
    for case in json.loads((sources / name / "golden.json").read_text())["cases"]:
        golden = case["expected"]["document-only"]
        if len(pairs) == count or golden.get("logit") is None:
            continue
        ids = torch.tensor([golden["ids"]])
        segments = torch.tensor([golden.get("segmentIds", [0] * len(golden["ids"]))])
        with torch.no_grad():
            found = logit(ids, torch.ones_like(ids), segments).item()
        pairs.append({"ids": ids[0].tolist(), "segmentIds": segments[0].tolist(), "logit": found})
    return pairs


def main():
    target.mkdir(parents=True, exist_ok=True)
    for name, (script, source, options) in builds.items():
        output = target / f"{name}.mlpackage"
        shutil.rmtree(output, ignore_errors=True)
        subprocess.run([sys.executable, here / script, sources / source, output, *options], check=True)
    both = {"xlm-roberta-logit": port_logit, "bert-logit": transformers_logit}
    pairs = {name: goldens(name, logit(name)) for name, logit in both.items()}
    (target / "rounded-weights.json").write_text(json.dumps(pairs) + "\n")
    subprocess.run([sys.executable, here / "operation_goldens.py", target / "operations.json"], check=True)


if __name__ == "__main__":
    main()
