"""What each part of int8 costs in accuracy: logits with parts quantised against those of float32.

python lab/int8/simulate.py <folder of the model> <pairs.json> [name ...]
"""

import json
import os
import statistics
import sys
import time

import torch

from model import Bert

torch.set_num_threads(1)
torch.set_grad_enabled(False)


def channel(weight, products=False):
    """Symmetric, a scale an output; `products`: neighbours do not add up to more than 128."""
    peak = weight.abs().amax(1, keepdim=True)
    if products:
        a, b = weight[:, ::2], weight[:, 1::2]
        same = (a > 0) == (b > 0)
        peak = torch.maximum(peak, torch.where(same, (a + b).abs(), torch.zeros(())).amax(1, keepdim=True))
    scale = peak.clamp(min=1e-8) / 127
    return (weight / scale).round().clamp(-127, 127) * scale


def searched(weight):
    """Of several scales an output that which costs least; neighbours beyond 128 are cut to it."""
    peak = weight.abs().amax(1, keepdim=True).clamp(min=1e-8)
    best = None
    for share in (1, 0.97, 1.04, 1.08, 1.12, 1.17, 1.22, 1.28, 1.35, 1.45, 1.55, 1.7, 1.85, 2):
        scale = peak * share / 127
        whole = (weight / scale).round().clamp(-127, 127)
        a, b = whole[:, ::2], whole[:, 1::2]
        over = torch.where((a > 0) == (b > 0), ((a + b).abs() - 128).clamp(min=0), torch.zeros(()))
        half = (over / 2).ceil()
        a, b = a - a.sign() * half, b - b.sign() * (over - half)
        made = torch.stack((a, b), 2).view_as(weight) * scale
        cost = ((made - weight) ** 2).sum(1, keepdim=True)
        if best is None:
            best, least = made, cost
        else:
            best, least = torch.where(cost < least, made, best), torch.minimum(cost, least)
    return best


def block(weight, size):
    parts = weight.view(weight.shape[0], -1, size)
    scale = parts.abs().amax(2, keepdim=True).clamp(min=1e-8) / 127
    return ((parts / scale).round().clamp(-127, 127) * scale).view_as(weight)


def asymmetric(x, low, high):
    low, high = low.clamp(max=0), high.clamp(min=0)
    scale = ((high - low) / 255).clamp(min=1e-12)
    zero = (-low / scale).round().clamp(0, 255)
    return ((x / scale).round() + zero).clamp(0, 255).sub(zero) * scale


def tensor_u8(x):
    return asymmetric(x, x.amin(), x.amax())


def row_u8(x):
    return asymmetric(x, x.amin(1, keepdim=True), x.amax(1, keepdim=True))


def row_s8(x):
    scale = x.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
    return (x / scale).round() * scale


def gelu_rows(x):
    """u8 with the zero point 16: nothing lies below -0.17."""
    scale = (x.amax(1, keepdim=True) / 239).clamp(min=0.17 / 16)
    return ((x / scale).round() + 16).clamp(0, 255).sub(16) * scale


def by_site(**chosen):
    return lambda site: chosen.get(site, tensor_u8)


def block_s8(size):
    def quantise(x):
        parts = x.view(x.shape[0], -1, size)
        scale = parts.abs().amax(2, keepdim=True).clamp(min=1e-12) / 127
        return ((parts / scale).round() * scale).view_as(x)

    return quantise


def same(x):
    return x


def guessed(bert, layer, site, width):
    """Largest magnitude of each input of a product, by the weights alone: a norm's output is bias ± 3 · weight."""
    t = bert.tensors
    at = f"encoder.layer.{layer}"
    before = "embeddings.LayerNorm" if layer == 0 else f"encoder.layer.{layer - 1}.output.LayerNorm"
    norm = before if site in ("qkv", "out") else f"{at}.attention.output.LayerNorm"
    gamma, beta = t[f"{norm}.weight"], t[f"{norm}.bias"]
    if site in ("qkv", "up"):
        return beta.abs() + width * gamma.abs()
    name = f"{at}.attention.self.value" if site == "out" else f"{at}.intermediate.dense"
    weight, bias = bert.weight(name)
    middle = weight @ beta + bias
    spread = ((weight * gamma) ** 2).sum(1).sqrt()
    if site == "out":
        return middle.abs() + width * spread
    return (middle + width * spread).clamp(min=0.17)


class Variant:
    def __init__(self, bert, sites, act=tensor_u8, weight=lambda w: channel(w, True), smooth=None, table=True):
        self.bert, self.sites, self.act, self.weight, self.smooth, self.table = bert, sites, act, weight, smooth, table
        self.made = {}

    def prepared(self, layer, site, names):
        key = (layer, site)
        if key not in self.made:
            weights = [self.bert.weight(name)[0] for name in names]
            biases = [self.bert.weight(name)[1] for name in names]
            weight, bias = torch.cat(weights), torch.cat(biases)
            scale = None
            if self.sites(layer, site):
                if self.smooth is not None:
                    scale = self.smooth(layer, site, weight)
                if scale is not None:
                    weight = weight * scale
                weight = self.weight(weight)
            self.made[key] = (weight, bias, scale)
        return self.made[key]

    def product(self, layer, site, x, names):
        weight, bias, scale = self.prepared(layer, site, names)
        if self.sites(layer, site):
            act = self.act(site) if self.act.__name__ == "<lambda>" else self.act
            x = act(x if scale is None else x / scale)
        return x @ weight.T + bias

    def rows(self, table, name):
        return self.quantised if self.table else table

    def logits(self, pairs):
        self.quantised = channel(self.bert.tensors["embeddings.word_embeddings.weight"]) if self.table else None
        return [
            self.bert.run(torch.tensor(p["ids"]), torch.tensor(p["segments"]), self.product, self.rows) for p in pairs
        ]


def smoothing(bert, alpha, peaks=None, width=3.0, at=("qkv", "out", "up", "down")):
    """Scales s of the inputs, x / s and W · s: peak^alpha / weight^(1 - alpha), their geometric mean 1."""

    def scales(layer, site, weight):
        if site not in at:
            return None
        peak = guessed(bert, layer, site, width) if peaks is None else peaks[(layer, site)]
        largest = weight.abs().amax(0).clamp(min=1e-5)
        scale = peak.clamp(min=1e-5) ** alpha / largest ** (1 - alpha)
        return scale / scale.log().mean().exp()

    return scales


def measured_peaks(bert, pairs):
    peaks = {}

    def product(layer, site, x, names):
        key = (layer, site)
        peak = x.abs().amax(0)
        peaks[key] = torch.maximum(peaks[key], peak) if key in peaks else peak
        weight = torch.cat([bert.weight(name)[0] for name in names])
        return x @ weight.T + torch.cat([bert.weight(name)[1] for name in names])

    for p in pairs:
        bert.run(torch.tensor(p["ids"]), torch.tensor(p["segments"]), product)
    return peaks


def variants(bert, pairs):
    every = lambda layer, site: True
    never = lambda layer, site: False
    yield "table only", lambda: Variant(bert, never)
    yield "weights only", lambda: Variant(bert, every, act=same, table=False)
    yield "weights only, pairs not bounded", lambda: Variant(bert, every, act=same, weight=channel, table=False)
    yield "activations only", lambda: Variant(bert, every, weight=same, table=False)
    yield "today", lambda: Variant(bert, every)
    for site in ("qkv", "out", "up", "down"):
        yield f"activations only, {site}", lambda site=site: Variant(
            bert, lambda l, s: s == site, weight=same, table=False
        )
    yield "rows u8", lambda: Variant(bert, every, act=row_u8)
    yield "rows s8", lambda: Variant(bert, every, act=row_s8)
    yield "rows u8, pairs not bounded", lambda: Variant(bert, every, act=row_u8, weight=channel)
    yield "blocks of 32", lambda: Variant(bert, every, act=block_s8(32), weight=lambda w: block(w, 32))
    yield "blocks of 128", lambda: Variant(bert, every, act=block_s8(128), weight=lambda w: block(w, 128))
    for alpha in (0.35, 0.5, 0.65, 0.8):
        yield f"guessed scales {alpha}", lambda alpha=alpha: Variant(bert, every, smooth=smoothing(bert, alpha))
    yield "down by rows", lambda: Variant(bert, every, act=by_site(down=gelu_rows))
    yield "up and down by rows", lambda: Variant(bert, every, act=by_site(down=gelu_rows, up=row_s8))
    most = by_site(down=gelu_rows, up=row_s8, qkv=row_s8)
    yield "qkv, up and down by rows", lambda: Variant(bert, every, act=most)
    rows = by_site(down=gelu_rows, up=row_s8, qkv=row_s8, out=row_s8)
    yield "all by rows", lambda: Variant(bert, every, act=rows)
    yield "all by rows, searched weights", lambda: Variant(bert, every, act=rows, weight=searched)
    yield "all by rows, pairs not bounded", lambda: Variant(bert, every, act=rows, weight=channel)
    yield "today, searched weights", lambda: Variant(bert, every, weight=searched)
    peaks = []

    def known():
        if not peaks:
            peaks.append(measured_peaks(bert, pairs[::8]))
        return peaks[0]

    norms = ("qkv", "up", "out")
    yield "down by rows, searched, measured scales 0.65 elsewhere", lambda: Variant(
        bert, every, act=by_site(down=gelu_rows), weight=searched, smooth=smoothing(bert, 0.65, known(), at=norms)
    )
    yield "all by rows, searched, measured scales 0.65", lambda: Variant(
        bert, every, act=rows, weight=searched, smooth=smoothing(bert, 0.65, known(), at=norms)
    )
    for alpha in (0.5, 0.65, 0.8):
        yield f"measured scales {alpha}", lambda alpha=alpha: Variant(
            bert, every, smooth=smoothing(bert, alpha, known())
        )


def main():
    folder, file, *names = sys.argv[1:]
    bert = Bert(folder)
    step = int(os.environ.get("EVERY", "1"))
    pairs = json.loads(open(file).read())[::step]
    plain = Variant(bert, lambda layer, site: False, table=False).logits(pairs)
    print("| variant | median | mean | 90 % | largest |\n|---|---:|---:|---:|---:|")
    for name, make in variants(bert, pairs):
        if names and not any(part in name for part in names):
            continue
        start = time.process_time()
        errors = sorted(abs(a - b) for a, b in zip(make().logits(pairs), plain, strict=True))
        taken = time.process_time() - start
        print(
            f"| {name} | {statistics.median(errors):.4f} | {statistics.fmean(errors):.4f} "
            f"| {errors[len(errors) * 9 // 10]:.4f} | {errors[-1]:.4f} |",
            flush=True,
        )
        print(f"{taken:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
