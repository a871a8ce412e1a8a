"""CrystalNN against what pymatgen made of CDVAE's validation sets: every directed edge of every structure, and every Voronoi face.

    /usr/bin/python3 test/native/crystalnn.golden.py /path/to/crystals

The folder holds <set>_val.npz (and <set>_val_voronoi.npz). Needs numpy and a C++ compiler.
"""
import ctypes as c
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
CDVAE = dict(weighted_cn=0, cation_anion=0, has_distance_cutoffs=0, cutoff_low=0.5, cutoff_high=1, x_diff_weight=-1, porous_adjustment=0, search_cutoff=7)
DEFAULTS = dict(CDVAE, has_distance_cutoffs=1, x_diff_weight=3, porous_adjustment=1)


class Library:
    def __init__(self):
        source = os.path.join(HERE, '../../native/src')
        self.folder = tempfile.TemporaryDirectory()
        path = os.path.join(self.folder.name, 'crystal.so')
        files = [os.path.join(source, 'crystal', name) for name in ('lattice.cc', 'exact.cc', 'periodic.cc', 'voronoi.cc', 'crystalnn.cc', 'elements.cc')] + [os.path.join(source, 'memory', 'pool.cc')]
        # As native/build.mjs compiles these files.
        flags = ['-std=c++20', '-O3', '-g1', '-fPIC', '-shared', '-pthread', '-ffp-contract=off', '-fno-math-errno', '-fno-trapping-math']
        subprocess.run([os.environ.get('CXX', 'c++'), *flags, f'-I{source}', os.path.join(HERE, 'crystalnn.library.cc'), *files, '-o', path], check=True)
        self.library = c.CDLL(path)
        for name in ('graphs', 'near', 'faces'):
            getattr(self.library, name).restype = c.c_int64

    @staticmethod
    def pointer(array):
        return c.c_void_p(None if array is None else array.ctypes.data)

    def graphs(self, offsets, lattices, fractional, numbers, options, oxidation=None):
        """edge_offsets, edges as rows (source, target, image), and the seconds that the call took."""
        offsets, numbers = np.ascontiguousarray(offsets, np.int64), np.ascontiguousarray(numbers, np.int32)
        lattices, fractional = np.ascontiguousarray(lattices, np.float64), np.ascontiguousarray(fractional, np.float64)
        values, text = np.array(list(options.values()), np.float64), c.create_string_buffer(256)
        count, capacity = len(offsets) - 1, len(numbers) * 64 + 1000
        edge_offsets, edges = np.zeros(count + 1, np.int64), np.zeros((capacity, 5), np.int32)
        p = self.pointer
        start = time.perf_counter()
        total = self.library.graphs(c.c_int64(count), p(offsets), p(lattices), p(fractional), p(numbers), p(oxidation), p(values), p(edge_offsets), p(edges), c.c_int64(capacity), text)
        seconds = time.perf_counter() - start
        if total < 0:
            raise RuntimeError(f'structure {-1 - total}: {text.value.decode()}')
        return edge_offsets, edges[:total], seconds

    def near(self, lattice, fractional, numbers, site, options, oxidation=None):
        """{(target, image): weight}"""
        lattice, fractional, numbers = np.ascontiguousarray(lattice, np.float64), np.ascontiguousarray(fractional, np.float64), np.ascontiguousarray(numbers, np.int32)
        values, text, rows, weights = np.array(list(options.values()), np.float64), c.create_string_buffer(256), np.zeros((4096, 4), np.int32), np.zeros(4096)
        p = self.pointer
        total = self.library.near(c.c_int64(len(numbers)), p(lattice), p(fractional), p(numbers), p(oxidation), p(values), c.c_int64(site), p(rows), p(weights), text)
        if total < 0:
            raise RuntimeError(text.value.decode())
        return {(int(t), (int(x), int(y), int(z))): float(w) for (t, x, y, z), w in zip(rows[:total], weights)}

    def faces(self, lattice, fractional, numbers, site, options):
        lattice, fractional, numbers = np.ascontiguousarray(lattice, np.float64), np.ascontiguousarray(fractional, np.float64), np.ascontiguousarray(numbers, np.int32)
        values, rows, out = np.array(list(options.values()), np.float64), np.zeros((4096, 4), np.int32), np.zeros((4096, 3))
        p = self.pointer
        total = self.library.faces(c.c_int64(len(numbers)), p(lattice), p(fractional), p(numbers), p(values), c.c_int64(site), p(rows), p(out))
        return rows[:total], out[:total]


def compare_edges(library, folder, name):
    z = dict(np.load(os.path.join(folder, f'{name}_val.npz')))
    offsets, edges, _ = library.graphs(z['atom_offset'], z['matrix'], z['frac'], z['z'], CDVAE)
    _, again, seconds = library.graphs(z['atom_offset'], z['matrix'], z['frac'], z['z'], CDVAE)
    assert edges.tobytes() == again.tobytes()
    # The reference lists a bond from its target: image is where `from` lies as seen from `to`.
    reference = np.column_stack([z['edge_to'], z['edge_from'], z['edge_image']]).astype(np.int32)
    wrong = []
    for k in range(len(offsets) - 1):
        ours = edges[offsets[k]:offsets[k + 1]]
        theirs = reference[z['edge_offset'][k]:z['edge_offset'][k + 1]]
        assert len(np.unique(theirs, axis=0)) == len(theirs)
        if ours.shape != theirs.shape or not np.array_equal(ours, theirs[np.lexsort(theirs.T[::-1])]):
            wrong.append(k)
    count, sites = len(offsets) - 1, len(z['z'])
    print(f'{name}: {count - len(wrong)} of {count} structures have equal directed edges ({len(reference)} in all); {count / seconds:.0f} structures/s, {seconds / sites * 1e6:.2f} µs per site')
    for k in wrong:
        print('  differs:', k)
    return wrong


def compare_faces(library, folder, name):
    z, v = dict(np.load(os.path.join(folder, f'{name}_val.npz'))), dict(np.load(os.path.join(folder, f'{name}_val_voronoi.npz')))
    worst, rounded_wrong = 0, 0
    for k in range(len(z['atom_offset']) - 1):
        first, end = z['atom_offset'][k], z['atom_offset'][k + 1]
        for site in range(end - first):
            part = slice(v['site_offset'][first + site], v['site_offset'][first + site + 1])
            rows, values = library.faces(z['matrix'][k], z['frac'][first:end], z['z'][first:end], site, CDVAE)
            ours = {tuple(row): value for row, value in zip(rows.tolist(), values[:, 0].tolist())}
            angles = v['nn_solid_angle'][part].tolist()
            theirs = {(i, *image): angle for i, image, angle in zip(v['nn_index'][part].tolist(), v['nn_image'][part].tolist(), angles)}
            for face in ours.keys() | theirs.keys():
                worst = max(worst, abs(ours.get(face, 0) - theirs.get(face, 0)))
            ours_max = max(ours.values())
            milli = {(i, *image): w for i, image, w in zip(v['nn_index'][part].tolist(), v['nn_image'][part].tolist(), v['nn_weight_rounded_milli'][part].tolist())}
            rounded_wrong += sum(round(ours.get(face, 0) / ours_max * 1000) != w for face, w in milli.items())
    print(f'{name}: solid angles differ by {worst:.3g} sr at most; {rounded_wrong} of {len(v["nn_weight"])} rounded weights differ')


if __name__ == '__main__':
    folder = sys.argv[1]
    library = Library()
    failed = False
    for name in ('perov_5', 'carbon_24'):
        failed = bool(compare_edges(library, folder, name)) or failed
        if os.path.exists(os.path.join(folder, f'{name}_val_voronoi.npz')):
            compare_faces(library, folder, name)
    sys.exit(failed)
