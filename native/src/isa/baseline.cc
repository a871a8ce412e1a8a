// What every processor of the family has.
#define TC_KERNELS kernels_baseline
#define TC_NAME "baseline"
#include "kernels/table.inc"
