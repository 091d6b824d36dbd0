/* Which table runs here. */
#include "compute/kernels.h"

#include "compute/kernels_tables.h"

#include <stdlib.h>
#include <string.h>
#if KERNELS_X86
#include <cpuid.h>
#endif

#if KERNELS_X86
/* __builtin_cpu_supports asks the operating system too whether it saves the wider registers. clang 14 does
 * not know F16C by name. */
static bool has_avx2(void)
{
    unsigned a, b, c = 0, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C) && __builtin_cpu_supports("avx2") &&
           __builtin_cpu_supports("fma");
}

/* All of it or none: one without VNNI or BF16 (Skylake-X) takes the AVX2 table. */
static bool has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bf16");
}
#endif

size_t kernels_all(const struct kernels *out[3])
{
    size_t n = 0;
    out[n++] = &kernels_portable;
#if KERNELS_X86
    if (has_avx2())
        out[n++] = &kernels_avx2;
    if (has_avx512())
        out[n++] = &kernels_avx512;
#endif
    return n;
}

const struct kernels *kernels_get(void)
{
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    const char *wanted = getenv("GYEOL_ISA");
    for (size_t i = 0; wanted && i < n; i++)
        if (!strcmp(all[i]->isa, wanted))
            return all[i];
    return all[n - 1];
}
