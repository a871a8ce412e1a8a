#!/usr/bin/env python3
"""Writes test/fixtures/parquet: one small table as pyarrow writes it with each compression and encoding; test/sources/parquet.test.ts computes the same table.

Run with pyarrow 25: python3 scripts/make-parquet-fixtures.py
"""
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "parquet"
ROWS = 25

rows = range(ROWS)
table = pa.table({
    "doc": pa.array([f"d-{k}" for k in rows], pa.string()),
    "text": pa.array(["é𝄞\n" * (k % 4) + str(k // 5) for k in rows], pa.string()),
    "raw": pa.array([bytes([k, 255, 0][: k % 4]) for k in rows], pa.binary()),
    "yes": pa.array([k % 3 == 0 for k in rows], pa.bool_()),
    **{f"i{bits}": pa.array([(-1) ** k * (2 ** (bits - 1) - 1 - k) for k in rows], getattr(pa, f"int{bits}")()) for bits in (8, 16, 32, 64)},
    **{f"u{bits}": pa.array([2 ** bits - 1 - k for k in rows], getattr(pa, f"uint{bits}")()) for bits in (8, 16, 32, 64)},
    "f32": pa.array([k / 8 - 1 for k in rows], pa.float32()),
    "f64": pa.array([k / 3 for k in rows], pa.float64()),
    "list": pa.array([[k + i / 4 for i in range(k % 4)] for k in rows], pa.list_(pa.float32())),
    "pair": pa.array([[k, -k] for k in rows], pa.list_(pa.int64(), 2)),
    "maybe": pa.array([None if k % 4 == 1 else k for k in rows], pa.int16()),
    "words": pa.array([None if k % 4 == 1 else f"w{k % 3}" for k in rows], pa.string()),
    "maybe_list": pa.array([None if k % 4 == 1 else [k] * (k % 3) for k in rows], pa.list_(pa.int32())),
    "when": pa.array([k * 86_400_000 for k in rows], pa.timestamp("ms")),
    "inner": pa.array([{"a": k} for k in rows], pa.struct([("a", pa.int32())])),
    "names": pa.array([["a"] for _ in rows], pa.list_(pa.string())),
    "holes": pa.array([[1, None] if k == 7 else [1] for k in rows], pa.list_(pa.int32())),
})

ROOT.mkdir(parents=True, exist_ok=True)
for name, options in {
    "snappy": {"compression": "snappy"},
    "plain": {"compression": "none", "use_dictionary": False, "store_schema": False},
    "gzip": {"compression": "gzip", "data_page_version": "2.0"},
    "zstd": {"compression": "zstd", "use_dictionary": False, "column_encoding": {"i32": "DELTA_BINARY_PACKED", "i64": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY", "raw": "DELTA_LENGTH_BYTE_ARRAY", "f64": "BYTE_STREAM_SPLIT"}},
    "brotli": {"compression": "brotli", "data_page_version": "2.0", "use_dictionary": ["words"]},
    "lz4": {"compression": "lz4"},
}.items():
    pq.write_table(table, ROOT / f"{name}.parquet", row_group_size=9, version="2.6", **options)
