/* The two products of the backward pass, made of the forward one: the gradient of x multiplies with panels of W
 * transposed, the gradient of W is the product of dy's columns with panels of x. */
#include "compute/kernels.h"
#include "compute/share.h"

#include <string.h>

enum {
    ALIGN = 64,
    GROUP = 4,   /* panels */
    CHUNK = 512, /* rows of W transposed at a time */
    BLOCK = 64,  /* rows of dw that are one item of work */
};

/* ---- dx = dy W ---- */

struct transposed {
    const struct kernels *k;
    float *dx;
    size_t lddx;
    const struct matrix *w;
    const struct activation *dy;
    bool accumulate;
    size_t parts; /* of the rows */
};

/* 64 columns of one part of dx's rows. */
static void transposed_group(const void *job, size_t i)
{
    const struct transposed *t = job;
    _Alignas(ALIGN) unsigned char space[GROUP * PANEL * CHUNK * sizeof(float)];
    size_t part = i % t->parts, first = t->dy->rows * part / t->parts;
    struct activation dy = activation_rows(t->dy, first, t->dy->rows * (part + 1) / t->parts);
    size_t k0 = i / t->parts * GROUP * PANEL, left = t->w->cols - k0, N = t->w->rows;
    struct matrix chunk = {.type = t->dy->type, .data = space};
    chunk.rows = left < GROUP * PANEL ? left : GROUP * PANEL;
    for (size_t n0 = 0; n0 < N; n0 += CHUNK) {
        chunk.cols = N - n0 < CHUNK ? N - n0 : CHUNK;
        struct activation some = activation_columns(&dy, n0, chunk.cols);
        t->k->unpack_transposed(space, chunk.type, t->w, k0, n0, n0 + chunk.cols);
        t->k->matmul(t->dx + first * t->lddx + k0, t->lddx, &chunk, &some, 0, matrix_panels(chunk.rows),
                     t->accumulate || n0);
    }
}

void matmul_transposed(const struct kernels *k, float *dx, size_t lddx, const struct matrix *w,
                       const struct activation *dy, bool accumulate)
{
    size_t groups = (w->cols + GROUP * PANEL - 1) / (GROUP * PANEL), parts = share_parts(groups, dy->rows);
    const struct transposed t = {k, dx, lddx, w, dy, accumulate, parts};
    share_out(groups * parts, w->rows * w->cols * dy->rows <= SHARE_ALONE, transposed_group, &t);
}

/* ---- dw += dy^T x ---- */

/* The rows of the product are dy's columns, its weights x's columns, its chains run over the tokens. */
struct outer {
    const struct kernels *k;
    float *dw;
    const float *dy, *x;
    size_t lddy, ldx, N, K, T;
    struct activation rows;
    struct matrix panels;
    unsigned char *panel, *row; /* of panels, of rows: written */
};

size_t matmul_outer_bytes(size_t N, size_t K, size_t T, enum dtype compute)
{
    size_t panels = matrix_bytes(compute, K, T), rows = activation_bytes(DT_BF16, N, T);
    if (compute == DT_F32)
        rows = N * T * sizeof(float);
    return panels + (rows + ALIGN - 1) / ALIGN * ALIGN;
}

/* Panel p of x: 16 columns. */
static void pack_panel(const void *job, size_t p)
{
    const struct outer *o = job;
    size_t left = o->K - p * PANEL;
    o->k->pack_panel(o->panel + p * matrix_panel_bytes(o->panels.type, o->T), o->panels.type,
                     o->x + p * PANEL, o->ldx, o->T, left < PANEL ? left : PANEL);
}

/* 16 columns of dy. */
static void pack_rows(const void *job, size_t b)
{
    const struct outer *o = job;
    size_t n = b * PANEL, left = o->N - n, size = o->rows.type == DT_F32 ? sizeof(float) : sizeof(uint16_t);
    o->k->pack_rows(o->row + n * o->rows.ld * size, o->rows.ld, o->rows.type, o->dy + n, o->lddy, o->T,
                    left < PANEL ? left : PANEL);
}

/* A panel that is not full has no room in dw's rows. */
static void partial_panel(const struct outer *o, const struct activation *rows, float *dw, size_t p)
{
    _Alignas(ALIGN) float space[BLOCK][PANEL] = {{0}};
    size_t n = o->K - p * PANEL;
    for (size_t r = 0; r < rows->rows; r++)
        memcpy(space[r], dw + r * o->K + p * PANEL, n * sizeof *dw);
    struct matrix one = o->panels;
    one.data += p * matrix_panel_bytes(one.type, one.cols);
    o->k->matmul(space[0], PANEL, &one, rows, 0, 1, true);
    for (size_t r = 0; r < rows->rows; r++)
        memcpy(dw + r * o->K + p * PANEL, space[r], n * sizeof *dw);
}

static void outer_item(const void *job, size_t i)
{
    const struct outer *o = job;
    size_t blocks = (o->N + BLOCK - 1) / BLOCK, row = i % blocks * BLOCK, full = o->K / PANEL;
    size_t from = i / blocks * GROUP, to = from + GROUP;
    struct activation rows = o->rows;
    rows.rows = o->N - row < BLOCK ? o->N - row : BLOCK;
    rows.f32 = rows.f32 ? rows.f32 + row * rows.ld : NULL;
    rows.bf16 = rows.bf16 ? rows.bf16 + row * rows.ld : NULL;
    if (from < full)
        o->k->matmul(o->dw + row * o->K, o->K, &o->panels, &rows, from, to < full ? to : full, true);
    if (full < to && full * PANEL < o->K)
        partial_panel(o, &rows, o->dw + row * o->K, full);
}

void matmul_outer(const struct kernels *k, float *dw, const float *dy, size_t lddy, size_t N, const float *x,
                  size_t ldx, size_t K, size_t T, enum dtype compute, void *scratch)
{
    struct outer o = {.k = k, .dw = dw, .dy = dy, .x = x, .lddy = lddy, .ldx = ldx, .N = N, .K = K, .T = T};
    o.panel = scratch;
    o.row = o.panel + matrix_bytes(compute, K, T);
    o.panels = (struct matrix){compute, K, T, scratch};
    activation_init(&o.rows, compute, N, T, o.row);
    if (compute == DT_F32) {
        o.rows.f32 = (const void *)o.row;
        o.rows.ld = T;
    }
    size_t blocks = (N + BLOCK - 1) / BLOCK, groups = (matrix_panels(K) + GROUP - 1) / GROUP;
    share_out(matrix_panels(K), K * T <= SHARE_ALONE, pack_panel, &o);
    share_out(matrix_panels(N), N * T <= SHARE_ALONE, pack_rows, &o);
    share_out(blocks * groups, N * K * T <= SHARE_ALONE, outer_item, &o);
}
