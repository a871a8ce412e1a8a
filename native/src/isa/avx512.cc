// AVX-512 F, BW, DQ and VL.
// gcc 12 calls the undefined pass-through operands of its own intrinsics uninitialised (bug 105593, mended in 13).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#include <immintrin.h>

#define TC_KERNELS kernels_avx512
#define TC_NAME "avx512"
#include "kernels/table.inc"
