#!/usr/bin/env python3
"""Writes test/fixtures/scenes: simulations in the folders and files of PhiFlow 1, 2 and 3, and goldens.json with what they hold.

Run with NumPy 2.4: python3 scripts/make-scene-fixtures.py
PhiFlow itself is not needed: each version's members, in its order and with its dtypes, are written by numpy.savez_compressed, which is what it calls. The same bytes come out every time.
"""
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent / "test" / "fixtures" / "scenes"
RNG = np.random.default_rng(7)
ZERO = {"type": "constant", "value": 0}


def padded(x, y):
    """Faces of a staggered grid of x × y cells as `staggered_tensor` stacks them: one layer more along each axis."""
    return RNG.standard_normal((x + 1, y + 1, 2), dtype=np.float32)


def phi3(file, data, names, types, grid, items=None):
    """PhiFlow 2.1 to 3: names of items are Python objects."""
    item_names = np.asarray([None] * len(names) if items is None else [*[None] * (len(names) - 1), items], dtype=object)
    np.savez_compressed(file, dim_names=names, dim_types=types, dim_item_names=item_names, field_type=grid, lower=np.zeros(2, np.float32), upper=np.float32([100, 75]),
                        bounds_item_names=("x", "y"), extrapolation=ZERO, data=data)


def phi2(file, data, names, types, grid):
    """PhiFlow 2.0."""
    np.savez_compressed(file, dim_names=names, dim_types=types, field_type=grid, lower=np.zeros(2), upper=np.ones(2), extrapolation=ZERO, data=data)


def main():
    shutil.rmtree(ROOT, ignore_errors=True)
    goldens = {}

    def note(scene, field, frames):
        stacked = np.ascontiguousarray(np.stack(frames))
        goldens[f"{scene}/{field}"] = {"dtype": stacked.dtype.name, "shape": list(stacked.shape), "sha256": hashlib.sha256(stacked.tobytes()).hexdigest()}

    def folder(scene, properties):
        path = ROOT / scene
        path.mkdir(parents=True)
        if properties is not None:
            (path / "description.json").write_text(json.dumps(properties, indent=2))
        (path / "src").mkdir()
        (path / "src" / "context.json").write_text('{"phi_version": "3.4.0", "argv": []}')
        return path

    space = ("x", "y"), ("spatial", "spatial")
    vector = ("x", "y", "vector"), ("spatial", "spatial", "channel")
    for k in range(2):
        scene = f"phi3/sim_{k:06d}"
        path = folder(scene, {"viscosity": 0.1 * (k + 1), "physics": {"dt": 0.5, "forces": [9.81, k]}, "name": "plume"})
        frames = range(0, 40, 10)
        smoke = [RNG.standard_normal((4, 3), dtype=np.float32) for _ in frames]
        velocity = [padded(4, 3) for _ in frames]
        for frame, s, v in zip(frames, smoke, velocity):
            phi3(path / f"smoke_{frame:06d}.npz", s, *space, "CenteredGrid")
            phi3(path / f"velocity_{frame:06d}.npz", v, *vector, "StaggeredGrid", ("x", "y"))
        note(scene, "smoke", smoke)
        note(scene, "velocity", velocity)

    # Axes in another order: components first, and two simulations in one scene; doubles.
    path = folder("order/sim_000000", None)
    frames = [RNG.standard_normal((2, 4, 3, 2)) for _ in range(3)]
    for frame, data in enumerate(frames):
        phi3(path / f"velocity_{frame:06d}.npz", data, ("vector", "x", "y", "batch"), ("channel", "spatial", "spatial", "batch"), "CenteredGrid")
    note("order/sim_000000", "velocity", [np.transpose(data, (3, 1, 2, 0)) for data in frames])

    path = folder("phi2/sim_000000", {})
    pressure, faces = [RNG.standard_normal((4, 3), dtype=np.float32) for _ in range(2)], [padded(4, 3) for _ in range(2)]
    for frame in range(2):
        phi2(path / f"pressure_{frame:06d}.npz", pressure[frame], *space, "CenteredGrid")
        phi2(path / f"velocity_{frame:06d}.npz", faces[frame], *vector, "StaggeredGrid")
    note("phi2/sim_000000", "pressure", pressure)
    note("phi2/sim_000000", "velocity", faces)

    # PhiFlow 1: one array, [y, x, components], without a word about it.
    path = folder("phi1/sim_000000", {"name": "Simpleplume", "world": {"states": [{"buoyancy_factor": 0.1}]}})
    density = [RNG.standard_normal((4, 3, 1), dtype=np.float32) for _ in range(2)]
    for frame, data in enumerate(density):
        np.savez_compressed(path / f"Density_{frame:06d}.npz", data)
    note("phi1/sim_000000", "Density", density)

    (ROOT / "goldens.json").write_text(json.dumps({"numpy": np.__version__, "fields": goldens}, indent=1) + "\n")


main()
