/* For limits.c: loops that only compute, one set per table. Each runs its instruction n times over
 * independent chains in registers and returns the operations done. */
#ifndef GYEOL_COMPUTE_LIMITS_RATES_H
#define GYEOL_COMPUTE_LIMITS_RATES_H

#include "compute/kernels_tables.h"

struct rates {
    const char *isa;
    double (*f32)(size_t n);
    double (*bf16)(size_t n);
    double (*int8)(size_t n);
};

extern const struct rates rates_portable;
#if KERNELS_X86
extern const struct rates rates_avx2, rates_avx512;
#endif

#endif
