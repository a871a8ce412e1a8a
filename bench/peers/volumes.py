"""Volumes as a MONAI user prepares them: nibabel loads and turns them, torch resamples, clips and scales, torch.save keeps them."""
import os
from concurrent.futures import ProcessPoolExecutor
from time import perf_counter

from serve import need, serve

nib, np, torch = need("nibabel", "numpy", "torch")
torch.set_num_threads(1)
pool = None


def prepare(path, method):
    image = nib.as_closest_canonical(nib.load(path))
    # What the file holds: get_fdata would make float64 of it first.
    voxels = np.asanyarray(image.dataobj)
    sizes = nib.affines.voxel_sizes(image.affine)
    shape = [max(1, round(extent * size / 1.5)) for extent, size in zip(voxels.shape, sizes)]
    x = torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32))[None, None]
    if method == "interpolate":
        y = torch.nn.functional.interpolate(x, size=shape, mode="trilinear", align_corners=False)
    else:
        # MONAI's way: positions of all samples, then the samples.
        grid = torch.nn.functional.affine_grid(torch.eye(3, 4)[None], [1, 1, *shape], align_corners=False)
        y = torch.nn.functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return ((y[0] + 175) / 425).clamp(0, 1)


def keep(job):
    path, out, method = job
    torch.save(prepare(path, method), out)


def jobs(paths, out, method):
    return [(path, os.path.join(out, f"{k}.pt"), method) for k, path in enumerate(paths)]


def one_core(paths, out, method, core):
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    began = perf_counter()
    for job in jobs(paths, out, method):
        keep(job)
    took = perf_counter() - began
    os.sched_setaffinity(0, allowed)
    return took


def start(processes):
    global pool
    pool = ProcessPoolExecutor(processes)
    return sum(pool.map(abs, range(processes)))


def all_cores(paths, out, method):
    began = perf_counter()
    list(pool.map(keep, jobs(paths, out, method)))
    return perf_counter() - began


def save(path, method, to):
    prepare(path, method).numpy().tofile(to)


serve([one_core, start, all_cores, save], nib, np, torch)
