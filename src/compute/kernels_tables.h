/* The tables themselves: for kernels.c, which chooses. GYEOL_PORTABLE leaves out all but the portable one. */
#ifndef GYEOL_COMPUTE_KERNELS_TABLES_H
#define GYEOL_COMPUTE_KERNELS_TABLES_H

#include "compute/kernels.h"

#if defined(__x86_64__) && !defined(GYEOL_PORTABLE)
#define KERNELS_X86 1
#else
#define KERNELS_X86 0
#endif

extern const struct kernels kernels_portable;
#if KERNELS_X86
extern const struct kernels kernels_avx2, kernels_avx512;
#endif

#endif
