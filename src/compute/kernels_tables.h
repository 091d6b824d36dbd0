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

/* What unpack_*.c define for the table of their instruction set. */
#define UNPACK_FUNCTIONS(isa)                                                                                \
    void unpack_##isa(void *out, enum dtype to, const struct matrix *w, size_t p0, size_t p1, size_t k0,     \
                      size_t k1);                                                                            \
    void unpack_transposed_##isa(void *out, enum dtype to, const struct matrix *w, size_t k0, size_t n0,     \
                                 size_t n1);                                                                 \
    void pack_panel_##isa(void *panel, enum dtype to, const float *x, size_t ldx, size_t T, size_t n);       \
    void pack_rows_##isa(void *rows, size_t ld, enum dtype to, const float *x, size_t ldx, size_t T, size_t n)
#define UNPACK_KERNELS(isa)                                                                                  \
    .unpack = unpack_##isa, .unpack_transposed = unpack_transposed_##isa, .pack_panel = pack_panel_##isa,    \
    .pack_rows = pack_rows_##isa

UNPACK_FUNCTIONS(portable);
#if KERNELS_X86
UNPACK_FUNCTIONS(avx2);
UNPACK_FUNCTIONS(avx512);
#endif

#endif
