/* AVX2, FMA and F16C: a panel is two vectors of 8 outputs. One panel at a time with several tokens, so that
 * weights are loaded, widened or unpacked once for all of them; a panel is small enough to stay in the cache
 * while all tokens pass. Tiles are functions of the constant T (tokens), always inlined; their vectors are
 * named members, not arrays, which compilers keep in registers whatever they decide about unrolling. */
#include "compute/kernels_tables.h"

#if KERNELS_X86
#include "compute/kernels_element.h"

#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

enum {
    LINE = 64, /* bytes of 16 floats, or of 4 columns of codes */
    UNIT = ACT_BLOCK,
    SCALES = 4 * PANEL * 2, /* bytes of a unit's scales */
    T_FLOAT = 6,
    T_BF16 = 4,
    T_INTEGER = 3,
};

struct floats {
    __m256 lo, hi; /* outputs 0..7 and 8..15 */
};

struct integers {
    __m256i lo, hi;
};

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

INLINE void add_product(struct floats *sum, const struct floats *w, __m256 x)
{
    sum->lo = _mm256_fmadd_ps(w->lo, x, sum->lo);
    sum->hi = _mm256_fmadd_ps(w->hi, x, sum->hi);
}

/* ---- F32 ---- */

struct float_product {
    float *y;
    const float *w, *x;
    size_t ldy, ldx, K;
};

INLINE void float_tile(const struct float_product *m, bool onto, const int T)
{
    const float *x = m->x, *w = m->w;
    float *y = m->y;
    size_t ldx = m->ldx, ldy = m->ldy;
    struct floats a = {_mm256_setzero_ps(), _mm256_setzero_ps()}, b = a, c = a, d = a, e = a, f = a;
    if (onto) {
        a = load_floats(y);
        b = T > 1 ? load_floats(y + ldy) : b;
        c = T > 2 ? load_floats(y + 2 * ldy) : c;
        d = T > 3 ? load_floats(y + 3 * ldy) : d;
        e = T > 4 ? load_floats(y + 4 * ldy) : e;
        f = T > 5 ? load_floats(y + 5 * ldy) : f;
    }
    for (size_t k = 0; k < m->K; k++, x++, w += PANEL) {
        struct floats v = load_floats(w);
        add_product(&a, &v, _mm256_broadcast_ss(x));
        if (T > 1)
            add_product(&b, &v, _mm256_broadcast_ss(x + ldx));
        if (T > 2)
            add_product(&c, &v, _mm256_broadcast_ss(x + 2 * ldx));
        if (T > 3)
            add_product(&d, &v, _mm256_broadcast_ss(x + 3 * ldx));
        if (T > 4)
            add_product(&e, &v, _mm256_broadcast_ss(x + 4 * ldx));
        if (T > 5)
            add_product(&f, &v, _mm256_broadcast_ss(x + 5 * ldx));
    }
    store_floats(y, &a);
    if (T > 1)
        store_floats(y + ldy, &b);
    if (T > 2)
        store_floats(y + 2 * ldy, &c);
    if (T > 3)
        store_floats(y + 3 * ldy, &d);
    if (T > 4)
        store_floats(y + 4 * ldy, &e);
    if (T > 5)
        store_floats(y + 5 * ldy, &f);
}

static void float_rows(struct float_product m, size_t T, bool onto)
{
    for (; T >= T_FLOAT; T -= T_FLOAT, m.x += T_FLOAT * m.ldx, m.y += T_FLOAT * m.ldy)
        float_tile(&m, onto, T_FLOAT);
    switch (T) {
    case 5:
        float_tile(&m, onto, 5);
        break;
    case 4:
        float_tile(&m, onto, 4);
        break;
    case 3:
        float_tile(&m, onto, 3);
        break;
    case 2:
        float_tile(&m, onto, 2);
        break;
    case 1:
        float_tile(&m, onto, 1);
    }
}

static void matmul_f32(float *y, size_t ldy, const float *w, size_t panel_stride, size_t panels,
                       const float *x, size_t ldx, size_t T, size_t K, bool accumulate)
{
    for (size_t p = 0; p < panels; p++) {
        struct float_product m = {y + p * PANEL, w + p * panel_stride, x, ldy, ldx, K};
        float_rows(m, T, accumulate);
    }
}

/* ---- BF16: a float's upper half ---- */

struct bf16_product {
    float *y;
    const uint16_t *w, *x;
    size_t ldy, pairs;
};

INLINE __m256 even(__m256i pair)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(pair, 16));
}

INLINE __m256 odd(__m256i pair)
{
    return _mm256_castsi256_ps(_mm256_and_si256(pair, _mm256_set1_epi32((int)0xffff0000)));
}

INLINE void bf16_token(struct floats *sum, const struct floats *w0, const struct floats *w1,
                       const uint16_t *x)
{
    int32_t pair;
    memcpy(&pair, x, sizeof pair);
    __m256i v = _mm256_set1_epi32(pair);
    add_product(sum, w0, even(v));
    add_product(sum, w1, odd(v));
}

INLINE void bf16_tile(const struct bf16_product *m, bool onto, const int T)
{
    const uint16_t *x = m->x, *w = m->w;
    float *y = m->y;
    size_t ldx = 2 * m->pairs, ldy = m->ldy;
    struct floats a = {_mm256_setzero_ps(), _mm256_setzero_ps()}, b = a, c = a, d = a;
    if (onto) {
        a = load_floats(y);
        b = T > 1 ? load_floats(y + ldy) : b;
        c = T > 2 ? load_floats(y + 2 * ldy) : c;
        d = T > 3 ? load_floats(y + 3 * ldy) : d;
    }
    for (size_t k = 0; k < m->pairs; k++, x += 2, w += 2 * PANEL) {
        struct integers v = load_integers(w);
        struct floats w0 = {even(v.lo), even(v.hi)}, w1 = {odd(v.lo), odd(v.hi)};
        bf16_token(&a, &w0, &w1, x);
        if (T > 1)
            bf16_token(&b, &w0, &w1, x + ldx);
        if (T > 2)
            bf16_token(&c, &w0, &w1, x + 2 * ldx);
        if (T > 3)
            bf16_token(&d, &w0, &w1, x + 3 * ldx);
    }
    store_floats(y, &a);
    if (T > 1)
        store_floats(y + ldy, &b);
    if (T > 2)
        store_floats(y + 2 * ldy, &c);
    if (T > 3)
        store_floats(y + 3 * ldy, &d);
}

static void bf16_rows(struct bf16_product m, size_t T, bool onto)
{
    for (; T >= T_BF16; T -= T_BF16, m.x += T_BF16 * 2 * m.pairs, m.y += T_BF16 * m.ldy)
        bf16_tile(&m, onto, T_BF16);
    if (T == 3)
        bf16_tile(&m, onto, 3);
    else if (T == 2)
        bf16_tile(&m, onto, 2);
    else if (T == 1)
        bf16_tile(&m, onto, 1);
}

/* ---- Q8_0, Q4_0 ---- */

INLINE __m256i dword(const int8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

/* Four columns of one token. vpmaddubsw wants one side unsigned and saturates at 16 bits. Q8_0: |w| <= 128
 * times x with the sign of w, two products at most 32512 in size. Q4_0: codes as they are, eight sums of two
 * products at most 30480, so they are added in 16 bits and the offset comes with the block. */
INLINE __m256i four_columns(__m256i sum, __m256i w, __m256i x, const bool nibbles)
{
    if (nibbles)
        return _mm256_add_epi16(sum, _mm256_maddubs_epi16(w, x));
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

INLINE void integer_token(struct integers *sum, const struct integers *w, const int8_t *q, const bool nibbles)
{
    __m256i x = dword(q);
    sum->lo = four_columns(sum->lo, w->lo, x, nibbles);
    sum->hi = four_columns(sum->hi, w->hi, x, nibbles);
}

/* Step s of a block: Q4_0's unsigned codes, Q8_0's signed ones. */
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

INLINE __m256 to_float(__m256i sum, int32_t offset, const bool nibbles)
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
    total->lo = _mm256_fmadd_ps(to_float(sum->lo, offset, nibbles), lo, total->lo);
    total->hi = _mm256_fmadd_ps(to_float(sum->hi, offset, nibbles), hi, total->hi);
}

/* Rounded activations from one row on. */
struct tokens {
    const int8_t *q;
    const float *scale;
    const int32_t *sum;
    size_t units; /* of a row */
};

/* The totals of unit u: 128 columns before their activation scale. */
INLINE void unit_totals(struct floats *ta, struct floats *tb, struct floats *tc, const unsigned char *w,
                        const struct tokens *x, size_t u, const bool nibbles, const int T)
{
    size_t ldq = x->units * UNIT, lds = x->units * 4;
    const int8_t *q = x->q + u * UNIT;
    const int32_t *sum = x->sum + u * 4;
    const unsigned char *block = w + SCALES;
    for (int b = 0; b < 4; b++, q += 32, w += PANEL * 2, block += (nibbles ? 4 : 8) * LINE) {
        struct integers a = {_mm256_setzero_si256(), _mm256_setzero_si256()}, c = a, d = a;
        for (int s = 0; s < 8; s++) {
            struct integers v = load_codes(block, s, nibbles);
            integer_token(&a, &v, q + 4 * s, nibbles);
            if (T > 1)
                integer_token(&c, &v, q + ldq + 4 * s, nibbles);
            if (T > 2)
                integer_token(&d, &v, q + 2 * ldq + 4 * s, nibbles);
        }
        add_block(ta, &a, sum[b], w, nibbles);
        if (T > 1)
            add_block(tb, &c, sum[lds + b], w, nibbles);
        if (T > 2)
            add_block(tc, &d, sum[2 * lds + b], w, nibbles);
    }
}

INLINE void integer_tile(float *y, size_t ldy, const unsigned char *w, const struct tokens *x,
                         const bool nibbles, const int T)
{
    struct floats zero = {_mm256_setzero_ps(), _mm256_setzero_ps()}, ya = zero, yb = zero, yc = zero;
    size_t unit = SCALES + UNIT * PANEL / (nibbles ? 2 : 1);
    for (size_t u = 0; u < x->units; u++, w += unit) {
        struct floats ta = zero, tb = zero, tc = zero;
        unit_totals(&ta, &tb, &tc, w, x, u, nibbles, T);
        add_product(&ya, &ta, _mm256_set1_ps(x->scale[u]));
        if (T > 1)
            add_product(&yb, &tb, _mm256_set1_ps(x->scale[x->units + u]));
        if (T > 2)
            add_product(&yc, &tc, _mm256_set1_ps(x->scale[2 * x->units + u]));
    }
    store_floats(y, &ya);
    if (T > 1)
        store_floats(y + ldy, &yb);
    if (T > 2)
        store_floats(y + 2 * ldy, &yc);
}

INLINE void integer_rows(float *y, size_t ldy, const unsigned char *w, const struct activation *a,
                         const bool nibbles)
{
    size_t units = (a->cols + UNIT - 1) / UNIT;
    for (size_t t = 0; t < a->rows; t += T_INTEGER, y += T_INTEGER * ldy) {
        struct tokens x = {a->q + t * units * UNIT, a->scale + t * units, a->sum + t * units * 4, units};
        if (a->rows - t >= 3)
            integer_tile(y, ldy, w, &x, nibbles, 3);
        else if (a->rows - t == 2)
            integer_tile(y, ldy, w, &x, nibbles, 2);
        else
            integer_tile(y, ldy, w, &x, nibbles, 1);
    }
}

static void matmul(float *y, size_t ldy, const struct matrix *w, const struct activation *a, size_t p0,
                   size_t p1, bool accumulate)
{
    size_t bytes = matrix_panel_bytes(w->type, w->cols);
    const unsigned char *panel = w->data + p0 * bytes;
    y += p0 * PANEL;
    if (w->type == DT_F32) {
        matmul_f32(y, ldy, (const void *)panel, bytes / sizeof *y, p1 - p0, a->f32, a->ld, a->rows, a->cols,
                   accumulate);
        return;
    }
    for (size_t p = p0; p < p1; p++, panel += bytes, y += PANEL)
        if (w->type == DT_BF16)
            bf16_rows((struct bf16_product){y, (const void *)panel, a->bf16, ldy, (a->cols + 1) / 2}, a->rows,
                      accumulate);
        else if (w->type == DT_Q8_0)
            integer_rows(y, ldy, panel, a, false);
        else
            integer_rows(y, ldy, panel, a, true);
}

const struct kernels kernels_avx2 = {
    .isa = "avx2", .matmul = matmul, .matmul_f32 = matmul_f32, ELEMENT_KERNELS};
#endif
