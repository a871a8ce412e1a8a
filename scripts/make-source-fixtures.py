#!/usr/bin/env python3
"""Writes test/fixtures/sources: small .npy and .npz files as NumPy makes them, and manifest.json with what they hold.

Run with NumPy 1.24.2: python3 scripts/make-source-fixtures.py
The same bytes come out every time: seeded data, fixed zip times.
"""
import hashlib
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

ROOT = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "sources"
DTYPES = ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]
TIME = (2020, 1, 1, 0, 0, 0)


def special(dtype):
    """Values where readers go wrong: limits, NaN with a payload, infinities, -0, subnormals."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return np.array([True, False, True])
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return np.array([info.min, info.max, 0, 1, 2], dtype)
    part = np.dtype(f"f{dtype.itemsize // (2 if dtype.kind == 'c' else 1)}")
    info = np.finfo(part)
    payload = np.array([np.nan], part).view(f"u{part.itemsize}")
    payload |= 5
    values = np.concatenate([np.array([np.nan, np.inf, -np.inf, -0.0, info.tiny, info.smallest_subnormal, info.max, -1.5], part), payload.view(part)])
    return (np.concatenate([values, values[:1]]).view(dtype) if dtype.kind == "c" else values).astype(dtype, copy=False)


def arrays(rng, dtype):
    def noise(*shape):
        bits = rng.integers(0, 256, int(np.prod(shape)) * dtype.itemsize, dtype=np.uint8)
        return (bits & 1).astype(bool).reshape(shape) if dtype.kind == "b" else bits.view(dtype).reshape(shape)

    yield "special", special(dtype).reshape(-1)
    yield "scalar", noise()
    yield "empty", noise(3, 0, 2)
    yield "cube", noise(3, 4, 5)


def canonical(array):
    """SHA-256 of the elements in C order, little-endian. Bytes are moved, never converted, so NaN patterns stay."""
    little = array.dtype.newbyteorder("<")
    data = np.ascontiguousarray(array)
    if array.dtype.byteorder == ">":
        data = data.byteswap()
    return hashlib.sha256(data.view(little).tobytes() if data.ndim else data.tobytes()).hexdigest()


def describe(array):
    return {"dtype": array.dtype.newbyteorder("=").name, "shape": list(array.shape), "sha256": canonical(array)}


def big(array):
    """The same values, most significant byte first."""
    return array.byteswap().view(array.dtype.newbyteorder(">")) if array.ndim else array.byteswap().newbyteorder(">")


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    for folder in ("npy", "npz", "reject"):
        (ROOT / folder).mkdir(parents=True)
    rng = np.random.default_rng(42)
    manifest = {"numpy": np.__version__, "files": [], "npz": [], "reject": []}
    members = {}
    for code in DTYPES:
        dtype = np.dtype(code)
        for name, array in arrays(rng, dtype):
            forms = {"c": array}
            if array.ndim > 1:
                forms["f"] = np.asfortranarray(array)
            if dtype.itemsize > 1:
                forms["big"] = big(array)
            for form, stored in forms.items():
                version = {"c": (1, 0), "f": (2, 0), "big": (3, 0)}[form]
                file = f"npy/{dtype.name}_{name}_{form}.npy"
                with open(ROOT / file, "wb") as out:
                    npy_format.write_array(out, stored, version=version)
                manifest["files"].append({"file": file, **describe(stored)})
                members[f"{dtype.name}_{name}_{form}"] = stored

    def listed(file, made):
        manifest["npz"].append({"file": file, "arrays": {name: describe(array) for name, array in made.items()}})

    for file, deflate, streamed in (("stored", False, False), ("deflated", True, False), ("streamed", True, True)):
        listed(f"npz/{file}.npz", members)
        sink = Unseekable() if streamed else io.BytesIO()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED) as archive:
            for name, array in members.items():
                info = zipfile.ZipInfo(f"{name}.npy", TIME)
                info.compress_type = archive.compression
                # As numpy.savez does.
                with archive.open(info, "w", force_zip64=True) as out:
                    npy_format.write_array(out, array)
        (ROOT / f"npz/{file}.npz").write_bytes(sink.getvalue())

    rejects = {
        "objects": np.array([{"a": 1}, None], dtype=object), "text": np.array(["a", "bc"]), "bytes": np.array([b"a", b"bc"]),
        "records": np.zeros(2, dtype=[("a", "<i4"), ("b", "<f4")]), "dates": np.array(["2020-01-01"], dtype="M8[D]"), "extended": np.zeros(2, np.longdouble),
    }
    for name, array in rejects.items():
        npy_format.write_array(open(ROOT / f"reject/{name}.npy", "wb"), array, allow_pickle=True)
        manifest["reject"].append({"file": f"reject/{name}.npy", "why": str(array.dtype)})
    (ROOT / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


class Unseekable(io.RawIOBase):
    """A pipe: zipfile writes data descriptors to it."""

    def __init__(self):
        self.parts = []

    def writable(self):
        return True

    def write(self, data):
        self.parts.append(bytes(data))
        return len(data)

    def getvalue(self):
        return b"".join(self.parts)


main()
