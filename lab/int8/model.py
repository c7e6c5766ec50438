"""A BERT cross-encoder in torch, one unpadded pair at a time, whose linear layers can be replaced by name."""

import json
import math
from pathlib import Path

import numpy
import torch


def read_safetensors(path):
    data = numpy.memmap(path, dtype=numpy.uint8, mode="r")
    size = int(data[:8].view(numpy.uint64)[0])
    header = json.loads(bytes(data[8 : 8 + size]))
    tensors = {}
    for name, fact in header.items():
        if name == "__metadata__":
            continue
        start, end = fact["data_offsets"]
        if fact["dtype"] == "F32":
            numbers = numpy.array(data[8 + size + start : 8 + size + end]).view(numpy.float32)
            tensors[name.removeprefix("bert.")] = torch.from_numpy(numbers.reshape(fact["shape"]))
    return tensors


class Bert:
    def __init__(self, folder):
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.tensors = read_safetensors(Path(folder) / "model.safetensors")
        self.layers = self.config["num_hidden_layers"]
        self.heads = self.config["num_attention_heads"]

    def weight(self, name):
        return self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias")

    def norm(self, x, name):
        weight, bias = self.weight(name)
        return torch.nn.functional.layer_norm(x, (x.shape[-1],), weight, bias, self.config["layer_norm_eps"])

    def sites(self, layer):
        """Name of each product's input -> its linear layers."""
        at = f"encoder.layer.{layer}"
        return {
            "qkv": [f"{at}.attention.self.{name}" for name in ("query", "key", "value")],
            "out": [f"{at}.attention.output.dense"],
            "up": [f"{at}.intermediate.dense"],
            "down": [f"{at}.output.dense"],
        }

    def run(self, ids, segments, product, rows=lambda table, name: table):
        """product(layer, site, x, names) -> outputs of all layers of that site, side by side."""
        table = rows(self.tensors["embeddings.word_embeddings.weight"], "word")
        x = table[ids] + self.tensors["embeddings.position_embeddings.weight"][: len(ids)]
        x = self.norm(x + self.tensors["embeddings.token_type_embeddings.weight"][segments], "embeddings.LayerNorm")
        width = x.shape[-1]
        size = width // self.heads
        for layer in range(self.layers):
            at = f"encoder.layer.{layer}"
            sites = self.sites(layer)
            q, k, v = product(layer, "qkv", x, sites["qkv"]).split(width, -1)
            q, k, v = (part.view(-1, self.heads, size).transpose(0, 1) for part in (q, k, v))
            last = layer == self.layers - 1
            if last:
                q = q[:, :1]
                x = x[:1]
            shares = torch.softmax(q @ k.transpose(1, 2) / math.sqrt(size), -1)
            mixed = (shares @ v).transpose(0, 1).reshape(-1, width)
            x = self.norm(product(layer, "out", mixed, sites["out"]) + x, f"{at}.attention.output.LayerNorm")
            inner = torch.nn.functional.gelu(product(layer, "up", x, sites["up"]))
            x = self.norm(product(layer, "down", inner, sites["down"]) + x, f"{at}.output.LayerNorm")
        weight, bias = self.weight("pooler.dense")
        pooled = torch.tanh(x[0] @ weight.T + bias)
        weight, bias = self.weight("classifier")
        return float((pooled @ weight.T + bias)[0])
