"""np.load of small files, in the page cache, and the sum of each."""
from time import perf_counter

from serve import need, serve

np = need("numpy")


def load_all(folder, count):
    began = perf_counter()
    for k in range(count):
        np.load(f"{folder}/{k}.npy").sum()
    return perf_counter() - began


serve([load_all], np)
