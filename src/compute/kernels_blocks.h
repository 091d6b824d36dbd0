/* How the vector tables cut a product into tiles, written once: four panels at a time, columns in pieces small enough
 * that the panels' weights stay in the first-level cache while all rows of activations pass, and the next piece of
 * both coming in meanwhile. A sum goes on from piece to piece in memory, which changes none of its steps.
 *
 * The file that includes this defines the tiles: functions of constants P (panels: 4 or 1) and T (rows), always
 * inlined, with vectors in named members rather than arrays, for compilers keep those in registers whatever they
 * decide about unrolling. */
#ifndef GYEOL_COMPUTE_KERNELS_BLOCKS_H
#define GYEOL_COMPUTE_KERNELS_BLOCKS_H

#include "compute/kernels_element.h"

#include <xmmintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum {
    GROUP = 4, /* panels */
    LINE = 64, /* bytes of a cache line, of 16 floats, of 4 columns of codes */
    UNIT = ACT_BLOCK,
    SCALES = 4 * PANEL * 2, /* bytes of a unit's scales */
    Q8_UNIT = SCALES + UNIT * PANEL,
    Q4_UNIT = SCALES + UNIT * PANEL / 2,
    STEPS = 64, /* lines of a panel in a piece of floats: with four panels 16 KiB */
    ROWS = 64,  /* of integers at a time: their sums take 16 KiB, two units of four panels 17 KiB */
    T_FLOAT = 6,
    T_INTEGER = 3,
};

/* A product of dwords of x (one float, or two bf16) with lines of w; strides in bytes but for ldy. */
struct float_product {
    float *y;
    size_t ldy;
    const unsigned char *w, *x;
    size_t stride, ldx, T, steps;
};

/* Lines to fetch in a tile's steps: of each panel a new one every 2^slow steps, so that those of a piece come in evenly
 * over its tiles. */
struct spread {
    const unsigned char *at;
    int slow;
};

/* y [T, 16 P] = lines s0 .. s1-1 of P panels times T rows of x from row t on, or is added to. Every
 * step fetches what is `ahead`. */
INLINE void float_tile(const struct float_product *m, size_t t, size_t s0, size_t s1, bool onto,
                       struct spread ahead, const bool bf16, const int P, const int T);

/* Rounded activations from one row and unit on. */
struct tokens {
    const int8_t *q;
    const float *scale;
    const int32_t *sum;
    size_t units; /* from row to row */
};

/* A unit to come, fetched while another is multiplied: its lines with the same steps when one tile takes all rows, else
 * a share with every block of every tile. */
struct ahead {
    const unsigned char *at;
    size_t stride, lines, blocks;
};

INLINE void fetch_line(const unsigned char *p, size_t stride, const int P)
{
    for (int i = 0; i < P; i++)
        _mm_prefetch((const char *)(p + i * stride), _MM_HINT_T0);
}

INLINE void fetch_share(struct ahead *f, const int P)
{
    size_t n = f->lines / f->blocks--;
    f->lines -= n;
    for (; n; n--, f->at += LINE)
        fetch_line(f->at, f->stride, P);
}

/* Before block b. */
INLINE void fetch_block(struct ahead *f, int b, const bool alone, const int P)
{
    if (!alone)
        fetch_share(f, P);
    else if (b == 0)
        for (int i = 0; i < SCALES; i += LINE)
            fetch_line(f->at + i, f->stride, P);
}

/* With the line at `offset` from the unit's first. */
INLINE void fetch_step(const struct ahead *f, size_t offset, const bool alone, const int P)
{
    if (alone)
        fetch_line(f->at + offset, f->stride, P);
}

/* y [T, 16 P], rows 64 floats apart, += one unit of P panels, stride bytes apart. */
INLINE void unit_tile(float *y, const unsigned char *w, size_t stride, const struct tokens *x,
                      struct ahead *f, const bool nibbles, const bool alone, const int P, const int T);

/* ---- fetching ahead ---- */

/* The next `bytes` of a tile's rows, which are too far apart for the processor to guess. */
INLINE void fetch_rows(const void *p, size_t stride, size_t rows, size_t bytes)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < bytes; i += LINE)
            _mm_prefetch((const char *)p + r * stride + i, _MM_HINT_T0);
}

/* ---- F32, BF16 ---- */

INLINE void float_rows(const struct float_product *m, size_t t, size_t n, size_t s0, size_t s1, bool onto,
                       struct spread ahead, const bool bf16, const int P)
{
    switch (n) {
    case 6:
        float_tile(m, t, s0, s1, onto, ahead, bf16, P, 6);
        break;
    case 5:
        float_tile(m, t, s0, s1, onto, ahead, bf16, P, 5);
        break;
    case 4:
        float_tile(m, t, s0, s1, onto, ahead, bf16, P, 4);
        break;
    case 3:
        float_tile(m, t, s0, s1, onto, ahead, bf16, P, 3);
        break;
    case 2:
        float_tile(m, t, s0, s1, onto, ahead, bf16, P, 2);
        break;
    case 1:
        float_tile(m, t, s0, s1, onto, ahead, bf16, P, 1);
    }
}

INLINE void float_group(const struct float_product *m, bool accumulate, const bool bf16, const int P)
{
    size_t tiles = (m->T + T_FLOAT - 1) / T_FLOAT;
    int slow = tiles >= 8 ? 3 : tiles >= 4 ? 2 : tiles >= 2 ? 1 : 0;
    for (size_t s = 0, end; s < m->steps; s = end) {
        end = s + STEPS < m->steps ? s + STEPS : m->steps;
        bool last = end == m->steps;
        const unsigned char *ahead = last ? m->w + P * m->stride : m->w + end * LINE;
        for (size_t i = 0, t = 0, next; i < tiles; i++, t = next) {
            struct spread f = {ahead + (i % ((size_t)1 << slow)) * (STEPS * LINE >> slow), slow};
            next = m->T * (i + 1) / tiles;
            fetch_rows(m->x + t * m->ldx + end * 4, m->ldx, next - t, STEPS * 4);
            float_rows(m, t, next - t, s, end, accumulate || s, f, bf16, P);
        }
    }
}

INLINE void float_panels(struct float_product m, size_t panels, bool accumulate, const bool bf16)
{
    for (size_t t = 0; !accumulate && !m.steps && t < m.T; t++)
        memset(m.y + t * m.ldy, 0, panels * LINE);
    for (; panels >= GROUP; panels -= GROUP, m.y += GROUP * PANEL, m.w += GROUP * m.stride)
        float_group(&m, accumulate, bf16, GROUP);
    for (; panels; panels--, m.y += PANEL, m.w += m.stride)
        float_group(&m, accumulate, bf16, 1);
}

static void matmul_f32(float *y, size_t ldy, const float *w, size_t panel_stride, size_t panels,
                       const float *x, size_t ldx, size_t T, size_t K, bool accumulate)
{
    struct float_product m = {
        y, ldy, (const void *)w, (const void *)x, panel_stride * sizeof *w, ldx * sizeof *x, T, K};
    float_panels(m, panels, accumulate, false);
}

static void matmul_bf16(float *y, size_t ldy, const unsigned char *w, size_t stride, size_t panels,
                        const struct activation *a, bool accumulate)
{
    size_t pairs = (a->cols + 1) / 2;
    struct float_product m = {y, ldy, w, (const void *)a->bf16, stride, a->ld * 2, a->rows, pairs};
    float_panels(m, panels, accumulate, true);
}

/* ---- Q8_0, Q4_0 ---- */

/* Panels of integers; stride and unit in bytes, ldy in floats. */
struct integer_product {
    float *y;
    size_t ldy;
    const unsigned char *w;
    size_t stride, unit;
    const struct activation *a;
    size_t units; /* of a row of a */
};

INLINE void unit_some(float *y, const unsigned char *w, size_t stride, const struct tokens *x, size_t rows,
                      struct ahead *f, const bool nibbles, const bool alone, const int P)
{
    fetch_rows(x->q + UNIT, x->units * UNIT, rows, UNIT);
    if (rows == 3)
        unit_tile(y, w, stride, x, f, nibbles, alone, P, 3);
    else if (rows == 2)
        unit_tile(y, w, stride, x, f, nibbles, alone, P, 2);
    else
        unit_tile(y, w, stride, x, f, nibbles, alone, P, 1);
}

/* All rows past one unit, while another comes in. */
INLINE void unit_rows(float *y, const unsigned char *w, size_t stride, const struct tokens *x, size_t rows,
                      struct ahead f, const bool nibbles, const int P)
{
    size_t tiles = f.blocks / 4;
    if (tiles == 1) {
        unit_some(y, w, stride, x, rows, &f, nibbles, true, P);
        return;
    }
    for (size_t i = 0, t = 0, next; i < tiles; i++, t = next) {
        size_t at = t * x->units;
        struct tokens some = {x->q + at * UNIT, x->scale + at, x->sum + at * 4, x->units};
        next = rows * (i + 1) / tiles;
        unit_some(y + t * GROUP * PANEL, w, stride, &some, next - t, &f, nibbles, false, P);
    }
}

/* P panels by rows t .. t+rows-1. What is fetched is two units ahead when there are too few rows to hide a read from
 * memory behind one; but of Q8_0, whose units are twice as large, only above three rows (measured). The sums lie in a
 * block of their own: rows of y are often a multiple of 4096 bytes apart, and would push each other out of the cache. */
INLINE void integer_block(const struct integer_product *m, size_t t, size_t rows, const int P)
{
    _Alignas(LINE) float y[ROWS][GROUP * PANEL];
    const unsigned char *w = m->w, *next = w + P * m->stride;
    bool q4 = m->a->type == DT_Q4_0;
    size_t lead = rows <= ROWS / 2 && (q4 || rows > T_INTEGER) ? 2 : 1;
    memset(y, 0, rows * sizeof *y);
    for (size_t u = 0; u < m->units; u++, w += m->unit) {
        size_t at = t * m->units + u, far = u + lead;
        struct tokens x = {m->a->q + at * UNIT, m->a->scale + at, m->a->sum + at * 4, m->units};
        struct ahead f = {far < m->units ? m->w + far * m->unit : next + (far - m->units) * m->unit,
                          m->stride, m->unit / LINE, (rows + T_INTEGER - 1) / T_INTEGER * 4};
        if (q4)
            unit_rows(y[0], w, m->stride, &x, rows, f, true, P);
        else
            unit_rows(y[0], w, m->stride, &x, rows, f, false, P);
    }
    for (size_t r = 0; r < rows; r++)
        memcpy(m->y + (t + r) * m->ldy, y[r], (size_t)P * PANEL * sizeof **y);
}

static void integer_panels(struct integer_product m, size_t panels)
{
    for (size_t n; panels; panels -= n, m.y += n * PANEL, m.w += n * m.stride) {
        n = panels >= GROUP ? GROUP : 1;
        for (size_t t = 0; t < m.a->rows; t += ROWS) {
            size_t rows = m.a->rows - t < ROWS ? m.a->rows - t : ROWS;
            if (n == GROUP)
                integer_block(&m, t, rows, GROUP);
            else
                integer_block(&m, t, rows, 1);
        }
    }
}

/* ---- the table's entry ---- */

static void matmul(float *y, size_t ldy, const struct matrix *w, const struct activation *a, size_t p0,
                   size_t p1, bool accumulate)
{
    size_t stride = matrix_panel_bytes(w->type, w->cols);
    const unsigned char *panel = w->data + p0 * stride;
    y += p0 * PANEL;
    if (w->type == DT_F32)
        matmul_f32(y, ldy, (const void *)panel, stride / sizeof *y, p1 - p0, a->f32, a->ld, a->rows, a->cols,
                   accumulate);
    else if (w->type == DT_BF16)
        matmul_bf16(y, ldy, panel, stride, p1 - p0, a, accumulate);
    else {
        struct integer_product m = {
            y, ldy, panel, stride, w->type == DT_Q4_0 ? Q4_UNIT : Q8_UNIT, a, (a->cols + UNIT - 1) / UNIT};
        integer_panels(m, p1 - p0);
    }
}

#endif
