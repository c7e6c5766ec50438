"""Step 3 of the distillation: the student as a folder in Hugging Face's layout, fp16 safetensors.

The classifier's scale and shift are fitted on the dev labels first, so that sigmoid(logit) reads as a rough
probability; rankings stay. golden.json and crossrank.json hold float32 logits of the weights as written, rounded to
fp16. `crossrank convert` makes every other format from the folder.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
from pathlib import Path

import evaluate
import export
import model as nano
import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

SPECIAL = {"cls_token": "[CLS]", "mask_token": "[MASK]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]"}


def write_json(path: Path, value: object) -> None:
    """A JSON file, indented, with a newline at its end."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_tokenizer(source: Path, folder: Path, maximum: int) -> None:
    """The teacher's tokenizer without its fixed padding and truncation, and the two configs that go with it."""
    tokenizer = Tokenizer.from_file(str(source))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    write_json(folder / "special_tokens_map.json", SPECIAL)
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    by_id = sorted(SPECIAL.values(), key=tokenizer.token_to_id)
    config = {
        "added_tokens_decoder": {str(tokenizer.token_to_id(token)): {"content": token, **plain} for token in by_id},
        **SPECIAL,
        "clean_up_tokenization_spaces": True,
        "do_lower_case": True,
        "model_max_length": maximum,
        "strip_accents": None,
        "tokenize_chinese_chars": True,
        "tokenizer_class": "BertTokenizer",
    }
    write_json(folder / "tokenizer_config.json", config)


def prune_vocabulary(
    state: dict[str, torch.Tensor], full: Path, pruned: Path
) -> dict[str, torch.Tensor]:
    """The rows of the embedding table that a tokenizer with fewer pieces needs, in its order."""
    rows = Tokenizer.from_file(str(full)).get_vocab()
    pieces = Tokenizer.from_file(str(pruned)).get_vocab()
    missing = sorted(set(pieces) - set(rows))
    if missing:
        raise SystemExit(f"{pruned} has pieces that the teacher does not have: {missing[:5]}")
    order = [rows[piece] for piece in sorted(pieces, key=pieces.__getitem__)]
    return {**state, "embeddings.word": state["embeddings.word"][order].clone()}


def write_config(state: dict[str, torch.Tensor], folder: Path) -> None:
    """config.json of the architecture."""
    config = {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "attention_probs_dropout_prob": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": state["embeddings.word"].shape[1],
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": state["layer.0.up.weight"].shape[0],
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": nano.EPSILON,
        "max_position_embeddings": state["embeddings.position"].shape[0],
        "num_attention_heads": nano.HEADS,
        "num_hidden_layers": sum(name.endswith("qkv.weight") for name in state),
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid", "version": "5.1.0"},
        "type_vocab_size": 2,
        "vocab_size": state["embeddings.word"].shape[0],
    }
    write_json(folder / "config.json", config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder of everything that distillation keeps")
    parser.add_argument("--run", required=True, help="the run whose averaged weights are packed")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--vocabulary", type=Path, help="a tokenizer.json with some of the teacher's pieces; default all")
    parser.add_argument("--maximum", type=int, default=512, help="model_max_length of the tokenizer")
    parser.add_argument("--each", type=int, help="dev queries a source for the calibration; default all")
    options = parser.parse_args()
    torch.set_num_threads(2)
    options.output.mkdir(parents=True, exist_ok=True)
    tokenizer_file = options.state / "teacher" / "tokenizer.json"
    checkpoint = options.state / options.run / "average.pt"
    state, facts = nano.load(checkpoint)
    if options.vocabulary is not None:
        state = prune_vocabulary(state, tokenizer_file, options.vocabulary)
        tokenizer_file = options.vocabulary
        checkpoint = options.state / options.run / "pruned.pt"
        nano.save(checkpoint, state, facts)
    kept: dict = {}
    scorer = evaluate.TorchScorer(checkpoint, tokenizer_file)
    dev = evaluate.evaluate_dev(scorer, options.state, 256, options.each, kept)
    # Two thirds of tldr's pools are relevant: its pages are told apart by their names. Elsewhere it is one of 20.
    alike = kept["sources"] != "tldr"
    state, calibration = export.calibrate(state, kept["scores"][alike], kept["labels"][alike])
    half = {name: tensor.half() for name, tensor in state.items()}
    rounded = {name: tensor.float() for name, tensor in half.items()}
    stored = {name: tensor.contiguous().clone() for name, tensor in nano.to_hugging_face(half).items()}
    save_file(stored, options.output / "model.safetensors", metadata={"format": "pt"})
    (options.output / "model.safetensors").chmod(0o644)
    write_tokenizer(tokenizer_file, options.output, options.maximum)
    write_config(state, options.output)

    encoder = nano.Encoder(options.output / "tokenizer.json")
    cases = []
    for pair in export.golden_pairs():
        encoded = encoder.pair(*pair[1:], options.maximum)
        with torch.inference_mode():
            logit = float(nano.forward(rounded, *nano.pad([encoded]))[0])
        cases.append(export.golden_case(encoder, pair, options.maximum, round(logit, 6)))
    versions = {name: importlib.metadata.version(name).split("+")[0] for name in ("torch", "tokenizers")}
    reference = {"name": "lab/nano/model.py", "versions": versions, "dtype": "float32"}
    export.write_golden(options.output, cases, reference)
    checked = [
        {"query": case["query"], "document": case["document"], "logit": case["expected"]["document-only"]["logit"]}
        for case in cases
        if case["query"].strip() and case["document"].strip() and len(case["expected"]["document-only"]["ids"]) < 64
    ][:3]
    expectations = {"tolerance": 0.75, "pairs": checked}
    write_json(options.output / "crossrank.json", {"specificationVersion": "1", "expectations": expectations})
    moved = [float((tensor - half[name].float()).abs().max()) for name, tensor in state.items()]
    report = {"training": facts, "dev": dev, "calibration": calibration, "fp16_weight_error": float(np.max(moved))}
    report["bytes"] = sum(file.stat().st_size for file in options.output.iterdir() if file.is_file())
    write_json(options.state / options.run / "pack.json", report)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
