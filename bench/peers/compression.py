"""The codecs' own libraries on one thread, everything in one call from memory to memory that is there: libzstd and liblz4 through ctypes, and Python's zlib."""
import ctypes
import ctypes.util
import zlib
from time import perf_counter

from serve import need, serve

np = need("numpy")
source = packed = target = None
packed_size = 0


def library(name, functions):
    path = ctypes.util.find_library(name)
    if path is None:
        return None
    opened = ctypes.CDLL(path)
    for function, result in functions.items():
        getattr(opened, function).restype = result
    return opened


size = ctypes.c_size_t
zstd = library("zstd", {"ZSTD_createCCtx": ctypes.c_void_p, "ZSTD_CCtx_setParameter": size, "ZSTD_compress2": size, "ZSTD_compressBound": size, "ZSTD_decompress": size})
lz4 = library("lz4", {"LZ4F_compressFrameBound": size, "LZ4F_compressFrame": size, "LZ4F_createDecompressionContext": size, "LZ4F_decompress": size})


class Preferences(ctypes.Structure):
    """LZ4F_preferences_t"""
    _fields_ = [
        ("blockSizeID", ctypes.c_int), ("blockMode", ctypes.c_int), ("contentChecksumFlag", ctypes.c_int), ("frameType", ctypes.c_int), ("contentSize", ctypes.c_ulonglong),
        ("dictID", ctypes.c_uint), ("blockChecksumFlag", ctypes.c_int), ("compressionLevel", ctypes.c_int), ("autoFlush", ctypes.c_uint), ("favorDecSpeed", ctypes.c_uint), ("reserved", ctypes.c_uint * 3),
    ]


def at(array):
    return ctypes.c_void_p(array.ctypes.data)


def available(codec):
    return {"zstd": zstd, "lz4": lz4, "gzip": zlib}[codec] is not None


def load(path):
    global source, target, packed
    source = np.fromfile(path, np.uint8)
    target = np.ones_like(source)
    packed = np.ones(source.size + source.size // 64 + 65536, np.uint8)
    return source.nbytes


def compress(codec, level):
    """Seconds. Leaves the result for `decompress`."""
    global packed, packed_size
    n = size(source.nbytes)
    if codec == "zstd":
        context = ctypes.c_void_p(zstd.ZSTD_createCCtx())
        zstd.ZSTD_CCtx_setParameter(context, 100, level)
        zstd.ZSTD_CCtx_setParameter(context, 201, 1)
        began = perf_counter()
        packed_size = zstd.ZSTD_compress2(context, at(packed), size(packed.nbytes), at(source), n)
        took = perf_counter() - began
        zstd.ZSTD_freeCCtx(context)
    elif codec == "lz4":
        # Independent blocks of 1 MiB, content checksum.
        preferences = Preferences(blockSizeID=6, blockMode=1, contentChecksumFlag=1, contentSize=source.nbytes, compressionLevel=0 if level < 3 else level)
        began = perf_counter()
        packed_size = lz4.LZ4F_compressFrame(at(packed), size(packed.nbytes), at(source), n, ctypes.byref(preferences))
        took = perf_counter() - began
    else:
        began = perf_counter()
        result = zlib.compress(source, level)
        took = perf_counter() - began
        packed = np.frombuffer(result, np.uint8)
        packed_size = len(result)
    assert 0 < packed_size <= packed.nbytes
    return took


def compress_frames(codec, level, frame):
    """Seconds for the same bytes in calls of `frame` bytes with one context: what independent frames cost the library itself. Its results are dropped."""
    room = np.ones(frame + frame // 64 + 65536, np.uint8)
    if codec == "zstd":
        context = ctypes.c_void_p(zstd.ZSTD_createCCtx())
        zstd.ZSTD_CCtx_setParameter(context, 100, level)
        zstd.ZSTD_CCtx_setParameter(context, 201, 1)
    preferences = Preferences(blockSizeID=6, blockMode=1, contentChecksumFlag=1, contentSize=0, compressionLevel=0 if level < 3 else level)
    began = perf_counter()
    for start in range(0, source.nbytes, frame):
        some = min(frame, source.nbytes - start)
        if codec == "zstd":
            zstd.ZSTD_compress2(context, at(room), size(room.nbytes), ctypes.c_void_p(source.ctypes.data + start), size(some))
        elif codec == "lz4":
            preferences.contentSize = some
            lz4.LZ4F_compressFrame(at(room), size(room.nbytes), ctypes.c_void_p(source.ctypes.data + start), size(some), ctypes.byref(preferences))
        else:
            zlib.compress(source[start:start + some], level)
    took = perf_counter() - began
    if codec == "zstd":
        zstd.ZSTD_freeCCtx(context)
    return took


def decompress(codec):
    """Seconds; what `compress` left last."""
    if codec == "zstd":
        began = perf_counter()
        got = zstd.ZSTD_decompress(at(target), size(target.nbytes), at(packed), size(packed_size))
        took = perf_counter() - began
        assert got == target.nbytes
    elif codec == "lz4":
        context = ctypes.c_void_p()
        lz4.LZ4F_createDecompressionContext(ctypes.byref(context), 100)
        began = perf_counter()
        done = read = 0
        while True:
            out, given = size(target.nbytes - done), size(packed_size - read)
            left = lz4.LZ4F_decompress(context, ctypes.c_void_p(target.ctypes.data + done), ctypes.byref(out), ctypes.c_void_p(packed.ctypes.data + read), ctypes.byref(given), None)
            done, read = done + out.value, read + given.value
            if left == 0:
                break
            assert out.value + given.value > 0
        took = perf_counter() - began
        lz4.LZ4F_freeDecompressionContext(context)
    else:
        began = perf_counter()
        result = zlib.decompress(packed, bufsize=source.nbytes)
        took = perf_counter() - began
        target[:] = np.frombuffer(result, np.uint8)
    return took


def check():
    return bool((target == source).all())


def ratio():
    return source.nbytes / packed_size


serve([available, load, compress, compress_frames, decompress, check, ratio], np)
