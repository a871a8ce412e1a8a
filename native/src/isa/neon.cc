// Advanced SIMD, which every 64-bit ARM processor has.
#define TC_KERNELS kernels_neon
#define TC_NAME "neon"
#include "kernels/table.inc"
