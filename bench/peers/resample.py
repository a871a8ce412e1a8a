"""torch's linear interpolation of volumes and of images on one thread, as training pipelines call it (half-pixel centres)."""
from time import perf_counter

from serve import need, serve

np, torch = need("numpy", "torch")
torch.set_num_threads(1)
volume = result = None


def load(path, dtype):
    global volume
    volume = torch.from_numpy(np.load(path))
    assert volume.dtype == getattr(torch, dtype)
    return volume.numel()


def interpolate(x, size):
    return torch.nn.functional.interpolate(x[None, None], size=(size, size, size), mode="trilinear", align_corners=False)[0, 0]


def resample(size):
    global result
    began = perf_counter()
    result = interpolate(volume, size)
    return perf_counter() - began


def resample_zscore(size):
    global result
    began = perf_counter()
    x = interpolate(volume.to(torch.float32), size)
    result = (x - x.mean()) / (x.std(unbiased=False) + 1e-8)
    return perf_counter() - began


def bilinear(size):
    """Of images along the first axis."""
    global result
    began = perf_counter()
    result = torch.nn.functional.interpolate(volume[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
    return perf_counter() - began


def save(path):
    result.numpy().tofile(path)


serve([load, resample, resample_zscore, bilinear, save], np, torch)
