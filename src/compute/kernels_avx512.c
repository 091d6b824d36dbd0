/* AVX-512 with VNNI and BF16: 16 outputs a vector, four panels and several tokens at a time, so that a weight
 * vector is loaded once for all tokens of the tile and an activation once for all panels. Columns go in
 * pieces small enough that four panels' weights stay in the first-level cache while all tokens pass and the
 * next piece comes in; a sum goes on from piece to piece in y, which changes none of its steps.
 *
 * Tiles are functions of constants P (panels: 4 or 1) and T (tokens), always inlined. Their vectors are named
 * members, not arrays: compilers keep those in registers whatever they decide about unrolling. */
#include "compute/kernels_tables.h"

#if KERNELS_X86
#include "compute/kernels_element.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum {
    GROUP = 4, /* panels */
    LINE = 64, /* bytes of a vector and of a cache line */
    UNIT = ACT_BLOCK,
    SCALES = 4 * PANEL * 2, /* bytes of a unit's scales */
    Q8_UNIT = SCALES + UNIT * PANEL,
    Q4_UNIT = SCALES + UNIT * PANEL / 2,
    ROWS = 64,  /* of integers at a time: sums of 16 KiB, beside two units of 4 panels of 8.5 KiB each */
    STEPS = 64, /* of a piece of floats: 16 KiB */
    T_INTEGER = 3,
    T_FLOAT = 6,
};

struct floats {
    __m512 p0, p1, p2, p3; /* one per panel */
};

struct integers {
    __m512i p0, p1, p2, p3;
};

/* What to fetch while a piece is multiplied: `n` lines of each panel, a share with every tile. */
struct ahead {
    const unsigned char *at;
    size_t stride, lines, tiles;
};

INLINE void fetch_ahead(struct ahead *f, const int P)
{
    size_t n = f->lines / f->tiles;
    for (size_t i = 0; i < n; i++, f->at += LINE)
        for (int p = 0; p < P; p++)
            _mm_prefetch((const char *)(f->at + p * f->stride), _MM_HINT_T0);
    f->lines -= n;
    f->tiles--;
}

/* The next `bytes` of a tile's rows, which are too far apart for the processor to guess. */
INLINE void fetch_rows(const void *p, size_t stride, size_t rows, size_t bytes)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < bytes; i += LINE)
            _mm_prefetch((const char *)p + r * stride + i, _MM_HINT_T0);
}

/* ---- F32, BF16 ---- */

INLINE __m512 dword_ps(const unsigned char *p)
{
    return _mm512_broadcastss_ps(_mm_load_ss((const float *)(const void *)p));
}

INLINE struct floats load_floats(const unsigned char *p, size_t stride, const int P)
{
    struct floats v = {0};
    v.p0 = _mm512_loadu_ps(p);
    if (P == 4) {
        v.p1 = _mm512_loadu_ps(p + stride);
        v.p2 = _mm512_loadu_ps(p + 2 * stride);
        v.p3 = _mm512_loadu_ps(p + 3 * stride);
    }
    return v;
}

INLINE void store_floats(float *y, const struct floats *v, const int P)
{
    _mm512_storeu_ps(y, v->p0);
    if (P == 4) {
        _mm512_storeu_ps(y + PANEL, v->p1);
        _mm512_storeu_ps(y + 2 * PANEL, v->p2);
        _mm512_storeu_ps(y + 3 * PANEL, v->p3);
    }
}

INLINE __m512 multiply_add(__m512 sum, __m512 w, __m512 x, const bool bf16)
{
    if (bf16)
        return _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)x);
    return _mm512_fmadd_ps(w, x, sum);
}

/* sum += w x for one token */
INLINE void float_token(struct floats *sum, const struct floats *w, const unsigned char *x, const bool bf16,
                        const int P)
{
    __m512 v = dword_ps(x);
    sum->p0 = multiply_add(sum->p0, w->p0, v, bf16);
    if (P == 4) {
        sum->p1 = multiply_add(sum->p1, w->p1, v, bf16);
        sum->p2 = multiply_add(sum->p2, w->p2, v, bf16);
        sum->p3 = multiply_add(sum->p3, w->p3, v, bf16);
    }
}

/* A product of dwords of x (one float, or two bf16) with vectors of w; strides in bytes but for ldy. */
struct float_product {
    float *y;
    size_t ldy;
    const unsigned char *w, *x;
    size_t stride, ldx, T, steps;
};

INLINE void float_tile(const struct float_product *m, size_t t, size_t s0, size_t s1, bool onto,
                       const bool bf16, const int P, const int T)
{
    float *y = m->y + t * m->ldy;
    const unsigned char *x = m->x + t * m->ldx + s0 * 4, *w = m->w + s0 * LINE;
    size_t ldy = m->ldy, ldx = m->ldx;
    struct floats a = {0}, b = a, c = a, d = a, e = a, f = a;
    if (onto) {
        a = load_floats((const void *)y, LINE, P);
        b = T > 1 ? load_floats((const void *)(y + ldy), LINE, P) : b;
        c = T > 2 ? load_floats((const void *)(y + 2 * ldy), LINE, P) : c;
        d = T > 3 ? load_floats((const void *)(y + 3 * ldy), LINE, P) : d;
        e = T > 4 ? load_floats((const void *)(y + 4 * ldy), LINE, P) : e;
        f = T > 5 ? load_floats((const void *)(y + 5 * ldy), LINE, P) : f;
    }
    for (size_t s = s0; s < s1; s++, x += 4, w += LINE) {
        struct floats v = load_floats(w, m->stride, P);
        float_token(&a, &v, x, bf16, P);
        if (T > 1)
            float_token(&b, &v, x + ldx, bf16, P);
        if (T > 2)
            float_token(&c, &v, x + 2 * ldx, bf16, P);
        if (T > 3)
            float_token(&d, &v, x + 3 * ldx, bf16, P);
        if (T > 4)
            float_token(&e, &v, x + 4 * ldx, bf16, P);
        if (T > 5)
            float_token(&f, &v, x + 5 * ldx, bf16, P);
    }
    store_floats(y, &a, P);
    if (T > 1)
        store_floats(y + ldy, &b, P);
    if (T > 2)
        store_floats(y + 2 * ldy, &c, P);
    if (T > 3)
        store_floats(y + 3 * ldy, &d, P);
    if (T > 4)
        store_floats(y + 4 * ldy, &e, P);
    if (T > 5)
        store_floats(y + 5 * ldy, &f, P);
}

INLINE void float_group(const struct float_product *m, bool accumulate, const bool bf16, const int P)
{
    size_t tiles = (m->T + T_FLOAT - 1) / T_FLOAT;
    for (size_t s = 0, end; s < m->steps; s = end) {
        end = s + STEPS < m->steps ? s + STEPS : m->steps;
        bool last = end == m->steps;
        struct ahead f = {last ? m->w + P * m->stride : m->w + end * LINE, m->stride, STEPS, tiles};
        for (size_t i = 0; i < tiles; i++) {
            size_t t = m->T * i / tiles;
            bool onto = accumulate || s;
            fetch_ahead(&f, P);
            fetch_rows(m->x + t * m->ldx + end * 4, m->ldx, m->T * (i + 1) / tiles - t, STEPS * 4);
            switch (m->T * (i + 1) / tiles - t) {
            case 6:
                float_tile(m, t, s, end, onto, bf16, P, 6);
                break;
            case 5:
                float_tile(m, t, s, end, onto, bf16, P, 5);
                break;
            case 4:
                float_tile(m, t, s, end, onto, bf16, P, 4);
                break;
            case 3:
                float_tile(m, t, s, end, onto, bf16, P, 3);
                break;
            case 2:
                float_tile(m, t, s, end, onto, bf16, P, 2);
                break;
            case 1:
                float_tile(m, t, s, end, onto, bf16, P, 1);
            }
        }
    }
}

INLINE void float_panels(struct float_product m, size_t panels, bool accumulate, const bool bf16)
{
    if (!accumulate && !m.steps)
        for (size_t t = 0; t < m.T; t++)
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
    struct float_product m = {y, ldy, w, (const void *)a->bf16, stride, pairs * 4, a->rows, pairs};
    float_panels(m, panels, accumulate, true);
}

/* ---- Q8_0, Q4_0 ---- */

INLINE __m512i dword(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

/* gcc 12 copies accumulators around its intrinsic, which costs a third of the speed. */
INLINE __m512i dpbusd(__m512i sum, __m512i w, __m512i x)
{
#ifdef __clang__
    return _mm512_dpbusd_epi32(sum, w, x);
#else
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
    return sum;
#endif
}

INLINE __m512i load_codes(const unsigned char *p, const bool high, const bool nibbles)
{
    __m512i v = _mm512_loadu_si512(p);
    if (nibbles)
        v = _mm512_and_si512(high ? _mm512_srli_epi16(v, 4) : v, _mm512_set1_epi8(15));
    __asm__("" : "+v"(v)); /* a register: gcc would load it again for every token */
    return v;
}

INLINE struct integers load_integers(const unsigned char *p, size_t stride, const bool high,
                                     const bool nibbles, const int P)
{
    struct integers v = {0};
    v.p0 = load_codes(p, high, nibbles);
    if (P == 4) {
        v.p1 = load_codes(p + stride, high, nibbles);
        v.p2 = load_codes(p + 2 * stride, high, nibbles);
        v.p3 = load_codes(p + 3 * stride, high, nibbles);
    }
    return v;
}

INLINE struct integers start(int32_t offset)
{
    __m512i v = _mm512_set1_epi32(offset);
    return (struct integers){v, v, v, v};
}

INLINE void integer_token(struct integers *sum, const struct integers *w, const int8_t *q, const int P)
{
    __m512i x = dword(q);
    sum->p0 = dpbusd(sum->p0, w->p0, x);
    if (P == 4) {
        sum->p1 = dpbusd(sum->p1, w->p1, x);
        sum->p2 = dpbusd(sum->p2, w->p2, x);
        sum->p3 = dpbusd(sum->p3, w->p3, x);
    }
}

INLINE struct floats load_scales(const unsigned char *p, size_t stride, const int P)
{
    struct floats v = {0};
    v.p0 = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
    if (P == 4) {
        v.p1 = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p + stride)));
        v.p2 = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p + 2 * stride)));
        v.p3 = _mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p + 3 * stride)));
    }
    return v;
}

/* total += sum scale */
INLINE void add_block(struct floats *total, const struct integers *sum, const struct floats *scale,
                      const int P)
{
    total->p0 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum->p0), scale->p0, total->p0);
    if (P == 4) {
        total->p1 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum->p1), scale->p1, total->p1);
        total->p2 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum->p2), scale->p2, total->p2);
        total->p3 = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum->p3), scale->p3, total->p3);
    }
}

/* y += total scale */
INLINE void add_unit(float *y, const struct floats *total, float scale, const int P)
{
    __m512 s = _mm512_set1_ps(scale);
    _mm512_store_ps(y, _mm512_fmadd_ps(total->p0, s, _mm512_load_ps(y)));
    if (P == 4) {
        _mm512_store_ps(y + PANEL, _mm512_fmadd_ps(total->p1, s, _mm512_load_ps(y + PANEL)));
        _mm512_store_ps(y + 2 * PANEL, _mm512_fmadd_ps(total->p2, s, _mm512_load_ps(y + 2 * PANEL)));
        _mm512_store_ps(y + 3 * PANEL, _mm512_fmadd_ps(total->p3, s, _mm512_load_ps(y + 3 * PANEL)));
    }
}

/* Rounded activations from one row and unit on; strides to the next row. */
struct tokens {
    const int8_t *q;
    const float *scale;
    const int32_t *sum;
    size_t units; /* of a row */
};

/* y [T, 64] += unit of P panels, stride bytes apart. */
INLINE void unit_tile(float *y, const unsigned char *w, size_t stride, const struct tokens *x,
                      const bool nibbles, const int P, const int T)
{
    size_t ldq = x->units * UNIT, lds = x->units * 4;
    const int8_t *q = x->q;
    const int32_t *sum = x->sum;
    struct floats ta = {0}, tb = ta, tc = ta;
    const unsigned char *codes = w + SCALES;
    for (int b = 0; b < 4; b++, q += 32, w += PANEL * 2) {
        struct integers a = start(sum[b]), c = start(T > 1 ? sum[lds + b] : 0),
                        d = start(T > 2 ? sum[2 * lds + b] : 0);
#define STEP(s)                                                                                              \
    {                                                                                                        \
        struct integers v =                                                                                  \
            load_integers(codes + ((s) % (nibbles ? 4 : 8)) * LINE, stride, (s) > 3, nibbles, P);            \
        integer_token(&a, &v, q + 4 * (s), P);                                                               \
        if (T > 1)                                                                                           \
            integer_token(&c, &v, q + ldq + 4 * (s), P);                                                     \
        if (T > 2)                                                                                           \
            integer_token(&d, &v, q + 2 * ldq + 4 * (s), P);                                                 \
    }
        STEP(0) STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) codes += (nibbles ? 4 : 8) * LINE;
        struct floats s = load_scales(w, stride, P);
        add_block(&ta, &a, &s, P);
        if (T > 1)
            add_block(&tb, &c, &s, P);
        if (T > 2)
            add_block(&tc, &d, &s, P);
    }
    add_unit(y, &ta, x->scale[0], P);
    if (T > 1)
        add_unit(y + GROUP * PANEL, &tb, x->scale[x->units], P);
    if (T > 2)
        add_unit(y + 2 * GROUP * PANEL, &tc, x->scale[2 * x->units], P);
}

/* All rows past one unit, while the next comes in. */
INLINE void unit_rows(float *y, const unsigned char *w, size_t stride, struct tokens x, size_t rows,
                      struct ahead f, const bool nibbles, const int P)
{
    struct tokens at = x;
    for (size_t i = 0, t = 0, end, tiles = f.tiles; i < tiles; i++, t = end) {
        end = rows * (i + 1) / tiles;
        at.q = x.q + t * x.units * UNIT;
        at.scale = x.scale + t * x.units;
        at.sum = x.sum + t * x.units * 4;
        fetch_ahead(&f, P);
        fetch_rows(at.q + UNIT, x.units * UNIT, end - t, UNIT);
        if (end - t == 3)
            unit_tile(y + t * GROUP * PANEL, w, stride, &at, nibbles, P, 3);
        else if (end - t == 2)
            unit_tile(y + t * GROUP * PANEL, w, stride, &at, nibbles, P, 2);
        else
            unit_tile(y + t * GROUP * PANEL, w, stride, &at, nibbles, P, 1);
    }
}

/* A unit of nibbles as one of bytes: what is unpacked once serves all rows. */
static void unpack(unsigned char *out, const unsigned char *unit)
{
    memcpy(out, unit, SCALES);
    for (size_t b = 0; b < 4; b++)
        for (size_t s = 0; s < 4; s++) {
            const unsigned char *from = unit + SCALES + (b * 4 + s) * LINE;
            unsigned char *to = out + SCALES + (b * 8 + s) * LINE;
            _mm512_storeu_si512(to, load_codes(from, false, true));
            _mm512_storeu_si512(to + 4 * LINE, load_codes(from, true, true));
        }
}

/* Panels of integers; stride and unit in bytes, ldy in floats. */
struct integer_product {
    float *y;
    size_t ldy;
    const unsigned char *w;
    size_t stride, unit;
    const struct activation *a;
    size_t units; /* of a row of a */
};

/* P panels by rows t .. t+rows-1. The sums live in a block of their own: rows of y are often a multiple of
 * 4096 bytes apart, and would push each other out of the cache. */
INLINE void integer_block(const struct integer_product *m, size_t t, size_t rows, const int P)
{
    _Alignas(LINE) float y[ROWS][GROUP * PANEL];
    _Alignas(LINE) unsigned char bytes[GROUP][Q8_UNIT];
    bool q4 = m->a->type == DT_Q4_0;
    const unsigned char *w = m->w;
    memset(y, 0, rows * sizeof *y);
    for (size_t u = 0; u < m->units; u++, w += m->unit) {
        size_t at = t * m->units + u;
        struct tokens x = {m->a->q + at * UNIT, m->a->scale + at, m->a->sum + at * 4, m->units};
        bool last = u + 1 == m->units;
        struct ahead f = {last ? m->w + P * m->stride : w + m->unit, m->stride, m->unit / LINE,
                          (rows + T_INTEGER - 1) / T_INTEGER};
        if (q4 && rows > T_INTEGER) {
            for (int p = 0; p < P; p++)
                unpack(bytes[p], w + p * m->stride);
            unit_rows(y[0], bytes[0], sizeof *bytes, x, rows, f, false, P);
        } else if (q4)
            unit_rows(y[0], w, m->stride, x, rows, f, true, P);
        else
            unit_rows(y[0], w, m->stride, x, rows, f, false, P);
    }
    for (size_t r = 0; r < rows; r++)
        memcpy(m->y + (t + r) * m->ldy, y[r], (size_t)P * PANEL * sizeof **y);
}

INLINE void integer_group(const struct integer_product *m, const int P)
{
    for (size_t t = 0; t < m->a->rows; t += ROWS)
        integer_block(m, t, t + ROWS < m->a->rows ? ROWS : m->a->rows - t, P);
}

static void matmul_integers(float *y, size_t ldy, const unsigned char *w, size_t stride, size_t panels,
                            const struct activation *a)
{
    struct integer_product m = {
        y, ldy, w, stride, a->type == DT_Q4_0 ? Q4_UNIT : Q8_UNIT, a, (a->cols + UNIT - 1) / UNIT};
    for (; panels >= GROUP; panels -= GROUP, m.y += GROUP * PANEL, m.w += GROUP * stride)
        integer_group(&m, GROUP);
    for (; panels; panels--, m.y += PANEL, m.w += stride)
        integer_group(&m, 1);
}

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
    else
        matmul_integers(y, ldy, panel, stride, p1 - p0, a);
}

const struct kernels kernels_avx512 = {
    .isa = "avx512", .matmul = matmul, .matmul_f32 = matmul_f32, ELEMENT_KERNELS};
#endif
