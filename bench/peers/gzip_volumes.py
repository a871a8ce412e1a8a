"""Compressed volumes as Python reads them: zlib alone, in this process or in one per core, and nibabel."""
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter
import zlib

from serve import need, serve

nib, np = need("nibabel", "numpy")
zlib.__version__ = zlib.ZLIB_RUNTIME_VERSION
GZIP = 31
pool = None


def inflate(path):
    with open(path, "rb") as file:
        return len(zlib.decompress(file.read(), GZIP))


def one(path):
    began = perf_counter()
    inflate(path)
    return perf_counter() - began


def start(processes):
    global pool
    pool = ProcessPoolExecutor(processes)
    return sum(pool.map(abs, range(processes)))


def several(paths):
    began = perf_counter()
    list(pool.map(inflate, paths))
    return perf_counter() - began


def volume(path):
    began = perf_counter()
    np.ascontiguousarray(nib.load(path).dataobj.get_unscaled())
    return perf_counter() - began


def frames(path, which):
    dataobj = nib.load(path).dataobj
    began = perf_counter()
    for frame in which:
        np.ascontiguousarray(dataobj[..., frame])
    return perf_counter() - began


def save(path, frame, to):
    dataobj = nib.load(path).dataobj
    np.ascontiguousarray(dataobj.get_unscaled() if frame is None else dataobj[..., frame]).tofile(to)


serve([one, start, several, volume, frames, save], nib, np, zlib)
