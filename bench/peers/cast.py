"""NumPy's float64 → float32: into memory that is there already, and into a new array."""
from time import perf_counter

from serve import need, serve

np = need("numpy")
source = target = None


def load(path):
    global source, target
    source = np.load(path)
    target = np.zeros(source.shape, np.float32)
    return source.nbytes


def copyto():
    began = perf_counter()
    np.copyto(target, source, casting="same_kind")
    return perf_counter() - began


def astype():
    began = perf_counter()
    source.astype(np.float32)
    return perf_counter() - began


def save(path):
    target.tofile(path)


serve([load, copyto, astype, save], np)
