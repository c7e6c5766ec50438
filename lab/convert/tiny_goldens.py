"""Writes what transformers gives for tiny models of convert's newer descriptions.

    python lab/convert/tiny_goldens.py            # needs torch and transformers, see lab/requirements.txt
    python lab/convert/tiny_goldens.py --check    # change nothing; exit 1 if a number moved

Classifiers of decoders (last token), sliding windows, MPNet, and of Gemma 2 and 3 the answers, too (logits of some
tokens behind a sequence). Attention is transformers' own ("eager"): its fused one leaves Gemma 2's caps out. A weight's numbers come of its name, by `numbers`:
packages/convert/test/tiny-models.ts makes the same, so that no weight is stored. Logits are those of float64. The same
with transformers 4.57.6 and 5.24.0, but for rounding, and for ModernBERT's layer_types, which 4.57.6 does not know.
"""

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "packages" / "convert" / "test" / "fixtures" / "tiny-models.json"

DECODER = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-6,
}
QWEN3 = {"model_type": "qwen3", **DECODER, "head_dim": 8, "rope_theta": 1000000.0, "sliding_window": None}
QWEN2 = {"model_type": "qwen2", **DECODER, "rope_theta": 10000.0, "sliding_window": None}
MODERNBERT = {
    "model_type": "modernbert",
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "classifier_pooling": "mean",
    "pad_token_id": 3,
}
GEMMA2 = {
    "model_type": "gemma2",
    **DECODER,
    "num_hidden_layers": 3,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "hidden_activation": "gelu_pytorch_tanh",
    "rope_theta": 10000.0,
    "pad_token_id": 3,
}
GEMMA3 = {
    "model_type": "gemma3_text",
    **DECODER,
    "num_hidden_layers": 3,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "hidden_activation": "gelu_pytorch_tanh",
    "rope_theta": 1000000.0,
    "rope_local_base_freq": 10000.0,
    "pad_token_id": 3,
}
MPNET = {
    "model_type": "mpnet",
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 514,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "relative_attention_num_buckets": 32,
}

PLAIN = [[5, 9, 2, 31], [7], [8, 30, 4, 4, 22, 19, 6, 33, 12, 11, 10, 39, 15]]
# Ends with padding, holds it, is of it alone.
PADDED = [*PLAIN, [5, 9, 2, 3], [5, 9, 3, 3, 3], [3, 9, 3, 2], [3, 3, 3], [3]]
# Of two neighbours more than a hundred places apart, too.
LONG = [PLAIN[0], [(7 * place * place + 3 * place) % 36 + 4 for place in range(300)]]

CASES = {
    "qwen3-one-label": ({**QWEN3, "pad_token_id": None}, 1, PLAIN),
    "qwen3-padding": ({**QWEN3, "pad_token_id": 3}, 1, PADDED),
    "qwen3-two-labels": ({**QWEN3, "pad_token_id": 3, "attention_bias": True}, 2, PADDED),
    "qwen2-one-label": ({**QWEN2, "pad_token_id": 3}, 1, PADDED),
    "qwen2-three-labels": ({**QWEN2, "pad_token_id": None, "tie_word_embeddings": True}, 3, PLAIN),
    "llama-one-label": ({"model_type": "llama", **DECODER, "head_dim": 6, "pad_token_id": 3}, 1, PADDED),
    "llama-two-labels": (
        {"model_type": "llama", **DECODER, "attention_bias": True, "num_key_value_heads": 4, "pad_token_id": None},
        2,
        PLAIN,
    ),
    "mistral-no-window": (
        {"model_type": "mistral", **DECODER, "sliding_window": None, "pad_token_id": 3},
        1,
        PADDED,
    ),
    "gemma-default-padding": (
        {"model_type": "gemma", **DECODER, "head_dim": 8, "hidden_activation": "gelu_pytorch_tanh"},
        1,
        [*PLAIN, [5, 9, 0, 0], [0, 0]],
    ),
    "mistral-window": ({"model_type": "mistral", **DECODER, "sliding_window": 4, "pad_token_id": None}, 1, PLAIN),
    "mistral-window-of-one": (
        {"model_type": "mistral", **DECODER, "sliding_window": 1, "pad_token_id": None},
        1,
        PLAIN,
    ),
    "qwen3-window-of-late-layers": (
        {
            **QWEN3,
            "num_hidden_layers": 3,
            "use_sliding_window": True,
            "sliding_window": 4,
            "max_window_layers": 1,
            "pad_token_id": None,
        },
        1,
        PLAIN,
    ),
    "qwen2-window-by-layer-types": (
        {
            **QWEN2,
            "num_hidden_layers": 3,
            "use_sliding_window": True,
            "sliding_window": 3,
            "max_window_layers": 0,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "pad_token_id": None,
        },
        1,
        PLAIN,
    ),
    "qwen2-window-not-used": (
        {**QWEN2, "use_sliding_window": False, "sliding_window": 3, "max_window_layers": 0, "pad_token_id": None},
        1,
        PLAIN,
    ),
    "qwen3-window-beyond-all-layers": (
        {**QWEN3, "use_sliding_window": True, "sliding_window": 3, "max_window_layers": 28, "pad_token_id": None},
        1,
        PLAIN,
    ),
    "modernbert-window": (
        {**MODERNBERT, "local_attention": 6, "global_attn_every_n_layers": 2},
        1,
        PLAIN,
    ),
    "modernbert-odd-window-by-layer-types": (
        {
            **MODERNBERT,
            "local_attention": 7,
            "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        },
        2,
        PLAIN,
    ),
    "llama-scaled-positions": (
        {
            "model_type": "llama",
            **DECODER,
            "head_dim": 16,
            "pad_token_id": None,
            "rope_theta": 10000.0,
            "max_position_embeddings": 512,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
        1,
        LONG,
    ),
    "qwen2-linear-positions": (
        {
            **QWEN2,
            "pad_token_id": None,
            "max_position_embeddings": 512,
            "rope_scaling": {"type": "linear", "factor": 4.0},
        },
        1,
        LONG,
    ),
    "llama-bidirectional": (
        {"model_type": "llama_bidirec", **DECODER, "pad_token_id": 3, "pooling": "avg", "temperature": 1.0},
        1,
        PLAIN,
    ),
    "llama-bidirectional-temperature": (
        {
            "model_type": "llama_bidirec",
            **DECODER,
            "num_key_value_heads": 4,
            "pad_token_id": 3,
            "pooling": "avg",
            "temperature": 0.25,
        },
        2,
        PLAIN,
    ),
    # Caps that bend: scores and logits here are below 5.
    "gemma2-caps-and-window": (
        {**GEMMA2, "sliding_window": 4, "attn_logit_softcapping": 0.5, "final_logit_softcapping": 2.0},
        1,
        PADDED,
    ),
    "gemma2-usual-caps": ({**GEMMA2, "num_key_value_heads": 4, "sliding_window": 5}, 2, PLAIN),
    "gemma2-no-caps-by-layer-types": (
        {
            **GEMMA2,
            "num_key_value_heads": 1,
            "query_pre_attn_scalar": 20,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
            "sliding_window": 3,
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
        },
        1,
        PLAIN,
    ),
    "gemma3-window": ({**GEMMA3, "sliding_window": 4, "sliding_window_pattern": 3}, 1, PADDED),
    "gemma3-linear-positions": (
        {
            **GEMMA3,
            "sliding_window": 3,
            "max_position_embeddings": 512,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            "layer_types": ["sliding_attention", "full_attention", "full_attention"],
            "query_pre_attn_scalar": 30,
        },
        2,
        LONG,
    ),
    "gemma3-bidirectional": (
        {**GEMMA3, "sliding_window": 5, "use_bidirectional_attention": True, "num_key_value_heads": 1},
        1,
        PLAIN,
    ),
    "mpnet-one-label": (MPNET, 1, LONG),
    "mpnet-two-labels": ({**MPNET, "relative_attention_num_buckets": 40}, 2, LONG),
}

# Of these the language model's own head, behind the last token: config, tokens, sequences.
ANSWERS = {
    "gemma2-answers": (
        {**GEMMA2, "sliding_window": 4, "attn_logit_softcapping": 0.5, "final_logit_softcapping": 2.0},
        [7, 12],
        PLAIN,
    ),
    "gemma2-answers-usual": ({**GEMMA2, "sliding_window": 64}, [9, 4], PLAIN),
    "gemma3-answers": (
        {**GEMMA3, "sliding_window": 4, "layer_types": ["sliding_attention", "full_attention"] * 2, "num_hidden_layers": 4},
        [7, 12],
        PLAIN,
    ),
    "gemma3-answers-all-full": ({**GEMMA3, "sliding_window": 6, "layer_types": ["full_attention"] * 3}, [5, 30], PLAIN),
}


def numbers(name: str, count: int) -> torch.Tensor:
    """From -0.5 to 0.5, by Marsaglia's xorshift of 32 bits from FNV-1a of the name."""
    state = 2166136261
    for byte in name.encode():
        state = (state ^ byte) * 16777619 & 0xFFFFFFFF
    values = []
    for _ in range(count):
        state ^= state << 13 & 0xFFFFFFFF
        state ^= state >> 17
        state ^= state << 5 & 0xFFFFFFFF
        values.append(state / 2**32 - 0.5)
    return torch.tensor(values, dtype=torch.float64).float()


class Bidirectional(torch.nn.Module):
    """NVIDIA's rule, written down: Llama whose masks hide padding alone, the mean of all tokens, a temperature.

    NeMo AutoModel, `components/models/llama_bidirectional/model.py` at 04fb006. `is_causal` is what masks of transformers
    5.24.0 go by (`masking_utils.py`, create_causal_mask).
    """

    def __init__(self, config: transformers.PretrainedConfig, pooling: str, temperature: float) -> None:
        super().__init__()
        assert pooling == "avg"
        config.is_causal = False
        self.config, self.temperature = config, temperature
        self.model = transformers.LlamaModel(config)
        for layer in self.model.layers:
            layer.self_attn.is_causal = False
        self.score = torch.nn.Linear(config.hidden_size, config.num_labels, bias=False)

    def forward(self, ids: torch.Tensor, attention_mask: torch.Tensor, **more: torch.Tensor) -> object:
        states = self.model(ids, attention_mask=attention_mask, **more).last_hidden_state
        mask = attention_mask[..., None].to(states.dtype)
        logits = self.score((states * mask).sum(1) / mask.sum(1)) / self.temperature
        return transformers.modeling_outputs.SequenceClassifierOutput(logits=logits)


def model_of(settings: dict, labels: int | None) -> torch.nn.Module:
    """A classifier, or without labels the language model."""
    given = dict(settings)
    kind = given.pop("model_type")
    if kind == "llama_bidirec":
        pooled = {name: given.pop(name) for name in ("pooling", "temperature")}
        config = transformers.AutoConfig.for_model("llama", **given, num_labels=labels)
        config._attn_implementation = "eager"
        model = Bidirectional(config, **pooled)
        states = [model.model(torch.tensor([ids])).last_hidden_state[0, 0] for ids in ([5, 6, 7], [5, 6, 8])]
        assert (states[0] - states[1]).abs().max() > 0, "the first token does not see the last"
    else:
        config = transformers.AutoConfig.for_model(kind, **given, **({} if labels is None else {"num_labels": labels}))
        config._attn_implementation = "eager"
        auto = transformers.AutoModelForCausalLM if labels is None else transformers.AutoModelForSequenceClassification
        model = auto.from_config(config)
    tensors = {}
    for name, tensor in model.state_dict().items():
        values = numbers(name, tensor.numel()).reshape(tensor.shape)
        # A vector is a norm's or a bias: a norm's is about 1, but Gemma's, which adds the 1 itself.
        is_norm = tensor.dim() == 1 and name.endswith("weight") and not kind.startswith("gemma")
        tensors[name] = values * 0.5 + 1 if is_norm else values
    if labels is None:
        # Tied to the embeddings, and in no file.
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    model.load_state_dict(tensors)
    return model.eval()


def answers_of(model: torch.nn.Module, tokens: list[int], ids: list[int]) -> list[float]:
    with torch.no_grad():
        logits = model.double()(torch.tensor([ids])).logits[0, -1]
    return [round(logits[token].item(), 9) for token in tokens]


def logits_of(model: torch.nn.Module, ids: list[int]) -> list[float]:
    row = torch.tensor([ids])
    with torch.no_grad():
        logits = model.double()(row, attention_mask=torch.ones_like(row)).logits[0]
        # Masks of float64 overflow in eager attention, which computes its softmax in float32.
        check_padding(model.float(), ids, logits)
    return [round(logit, 9) for logit in logits.tolist()]


def check_padding(model: torch.nn.Module, ids: list[int], alone: torch.Tensor) -> None:
    """Neither padding's side nor company moves a row."""
    padding = model.config.pad_token_id
    if padding is None or all(token == padding for token in ids):
        return
    is_decoder = hasattr(model, "score")
    for before, after in ((4, 0), (0, 4)) if is_decoder else ((0, 4),):
        wide = torch.tensor([[padding] * before + ids + [padding] * after] * 2)
        mask = torch.tensor([[0] * before + [1] * len(ids) + [0] * after] * 2)
        more = {"position_ids": torch.clamp(mask.cumsum(-1) - 1, min=0)} if is_decoder else {}
        moved = (model(wide, attention_mask=mask, **more).logits[0] - alone).abs().max().item()
        assert moved < 1e-4, (model.config.model_type, ids, before, moved)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    cases = {}
    for name, (settings, labels, sequences) in CASES.items():
        model = model_of(settings, labels)
        tensors = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
        logits = [logits_of(model, ids) for ids in sequences]
        cases[name] = {
            "config": {**settings, "num_labels": labels},
            "tensors": tensors,
            "sequences": sequences,
            "logits": logits,
        }
    for name, (settings, tokens, sequences) in ANSWERS.items():
        model = model_of(settings, None)
        shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items() if key != "lm_head.weight"}
        cases[name] = {
            "config": settings,
            "tokens": tokens,
            "tensors": shapes,
            "sequences": sequences,
            "logits": [answers_of(model, tokens, ids) for ids in sequences],
        }
    if check:
        before = json.loads(OUTPUT.read_text())["cases"]
        moved = max(
            abs(old - new)
            for name, case in cases.items()
            for olds, news in zip(before[name]["logits"], case["logits"], strict=True)
            for old, new in zip(olds, news, strict=True)
        )
        print(f"transformers {transformers.__version__}: moved by {moved}")
        sys.exit(moved > 1e-6)
    origin = f"lab/convert/tiny_goldens.py, transformers {transformers.__version__}"
    lines = ",\n".join(f"    {json.dumps(name)}: {json.dumps(case)}" for name, case in cases.items())
    OUTPUT.write_text(f'{{\n  "origin": {json.dumps(origin)},\n  "cases": {{\n{lines}\n  }}\n}}\n')


if __name__ == "__main__":
    main()
