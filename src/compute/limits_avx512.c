/* AVX-512's rates: 24 chains of vfmadd231ps, vdpbf16ps, vpdpbusd. Assembly, for a compiler would see through
 * a loop that computes the same over and over. */
#include "compute/limits_rates.h"

#if KERNELS_X86

#define CHAINS "0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23"
#define LOOP(instruction)                                                                                    \
    __asm__ volatile(".irp r," CHAINS ",30,31\n vpxord %%zmm\\r, %%zmm\\r, %%zmm\\r\n .endr\n"               \
                     "1:\n .irp r," CHAINS "\n" instruction " %%zmm30, %%zmm31, %%zmm\\r\n .endr\n"          \
                     "dec %0\n jnz 1b"                                                                       \
                     : "+r"(n)                                                                               \
                     :                                                                                       \
                     : "zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm6", "zmm7", "zmm8", "zmm9",       \
                       "zmm10", "zmm11", "zmm12", "zmm13", "zmm14", "zmm15", "zmm16", "zmm17", "zmm18",      \
                       "zmm19", "zmm20", "zmm21", "zmm22", "zmm23", "zmm30", "zmm31", "cc")

static double f32(size_t n)
{
    double done = (double)n * 24 * 16 * 2;
    LOOP("vfmadd231ps");
    return done;
}

static double bf16(size_t n)
{
    double done = (double)n * 24 * 32 * 2;
    LOOP("vdpbf16ps");
    return done;
}

static double int8(size_t n)
{
    double done = (double)n * 24 * 64 * 2;
    LOOP("vpdpbusd");
    return done;
}

const struct rates rates_avx512 = {"avx512", f32, bf16, int8};
#endif
