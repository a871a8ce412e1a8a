"""Writes test/fixtures/ops/spacing.json: small images in other voxel sizes, by nibabel's resample_to_output and by the formulas of MONAI's Spacing. Debian 12: nibabel 5.0, SciPy 1.10, NumPy 1.24,
torch 1.13, seed 11.

    /usr/bin/python3 scripts/make-spacing-goldens.py

MONAI is not needed: what its version 1.3 computes for the defaults diagonal=False, scale_extent=False is written out below, with torch's grid_sample, which it calls.
"""
import itertools
import json
from pathlib import Path

import nibabel as nib
import nibabel.processing
import numpy as np
import scipy
import torch
import torch.nn.functional as F

rng = np.random.default_rng(11)
out = {"nibabel": nib.__version__, "scipy": scipy.__version__, "numpy": np.__version__, "torch": torch.__version__, "goldens": []}


def numbers(array):
    return [float(f"{v:.9g}") for v in np.asarray(array).ravel()]


def golden(geometry, method, edges, x, affine, spacing, y, made, sure):
    out["goldens"].append(dict(geometry=geometry, method=method, edges=edges, shape=x.shape, affine=affine.ravel().tolist(), spacing=list(spacing), x=numbers(x), to=y.shape, made=made.ravel().tolist(),
                               y=numbers(y), sure="".join("01"[int(s)] for s in sure.ravel())))


def places(affine, made, to):
    """Where the samples of the output lie among the voxels of the input."""
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in to], indexing="ij"), -1).reshape(-1, 3)
    return nib.affines.apply_affine(np.linalg.inv(affine) @ made, grid).reshape(*to, 3)


def surely(at, shape, method, edges):
    """False where rounding decides: at the outer centres where what is beyond is empty, and half way between two voxels for nearest."""
    sure = np.ones(at.shape[:-1], bool)
    for axis, n in enumerate(shape):
        if edges == "constant":
            sure &= (np.abs(at[..., axis]) > 1e-6) & (np.abs(at[..., axis] - (n - 1)) > 1e-6) | (np.round(at[..., axis]) == at[..., axis])
        if method == "nearest":
            sure &= np.abs(at[..., axis] - np.floor(at[..., axis]) - 0.5) > 1e-6
    return sure


def upright(sizes, origin):
    affine = np.diag([*sizes, 1.0])
    affine[:3, 3] = origin
    return affine


for shape, sizes, origin, spacing in [
    ((7, 6, 5), (2, 2, 2), (-5, 3, 8.5), (1, 1, 1)),
    ((7, 6, 5), (2, 3, 4), (0, 0, 0), (2, 2, 2)),
    ((5, 9, 4), (0.75, 0.5, 1.25), (10.25, -3, 2), (1.5, 1, 0.6)),
    ((6, 5, 4), (float(np.float32(0.7)), 2.75, float(np.float32(2.4))), (1, 2, 3), (0.7, 2, 2.4)),
    ((1, 6, 8), (3, 0.9, 0.9), (0, -1, 5), (1, 1.7, 1.7)),
]:
    affine = upright(sizes, origin)
    x = rng.standard_normal(shape).astype(np.float32)
    for method, order in (("linear", 1), ("nearest", 0)):
        for edges, mode in (("constant", "constant"), ("clamp", "nearest")):
            got = nibabel.processing.resample_to_output(nib.Nifti1Image(x.astype(np.float64), affine), spacing, order=order, mode=mode, cval=0.0)
            y = got.get_fdata()
            golden("nibabel", method, edges, x, affine, spacing, y, got.affine, surely(places(affine, got.affine, y.shape), shape, method, edges))


def monai(x, affine, pixdim, method, padding, align_corners):
    # A voxel size within 1e-3 of the wanted one is kept.
    sizes = np.sqrt((affine[:3, :3] ** 2).sum(0))
    pixdim = np.where(np.abs(sizes - pixdim) <= 1e-3, sizes, pixdim)
    # The new axes: rotation = RZS · inv(chol(RZSᵀ RZS)ᵀ), times the new sizes.
    upper = np.linalg.cholesky(affine[:3, :3].T @ affine[:3, :3]).T
    made = np.eye(4)
    made[:3, :3] = affine[:3, :3] @ np.linalg.inv(upper) @ np.diag(pixdim)
    # The new extents: the range of the outer centres, in new voxels, and one. The new origin: the corner whose new coordinates are least.
    corners = np.array(list(itertools.product(*[(0.0, n - 1.0) for n in x.shape]))).T
    world = affine[:3, :3] @ corners + affine[:3, 3:]
    inside = np.linalg.inv(made[:3, :3]) @ world
    to = np.round(np.ptp(inside, axis=1) + 1.0).astype(int)
    least = next(k for k in range(8) if np.allclose((inside - inside[:, k:k + 1]).min(1), 0, atol=1e-8, rtol=1e-3))
    made[:3, 3] = world[:, least]
    # grid_sample goes by coordinates from -1 to 1, the last axis first.
    def normal(shape):
        norm = np.eye(4)
        for axis, n in enumerate(shape):
            norm[axis, axis] = (2.0 / (n - 1) if n > 1 else 2.0) if align_corners else 2.0 / n
            norm[axis, 3] = -1.0 if align_corners else 1.0 / n - 1.0
        return norm
    theta = normal(x.shape) @ np.linalg.solve(affine, made) @ np.linalg.inv(normal(to))
    theta = theta[:3][::-1][:, [2, 1, 0, 3]]
    grid = F.affine_grid(torch.from_numpy(theta.copy())[None], [1, 1, *map(int, to)], align_corners=align_corners)
    y = F.grid_sample(torch.from_numpy(x.astype(np.float64))[None, None], grid, mode=method, padding_mode=padding, align_corners=align_corners)
    return y[0, 0].numpy(), made


def turned(a, b, sizes, origin, mirror=1):
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(np.array(sizes) * [mirror, 1, 1])
    affine[:3, 3] = origin
    return affine


for shape, affine, spacing in [
    ((7, 6, 5), upright((2, 2, 2), (-5, 3, 8)), (1, 1, 1)),
    ((7, 6, 5), upright((-2, 2, 3), (5, 3, 8)), (1.7, 2.9, 2.9)),
    ((6, 7, 4), turned(0.3, -0.2, (0.72, 0.9, 2.4), (-11.25, 40.1, 7.7)), (1, 1, 1)),
    ((6, 7, 4), turned(1.2, 2.1, (1.1, 0.9, 1.5), (1, 2, 3), -1), (1.1004, 1.3, 0.8)),
    # Extents that end in a half go to the even one.
    ((6, 8, 3), upright((1.5, 1.5, 2), (1, 2, 3)), (1, 1, 2)),
    ((5, 5, 3), turned(-0.4, 0.1, (1, 1, 6), (0, 0, 0)), (2.3, 2.3, 2.1)),
]:
    x = rng.standard_normal(shape).astype(np.float32)
    for ours, method in (("linear", "bilinear"), ("nearest", "nearest")):
        for edges, padding in (("clamp", "border"), ("constant", "zeros")):
            y, made = monai(x, affine, spacing, method, padding, False)
            sure = surely(places(affine, made, y.shape), shape, ours, "clamp")
            # The same samples are taken with align_corners.
            again, made_again = monai(x, affine, spacing, method, padding, True)
            assert y.shape == again.shape and np.array_equal(made, made_again) and np.abs(y - again)[sure].max() < 1e-9
            golden("monai", ours, edges, x, affine, spacing, y, made, sure)

path = Path(__file__).parent.parent / "test/fixtures/ops/spacing.json"
path.write_text(json.dumps(out) + "\n")
print(len(out["goldens"]), path.stat().st_size)
