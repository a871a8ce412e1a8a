"""Groups of a scan: scipy's cKDTree for the nearest points, and NumPy's fancy index and astype for their patterns."""
from time import perf_counter

from serve import need, serve

np, scipy = need("numpy", "scipy")
from scipy.spatial import cKDTree

points = tree = patterns = groups = None


def place(path):
    """Reads the positions."""
    global points
    with np.load(path) as scan:
        points = np.column_stack([scan["xcoords"], scan["ycoords"]])
    return len(points)


def sort_and_find(at, k):
    began = perf_counter()
    cKDTree(points).query(points[at], k=k)
    return perf_counter() - began


def sort():
    global tree
    tree = cKDTree(points)


def find(at, k):
    began = perf_counter()
    tree.query(points[at], k=k)
    return perf_counter() - began


def distances(at, k):
    return cKDTree(points).query(points[at], k=k)[0].tolist()


def draw(points, samples, k, size, seed):
    random = np.random.default_rng(seed)
    at = random.choice(len(points), samples, replace=False)
    near = cKDTree(points).query(points[at], k=k)[1]
    return np.stack([random.choice(row, size, replace=False) for row in near])


def from_file(path, samples, k, size, seed):
    """From the file to float32 groups, as it is written with NumPy."""
    began = perf_counter()
    with np.load(path) as scan:
        diffraction, x, y = scan["diffraction"], scan["xcoords"], scan["ycoords"]
    chosen = draw(np.column_stack([x, y]), samples, k, size, seed)
    made = diffraction[chosen].astype(np.float32)
    took = perf_counter() - began
    assert made.shape == (samples, size, *diffraction.shape[1:])
    return took


def load(path, samples, k, size, seed):
    global patterns, groups
    with np.load(path) as scan:
        patterns = scan["diffraction"]
    groups = draw(points, samples, k, size, seed)


def batches(size, seed):
    """An epoch of batches of groups from an array in memory."""
    order = np.random.default_rng(seed).permutation(len(groups))
    began = perf_counter()
    total = 0
    for start in range(0, len(order), size):
        total += len(patterns[groups[order[start:start + size]]].astype(np.float32))
    took = perf_counter() - began
    assert total == len(groups)
    return took


serve([place, sort_and_find, sort, find, distances, from_file, load, batches], np, scipy)
