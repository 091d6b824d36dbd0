/* What both tests of kernels are fed with. */
#ifndef GYEOL_TESTS_KERNEL_VALUES_H
#define GYEOL_TESTS_KERNEL_VALUES_H

#include "base/rng.h"

#include <stdlib.h>
#include <string.h>

#include "testing.h"

static inline double uniform(struct rng *r)
{
    return (double)(rng_next(r) >> 11) * 0x1p-53;
}

/* Values of every size, zeros now and then. */
static inline float some(struct rng *r, float size)
{
    if (rng_below(r, 40) == 0)
        return 0;
    return (float)((uniform(r) * 2 - 1) * size * (rng_below(r, 20) == 0 ? 30 : 1));
}

/* 64-byte aligned, nothing zero that was not made so; the caller frees it. */
static inline void *space(size_t n)
{
    void *p = aligned_alloc(64, n / 64 * 64 + 64);
    assert_non_null(p);
    memset(p, 0x5a, n / 64 * 64 + 64);
    return p;
}

static inline size_t up16(size_t n)
{
    return (n + 15) / 16 * 16;
}

#endif
