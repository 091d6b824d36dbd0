/* The product as the model calls it: space for the rounded activations, and the work split over threads. */
#include "base/size.h"
#include "compute/kernels.h"

#include <omp.h>
#include <stdatomic.h>

enum {
    ALIGN = 64,
    GROUP = 4,       /* panels that the kernels take at once: no thread's range cuts a group */
    SHARES = 64,     /* of the work; more threads than that help out */
    ALONE = 1 << 14, /* values to round, or output-tokens, not worth waking a thread for */
};

/* Sizes of the three parts, each rounded up to ALIGN. */
struct layout {
    size_t values, scale, sum;
};

static bool part(size_t T, size_t per_row, size_t size, size_t *out)
{
    size_t n;
    if (!size_mul(T, per_row, &n) || !size_mul(n, size, &n) || !size_add(n, ALIGN - 1, &n))
        return false;
    *out = n / ALIGN * ALIGN;
    return true;
}

static bool lay_out(struct layout *l, enum dtype type, size_t T, size_t cols)
{
    size_t blocks = cols / ACT_BLOCK + (cols % ACT_BLOCK != 0);
    *l = (struct layout){0};
    if (type == DT_F32)
        return true;
    if (type == DT_BF16)
        return cols < SIZE_MAX && part(T, cols + cols % 2, sizeof(uint16_t), &l->values);
    return blocks <= SIZE_MAX / ACT_BLOCK && part(T, blocks * ACT_BLOCK, 1, &l->values) &&
           part(T, blocks, sizeof(float), &l->scale) && part(T, blocks * 4, sizeof(int32_t), &l->sum);
}

size_t activation_bytes(enum dtype type, size_t T, size_t cols)
{
    struct layout l;
    size_t n;
    if (!lay_out(&l, type, T, cols) || !size_add(l.values, l.scale, &n) || !size_add(n, l.sum, &n))
        return SIZE_MAX / ALIGN * ALIGN; /* which no allocator has */
    return n;
}

void activation_init(struct activation *a, enum dtype type, size_t T, size_t cols, void *space)
{
    struct layout l;
    unsigned char *at = space;
    *a = (struct activation){.type = type, .rows = T, .cols = cols};
    lay_out(&l, type, T, cols);
    if (type == DT_BF16)
        a->bf16 = (void *)at;
    else if (type != DT_F32) {
        a->q = (int8_t *)at;
        a->scale = (void *)(at + l.values);
        a->sum = (void *)(at + l.values + l.scale);
    }
}

void matmul_prepare(const struct kernels *k, struct activation *a, const float *x, size_t ldx)
{
    if (a->type == DT_F32) {
        a->f32 = x;
        a->ld = ldx;
        return;
    }
    size_t T = a->rows;
#pragma omp parallel if (T > 1 && T * a->cols > ALONE)
    {
        size_t n = (size_t)omp_get_num_threads(), i = (size_t)omp_get_thread_num();
        k->prepare(a, x, ldx, T * i / n, T * (i + 1) / n);
    }
}

/* A thread's range of groups of panels: the first in the low half, the one past the last in the high half. The thread
 * takes from the front, so that it reads weights in order; one that has finished takes from the others' backs, so that
 * a processor that has to be shared does not keep the rest waiting. A result does not depend on who computes it. */
struct share {
    _Alignas(ALIGN) _Atomic uint64_t range;
};

static void set_share(struct share *s, size_t from, size_t to)
{
    atomic_store_explicit(&s->range, (uint64_t)to << 32 | from, memory_order_relaxed);
}

static bool take(struct share *s, bool own, size_t *group)
{
    uint64_t r = atomic_load_explicit(&s->range, memory_order_relaxed), rest;
    do {
        uint64_t first = r & UINT32_MAX, end = r >> 32;
        if (first >= end)
            return false;
        *group = (size_t)(own ? first : end - 1);
        rest = own ? r + 1 : r - ((uint64_t)1 << 32);
    } while (!atomic_compare_exchange_weak_explicit(&s->range, &r, rest, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

static size_t groups_of(const struct product *p)
{
    return (matrix_panels(p->w->rows) + GROUP - 1) / GROUP;
}

/* Group g of all products' groups in a row. */
static void multiply_group(const struct kernels *k, const struct product *p, size_t g,
                           const struct activation *a, bool accumulate)
{
    for (; g >= groups_of(p); p++)
        g -= groups_of(p);
    size_t panels = matrix_panels(p->w->rows), from = g * GROUP, to = from + GROUP;
    k->matmul(p->y, p->ldy, p->w, a, from, to < panels ? to : panels, accumulate);
}

/* One wake-up of the threads for all products of the same rows: at one token the waking costs as much as a small
 * matrix. */
static void run(const struct kernels *k, const struct product *p, size_t count, const struct activation *a,
                bool accumulate)
{
    struct share share[SHARES];
    size_t weights = 0, groups = 0, n = (size_t)omp_get_max_threads();
    n = n < SHARES ? n : SHARES;
    for (size_t m = 0; m < count; m++) {
        weights += p[m].w->rows * p[m].w->cols;
        groups += groups_of(&p[m]);
    }
    for (size_t i = 0; i < n; i++)
        set_share(&share[i], groups * i / n, groups * (i + 1) / n);
#pragma omp parallel if (weights > ALONE)
    {
        size_t me = (size_t)omp_get_thread_num(), g;
        for (size_t i = 0; i < n; i++)
            while (take(&share[(me + i) % n], i == 0 && me < n, &g))
                multiply_group(k, p, g, a, accumulate);
    }
}

void matmul_many(const struct kernels *k, const struct product *p, size_t n, const struct activation *a)
{
    run(k, p, n, a, false);
}

void matmul_run(const struct kernels *k, float *y, size_t ldy, const struct matrix *w,
                const struct activation *a)
{
    const struct product p = {y, ldy, w};
    run(k, &p, 1, a, false);
}

void matmul_add(const struct kernels *k, float *y, size_t ldy, const struct matrix *w,
                const struct activation *a)
{
    const struct product p = {y, ldy, w};
    run(k, &p, 1, a, true);
}
