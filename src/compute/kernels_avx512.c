/* Tiles for AVX-512 with VNNI and BF16: a panel is one vector of 16 outputs; a weight vector is loaded once for all
 * rows of the tile, an activation once for all panels. On Zen 5 (two multiply-adds and two loads of 64 bytes a cycle)
 * both tiles leave room for the loads: 4 x 3 integers need 7 for 12 dot products, 4 x 6 floats 10 for 24. */
#include "compute/kernels_tables.h"

#if KERNELS_X86
#include "compute/kernels_blocks.h"

#include <immintrin.h>

struct floats {
    __m512 p0, p1, p2, p3; /* one per panel */
};

struct integers {
    __m512i p0, p1, p2, p3;
};

/* ---- F32, BF16 ---- */

INLINE struct floats load_floats(const void *from, size_t stride, const int P)
{
    const char *p = from;
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
    return bf16 ? _mm512_dpbf16_ps(sum, (__m512bh)w, (__m512bh)x) : _mm512_fmadd_ps(w, x, sum);
}

/* sum += w x for one row */
INLINE void float_row(struct floats *sum, const struct floats *w, const unsigned char *x, const bool bf16,
                      const int P)
{
    __m512 v = _mm512_broadcastss_ps(_mm_load_ss((const float *)(const void *)x));
    sum->p0 = multiply_add(sum->p0, w->p0, v, bf16);
    if (P == 4) {
        sum->p1 = multiply_add(sum->p1, w->p1, v, bf16);
        sum->p2 = multiply_add(sum->p2, w->p2, v, bf16);
        sum->p3 = multiply_add(sum->p3, w->p3, v, bf16);
    }
}

/* The sums of a tile: six rows at most. */
struct tile {
    struct floats a, b, c, d, e, f;
};

INLINE void load_tile(struct tile *v, const float *y, size_t ldy, const int P, const int T)
{
    v->a = load_floats(y, LINE, P);
    if (T > 1)
        v->b = load_floats(y + ldy, LINE, P);
    if (T > 2)
        v->c = load_floats(y + 2 * ldy, LINE, P);
    if (T > 3)
        v->d = load_floats(y + 3 * ldy, LINE, P);
    if (T > 4)
        v->e = load_floats(y + 4 * ldy, LINE, P);
    if (T > 5)
        v->f = load_floats(y + 5 * ldy, LINE, P);
}

INLINE void store_tile(float *y, size_t ldy, const struct tile *v, const int P, const int T)
{
    store_floats(y, &v->a, P);
    if (T > 1)
        store_floats(y + ldy, &v->b, P);
    if (T > 2)
        store_floats(y + 2 * ldy, &v->c, P);
    if (T > 3)
        store_floats(y + 3 * ldy, &v->d, P);
    if (T > 4)
        store_floats(y + 4 * ldy, &v->e, P);
    if (T > 5)
        store_floats(y + 5 * ldy, &v->f, P);
}

INLINE void tile_step(struct tile *v, const struct floats *w, const unsigned char *x, size_t ldx,
                      const bool bf16, const int P, const int T)
{
    float_row(&v->a, w, x, bf16, P);
    if (T > 1)
        float_row(&v->b, w, x + ldx, bf16, P);
    if (T > 2)
        float_row(&v->c, w, x + 2 * ldx, bf16, P);
    if (T > 3)
        float_row(&v->d, w, x + 3 * ldx, bf16, P);
    if (T > 4)
        float_row(&v->e, w, x + 4 * ldx, bf16, P);
    if (T > 5)
        float_row(&v->f, w, x + 5 * ldx, bf16, P);
}

INLINE void float_tile(const struct float_product *m, size_t t, size_t s0, size_t s1, bool onto,
                       struct spread ahead, const bool bf16, const int P, const int T)
{
    float *y = m->y + t * m->ldy;
    const unsigned char *x = m->x + t * m->ldx + s0 * 4, *w = m->w + s0 * LINE;
    struct tile v = {0};
    if (onto)
        load_tile(&v, y, m->ldy, P, T);
    for (size_t s = 0; s < s1 - s0; s++, x += 4, w += LINE) {
        struct floats line = load_floats(w, m->stride, P);
        for (int p = 0; p < P; p++)
            _mm_prefetch((const char *)(ahead.at + p * m->stride + (s >> ahead.slow) * LINE), _MM_HINT_T0);
        tile_step(&v, &line, x, m->ldx, bf16, P, T);
    }
    store_tile(y, m->ldy, &v, P, T);
}

/* ---- Q8_0, Q4_0 ---- */

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

INLINE __m512i load_line(const unsigned char *p, const bool nibbles, const bool high)
{
    __m512i v = _mm512_loadu_si512(p);
    if (nibbles)
        v = _mm512_and_si512(high ? _mm512_srli_epi16(v, 4) : v, _mm512_set1_epi8(15));
    __asm__("" : "+v"(v)); /* a register: gcc would load it again for every row */
    return v;
}

/* Step s of a block, four columns: of every panel a line, or half the bits of one. */
INLINE struct integers load_codes(const unsigned char *block, size_t stride, const int s, const bool nibbles,
                                  const int P)
{
    const unsigned char *p = block + (size_t)(nibbles ? s % 4 : s) * LINE;
    struct integers v = {0};
    v.p0 = load_line(p, nibbles, s > 3);
    if (P == 4) {
        v.p1 = load_line(p + stride, nibbles, s > 3);
        v.p2 = load_line(p + 2 * stride, nibbles, s > 3);
        v.p3 = load_line(p + 3 * stride, nibbles, s > 3);
    }
    return v;
}

INLINE struct integers start(int32_t offset)
{
    __m512i v = _mm512_set1_epi32(offset);
    return (struct integers){v, v, v, v};
}

INLINE void integer_row(struct integers *sum, const struct integers *w, const int8_t *q, const int P)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    __m512i x = _mm512_set1_epi32(four);
    sum->p0 = dpbusd(sum->p0, w->p0, x);
    if (P == 4) {
        sum->p1 = dpbusd(sum->p1, w->p1, x);
        sum->p2 = dpbusd(sum->p2, w->p2, x);
        sum->p3 = dpbusd(sum->p3, w->p3, x);
    }
}

INLINE __m512 load_scale(const unsigned char *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}

INLINE struct floats load_scales(const unsigned char *p, size_t stride, const int P)
{
    struct floats v = {0};
    v.p0 = load_scale(p);
    if (P == 4) {
        v.p1 = load_scale(p + stride);
        v.p2 = load_scale(p + 2 * stride);
        v.p3 = load_scale(p + 3 * stride);
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
    struct floats v = load_floats(y, LINE, P);
    v.p0 = _mm512_fmadd_ps(total->p0, s, v.p0);
    if (P == 4) {
        v.p1 = _mm512_fmadd_ps(total->p1, s, v.p1);
        v.p2 = _mm512_fmadd_ps(total->p2, s, v.p2);
        v.p3 = _mm512_fmadd_ps(total->p3, s, v.p3);
    }
    store_floats(y, &v, P);
}

/* The exact sums of one block begin at the offset's correction, so that it costs nothing. */
INLINE void block_rows(struct integers *a, struct integers *b, struct integers *c, const unsigned char *block,
                       size_t stride, const int8_t *q, size_t ldq, const int s, const bool nibbles,
                       const int P, const int T)
{
    struct integers w = load_codes(block, stride, s, nibbles, P);
    integer_row(a, &w, q + 4 * s, P);
    if (T > 1)
        integer_row(b, &w, q + ldq + 4 * s, P);
    if (T > 2)
        integer_row(c, &w, q + 2 * ldq + 4 * s, P);
}

INLINE void unit_tile(float *y, const unsigned char *w, size_t stride, const struct tokens *x,
                      struct ahead *f, const bool nibbles, const bool alone, const int P, const int T)
{
    size_t ldq = x->units * UNIT, lds = x->units * 4;
    const int8_t *q = x->q;
    const int32_t *sum = x->sum;
    struct floats t0 = {0}, t1 = t0, t2 = t0;
    const unsigned char *unit = w, *block = w + SCALES;
    for (int b = 0; b < 4; b++, q += 32, w += PANEL * 2, block += (nibbles ? 4 : 8) * LINE) {
        struct integers i0 = start(sum[b]), i1 = start(T > 1 ? sum[lds + b] : 0),
                        i2 = start(T > 2 ? sum[2 * lds + b] : 0);
        fetch_block(f, b, alone, P);
#define STEP(s)                                                                                              \
    fetch_step(f, (size_t)(block - unit) + (size_t)((s) % (nibbles ? 4 : 8)) * LINE,                         \
               alone && !(nibbles && (s) > 3), P);                                                           \
    block_rows(&i0, &i1, &i2, block, stride, q, ldq, s, nibbles, P, T)
        STEP(0);
        STEP(4);
        STEP(1);
        STEP(5);
        STEP(2);
        STEP(6);
        STEP(3);
        STEP(7);
#undef STEP
        struct floats s = load_scales(w, stride, P);
        add_block(&t0, &i0, &s, P);
        if (T > 1)
            add_block(&t1, &i1, &s, P);
        if (T > 2)
            add_block(&t2, &i2, &s, P);
    }
    add_unit(y, &t0, x->scale[0], P);
    if (T > 1)
        add_unit(y + GROUP * PANEL, &t1, x->scale[x->units], P);
    if (T > 2)
        add_unit(y + 2 * GROUP * PANEL, &t2, x->scale[2 * x->units], P);
}

const struct kernels kernels_avx512 = {
    .isa = "avx512", .matmul = matmul, .matmul_f32 = matmul_f32, UNPACK_KERNELS(avx512), ELEMENT_KERNELS};
#endif
