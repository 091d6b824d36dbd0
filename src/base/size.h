/* Size arithmetic that cannot wrap: every size computed from input goes through here before it is used. */
#ifndef GYEOL_BASE_SIZE_H
#define GYEOL_BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

/* *out = a + b or a * b; false, *out untouched, when the result does not fit. */
static inline bool size_add(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool size_mul(size_t a, size_t b, size_t *out)
{
    size_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

#endif
