#!/usr/bin/env python3
"""Writes test/fixtures/ops/reslice.json: what nibabel's resample_to_output and resample_from_to make of small oblique images, linear (order 1) and nearest (order 0).
Values are rounded to 4 digits after the point; images are whole numbers from 0 to 999.

Debian 12: nibabel 5.0.0, scipy 1.10.1, numpy 1.24.2, seed 11.

    /usr/bin/python3 scripts/make-reslice-goldens.py
"""
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import scipy
from nibabel.processing import resample_from_to, resample_to_output

rng = np.random.default_rng(11)


def rotation(degrees):
    made = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        a, b = [k for k in range(3) if k != axis]
        turn = np.eye(3)
        turn[a, a] = turn[b, b] = np.cos(angle)
        turn[a, b], turn[b, a] = -np.sin(angle), np.sin(angle)
        made = made @ turn
    return made


def affine(degrees, zooms, origin, shear=0.0):
    made = np.eye(4)
    made[:3, :3] = rotation(degrees) @ (np.eye(3) + shear * np.eye(3, k=1)) @ np.diag(zooms)
    made[:3, 3] = origin
    return made


def numbers(array):
    return [round(float(v), 4) for v in np.asarray(array).ravel()]


cases = []
for name, shape, lies, spacing in [
    ("oblique", (9, 8, 7), affine((12, -23, 31), (1.5, 1.25, 2.0), (-7.3, 4.1, 12.9)), (1.5, 1.4, 1.7)),
    ("a left-handed one, far turned", (7, 6, 9), affine((70, 100, -40), (-1.0, 1.1, 2.5), (20.0, -35.5, 3.25)), (1.2, 1.2, 1.2)),
    ("sheared, as gantries tilt", (8, 8, 5), affine((0, 15, 0), (0.9, 0.9, 3.0), (0.0, 0.0, -50.0), 0.3), (1.0, 0.8, 2.0)),
    ("from a header of float32", (9, 7, 6), affine((5, 4, -3), (0.9375, 0.9375, 1.2), (-90.126, 71.3, -55.5)).astype(np.float32).astype(np.float64), (1.0, 1.0, 1.0)),
    ("straight", (6, 7, 5), affine((0, 0, 0), (2.0, 1.5, 3.0), (-5.5, 8.25, 1.0)), (1.3, 2.1, 1.0)),
]:
    image = rng.integers(0, 1000, shape).astype(np.int16)
    source = nib.Nifti1Image(image.astype(np.float64), lies)
    world = resample_to_output(source, spacing, order=1)
    labels = resample_to_output(source, spacing, order=0)
    to, extents = affine((-8, 20, 5), (1.1, 1.9, 1.3), world.affine[:3, 3] + 2.0), (9, 8, 7)
    turned = resample_from_to(source, (extents, to), order=1)
    cases.append(dict(
        name=name, shape=shape, affine=lies.ravel().tolist(), spacing=spacing, image=image.ravel().tolist(),
        world=dict(shape=world.shape, affine=world.affine.ravel().tolist(), linear=numbers(world.get_fdata()), nearest=[int(v) for v in labels.get_fdata().ravel()]),
        to=dict(shape=extents, affine=to.ravel().tolist(), linear=numbers(turned.get_fdata())),
    ))
path = Path(__file__).parent.parent / "test/fixtures/ops/reslice.json"
path.write_text(json.dumps(dict(nibabel=nib.__version__, scipy=scipy.__version__, numpy=np.__version__, cases=cases)) + "\n")
