/* The product as the model calls it: space for the rounded activations, and the work split over threads. */
#include "base/size.h"
#include "compute/kernels.h"
#include "compute/share.h"

#include <omp.h>

enum {
    ALIGN = 64,
    GROUP = 4, /* panels that the kernels take at once: no thread's range cuts a group */
    CHUNK =
        512, /* columns of a group unpacked at a time: 128 KiB of floats, which stay in the second-level cache */
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
    if (type == DT_BF16) {
        a->bf16 = (void *)at;
        a->ld = cols + cols % 2;
    } else if (type != DT_F32) {
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
#pragma omp parallel if (T > 1 && T * a->cols > SHARE_ALONE)
    {
        size_t n = (size_t)omp_get_num_threads(), i = (size_t)omp_get_thread_num();
        k->prepare(a, x, ldx, T * i / n, T * (i + 1) / n);
    }
}

static size_t groups_of(const struct product *p)
{
    return (matrix_panels(p->w->rows) + GROUP - 1) / GROUP;
}

/* Panels p0 .. p1-1 (a group) of weights whose type is not the rows': a sum goes on from chunk to chunk in y. */
static void multiply_unpacked(const struct kernels *k, const struct product *p, const struct activation *a,
                              size_t p0, size_t p1, bool accumulate)
{
    _Alignas(ALIGN) unsigned char space[GROUP * PANEL * CHUNK * sizeof(float)];
    struct matrix chunk = {.type = a->type, .rows = (p1 - p0) * PANEL, .data = space};
    for (size_t k0 = 0; k0 < a->cols; k0 += CHUNK) {
        chunk.cols = a->cols - k0 < CHUNK ? a->cols - k0 : CHUNK;
        struct activation part = activation_columns(a, k0, chunk.cols);
        k->unpack(space, a->type, p->w, p0, p1, k0, k0 + chunk.cols);
        k->matmul(p->y + p0 * PANEL, p->ldy, &chunk, &part, 0, p1 - p0, accumulate || k0);
    }
}

/* All products of the same rows. */
struct run {
    const struct kernels *k;
    const struct product *p;
    const struct activation *a;
    bool accumulate;
    size_t parts; /* of the rows */
};

/* One part of the rows times group g of all products' groups in a row. */
static void multiply_group(const void *job, size_t i)
{
    const struct run *r = job;
    const struct product *p = r->p;
    size_t g = i / r->parts, part = i % r->parts, first = r->a->rows * part / r->parts;
    struct activation a = *r->a;
    if (r->parts > 1)
        a = activation_rows(&a, first, a.rows * (part + 1) / r->parts);
    for (; g >= groups_of(p); p++)
        g -= groups_of(p);
    size_t panels = matrix_panels(p->w->rows), from = g * GROUP, to = from + GROUP;
    const struct product rows = {p->y + first * p->ldy, p->ldy, p->w};
    to = to < panels ? to : panels;
    if (p->w->type == a.type)
        r->k->matmul(rows.y, p->ldy, p->w, &a, from, to, r->accumulate);
    else
        multiply_unpacked(r->k, &rows, &a, from, to, r->accumulate);
}

/* One wake-up of the threads for all products of the same rows: at one token the waking costs as much as a small
 * matrix. */
static void run(const struct kernels *k, const struct product *p, size_t count, const struct activation *a,
                bool accumulate)
{
    struct run r = {k, p, a, accumulate, 1};
    size_t weights = 0, groups = 0;
    for (size_t m = 0; m < count; m++) {
        weights += p[m].w->rows * p[m].w->cols;
        groups += groups_of(&p[m]);
    }
    bool alone = weights * a->rows <= SHARE_ALONE;
    if (!alone && (a->type == DT_F32 || a->type == DT_BF16))
        r.parts = share_parts(groups, a->rows);
    share_out(groups * r.parts, alone, multiply_group, &r);
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
