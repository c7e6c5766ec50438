"""The cross-encoder of the seed in PyTorch, as its model card describes it, converted by coremltools.

An XLM-RoBERTa (or RoBERTa) sequence classifier in the style of apple/ml-ane-transformers: (batch, channels, 1, length)
layout, projections as 1x1 convolutions, LayerNorm over channels, attention head by head with einsum, an additive mask
of -1e4, position ids without cumsum, a fixed batch and enumerated lengths, fp16, macOS 15.

    seed_port.py MODEL_FOLDER OUTPUT.mlpackage [--batch 20] [--lengths 128,256,512] [--precision fp16]

Needs coremltools, torch, numpy and safetensors (requirements.txt of this folder). Written from the card and from the
published description of ml-ane-transformers; nothing of either's code is copied.
"""

import argparse
import json
import pathlib

import coremltools
import numpy
import torch
from safetensors.torch import load_file
from torch import nn

HIDDEN_MASK = -1e4


class LayerNormANE(nn.Module):
    """LayerNorm over the channels of (batch, channels, 1, length)."""

    def __init__(self, channels, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.epsilon = epsilon

    def forward(self, x):
        centred = x - x.mean(dim=1, keepdim=True)
        variance = (centred * centred).mean(dim=1, keepdim=True)
        normal = centred * (variance + self.epsilon).rsqrt()
        channels = self.weight.numel()
        # The bias is divided by the weight: the form that coremltools folds into one layer_norm with gamma and beta.
        return (normal + self.bias.view(1, channels, 1, 1)) * self.weight.view(1, channels, 1, 1)


class Attention(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.heads = heads
        self.size = channels // heads
        self.scale = self.size**-0.5
        self.query = nn.Conv2d(channels, channels, 1)
        self.key = nn.Conv2d(channels, channels, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.output = nn.Conv2d(channels, channels, 1)

    def forward(self, x, mask):
        queries = self.query(x).split(self.size, dim=1)
        keys = self.key(x).transpose(1, 3).split(self.size, dim=3)
        values = self.value(x).split(self.size, dim=1)
        outputs = []
        for query, key, value in zip(queries, keys, values):
            # (batch, key, 1, query)
            scores = torch.einsum("bchq,bkhc->bkhq", query, key) * self.scale + mask
            outputs.append(torch.einsum("bkhq,bchk->bchq", scores.softmax(dim=1), value))
        return self.output(torch.cat(outputs, dim=1))


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        channels, inner = config["hidden_size"], config["intermediate_size"]
        self.attention = Attention(channels, config["num_attention_heads"])
        self.attention_norm = LayerNormANE(channels, config["layer_norm_eps"])
        self.up = nn.Conv2d(channels, inner, 1)
        self.down = nn.Conv2d(inner, channels, 1)
        self.norm = LayerNormANE(channels, config["layer_norm_eps"])

    def forward(self, x, mask):
        x = self.attention_norm(x + self.attention(x, mask))
        return self.norm(x + self.down(nn.functional.gelu(self.up(x))))


class CrossEncoder(nn.Module):
    def __init__(self, config):
        super().__init__()
        channels = config["hidden_size"]
        self.padding = config["pad_token_id"]
        self.words = nn.Embedding(config["vocab_size"], channels)
        self.positions = nn.Embedding(config["max_position_embeddings"], channels)
        # type_vocab_size is 1: the one segment's vector is a constant, added to every token.
        self.register_buffer("segment", torch.zeros(channels))
        self.norm = LayerNormANE(channels, config["layer_norm_eps"])
        self.layers = nn.ModuleList(Layer(config) for _ in range(config["num_hidden_layers"]))
        self.dense = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, 1, 1)

    def forward(self, input_ids, attention_mask):
        ids = input_ids.squeeze(1).squeeze(1)
        real = attention_mask.squeeze(1).squeeze(1)
        places = torch.arange(ids.shape[1], dtype=torch.int32).unsqueeze(0)
        # Real tokens from padding + 1 on, padding at the padding id: equal to transformers' when padded on the right.
        position_ids = (places + self.padding + 1) * real + self.padding * (1 - real)
        x = self.words(ids) + self.positions(position_ids) + self.segment
        x = self.norm(x.transpose(1, 2).unsqueeze(2))
        # (batch, key, 1, 1), added to scores of (batch, key, 1, query)
        mask = ((1.0 - real.to(torch.float32)) * HIDDEN_MASK).unsqueeze(2).unsqueeze(3)
        for layer in self.layers:
            x = layer(x, mask)
        first = x[:, :, :, 0:1]
        return self.out(torch.tanh(self.dense(first))).squeeze(3).squeeze(2)


def load(folder):
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(str(folder / "model.safetensors"))
    (prefix,) = {name.split(".")[0] for name in tensors} - {"classifier"}
    model = CrossEncoder(config)
    own = {}

    def convolution(target, source):
        own[f"{target}.weight"] = tensors[f"{source}.weight"][:, :, None, None]
        own[f"{target}.bias"] = tensors[f"{source}.bias"]

    def norm(target, source):
        own[f"{target}.weight"] = tensors[f"{source}.weight"]
        own[f"{target}.bias"] = tensors[f"{source}.bias"] / tensors[f"{source}.weight"]

    embeddings = f"{prefix}.embeddings"
    own["words.weight"] = tensors[f"{embeddings}.word_embeddings.weight"]
    own["positions.weight"] = tensors[f"{embeddings}.position_embeddings.weight"]
    own["segment"] = tensors[f"{embeddings}.token_type_embeddings.weight"][0]
    norm("norm", f"{embeddings}.LayerNorm")
    for index in range(config["num_hidden_layers"]):
        source = f"{prefix}.encoder.layer.{index}"
        for name in ("query", "key", "value"):
            convolution(f"layers.{index}.attention.{name}", f"{source}.attention.self.{name}")
        convolution(f"layers.{index}.attention.output", f"{source}.attention.output.dense")
        norm(f"layers.{index}.attention_norm", f"{source}.attention.output.LayerNorm")
        convolution(f"layers.{index}.up", f"{source}.intermediate.dense")
        convolution(f"layers.{index}.down", f"{source}.output.dense")
        norm(f"layers.{index}.norm", f"{source}.output.LayerNorm")
    convolution("dense", "classifier.dense")
    convolution("out", "classifier.out_proj")
    model.load_state_dict(own)
    return model.eval()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--lengths", default="128,256,512")
    parser.add_argument("--precision", choices=("fp16", "fp32"), default="fp16")
    arguments = parser.parse_args()
    lengths = [int(length) for length in arguments.lengths.split(",")]
    model = load(arguments.folder)
    shape = (arguments.batch, 1, 1, lengths[0])
    example = (torch.full(shape, 5, dtype=torch.int32), torch.ones(shape, dtype=torch.int32))
    traced = torch.jit.trace(model, example)
    shapes = [(arguments.batch, 1, 1, length) for length in lengths]
    enumerated = lambda: coremltools.EnumeratedShapes(shapes=shapes, default=shapes[0])
    precision = {"fp16": coremltools.precision.FLOAT16, "fp32": coremltools.precision.FLOAT32}
    # It casts input_ids to int16, which most ids of a vocabulary of 250,002 do not fit.
    pipeline = coremltools.PassPipeline.DEFAULT
    pipeline.remove_passes({"common::add_int16_cast"})
    converted = coremltools.convert(
        traced,
        inputs=[
            coremltools.TensorType(name="input_ids", shape=enumerated(), dtype=numpy.int32),
            coremltools.TensorType(name="attention_mask", shape=enumerated(), dtype=numpy.int32),
        ],
        outputs=[coremltools.TensorType(name="logit", dtype=numpy.float32)],
        compute_precision=precision[arguments.precision],
        minimum_deployment_target=coremltools.target.macOS15,
        convert_to="mlprogram",
        pass_pipeline=pipeline,
        skip_model_load=True,
    )
    converted.save(str(arguments.output))


if __name__ == "__main__":
    main()
