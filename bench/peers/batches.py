"""Random batches from an array in memory: NumPy's fancy index, and torch's DataLoader over a TensorDataset in this process."""
from time import perf_counter

from serve import need, serve

np, torch = need("numpy", "torch")
torch.set_num_threads(1)
rows = tensors = None


def load(path):
    global rows, tensors
    rows = np.load(path)
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(rows))
    return len(rows)


def fancy_index(size, seed):
    order = np.random.default_rng(seed).permutation(len(rows))
    began = perf_counter()
    total = 0
    for start in range(0, len(rows), size):
        total += len(rows[order[start:start + size]])
    took = perf_counter() - began
    assert total == len(rows)
    return took


def data_loader(size, seed, count):
    generator = torch.Generator().manual_seed(seed)
    loader = torch.utils.data.DataLoader(tensors, batch_size=size, shuffle=True, generator=generator)
    began = perf_counter()
    total = 0
    for (x,) in loader:
        total += len(x)
        if total >= count:
            break
    return (perf_counter() - began) / total * len(rows)


serve([load, fancy_index, data_loader], np, torch)
