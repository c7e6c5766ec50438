"""What `tokenizers` gives for texts of many scripts with the real tokenizers of make.py; check.mjs compares.

    $CROSSRANK_LAB/real/venv/bin/python lab/real/token_ids.py      # needs tokenizers, see lab/real/requirements.txt

Texts are those of lab/fixtures: hard strings and sentences. Lone surrogates become U+FFFD, as crossrank reads them.
Special tokens are not added.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import tokenizers

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "fixtures"))
import hard_strings  # noqa: E402

LAB = Path(os.environ.get("CROSSRANK_LAB") or Path.home() / ".cache/crossrank-lab") / "real"
FOLDERS = (
    *(f"tokenizers/{name}" for name in ("xlm-r", "qwen3", "gemma3", "llama3")),
    *("ms-marco-MiniLM-L-12-v2", "all-MiniLM-L6-v2", "bge-small-en", "bge-small-en-v1.5"),
)


def texts() -> list[str]:
    lists = [value for name, value in vars(hard_strings).items() if name.isupper() and isinstance(value, list)]
    hard = [text for strings in lists for text in strings if isinstance(text, str)]
    sentences = (Path(hard_strings.__file__).parent / "sentences.txt").read_text(encoding="utf-8").splitlines()
    whole = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in [*hard, *sentences]]
    return list(dict.fromkeys(text for text in whole if text != ""))


def main() -> None:
    given = texts()
    expected = {}
    for folder in FOLDERS:
        path = LAB / folder / "tokenizer.json"
        if not path.exists():
            continue
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        expected[folder] = [encoding.ids for encoding in tokenizer.encode_batch(given, add_special_tokens=False)]
        print(f"{folder}: {sum(map(len, expected[folder]))} tokens of {len(given)} texts")
    output = LAB / "reports" / "tokenizers.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"tokenizers": tokenizers.__version__, "texts": given, "expected": expected}))


if __name__ == "__main__":
    main()
