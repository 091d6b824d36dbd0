#include "compute/share.h"

#include <omp.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
    ALIGN = 64,
    SHARES = 64, /* of the work; more threads than that help out */
    LEAST_ROWS = 16,
};

/* A thread's range of items: the first in the low half, the one past the last in the high half. The thread takes from
 * the front, so that it reads weights in order; one that has finished takes from the others' backs, so that a processor
 * that has to be shared does not keep the rest waiting. A result does not depend on who computes it. */
struct share {
    _Alignas(ALIGN) _Atomic uint64_t range;
};

static void set_share(struct share *s, size_t from, size_t to)
{
    atomic_store_explicit(&s->range, (uint64_t)to << 32 | from, memory_order_relaxed);
}

static bool take(struct share *s, bool own, size_t *item)
{
    uint64_t r = atomic_load_explicit(&s->range, memory_order_relaxed), rest;
    do {
        uint64_t first = r & UINT32_MAX, end = r >> 32;
        if (first >= end)
            return false;
        *item = (size_t)(own ? first : end - 1);
        rest = own ? r + 1 : r - ((uint64_t)1 << 32);
    } while (!atomic_compare_exchange_weak_explicit(&s->range, &r, rest, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

size_t share_parts(size_t items, size_t rows)
{
    size_t threads = (size_t)omp_get_max_threads(), most = rows / LEAST_ROWS;
    if (items >= threads || most < 2)
        return 1;
    return most < threads ? most : threads;
}

void share_out(size_t items, bool alone, void (*item)(const void *job, size_t i), const void *job)
{
    struct share share[SHARES];
    size_t n = (size_t)omp_get_max_threads();
    n = n < SHARES ? n : SHARES;
    for (size_t i = 0; i < n; i++)
        set_share(&share[i], items * i / n, items * (i + 1) / n);
#pragma omp parallel if (!alone)
    {
        size_t me = (size_t)omp_get_thread_num(), at;
        for (size_t i = 0; i < n; i++)
            while (take(&share[(me + i) % n], i == 0 && me < n, &at))
                item(job, at);
    }
}
