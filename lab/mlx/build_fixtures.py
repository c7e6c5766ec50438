"""A folder as mlx-lm publishes it, and what mlx-lm computes from it.

    pip install -r lab/mlx/requirements.txt
    python lab/mlx/build_fixtures.py

Quantises the conformance fixture qwen3-yes-no with mlx-lm's own converter: to 4 bits, to 8, and to 4 with some layers of
6 bits. Writes config.json and model.safetensors of each to packages/backend-mlx/test/fixtures, with golden.json: the
logits of the two answer tokens that mlx-lm gives for some of the fixture's golden sequences, in float32.
"""

import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
from mlx_lm import convert, load

root = Path(__file__).parents[2]
source = root / "packages/conformance/fixtures/qwen3-yes-no"
target = root / "packages/backend-mlx/test/fixtures"
answers = [383, 357]
every = json.loads((source / "golden.json").read_text())["cases"]
cases = [case for case in every if case["expected"]["document-only"].get("ids")][:6]


def some_of_six_bits(path, module):
    """As mlx-lm's recipes of mixed bits do: a layer's own settings stand in config.json under its name."""
    if not hasattr(module, "to_quantized"):
        return False
    return {"group_size": 32, "bits": 6 if "down_proj" in path or "v_proj" in path else 4, "mode": "affine"}


for name, options in {
    "qwen3-4bit": {"q_bits": 4},
    "qwen3-8bit": {"q_bits": 8},
    "qwen3-mixed": {"q_bits": 4, "quant_predicate": some_of_six_bits},
}.items():
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / name
        convert(str(source), mlx_path=str(folder), quantize=True, q_group_size=32, **options)
        model, _ = load(str(folder))
        made = target / name
        made.mkdir(parents=True, exist_ok=True)
        for file in ["config.json", "model.safetensors", "model.safetensors.index.json"]:
            shutil.copyfile(folder / file, made / file)
        goldens = []
        for case in cases:
            ids = case["expected"]["document-only"]["ids"]
            logits = model(mx.array([ids]))[0, -1].astype(mx.float32)
            goldens.append({"name": case["name"], "ids": ids, "logits": [logits[token].item() for token in answers]})
        reference = {"mlx": version("mlx"), "mlx-lm": version("mlx-lm")}
        text = json.dumps({"reference": reference, "answers": answers, "cases": goldens})
        (made / "golden.json").write_text(text + "\n")
        print(name, [golden["logits"] for golden in goldens[:2]])
