#!/usr/bin/env python3
"""Writes test/fixtures/nifti: small NIfTI images of every form that is read, and goldens.json with what nibabel makes of them: shape, stored dtype, SHA-256 of the stored
numbers and of get_fdata() in C order, little-endian, and the affine.

Run with nibabel 5.0 and NumPy 1.24: /usr/bin/python3 scripts/make-nifti-fixtures.py
"""
import gzip
import hashlib
import json
import pathlib
import zlib

import nibabel as nib
import numpy as np
from nibabel.nifti1 import Nifti1Extension

OUT = pathlib.Path(__file__).resolve().parent.parent / 'test/fixtures/nifti'
random = np.random.default_rng(20240607)
goldens = {}


def values(dtype, shape):
    dtype = np.dtype(dtype)
    if dtype.kind in 'iu':
        info = np.iinfo(dtype)
        return random.integers(info.min, info.max, size=shape, dtype=dtype, endpoint=True)
    real = random.normal(scale=1000, size=shape)
    return (real + 1j * random.normal(size=shape)).astype(dtype) if dtype.kind == 'c' else real.astype(dtype)


def oblique():
    a, b = 0.3, -0.2
    turn = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([0.7, 0.9, 2.5])
    affine[:3, 3] = [-11.25, 40.1, 7.7]
    return affine


def image(dtype='int16', shape=(5, 4, 3), affine=None, slope=None, inter=0.0, big=False, version=1, pair=False, forms='sq', edit=None):
    """An image whose stored numbers are given; `forms` says which of sform and qform count."""
    kind = {(1, False): nib.Nifti1Image, (1, True): nib.Nifti1Pair, (2, False): nib.Nifti2Image, (2, True): nib.Nifti2Pair}[version, pair]
    header = kind.header_class(endianness='>' if big else '<')
    header.set_data_dtype(np.dtype(dtype).newbyteorder('>' if big else '<'))
    made = kind(values(dtype, shape) if isinstance(dtype, str) else None, np.eye(4) if affine is None else affine, header)
    made.header.set_sform(made.affine, code=1 if 's' in forms else 0)
    made.header.set_qform(made.affine, code=1 if 'q' in forms else 0)
    if edit is not None:
        edit(made.header)
    return made, slope, inter


def write(name, given):
    made, slope, inter = given
    stem = OUT / name
    plain = stem.with_suffix('') if name.endswith('.gz') else stem
    nib.save(made, plain)
    head = plain
    if slope is not None:
        # As nibabel computes a slope of its own when it saves, ours is put into the file.
        raw = bytearray(head.read_bytes())
        order = '>' if made.header.endianness == '>' else '<'
        if raw[:4] in (b'\x1c\x02\0\0', b'\0\0\x02\x1c'):
            raw[176:192] = np.array([slope, inter], order + 'f8').tobytes()
        else:
            raw[112:120] = np.array([slope, inter], order + 'f4').tobytes()
        head.write_bytes(raw)
    if name.endswith('.gz'):
        for path in [plain] + ([plain.with_suffix('.img')] if plain.suffix == '.hdr' else []):
            (path.parent / (path.name + '.gz')).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            path.unlink()
    golden(name)


def patch(name, at, bytes_):
    path = OUT / name
    raw = bytearray(path.read_bytes())
    raw[at:at + len(bytes_)] = bytes_
    path.write_bytes(raw)
    golden(name)


def digest(array):
    return hashlib.sha256(np.ascontiguousarray(array).astype(array.dtype.newbyteorder('<')).tobytes()).hexdigest()


def golden(name):
    loaded = nib.load(OUT / name)
    stored = loaded.dataobj.get_unscaled()
    entry = {'shape': list(loaded.shape), 'dtype': stored.dtype.newbyteorder('=').name, 'stored': digest(stored), 'affine': loaded.affine.ravel().tolist()}
    if stored.dtype.kind != 'c':
        entry['fdata'] = digest(loaded.get_fdata())
        entry['slope'], entry['inter'] = loaded.dataobj.slope, loaded.dataobj.inter
    goldens[name] = entry


def member(data, extra=b''):
    """A gzip member; with `extra`, as bgzip writes it."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = packer.compress(data) + packer.flush()
    if extra is not None:
        extra = b'BC\x02\0' + (12 + 6 + len(body) + 8 - 1).to_bytes(2, 'little')
    head = b'\x1f\x8b\x08' + (b'\x04' if extra else b'\0') + b'\0\0\0\0\0\xff' + ((len(extra).to_bytes(2, 'little') + extra) if extra else b'')
    return head + body + zlib.crc32(data).to_bytes(4, 'little') + len(data).to_bytes(4, 'little')


OUT.mkdir(parents=True, exist_ok=True)
for old in OUT.iterdir():
    old.unlink()

write('int16_scaled.nii', image(slope=0.0123, inter=-3.7, affine=oblique()))
write('int16_slope_only.nii', image(slope=2.5))
write('int16_inter_only.nii', image(slope=1.0, inter=-1024.0))
write('int16_no_slope.nii', image(slope=0.0, inter=5.0))
write('int16_nan_slope.nii', image(slope=np.nan, inter=5.0))
write('uint8.nii.gz', image('uint8', (7, 6, 5)))
write('float32_big.nii', image('float32', big=True, affine=oblique()))
write('float32_scaled.nii', image('float32', slope=0.3, inter=11.1))
write('float64_scaled_big.nii.gz', image('float64', slope=-0.3, inter=11.1, big=True))
write('int16_big_scaled.nii', image(slope=0.1, inter=0.7, big=True))
for dtype in ['int8', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'float64', 'complex64', 'complex128']:
    write(f'{dtype}.nii', image(dtype))
    write(f'{dtype}_big.nii', image(dtype, big=True))
for dtype in ['int8', 'uint8', 'uint16', 'int32', 'uint32', 'int64', 'uint64']:
    write(f'{dtype}_scaled.nii', image(dtype, slope=0.37, inter=-12.3))
write('nifti2.nii', image('int32', version=2, affine=oblique()))
write('nifti2_big_scaled.nii.gz', image('int16', version=2, big=True, slope=1 / 3, inter=0.1, affine=oblique()))
write('pair.hdr', image('int16', pair=True, slope=0.5, inter=1.0))
write('pair2.hdr.gz', image('uint16', version=2, pair=True))
write('qform_only.nii', image(affine=oblique(), forms='q'))
write('qform_mirrored.nii', image(affine=oblique() @ np.diag([1, 1, -1, 1]), forms='q'))
write('qform_nifti2.nii', image(affine=oblique(), forms='q', version=2))
write('qform_half_turn.nii', image(affine=np.diag([-2.0, 3.0, -0.9, 1]), forms='q'))
write('no_form.nii', image(affine=np.diag([0.9, 1.1, 2.3, 1]), forms='', shape=(6, 5, 4)))
write('no_form_2d.nii', image(affine=np.diag([0.9, 1.1, 2.3, 1]), forms='', shape=(6, 5)))
write('both_forms_differ.nii', image(affine=oblique(), edit=lambda h: h.set_qform(np.diag([3.0, 3.0, 3.0, 1]), code=2)))
write('one_axis.nii', image(shape=(9,)))
write('trailing_ones.nii', image(shape=(5, 4, 3, 1, 1)))
write('one_frame.nii', image(shape=(5, 4, 3, 1)))
write('frames.nii.gz', image(shape=(6, 5, 4, 7), slope=0.25, inter=3.0))
write('vectors.nii', image('float32', (4, 3, 2, 1, 3)))
write('flat.nii', image(shape=(40, 1, 33)))
write('seven_axes.nii', image('uint8', (3, 2, 2, 2, 1, 2, 2)))
made = image()
made[0].header.extensions.append(Nifti1Extension('comment', b'an extension of some length'))
made[0].header.extensions.append(Nifti1Extension('comment', b'x' * 100))
write('extensions.nii', made)
write('sform_of_no_code.nii', image(affine=oblique()))
patch('sform_of_no_code.nii', 254, (9).to_bytes(2, 'little'))
write('quaternion_too_long.nii', image(forms='q'))
# b² is above 1 by less than the header's precision: nibabel takes the rest for 0.
patch('quaternion_too_long.nii', 256, np.array([1.0000001, 0, 0], '<f4').tobytes())
write('pixdim_odd.nii', image(forms='', affine=np.diag([2.0, 3.0, 4.0, 1])))
patch('pixdim_odd.nii', 76, np.array([0.5, -2.0, 0.0, 4.0], '<f4').tobytes())
raw = (OUT / 'int16_scaled.nii').read_bytes()
for name, parts in {'bgzip.nii.gz': [raw[k:k + 100] for k in range(0, len(raw), 100)] + [b''], 'two_members.nii.gz': [raw[:200], raw[200:]]}.items():
    (OUT / name).write_bytes(b''.join(member(part, b'' if name == 'bgzip.nii.gz' else None) for part in parts))
    golden(name)

(OUT / 'goldens.json').write_text(json.dumps({'nibabel': nib.__version__, 'numpy': np.__version__, 'images': goldens}, indent=1) + '\n')
print(f'{len(goldens)} images, {sum(path.stat().st_size for path in OUT.iterdir())} bytes')
