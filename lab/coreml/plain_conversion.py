"""A transformers classifier converted as any user of coremltools would: traced as it is, without a layout for the ANE.

    plain_conversion.py MODEL_FOLDER OUTPUT.mlpackage [--batch 20] [--length 64] [--precision fp16] [--attention eager]

Writes rank 2 inputs input_ids, attention_mask and, where the model has segments, token_type_ids, of one fixed shape.
Needs coremltools, torch, numpy and transformers (requirements.txt of this folder).
"""

import argparse
import pathlib

import coremltools
import numpy
import torch
from transformers import AutoModelForSequenceClassification


class Classifier(torch.nn.Module):
    def __init__(self, model, names):
        super().__init__()
        self.model = model
        self.names = names

    def forward(self, *inputs):
        return self.model(**dict(zip(self.names, inputs)), return_dict=False)[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("output", type=pathlib.Path)
    parser.add_argument("--batch", type=int, default=20)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--precision", choices=("fp16", "fp32"), default="fp16")
    parser.add_argument("--attention", choices=("eager", "sdpa"), default="eager")
    arguments = parser.parse_args()
    model = AutoModelForSequenceClassification.from_pretrained(
        arguments.folder, attn_implementation=arguments.attention
    ).eval()
    names = ["input_ids", "attention_mask"]
    if model.config.type_vocab_size > 1:
        names.append("token_type_ids")
    shape = (arguments.batch, arguments.length)
    example = tuple(torch.ones(shape, dtype=torch.int32) for _ in names)
    with torch.no_grad():
        traced = torch.jit.trace(Classifier(model, names), example)
    precision = {"fp16": coremltools.precision.FLOAT16, "fp32": coremltools.precision.FLOAT32}
    converted = coremltools.convert(
        traced,
        inputs=[coremltools.TensorType(name=name, shape=shape, dtype=numpy.int32) for name in names],
        outputs=[coremltools.TensorType(name="logit", dtype=numpy.float32)],
        compute_precision=precision[arguments.precision],
        minimum_deployment_target=coremltools.target.macOS15,
        convert_to="mlprogram",
        skip_model_load=True,
    )
    converted.save(str(arguments.output))


if __name__ == "__main__":
    main()
