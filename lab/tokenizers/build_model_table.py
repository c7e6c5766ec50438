"""Writes packages/core/test/parity/fixtures/models.json: what Rust's tokenizers make of malformed tokenizer.json files.

    python lab/tokenizers/build_model_table.py        needs PyPI's tokenizers 0.23.3

Each variant changes one thing in a small tokenizer. Rust refuses the file, refuses a text, or gives ids; all three are
kept. Files are kept as text, since some hold what is no JSON or no number of JavaScript.
"""

import json
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer

OUT = Path(__file__).resolve().parents[2] / "packages/core/test/parity/fixtures/models.json"
TEXTS = ["", "ab", "abc abd", "a b", "zebra ab", "abx", "日本 ab", "<e> ab", "ab <extra> c"]

WORDS = {"[UNK]": 0, "[CLS]": 1, "a": 2, "b": 3, "ab": 4, "##b": 5, "##c": 6, "##d": 7, "c": 8, "abc": 9}
SYMBOLS = {"[UNK]": 0, "a": 1, "b": 2, "c": 3, "d": 4, "ab": 5, "abc": 6, "x": 7}
PIECES = [["<unk>", 0.0], ["a", -2.0], ["b", -2.5], ["ab", -3.0], ["c", -3.5], ["abc", -4.0], ["d", -5.0]]
MODELS = {
    "WordPiece": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": WORDS},
    "BPE": {"type": "BPE", "dropout": None, "unk_token": "[UNK]", "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": SYMBOLS, "merges": [["a", "b"], ["ab", "c"]]},
    "Unigram": {"type": "Unigram", "unk_id": 0, "vocab": PIECES, "byte_fallback": False},
    "WordLevel": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "a": 1, "b": 2, "ab": 3, "abc": 4}},
}


def file(model: object, **others: object) -> str:
    base = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": None, "decoder": None, "model": model}
    return json.dumps({**base, **others})


def token(**changes: object) -> dict[str, object]:
    return {"id": 8, "content": "<extra>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False, **changes}


class Raw(str):
    """Stands in a file as it is."""


MARK = "@@raw@@"


def variant(kind: str, path: list[object], value: object) -> str:
    data = json.loads(file(MODELS[kind]))
    place = data["model"]
    for key in path[:-1]:
        place = place[key]
    if value is ...:
        del place[path[-1]]
    elif path[-1] == "+":
        place.append(value)
    else:
        place[path[-1]] = MARK if isinstance(value, Raw) else value
    return json.dumps(data).replace(f'"{MARK}"', value if isinstance(value, Raw) else "")


IDS = [None, -1, 0.5, 1.0, "1", True, [], {}, 2**31, 2**32 - 1, 2**32, 2**40, 2**53, 2**64, Raw("1e2"), Raw("-0"), Raw("1e400"), Raw("NaN"), 500, 3]
NUMBERS = [None, -1, 0.5, 1.0, "1", True, 2**32, 2**64, Raw("1e400"), Raw("NaN"), 0, 1, 2]
STRINGS = [None, 1, True, [], {}, "", "nope", "a", "ab"]
SWITCHES = [None, 1, "true", [], True]
SCORES = [None, "-1", True, Raw("1e400"), Raw("-1e400"), Raw("NaN"), Raw("1e308"), Raw("-1e308"), 0, -3, 5.5, [], {}]

variants: list[tuple[str, str]] = [(f"{kind} as it should be", file(model)) for kind, model in MODELS.items()]
for kind in ["WordPiece", "BPE", "WordLevel"]:
    for value in IDS:
        variants.append((f"{kind}: an id {value!r}", variant(kind, ["vocab", "ab"], value)))
    for value in [None, [], "a", 1, {}, [["a", 1]], ...]:
        variants.append((f"{kind}: vocab {value!r}", variant(kind, ["vocab"], value)))
    for value in [*STRINGS, ...]:
        variants.append((f"{kind}: unk_token {value!r}", variant(kind, ["unk_token"], value)))
    for value in ["BPE", "WordPiece", "Unigram", "WordLevel", "Other", None, 1, ...]:
        variants.append((f"{kind}: type {value!r}", variant(kind, ["type"], value)))
for value in [*NUMBERS, ...]:
    variants.append((f"WordPiece: max_input_chars_per_word {value!r}", variant("WordPiece", ["max_input_chars_per_word"], value)))
for value in [*STRINGS, "#", ...]:
    variants.append((f"WordPiece: continuing_subword_prefix {value!r}", variant("WordPiece", ["continuing_subword_prefix"], value)))
for name in ["continuing_subword_prefix", "end_of_word_suffix"]:
    for value in [*STRINGS, "##", "</w>", ...]:
        variants.append((f"BPE: {name} {value!r}", variant("BPE", [name], value)))
for name in ["fuse_unk", "byte_fallback", "ignore_merges"]:
    for value in [*SWITCHES, ...]:
        variants.append((f"BPE: {name} {value!r}", variant("BPE", [name], value)))
for value in [*NUMBERS, ...]:
    variants.append((f"BPE: dropout {value!r}", variant("BPE", ["dropout"], value)))
for value in [None, [], {}, "a b", ["a b"], [["a"]], [["a", "b", "c"]], [["a", 1]], [[]], [None], [1], ["ab"], ["a  b"], [" a b"], ["a b "], ["a b c"], [""], [" "], [["a", "z"]], [["z", "a"]], [["b", "c"]], [["a", "b"], ["a", "b"]], [["a", "b"], "ab c"], ["a b", ["ab", "c"]], [["", "a"]], [["a", ""]], ["#version: 0.2", "a b"], ...]:
    variants.append((f"BPE: merges {value!r}", variant("BPE", ["merges"], value)))
for value in SCORES:
    variants.append((f"Unigram: a score {value!r}", variant("Unigram", ["vocab", 3, 1], value)))
for value in [None, 1, True, "", "a", "<unk>", [], "zz"]:
    variants.append((f"Unigram: a piece {value!r}", variant("Unigram", ["vocab", 3, 0], value)))
for value in [None, [], {}, "a", [["a"]], [["a", 1, 2]], [[]], [None], ["a"], {"a": 1}, {"<unk>": 0, "a": 1}, [["<unk>", 0]], ...]:
    variants.append((f"Unigram: vocab {value!r}", variant("Unigram", ["vocab"], value)))
for value in [*NUMBERS, 6, 7, 100, -7, ...]:
    variants.append((f"Unigram: unk_id {value!r}", variant("Unigram", ["unk_id"], value)))
for value in [*SWITCHES, ...]:
    variants.append((f"Unigram: byte_fallback {value!r}", variant("Unigram", ["byte_fallback"], value)))
for value in ["BPE", "WordPiece", "WordLevel", "Other", None, 1, ...]:
    variants.append((f"Unigram: type {value!r}", variant("Unigram", ["type"], value)))
for value in [None, [], {}, "BPE", 1, True, [1]]:
    variants.append((f"model {value!r}", file(value)))
for value in [*IDS, 10, 11, 20]:
    name = f"an added token's id {value!r}"
    text = file(MODELS["BPE"], added_tokens=[token(id=MARK if isinstance(value, Raw) else value)])
    variants.append((name, text.replace(f'"{MARK}"', value if isinstance(value, Raw) else "")))
for value in [None, 1, True, "", "a", "ab", [], "<e>", "z" * 3000]:
    variants.append((f"an added token's content {str(value)[:20]!r}", file(MODELS["BPE"], added_tokens=[token(content=value)])))
for name in ["single_word", "lstrip", "rstrip", "normalized", "special"]:
    for value in [None, 1, "true", True]:
        variants.append((f"an added token's {name} {value!r}", file(MODELS["BPE"], added_tokens=[token(**{name: value})])))
    left = token()
    del left[name]
    variants.append((f"an added token without {name}", file(MODELS["BPE"], added_tokens=[left])))
for value in [None, {}, "a", 1, [1], [None], [[]], [{}], [token(), token()], [token(id=8), token(id=9, content="<e>")], [token(id=8), token(id=8, content="<e>")], [token(id=9), token(id=8, content="<e>")], [token(id=5, content="ab")]]:
    variants.append((f"added_tokens {str(value)[:60]}", file(MODELS["BPE"], added_tokens=value)))
variants.append(("twice the same token in vocab", file(MODELS["BPE"]).replace('"ab": 5', '"ab": 5, "ab": 4')))
variants.append(("two tokens of one id in WordPiece", variant("WordPiece", ["vocab", "zebra"], 4)))
variants.append(("two tokens of one id in BPE", variant("BPE", ["vocab", "zebra"], 5)))
variants.append(("two pieces of one spelling", variant("Unigram", ["vocab", "+"], ["ab", -1.0])))
variants.append(("a token named __proto__", file({**MODELS["WordLevel"], "vocab": {"[UNK]": 0, "__proto__": 1, "ab": 2}})))
variants.append(("a token named constructor", file({**MODELS["WordPiece"], "vocab": {"[UNK]": 0, "constructor": 1, "ab": 2}})))
variants.append(("unk_token is constructor", file({**MODELS["WordLevel"], "unk_token": "constructor"})))
variants.append(("unk_token is __proto__", file({**MODELS["WordPiece"], "unk_token": "__proto__"})))
variants.append(("no model", json.dumps({"version": "1.0", "added_tokens": []})))


def outcome(name: str, text: str) -> dict[str, object]:
    row: dict[str, object] = {"name": name, "file": text}
    try:
        tokenizer = Tokenizer.from_str(text)
    except BaseException as error:
        return {**row, "error": str(error)[:120]}
    ids: list[object] = []
    for content in TEXTS:
        try:
            ids.append(tokenizer.encode(content, add_special_tokens=False).ids)
        except BaseException as error:
            ids.append(str(error)[:80])
    return {**row, "ids": ids}


rows = [outcome(name, text) for name, text in variants]
table = {"reference": {"name": "tokenizers", "version": tokenizers.__version__}, "texts": TEXTS, "variants": rows}
OUT.write_text(json.dumps(table, ensure_ascii=True, indent=0) + "\n")
print(f"{len(rows)} variants, {sum('error' in row for row in rows)} refused by Rust")
