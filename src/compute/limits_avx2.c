/* AVX2's rates: 12 chains of fused multiply-adds (bf16 is widened to floats, so the same holds for it), and
 * for 8-bit integers of vpmaddubsw, vpmaddwd, vpaddd, its way to a dot product of four. Assembly, for a
 * compiler would see through a loop that computes the same over and over. */
#include "compute/limits_rates.h"

#if KERNELS_X86

#define TWELVE "0,1,2,3,4,5,6,7,8,9,10,11"
#define CLOBBERS                                                                                             \
    "ymm0", "ymm1", "ymm2", "ymm3", "ymm4", "ymm5", "ymm6", "ymm7", "ymm8", "ymm9", "ymm10", "ymm11",        \
        "ymm12", "ymm13", "ymm14", "ymm15", "cc"

static double f32(size_t n)
{
    double done = (double)n * 12 * 8 * 2;
    __asm__ volatile(".irp r," TWELVE ",12\n vxorps %%ymm\\r, %%ymm\\r, %%ymm\\r\n .endr\n"
                     "1:\n .irp r," TWELVE "\n vfmadd231ps %%ymm12, %%ymm12, %%ymm\\r\n .endr\n"
                     "dec %0\n jnz 1b"
                     : "+r"(n)
                     :
                     : CLOBBERS);
    return done;
}

static double int8(size_t n)
{
    double done = (double)n * 12 * 32 * 2;
    __asm__ volatile(".irp r," TWELVE ",12,13,14,15\n vpxor %%ymm\\r, %%ymm\\r, %%ymm\\r\n .endr\n"
                     "1:\n .irp r," TWELVE "\n"
                     "vpmaddubsw %%ymm12, %%ymm13, %%ymm14\n vpmaddwd %%ymm14, %%ymm15, %%ymm14\n"
                     "vpaddd %%ymm14, %%ymm\\r, %%ymm\\r\n .endr\n"
                     "dec %0\n jnz 1b"
                     : "+r"(n)
                     :
                     : CLOBBERS);
    return done;
}

const struct rates rates_avx2 = {"avx2", f32, f32, int8};
#endif
