// AVX2 and F16C.
#include <immintrin.h>

#define TC_KERNELS kernels_avx2
#define TC_NAME "avx2"
#include "kernels/table.inc"
