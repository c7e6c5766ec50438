"""What transformers makes of a tokenizer.json beside a tokenizer_config.json that says something else.

Sets normalizer and pre-tokenizer of two fixture tokenizers and the settings of tokenizer_config.json against each other,
reads them with two versions of transformers, and writes the cases on whose ids these agree to
packages/core/test/parity/fixtures/tokenizer-settings.json.

    python lab/tokenizers/tokenizer-settings.py PYTHON_WITH_TRANSFORMERS_4 PYTHON_WITH_TRANSFORMERS_5

Made with 4.57.6 and 5.24.0.
"""

import itertools
import json
import pathlib
import random
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parents[2]
fixtures = root / "packages/conformance/fixtures"
target = root / "packages/core/test/parity/fixtures/tokenizer-settings.json"
texts = ["Zürich liegt am See. Où est", "東京は日本 中国的 The", "Café ÀÉÎ İ ǆ", "hello world", "  The year", "panda"]


def cases():
    generator = random.Random(3)
    word_pieces = json.loads((fixtures / "bert-logit/tokenizer.json").read_text(encoding="utf8"))
    byte_pairs = json.loads((fixtures / "roberta-logit/tokenizer.json").read_text(encoding="utf8"))
    for model_type, name in [
        ("bert", "BertTokenizer"),
        ("bert", None),
        ("electra", "ElectraTokenizer"),
        ("electra", None),
        ("distilbert", "DistilBertTokenizerFast"),
        ("mobilebert", "MobileBertTokenizer"),
        ("bert", "PreTrainedTokenizerFast"),
        ("xlm-roberta", "BertTokenizerFast"),
    ]:
        for number in range(24):
            normalizer = {
                **word_pieces["normalizer"],
                "lowercase": generator.random() < 0.5,
                "strip_accents": generator.choice([None, True, False]),
                "handle_chinese_chars": generator.random() < 0.7,
            }
            settings = {}
            for key, values in (
                ("do_lower_case", [True, False]),
                ("strip_accents", [None, True, False]),
                ("tokenize_chinese_chars", [True, False]),
            ):
                if generator.random() < 0.6:
                    settings[key] = generator.choice(values)
            if name is not None:
                settings["tokenizer_class"] = name
            change = {"normalizer": normalizer}
            yield model_type, "bert-logit", word_pieces, change, None if number % 8 == 7 else settings
    for model_type, name in [
        ("roberta", "RobertaTokenizer"),
        ("roberta", None),
        ("bart", "BartTokenizerFast"),
        ("gpt2", "GPT2Tokenizer"),
        ("longformer", "LongformerTokenizer"),
        ("roberta", "PreTrainedTokenizerFast"),
    ]:
        for own, stated in itertools.product([True, False], [True, False, "silent", "missing"]):
            change = {"pre_tokenizer": {**byte_pairs["pre_tokenizer"], "add_prefix_space": own}}
            settings = {} if name is None else {"tokenizer_class": name}
            if isinstance(stated, bool):
                settings["add_prefix_space"] = stated
            yield model_type, "roberta-logit", byte_pairs, change, None if stated == "missing" else settings


def encode() -> None:
    """Runs under one version of transformers: folders on standard input, ids on standard output."""
    from transformers import AutoTokenizer

    results = []
    for folder in json.loads(sys.stdin.read()):
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            results.append([tokenizer.encode(text, add_special_tokens=False) for text in texts])
        except Exception as error:
            results.append(f"{type(error).__name__}: {error}")
    print(json.dumps(results))


def main(pythons: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        folders, entries = [], []
        for number, (model_type, source, tokenizer, change, settings) in enumerate(cases()):
            folder = pathlib.Path(place, str(number))
            folder.mkdir()
            (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, **change}))
            (folder / "config.json").write_text(json.dumps({"model_type": model_type}))
            if settings is not None:
                (folder / "tokenizer_config.json").write_text(json.dumps(settings))
            folders.append(str(folder))
            entry = {"modelType": model_type, "source": source, "change": change}
            entries.append(entry if settings is None else {**entry, "settings": settings})
        four, five = (
            json.loads(
                subprocess.run(
                    [python, __file__, "--encode"],
                    input=json.dumps(folders),
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
            )
            for python in pythons
        )
    agreed = [{**entry, "ids": ids} for entry, ids, other in zip(entries, four, five) if ids == other]
    print(f"{len(agreed)} of {len(entries)} cases: both versions give the same ids")
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in agreed)
    head = json.dumps(
        {"about": "lab/tokenizers/tokenizer-settings.py: transformers 4.57.6 and 5.24.0", "texts": texts},
        ensure_ascii=False,
    )
    target.write_text(head[:-1] + ',"cases":[\n' + lines + "\n]}\n", encoding="utf8")


if __name__ == "__main__":
    if sys.argv[1] == "--encode":
        encode()
    else:
        main(sys.argv[1:3])
