"""torch.load of files that hold one tensor each, in the page cache."""
from time import perf_counter

from serve import need, serve

np, torch = need("numpy", "torch")
torch.set_num_threads(1)


def save(source, folder):
    items = np.load(source, mmap_mode="r")
    for i, item in enumerate(items):
        torch.save(torch.from_numpy(np.array(item)), f"{folder}/{i}.pt")
    return len(items)


def load(folder, count):
    began = perf_counter()
    for i in range(count):
        torch.load(f"{folder}/{i}.pt")
    return perf_counter() - began


serve([save, load], np, torch)
