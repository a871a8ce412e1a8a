"""Writes scans/: what comes out of scanners, in small. Five CT-like torsos with masks of an organ and its lesion, a list of them, and one series over time.

Ellipsoids in ellipsoids, in mm: each torso is a little different, and each is stored in another way, as files of several hospitals are. Needs NumPy and nibabel; gives the same bytes every time.
Usage: /usr/bin/python3 make.py [folder]
"""
import gzip
import sys
from pathlib import Path

import nibabel as nib
import numpy as np

AIR = -1000
LIVER, LESION = 1, 2

# centre and radii in mm (x to the right, y to the front, z to the head), Hounsfield units, label
BODY = [
    ((0, 0, 0), (166, 106, 170), -95, 0),          # fat
    ((0, 2, 0), (151, 91, 160), 45, 0),            # muscle
    ((0, 8, 10), (136, 74, 140), -30, 0),          # what lies inside
    ((74, 4, 66), (52, 62, 74), -830, 0),          # lungs
    ((-74, 4, 66), (50, 62, 74), -830, 0),
    ((-22, 28, 66), (44, 38, 40), 60, 0),          # heart
    ((62, 8, -34), (68, 56, 46), 115, LIVER),
    ((88, -2, -26), (17, 17, 17), 20, LESION),
    ((-86, -28, -22), (24, 34, 32), 135, 0),       # spleen
    ((-48, 34, -34), (38, 30, 26), 10, 0),         # stomach
    ((46, -46, -78), (20, 22, 40), 180, 0),        # kidneys
    ((-48, -46, -74), (20, 22, 40), 180, 0),
    ((-10, -34, 0), (10, 10, 200), 210, 0),        # aorta
    ((0, -66, 0), (21, 17, 200), 420, 0),          # spine
    ((0, -84, 0), (7, 6, 200), 30, 0),
]


def turn(axis, degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.insert(np.insert(np.array([[c, -s], [s, c]]), axis, 0, 0), axis, np.eye(3)[axis], 1)


def grid(shape, zooms, codes, rotation):
    """The affine of a grid of `shape` voxels around the origin whose axes run towards `codes`, then turned."""
    columns = np.zeros((3, 3))
    for axis, code in enumerate(codes):
        world = next(k for k, ends in enumerate(['RL', 'AP', 'SI']) if code in ends)
        columns[world, axis] = zooms[axis] if code in 'RAS' else -zooms[axis]
    columns = rotation @ columns
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = -columns @ ((np.array(shape) - 1) / 2)
    return affine


def noise(shape, seed):
    """Integers from -7 to 7 that depend on the voxel's number and the seed only, not on a library's generator."""
    at = np.arange(np.prod(shape), dtype=np.uint64) + np.uint64(seed << 32)
    for shift, factor in [(30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)]:
        at = (at ^ (at >> np.uint64(shift))) * np.uint64(factor)
    return ((at >> np.uint64(40)) % np.uint64(15)).astype(np.int64).reshape(shape) - 7


def scan(shape, affine, size, lesion, enhanced=0.0):
    """Hounsfield units and labels on a grid. `size`: of the person; `lesion`: its radius in mm; `enhanced`: what contrast agent adds to vessels and liver, 0 to 1."""
    voxels = np.indices(shape).reshape(3, -1)
    world = affine[:3, :3] @ voxels + affine[:3, 3:]
    values, labels = np.full(voxels.shape[1], AIR), np.zeros(voxels.shape[1], np.uint8)
    for centre, radii, units, label in BODY:
        radii = (lesion,) * 3 if label == LESION else np.array(radii) * size
        inside = sum(((world[k] - centre[k] * size[k]) / radii[k]) ** 2 for k in range(3)) <= 1
        values[inside] = units + (0 if label == 0 and units != 210 else round(90 * enhanced) if label != LESION else round(25 * enhanced))
        labels[inside] = label
    return values.reshape(shape), labels.reshape(shape)


def write(path, data, affine, slope=None, inter=None, seconds=None):
    image = nib.Nifti1Image(data, affine, dtype=data.dtype)
    image.header.set_xyzt_units('mm', 'sec')
    if slope is not None:
        image.header.set_slope_inter(slope, inter)
    if seconds is not None:
        image.header.set_zooms([*image.header.get_zooms()[:3], seconds])
    # to_bytes would scale anew.
    header = image.header.copy()
    header['vox_offset'] = 352
    header['magic'] = b'n+1'
    if slope is not None:
        header['scl_slope'], header['scl_inter'] = slope, inter
    plain = header.binaryblock + b'\0' * 4 + data.tobytes('F')
    path.write_bytes(gzip.compress(plain, 9, mtime=0) if path.suffix == '.gz' else plain)


def stored(values, slope, inter):
    return np.round((values - inter) / slope).astype(np.int16)


def torso(folder, name, suffix, shape, zooms, codes, rotation, slope, inter, size, lesion, seed):
    affine = grid(shape, zooms, codes, rotation)
    values, labels = scan(shape, affine, np.array(size), lesion)
    write(folder / f'{name}{suffix}', stored(values + noise(shape, seed), slope, inter), affine, slope, inter)
    write(folder / f'{name}_mask.nii.gz', labels, affine)
    return f'{name}{suffix},{name}_mask.nii.gz,{4 / 3 * np.pi * lesion**3 / 1000:.1f}'


def main(folder):
    folder.mkdir(parents=True, exist_ok=True)
    straight = np.eye(3)
    rows = [
        torso(folder, 'torso_1', '.nii', (90, 60, 36), (4, 4, 5), 'RAS', straight, 1, -1024, (1, 1, 1), 17, 1),
        # As a scanner with its table and gantry at an angle has it.
        torso(folder, 'torso_2', '.nii.gz', (104, 76, 24), (3.6, 3.6, 8), 'LPS', turn(2, 14) @ turn(0, -9), 0.5, -1000, (0.94, 1.02, 1), 21, 2),
        torso(folder, 'torso_3', '.nii', (90, 60, 30), (4, 4, 6), 'LPS', straight, 1, -1024, (1.04, 1.08, 1), 12, 3),
        # Slices from left to right, rows from head to foot.
        torso(folder, 'torso_4', '.nii.gz', (68, 52, 38), (3.5, 3.5, 9), 'PIR', straight, 2, -1024, (0.96, 0.92, 1), 24, 4),
        torso(folder, 'torso_5', '.nii.gz', (96, 46, 25), (3.8, 3.8, 9.5), 'RSA', turn(1, 17), 1, 0, (1, 0.98, 1), 15, 5),
    ]
    (folder / 'torsos.csv').write_text('\n'.join(['VolumeName,MaskName,LesionVolume', *rows]) + '\n')

    # Contrast agent comes and goes: [x, y, z, t], a volume every 12 s.
    shape, zooms = (46, 30, 18), (8, 8, 10)
    affine = grid(shape, zooms, 'LPS', straight)
    frames = [scan(shape, affine, np.array((1, 1, 1)), 22, enhanced)[0] + noise(shape, 10 + t) for t, enhanced in enumerate([0, 0.35, 1, 0.7, 0.45])]
    (folder / 'series').mkdir(exist_ok=True)
    write(folder / 'series/contrast.nii.gz', stored(np.stack(frames, -1), 1, -1024), affine, 1, -1024, 12)


if __name__ == '__main__':
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / 'scans')
