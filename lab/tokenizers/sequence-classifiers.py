"""Prints the model types that transformers has a classifier of sequences for, and whether it attends causally.

Run with transformers 4.57.6 and with 5.24.0; packages/core/src/profile/pair-encoders.ts holds those that do not. Whether
a model's code builds a causal mask is a hint to read it, and decides nothing: T5 has a decoder beside its encoder.
"""

import inspect
import pathlib

import transformers
from transformers.models.auto.configuration_auto import model_type_to_module_name
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES as classes

root = pathlib.Path(inspect.getfile(transformers)).parent / "models"

print(transformers.__version__)
for model_type, name in classes.items():
    module = model_type_to_module_name(model_type)
    sources = list((root / module).glob("modeling_*.py"))
    text = "".join(path.read_text() for path in sources)
    causal = any(sign in text for sign in ("create_causal_mask", "_update_causal_mask", "ForCausalLM"))
    print(model_type, name, "causal" if causal else "both ways", sep="\t")
