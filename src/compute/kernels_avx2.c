/* Tiles for AVX2, FMA and F16C: a panel is two vectors of 8 outputs; with 16 registers, one panel at a time. */
#include "compute/kernels_tables.h"

#if KERNELS_X86
#include "compute/kernels_blocks.h"

#include <immintrin.h>

struct floats {
    __m256 lo, hi; /* outputs 0..7 and 8..15 */
};

struct integers {
    __m256i lo, hi;
};

INLINE struct floats no_floats(void)
{
    return (struct floats){_mm256_setzero_ps(), _mm256_setzero_ps()};
}

INLINE struct floats load_floats(const float *p)
{
    return (struct floats){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

INLINE void store_floats(float *p, const struct floats *v)
{
    _mm256_storeu_ps(p, v->lo);
    _mm256_storeu_ps(p + 8, v->hi);
}

INLINE struct integers load_integers(const void *p)
{
    const __m256i *v = p;
    return (struct integers){_mm256_loadu_si256(v), _mm256_loadu_si256(v + 1)};
}

INLINE __m256i dword(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

INLINE void add_product(struct floats *sum, const struct floats *w, __m256 x)
{
    sum->lo = _mm256_fmadd_ps(w->lo, x, sum->lo);
    sum->hi = _mm256_fmadd_ps(w->hi, x, sum->hi);
}

/* ---- F32, BF16 ---- */

/* A bf16 is a float's upper half: of a pair, the float in the low half and that in the high half of each dword. */
INLINE __m256 even(__m256i pair)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
}

INLINE __m256 odd(__m256i pair)
{
    return _mm256_castsi256_ps(_mm256_and_si256(pair, _mm256_set1_epi32((int)0xffff0000)));
}

/* A line of weights: 16 floats, or 16 pairs widened. */
struct weights {
    struct floats first, second;
};

INLINE struct weights load_weights(const unsigned char *p, const bool bf16)
{
    struct weights w = {load_floats((const void *)p), no_floats()};
    if (bf16) {
        struct integers v = load_integers(p);
        w.first = (struct floats){even(v.lo), even(v.hi)};
        w.second = (struct floats){odd(v.lo), odd(v.hi)};
    }
    return w;
}

/* sum += w x for one row */
INLINE void float_row(struct floats *sum, const struct weights *w, const unsigned char *x, const bool bf16)
{
    __m256i v = dword(x);
    add_product(sum, &w->first, bf16 ? even(v) : _mm256_castsi256_ps(v));
    if (bf16)
        add_product(sum, &w->second, odd(v));
}

/* The sums of a tile: six rows at most. */
struct tile {
    struct floats a, b, c, d, e, f;
};

INLINE void load_tile(struct tile *v, const float *y, size_t ldy, const int T)
{
    v->a = load_floats(y);
    if (T > 1)
        v->b = load_floats(y + ldy);
    if (T > 2)
        v->c = load_floats(y + 2 * ldy);
    if (T > 3)
        v->d = load_floats(y + 3 * ldy);
    if (T > 4)
        v->e = load_floats(y + 4 * ldy);
    if (T > 5)
        v->f = load_floats(y + 5 * ldy);
}

INLINE void store_tile(float *y, size_t ldy, const struct tile *v, const int T)
{
    store_floats(y, &v->a);
    if (T > 1)
        store_floats(y + ldy, &v->b);
    if (T > 2)
        store_floats(y + 2 * ldy, &v->c);
    if (T > 3)
        store_floats(y + 3 * ldy, &v->d);
    if (T > 4)
        store_floats(y + 4 * ldy, &v->e);
    if (T > 5)
        store_floats(y + 5 * ldy, &v->f);
}

INLINE void tile_step(struct tile *v, const struct weights *w, const unsigned char *x, size_t ldx,
                      const bool bf16, const int T)
{
    float_row(&v->a, w, x, bf16);
    if (T > 1)
        float_row(&v->b, w, x + ldx, bf16);
    if (T > 2)
        float_row(&v->c, w, x + 2 * ldx, bf16);
    if (T > 3)
        float_row(&v->d, w, x + 3 * ldx, bf16);
    if (T > 4)
        float_row(&v->e, w, x + 4 * ldx, bf16);
    if (T > 5)
        float_row(&v->f, w, x + 5 * ldx, bf16);
}

/* Rows of one panel; w is its first line, steps their number. */
INLINE void panel_tile(float *y, size_t ldy, const unsigned char *w, const unsigned char *x, size_t ldx,
                       size_t steps, bool onto, struct spread ahead, const bool bf16, const int T)
{
    struct tile v = {no_floats(), no_floats(), no_floats(), no_floats(), no_floats(), no_floats()};
    if (onto)
        load_tile(&v, y, ldy, T);
    for (size_t s = 0; s < steps; s++, x += 4, w += LINE) {
        struct weights line = load_weights(w, bf16);
        _mm_prefetch((const char *)(ahead.at + (s >> ahead.slow) * LINE), _MM_HINT_T0);
        tile_step(&v, &line, x, ldx, bf16, T);
    }
    store_tile(y, ldy, &v, T);
}

/* The widened pairs of bf16 leave registers for three rows. */
INLINE void float_tile(const struct float_product *m, size_t t, size_t s0, size_t s1, bool onto,
                       struct spread ahead, const bool bf16, const int P, const int T)
{
    const unsigned char *x = m->x + t * m->ldx + s0 * 4, *w = m->w + s0 * LINE;
    const int first = bf16 && T > 3 ? (T + 1) / 2 : T;
    for (int p = 0; p < P; p++, w += m->stride, ahead.at += m->stride) {
        float *y = m->y + t * m->ldy + p * PANEL;
        panel_tile(y, m->ldy, w, x, m->ldx, s1 - s0, onto, ahead, bf16, first);
        if (first < T)
            panel_tile(y + first * m->ldy, m->ldy, w, x + (size_t)first * m->ldx, m->ldx, s1 - s0, onto,
                       ahead, bf16, T - first);
    }
}

/* ---- Q8_0, Q4_0 ---- */

/* Four columns of one row. vpmaddubsw wants one side unsigned and saturates at 16 bits. Q8_0: |w| <= 128 times x with
 * the sign of w, two products at most 32512 in size. Q4_0: codes as they are, eight sums of two products at most 30480,
 * so they are added in 16 bits and the offset comes with the block. */
INLINE __m256i four_columns(__m256i sum, __m256i w, __m256i x, const bool nibbles)
{
    if (nibbles)
        return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INLINE void integer_row(struct integers *sum, const struct integers *w, const int8_t *q, const bool nibbles)
{
    __m256i x = dword(q);
    sum->lo = four_columns(sum->lo, w->lo, x, nibbles);
    sum->hi = four_columns(sum->hi, w->hi, x, nibbles);
}

/* Step s of a block: Q4_0's unsigned codes, Q8_0's signed values. */
INLINE struct integers load_codes(const unsigned char *block, int s, const bool nibbles)
{
    struct integers v = load_integers(block + (size_t)(nibbles ? s % 4 : s) * LINE);
    if (nibbles) {
        __m256i low = _mm256_set1_epi8(15);
        v.lo = _mm256_and_si256(s < 4 ? v.lo : _mm256_srli_epi16(v.lo, 4), low);
        v.hi = _mm256_and_si256(s < 4 ? v.hi : _mm256_srli_epi16(v.hi, 4), low);
    } else {
        __m256i offset = _mm256_set1_epi8((char)128);
        v.lo = _mm256_xor_si256(v.lo, offset);
        v.hi = _mm256_xor_si256(v.hi, offset);
    }
    return v;
}

INLINE __m256 to_floats(__m256i sum, int32_t offset, const bool nibbles)
{
    if (nibbles)
        sum = _mm256_add_epi32(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)), _mm256_set1_epi32(offset));
    return _mm256_cvtepi32_ps(sum);
}

/* total += scale (sum + offset) */
INLINE void add_block(struct floats *total, const struct integers *sum, int32_t offset,
                      const unsigned char *scale, const bool nibbles)
{
    const __m128i *s = (const void *)scale;
    __m256 lo = _mm256_cvtph_ps(_mm_loadu_si128(s)), hi = _mm256_cvtph_ps(_mm_loadu_si128(s + 1));
    total->lo = _mm256_fmadd_ps(to_floats(sum->lo, offset, nibbles), lo, total->lo);
    total->hi = _mm256_fmadd_ps(to_floats(sum->hi, offset, nibbles), hi, total->hi);
}

INLINE void add_unit(float *y, const struct floats *total, float scale)
{
    struct floats v = load_floats(y);
    add_product(&v, total, _mm256_set1_ps(scale));
    store_floats(y, &v);
}

INLINE void panel_unit(float *y, const unsigned char *w, const struct tokens *x, struct ahead *f,
                       const bool nibbles, const bool alone, const int P, const int T)
{
    size_t ldq = x->units * UNIT, lds = x->units * 4;
    const int8_t *q = x->q;
    const int32_t *sum = x->sum;
    const unsigned char *unit = w, *block = w + SCALES;
    struct floats t0 = no_floats(), t1 = t0, t2 = t0;
    for (int b = 0; b < 4; b++, q += 32, w += PANEL * 2, block += (nibbles ? 4 : 8) * LINE) {
        struct integers i0 = {_mm256_setzero_si256(), _mm256_setzero_si256()}, i1 = i0, i2 = i0;
        fetch_block(f, b, alone, P);
        for (int s = 0; s < 8; s++) {
            if (!nibbles || s < 4)
                fetch_step(f, (size_t)(block - unit) + (size_t)s * LINE, alone, P);
            struct integers v = load_codes(block, s, nibbles);
            integer_row(&i0, &v, q + 4 * s, nibbles);
            if (T > 1)
                integer_row(&i1, &v, q + ldq + 4 * s, nibbles);
            if (T > 2)
                integer_row(&i2, &v, q + 2 * ldq + 4 * s, nibbles);
        }
        add_block(&t0, &i0, sum[b], w, nibbles);
        if (T > 1)
            add_block(&t1, &i1, sum[lds + b], w, nibbles);
        if (T > 2)
            add_block(&t2, &i2, sum[2 * lds + b], w, nibbles);
    }
    add_unit(y, &t0, x->scale[0]);
    if (T > 1)
        add_unit(y + GROUP * PANEL, &t1, x->scale[x->units]);
    if (T > 2)
        add_unit(y + 2 * GROUP * PANEL, &t2, x->scale[2 * x->units]);
}

/* The first panel fetches for all. */
INLINE void unit_tile(float *y, const unsigned char *w, size_t stride, const struct tokens *x,
                      struct ahead *f, const bool nibbles, const bool alone, const int P, const int T)
{
    panel_unit(y, w, x, f, nibbles, alone, P, T);
    for (int p = 1; p < P; p++)
        panel_unit(y + p * PANEL, w + p * stride, x, f, nibbles, true, 0, T);
}

const struct kernels kernels_avx2 = {
    .isa = "avx2", .matmul = matmul, .matmul_f32 = matmul_f32, UNPACK_KERNELS(avx2), ELEMENT_KERNELS};
#endif
