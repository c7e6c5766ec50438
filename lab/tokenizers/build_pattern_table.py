"""Writes packages/core/test/parity/fixtures/patterns.json: what Rust's tokenizers make of regular expressions.

    python lab/tokenizers/build_pattern_table.py        needs PyPI's tokenizers 0.23.3

Each expression is run twice over every text: as a Split (isolated), whose pieces show where matches begin and end, and
as a Replace, whose result shows what matched, empty matches as well. A digest of both is kept for each text.
"""

import base64
import hashlib
import json
from pathlib import Path

import tokenizers
from patterns import CONSTRUCTS, PUBLISHED, TEXTS
from tokenizers import Regex, normalizers, pre_tokenizers

OUT = Path(__file__).resolve().parents[2] / "packages/core/test/parity/fixtures/patterns.json"
MARK = "\U0010fffd"


def joined(pieces: list[str]) -> str:
    return "".join(f"{len(piece)}:{piece}" for piece in pieces)


def row(name: str | None, source: str) -> dict[str, object]:
    about = {"source": source, **({"needed": name} if name else {})}
    try:
        regex = Regex(source)
    except Exception as error:
        return {**about, "error": str(error)}
    replace = normalizers.Replace(regex, MARK)
    split = pre_tokenizers.Split(regex, "isolated")
    digests = b""
    for text in TEXTS:
        pieces = [piece for piece, _ in split.pre_tokenize_str(text)] if text else []
        content = joined([*pieces, replace.normalize_str(text)])
        digests += hashlib.sha256(content.encode()).digest()[:6]
    return {**about, "digests": base64.b64encode(digests).decode()}


rows = [row(name, source) for name, source in PUBLISHED] + [row(None, source) for source in CONSTRUCTS]
table = {"reference": {"name": "tokenizers", "version": tokenizers.__version__}, "texts": TEXTS, "patterns": rows}
OUT.write_text(json.dumps(table, ensure_ascii=True, indent=0) + "\n")
print(f"{len(rows)} patterns, {sum('error' in r for r in rows)} refused by Rust, {len(TEXTS)} texts")
