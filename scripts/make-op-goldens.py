"""Writes test/fixtures/ops/goldens.json: what torch and NumPy make of small inputs. Debian 12: numpy 1.24.2, torch 1.13.1, seed 7.

    /usr/bin/python3 scripts/make-op-goldens.py
"""
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

rng = np.random.default_rng(7)
out = {"numpy": np.__version__, "torch": torch.__version__, "resample": [], "pad": [], "quantiles": []}


def numbers(array):
    return [float(v) for v in np.asarray(array).ravel()]


for shape, to in [((7,), (5,)), ((5,), (11,)), ((1,), (4,)), ((6, 9), (4, 5)), ((4, 5), (9, 3)), ((5, 6, 7), (3, 4, 5)), ((3, 2, 4), (6, 5, 3))]:
    x = rng.standard_normal(shape).astype(np.float32)
    t = torch.from_numpy(x)[None, None]
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(shape)]
    for corners in (False, True):
        y = F.interpolate(t, size=to, mode=mode, align_corners=corners)
        out["resample"].append(dict(shape=shape, to=to, method="linear", alignCorners=corners, x=numbers(x), y=numbers(y)))
    y = F.interpolate(t, size=to, mode="nearest-exact")
    out["resample"].append(dict(shape=shape, to=to, method="nearest", alignCorners=False, x=numbers(x), y=numbers(y)))
for shape, to in [((12,), (4,)), ((6, 8), (3, 2)), ((4, 6, 8), (2, 3, 4))]:
    x = rng.standard_normal(shape).astype(np.float32)
    y = F.interpolate(torch.from_numpy(x)[None, None], size=to, mode="area")
    out["resample"].append(dict(shape=shape, to=to, method="area", alignCorners=False, x=numbers(x), y=numbers(y)))
for shape, before, after in [((5,), (2,), (3,)), ((3, 4), (1, 0), (2, 3)), ((2, 3, 4), (1, 2, 0), (0, 1, 3))]:
    x = rng.integers(-100, 100, shape).astype(np.int16)
    for mode in ("constant", "edge", "reflect"):
        widths = list(zip(before, after))
        if mode == "reflect" and any(max(w) >= n for w, n in zip(widths, shape)):
            continue
        y = np.pad(x, widths, mode=mode, **({"constant_values": -7} if mode == "constant" else {}))
        out["pad"].append(dict(shape=shape, before=before, after=after, mode=mode, x=numbers(x), y=numbers(y)))
for n in (1, 2, 10, 101):
    x = rng.standard_normal(n).astype(np.float32)
    for low, high in ((0, 100), (1, 99), (12.5, 80)):
        out["quantiles"].append(dict(x=numbers(x), low=low, high=high, a=float(np.percentile(x.astype(np.float64), low)), b=float(np.percentile(x.astype(np.float64), high))))
path = Path(__file__).parent.parent / "test/fixtures/ops/goldens.json"
path.write_text(json.dumps(out) + "\n")
