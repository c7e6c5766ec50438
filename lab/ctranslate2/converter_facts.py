"""What CTranslate2's own converter writes for the fixtures: the sha256 of each file, as JSON.

packages/convert/test/ctranslate2.test.ts holds the files of `crossrank convert --to ctranslate2` against them.

    python lab/ctranslate2/converter_facts.py > packages/convert/test/fixtures/ctranslate2-converter.json

Needs ctranslate2 4.8.4, transformers 4.57.6 and torch.
"""

import hashlib
import json
import pathlib
import tempfile

import ctranslate2
import transformers
from ctranslate2.converters.transformers import TransformersConverter

fixtures = pathlib.Path(__file__).parents[2] / "packages/conformance/fixtures"
precisions = {"fp32": None, "fp16": "float16", "int8": "int8"}

# Not roberta-logit: the converter takes RobertaModel, whose pooler the checkpoint does not have, and writes random numbers.
models = {}
with tempfile.TemporaryDirectory() as folder:
    for name in ["bert-logit", "bert-two-class", "xlm-roberta-logit"]:
        for dtype, quantization in precisions.items():
            output = pathlib.Path(folder, name, dtype)
            TransformersConverter(str(fixtures / name)).convert(str(output), quantization=quantization)
            models.setdefault(name, {})[dtype] = {
                path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(output.iterdir())
            }
versions = {"ctranslate2": ctranslate2.__version__, "transformers": transformers.__version__}
print(json.dumps({"versions": versions, "models": models}, indent=2))
