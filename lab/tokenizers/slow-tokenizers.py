"""Tokenizers as they were published before tokenizer.json, and the ids that transformers gives for them.

Trains small vocabularies on this repository's own documents, writes them in the older files of each class, reads them
with two versions of transformers, and writes `sources/` and `cases.json` of
packages/formats/test/fixtures/slow-tokenizers. A case on which the two versions differ says so; buildTokenizer has to
refuse it.

    python lab/tokenizers/slow-tokenizers.py PYTHON_WITH_TRANSFORMERS_4 PYTHON_WITH_TRANSFORMERS_5

Both need transformers, sentencepiece and protobuf. Made with 4.57.6 and 5.24.0, sentencepiece 0.2.3.
"""

import io
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parents[2]
target = root / "packages/formats/test/fixtures/slow-tokenizers"
sources = target / "sources"

words = {"vocab.txt": "words.txt"}
pairs = {"vocab.json": "bytes-vocab.json", "merges.txt": "bytes-merges.txt"}


def listed(first, texts, specials):
    """added_tokens_decoder: ids from `first` on."""
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False}
    return {str(first + i): {"content": text, **flags, "special": i < specials} for i, text in enumerate(texts)}


# name: model_type, files of the repository, tokenizer_config.json
cases = {
    "bert": ("bert", words, {"tokenizer_class": "BertTokenizer"}),
    "bert, cased": ("bert", words, {"tokenizer_class": "BertTokenizer", "do_lower_case": False}),
    "bert, accents kept": (
        "bert",
        words,
        {"tokenizer_class": "BertTokenizer", "strip_accents": False, "tokenize_chinese_chars": False},
    ),
    "bert, cased, accents stripped": (
        "bert",
        words,
        {"tokenizer_class": "BertTokenizer", "do_lower_case": False, "strip_accents": True},
    ),
    "bert, no tokenizer_config.json": ("bert", words, None),
    "electra": ("electra", words, {"tokenizer_class": "ElectraTokenizer", "strip_accents": False}),
    "distilbert": ("distilbert", words, {"tokenizer_class": "DistilBertTokenizerFast", "do_lower_case": False}),
    "mpnet": ("mpnet", {"vocab.txt": "words-mpnet.txt"}, {"tokenizer_class": "MPNetTokenizer"}),
    "roberta": ("roberta", pairs, {"tokenizer_class": "RobertaTokenizer"}),
    "roberta, a space before": (
        "roberta",
        pairs,
        {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True},
    ),
    "roberta, no tokenizer_config.json": ("roberta", pairs, None),
    "gpt2": (
        "gpt2",
        pairs,
        {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"},
    ),
    "qwen2": (
        "qwen2",
        pairs,
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "added_tokens_decoder": listed(900, ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>"], 3),
        },
    ),
    "qwen2, ids that do not follow": (
        "qwen2",
        pairs,
        {"tokenizer_class": "Qwen2Tokenizer", "added_tokens_decoder": listed(2000, ["<|endoftext|>"], 1)},
    ),
    "deberta": (
        "deberta",
        pairs,
        {"tokenizer_class": "DebertaTokenizer", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"},
    ),
    "xlm-roberta": (
        "xlm-roberta",
        {"sentencepiece.bpe.model": "unigram.model"},
        {"tokenizer_class": "XLMRobertaTokenizer"},
    ),
    "xlm-roberta, no tokenizer_config.json": ("xlm-roberta", {"sentencepiece.bpe.model": "unigram.model"}, None),
    "xlm-roberta, no character map": (
        "xlm-roberta",
        {"sentencepiece.bpe.model": "unigram-identity.model"},
        {"tokenizer_class": "XLMRobertaTokenizer"},
    ),
    "camembert": (
        "camembert",
        {"sentencepiece.bpe.model": "unigram.model"},
        {"tokenizer_class": "CamembertTokenizer"},
    ),
    "albert": ("albert", {"spiece.model": "albert.model"}, {"tokenizer_class": "AlbertTokenizer"}),
    "deberta-v2": ("deberta-v2", {"spm.model": "deberta.model"}, {"tokenizer_class": "DebertaV2Tokenizer"}),
    "llama": ("llama", {"tokenizer.model": "llama.model"}, {"tokenizer_class": "LlamaTokenizer"}),
    "llama, no beginning stated": (
        "llama",
        {"tokenizer.model": "llama.model"},
        {"tokenizer_class": "LlamaTokenizer", "legacy": False},
    ),
    "llama, not legacy": (
        "llama",
        {"tokenizer.model": "llama.model"},
        {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": True},
    ),
    "llama, not legacy, with an end": (
        "llama",
        {"tokenizer.model": "llama.model"},
        {"tokenizer_class": "LlamaTokenizer", "legacy": False, "add_bos_token": False, "add_eos_token": True},
    ),
    "gemma": (
        "gemma",
        {"tokenizer.model": "gemma.model"},
        {"tokenizer_class": "GemmaTokenizer", "add_bos_token": True, "add_eos_token": False},
    ),
}

# Texts hold no special token's spelling: what becomes of one differs between the versions where it takes the space
# before it, and crossrank reads such text as text.
texts = [
    "hello",
    "Hello, world!",
    "naïve café ＦＵＬＬ ｗｉｄｔｈ",
    "  two  spaces ",
    "中文 테스트 日本語",
    "İstanbul ǆ ﬁ ½ ①",
    "a\u0301 e\u0308",
    "emoji 👩‍👩‍👧 🇩🇪",
    "tab\tnl\nx",
    "١٢٣ ٤٥",
    "don't I'LL",
    "\u200b\ufeffzero",
    "𝔘𝔫𝔦",
    "x" * 150,
    "``quoted'' text",
    "1,000 and 5, 7,",
    "\u2581under\u2581score",
    "\u3000wide\u00a0space",
    "a  \u2581 b",
    "\r\n\r\n  x",
    "Zürich liegt am See.",
    "the reranker scores a query and its documents",
]
pool = [
    chr(c)
    for c in list(range(32, 127)) * 6
    + list(range(0xA0, 0x250))
    + list(range(0x370, 0x400))
    + list(range(0x4E00, 0x4E80))
    + list(range(0x3040, 0x30FF))
    + [0x300, 0x301, 0x308, 0x200D, 0x3000, 0x1F600, 9, 10]
]
generator = random.Random(1)
texts += ["".join(generator.choice(pool) for _ in range(generator.randint(1, 40))) for _ in range(80)]


def encode(folder: str) -> None:
    """Runs under one version of transformers: prints the ids of the case in `folder`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True)
    print(
        json.dumps(
            {
                "ids": [tokenizer.encode(text, add_special_tokens=False) for text in texts],
                "pairs": [tokenizer("hello world", text)["input_ids"] for text in texts[:30]],
                "single": tokenizer("hello world")["input_ids"],
            }
        )
    )


def train() -> None:
    """Writes the vocabularies."""
    import sentencepiece
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    lines = []
    for path in [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]:
        lines += [line.strip() for line in path.read_text(encoding="utf8").splitlines() if line.strip()]
    lines += [
        "Zürich liegt am See, die Straße führt über die Brücke.",
        "Où est la bibliothèque ? Elle est à côté du château.",
        "東京は日本の首都です。",
        "北京是中国的首都。",
        "Москва — столица России.",
        "서울은 대한민국의 수도이다.",
        "القاهرة عاصمة مصر",
        "don't I'll we're 1,000 2,5 3. The year 1999, the 5, and 7,",
        "İstanbul ǆ ﬁ ½ ① naïve café",
    ] * 20

    def pieces(name, **options):
        buffer = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=buffer,
            hard_vocab_limit=False,
            minloglevel=2,
            character_coverage=0.999,
            **options,
        )
        (sources / f"{name}.model").write_bytes(buffer.getvalue())

    pieces("unigram", vocab_size=600, normalization_rule_name="nmt_nfkc")
    pieces("unigram-identity", vocab_size=400, normalization_rule_name="identity")
    pieces(
        "albert",
        vocab_size=400,
        normalization_rule_name="identity",
        pad_id=0,
        unk_id=1,
        bos_id=-1,
        eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]"],
    )
    pieces(
        "deberta",
        vocab_size=400,
        normalization_rule_name="identity",
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        pad_piece="[PAD]",
        bos_piece="[CLS]",
        eos_piece="[SEP]",
        unk_piece="[UNK]",
        user_defined_symbols=["[MASK]"],
    )
    bytewise = {
        "model_type": "bpe",
        "normalization_rule_name": "identity",
        "byte_fallback": True,
        "split_digits": True,
        "remove_extra_whitespaces": False,
    }
    pieces("llama", vocab_size=900, **bytewise)
    pieces(
        "gemma",
        vocab_size=900,
        **bytewise,
        add_dummy_prefix=False,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        user_defined_symbols=["<mask>", "<start_of_turn>", "\n", "\n\n", "▁▁", "▁▁▁"],
    )

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(
        lines, trainers.WordPieceTrainer(vocab_size=900, special_tokens=special, show_progress=False)
    )
    vocabulary = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])]
    (sources / "words.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf8")
    mpnet = ["<s>", "<pad>", "</s>", "[UNK]", *vocabulary[5:], "<mask>"]
    (sources / "words-mpnet.txt").write_text("\n".join(mpnet) + "\n", encoding="utf8")

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        lines,
        trainers.BpeTrainer(
            vocab_size=900, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        ),
    )
    tokenizer.model.save(str(sources), "bytes")


def main(python4: str, python5: str) -> None:
    shutil.rmtree(target, ignore_errors=True)
    sources.mkdir(parents=True)
    subprocess.run([python4, __file__, "--train"], check=True)
    written = []
    for name, (model_type, files, configuration) in cases.items():
        with tempfile.TemporaryDirectory() as folder:
            for path, source in files.items():
                shutil.copy(sources / source, os.path.join(folder, path))
            pathlib.Path(folder, "config.json").write_text(json.dumps({"model_type": model_type}))
            if configuration is not None:
                pathlib.Path(folder, "tokenizer_config.json").write_text(json.dumps(configuration))
            four, five = (
                json.loads(
                    subprocess.run(
                        [python, __file__, "--encode", folder], check=True, capture_output=True, text=True
                    ).stdout
                )
                for python in (python4, python5)
            )
        differing, pairs_differing = (
            sum(a != b for a, b in zip(four[key], five[key])) for key in ("ids", "pairs")
        )
        print(f"{name}: {differing} texts and {pairs_differing} pairs differ between the versions")
        entry = {
            "name": name,
            "modelType": model_type,
            "files": files,
            "differing": differing,
            "pairsDiffering": pairs_differing,
        }
        if configuration is not None:
            entry["configuration"] = configuration
        # Two versions that differ on pairs leave a decoder's texts, which become a prompt, as they are.
        agreed = {key: value for key, value in four.items() if value == five[key]}
        written.append({**entry, **agreed} if "ids" in agreed else entry)
    head = {"about": "lab/tokenizers/slow-tokenizers.py: transformers 4.57.6 and 5.24.0", "texts": texts}
    lines = ",\n".join(json.dumps(case, ensure_ascii=False, separators=(",", ":")) for case in written)
    body = json.dumps(head, ensure_ascii=False)[:-1] + ',"cases":[\n' + lines + "\n]}\n"
    (target / "cases.json").write_text(body, encoding="utf8")


if __name__ == "__main__":
    if sys.argv[1] == "--train":
        train()
    elif sys.argv[1] == "--encode":
        encode(sys.argv[2])
    else:
        main(*sys.argv[1:3])
