"""diskcache, joblib and py-lmdb keeping arrays of 4,000 bytes, each under its key."""
import shutil
from time import perf_counter

from serve import found, need, serve

np = need("numpy")
diskcache, joblib, lmdb = found("diskcache"), found("joblib"), found("lmdb")
held = {}


def value(n):
    return {"input_ids": np.full(1000, n, dtype=np.int32)}


def order(times, count):
    return [n * 7919 % count for n in range(times)]


def put_diskcache(folder, count):
    """Each put is a transaction of its own, which SQLite does not sync; here they are one."""
    shutil.rmtree(folder, ignore_errors=True)
    cache = held["diskcache"] = diskcache.Cache(folder)
    began = perf_counter()
    with cache.transact():
        for n in range(count):
            cache[f"batch_{n}"] = value(n)
    return perf_counter() - began


def get_diskcache(times, count):
    cache = held["diskcache"]
    for n in range(count):
        ids = cache[f"batch_{n}"]["input_ids"]
        assert ids[0] == n and ids[-1] == n and len(ids) == 1000
    began = perf_counter()
    for n in order(times, count):
        cache[f"batch_{n}"]
    return perf_counter() - began


def put_joblib(folder, count):
    held["joblib"] = folder
    began = perf_counter()
    for n in range(count):
        joblib.dump(value(n), f"{folder}/{n}.joblib")
    return perf_counter() - began


def get_joblib(times, count):
    assert joblib.load(f"{held['joblib']}/7.joblib")["input_ids"][999] == 7
    began = perf_counter()
    for n in order(times, count):
        joblib.load(f"{held['joblib']}/{n}.joblib")
    return perf_counter() - began


def put_lmdb(folder, count):
    """One transaction for every 2,000, synced."""
    if "lmdb" in held:
        held["lmdb"].close()
    shutil.rmtree(folder, ignore_errors=True)
    env = held["lmdb"] = lmdb.open(folder, map_size=2**34)
    began = perf_counter()
    for first in range(0, count, 2000):
        with env.begin(write=True) as txn:
            for n in range(first, min(first + 2000, count)):
                txn.put(b"batch_%d" % n, value(n)["input_ids"].tobytes())
    return perf_counter() - began


def get_lmdb(times, count):
    """The bytes alone, copied, in one read transaction."""
    with held["lmdb"].begin() as txn:
        assert np.frombuffer(txn.get(b"batch_7"), np.int32)[999] == 7
        keys = [b"batch_%d" % n for n in order(times, count)]
        began = perf_counter()
        for key in keys:
            txn.get(key)
        return perf_counter() - began


if lmdb:
    # Its version stands elsewhere than usual.
    lmdb.__version__ = ".".join(map(str, lmdb.version()))
serve([
    diskcache and put_diskcache, diskcache and get_diskcache, joblib and put_joblib, joblib and get_joblib, lmdb and put_lmdb, lmdb and get_lmdb,
], np, diskcache, joblib, lmdb)
