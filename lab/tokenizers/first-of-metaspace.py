"""Where Rust's Metaspace with `prepend_scheme: first` sees the start of a text that a normalizer has shortened.

Puts normalizers and pre-tokenizers around the model of the XLM-RoBERTa fixture, and writes the ids of Rust's tokenizers
(made with 0.22.2 and 0.23.3, which agree) to packages/core/test/parity/fixtures/first-of-metaspace.json.

    python lab/tokenizers/first-of-metaspace.py
"""

import itertools
import json
import pathlib

from tokenizers import Tokenizer

root = pathlib.Path(__file__).resolve().parents[2]
source = root / "packages/conformance/fixtures/xlm-roberta-logit/tokenizer.json"
target = root / "packages/core/test/parity/fixtures/first-of-metaspace.json"

strip = {"type": "Strip", "strip_left": True, "strip_right": True}
bert = {
    "type": "BertNormalizer",
    "clean_text": True,
    "handle_chinese_chars": False,
    "strip_accents": False,
    "lowercase": False,
}
normalizers = [
    None,
    strip,
    {"type": "Strip", "strip_left": False, "strip_right": True},
    {"type": "Sequence", "normalizers": [strip, {"type": "NFC"}]},
    {"type": "Sequence", "normalizers": [{"type": "NFC"}, strip, {"type": "Lowercase"}]},
    bert,
    {"type": "Sequence", "normalizers": [bert, strip]},
    {"type": "StripAccents"},
    {"type": "Nmt"},
    {"type": "Replace", "pattern": {"String": " "}, "content": ""},
    {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
]
metaspaces = [
    {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": split}
    for split in (True, False)
]
pre_tokenizers = [
    *metaspaces,
    {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspaces[0]]},
    {"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Isolated"}, metaspaces[0]]},
]
texts = [
    "the bear",
    " the bear",
    "\nthe bear",
    "  the  bear ",
    "\u0000the bear",
    "\u0301the bear",
    "\u200bthe bear",
    "\u00a0the bear",
    "\u3000the bear",
    "\u2581the bear",
    "the\u0301 bear",
    ".the bear",
    " . the bear",
    "",
    " ",
    "\ta",
]


def main() -> None:
    json_source = json.loads(source.read_text(encoding="utf8"))
    cases = []
    for normalizer, pre_tokenizer in itertools.product(normalizers, pre_tokenizers):
        change = {"normalizer": normalizer, "pre_tokenizer": pre_tokenizer}
        tokenizer = Tokenizer.from_str(json.dumps({**json_source, **change}))
        ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
        cases.append({**change, "ids": ids})
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in cases)
    head = json.dumps({"about": "lab/tokenizers/first-of-metaspace.py", "texts": texts}, ensure_ascii=False)
    target.write_text(head[:-1] + ',"cases":[\n' + lines + "\n]}\n", encoding="utf8")
    print(f"{len(cases)} tokenizers, {len(texts)} texts each")


if __name__ == "__main__":
    main()
