"""Writes the parquet files beside it, as the `datasets` library writes them (pyarrow). Own-made texts, CC0.

Run with pyarrow 26.0.1: python build_parquet.py
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

root = Path(__file__).parent


def write(path, columns, compression="snappy", row_group_size=2):
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), target, compression=compression, row_group_size=row_group_size)


retrieval = "mteb-retrieval"
write(
    f"{retrieval}/corpus/test-00000-of-00002.parquet",
    {
        "_id": pa.array([1, 2, 3], pa.int64()),
        "title": ["Tea", None, ""],
        "text": ["Tea is made of leaves.", "Coffee is made of beans. ☕", "  Water is only water.\n"],
    },
    compression="zstd",
)
write(
    f"{retrieval}/corpus/test-00001-of-00002.parquet",
    {"_id": pa.array([4], pa.int64()), "title": ["Milk"], "text": ["Cows give it."]},
    compression="brotli",
)
write(
    f"{retrieval}/queries/test-00000-of-00001.parquet",
    {"_id": ["q1", "q2", "q3"], "text": ["what is tea", "what is coffee", "who asks nothing"]},
    compression="gzip",
)
write(
    f"{retrieval}/data/test-00000-of-00001.parquet",
    {
        "query-id": ["q1", "q1", "q2"],
        "corpus-id": pa.array([1, 3, 2], pa.int64()),
        "score": pa.array([2.0, 0.0, 1.0], pa.float64()),
    },
)
write(
    f"{retrieval}/top_ranked/test-00000-of-00001.parquet",
    {
        "query-id": ["q1", "q2"],
        "corpus-ids": pa.array([["2", "1", "3"], ["2", "4"]], pa.list_(pa.string())),
    },
    compression="lz4",
)

write(
    "fault-in-row-4.parquet",
    {
        "query": ["a", "b", "c", None],
        "positive": pa.array([["x"]] * 4, pa.list_(pa.string())),
        "negative": pa.array([["y"]] * 4, pa.list_(pa.string())),
    },
)
write(
    "mteb-reranking/data/test-00000-of-00001.parquet",
    {
        "query": ["what is tea", "nobody answers", "what is coffee"],
        "positive": pa.array([["Tea is made of leaves."], [], ["Coffee is made of beans.", "A drink."]], pa.list_(pa.string())),
        "negative": pa.array([["Water.", "Milk."], ["Rain."], ["Tea."]], pa.list_(pa.string())),
    },
)
