/* Unpacking for AVX-512: NF4 by a permutation, which is a look-up in 16 entries that ignores all bits of an index but
 * the lowest four; rounding to bf16 by the instruction (a denormal becomes zero, as it would in vdpbf16ps). */
#include "compute/kernels_tables.h"

#if KERNELS_X86
#include "compute/kernels_unpack.h"

#include <immintrin.h>

INLINE __m512 codebook_of(__m512i codes)
{
    return _mm512_permutexvar_ps(codes, _mm512_loadu_ps(nf4_codebook));
}

INLINE void tile_nf4(float tile[TILE][PANEL], const unsigned char *unit)
{
    __m512 absmax = _mm512_loadu_ps(unit);
    for (size_t k = 0; k < TILE; k += 8) {
        __m512i codes = _mm512_loadu_si512(unit += PANEL * 4);
        for (unsigned i = 0; i < 8; i++)
            _mm512_storeu_ps(tile[k + i],
                             _mm512_mul_ps(codebook_of(_mm512_srli_epi32(codes, 4 * i)), absmax));
    }
}

/* 16 x 16 in registers: pairs of lanes, of pairs, then quarters of 128 bits twice. */
INLINE void turn(float out[PANEL][PANEL], const float (*in)[PANEL])
{
    __m512 r[16], s[16];
    for (int i = 0; i < 16; i++)
        r[i] = _mm512_loadu_ps(in[i]);
    for (int i = 0; i < 16; i += 2) {
        s[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_shuffle_ps(s[i], s[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(s[i], s[i + 2], 0xee);
        r[i + 2] = _mm512_shuffle_ps(s[i + 1], s[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(s[i + 1], s[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        s[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
        s[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
        s[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
        s[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        _mm512_storeu_ps(out[i], _mm512_shuffle_f32x4(s[i], s[i + 8], 0x88));
        _mm512_storeu_ps(out[i + 8], _mm512_shuffle_f32x4(s[i], s[i + 8], 0xdd));
        _mm512_storeu_ps(out[i + 4], _mm512_shuffle_f32x4(s[i + 4], s[i + 12], 0x88));
        _mm512_storeu_ps(out[i + 12], _mm512_shuffle_f32x4(s[i + 4], s[i + 12], 0xdd));
    }
}

/* What the instruction gives has all of b's before all of a's. */
INLINE void pair_line(void *out, const float *a, const float *b)
{
    static const uint16_t interleaved[2 * PANEL] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                    21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                    11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(b), _mm512_loadu_ps(a));
    _mm512_storeu_si512(out, _mm512_permutexvar_epi16(_mm512_loadu_si512(interleaved), both));
}

/* ---- NF4 to BF16: floats are made where their halves of a pair will lie, so that rounding two vectors gives a line ---- */

INLINE void round_line(void *out, __m512 first, __m512 second)
{
    _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}

/* Every lane shifted by its own: 4 and 4 more for each of a pair. */
INLINE __m512 values_of(__m512i codes, __m512i shift, __m512 absmax)
{
    return _mm512_mul_ps(codebook_of(_mm512_srlv_epi32(codes, shift)), absmax);
}

/* 64 columns: every row twice, for the first and the second of a pair of columns. */
static void unpack_block(unsigned char *out, const unsigned char *unit)
{
    const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
    const __m512i shift = _mm512_set1_epi64((int64_t)4 << 32), next = _mm512_set1_epi32(8);
    __m512 absmax = _mm512_loadu_ps(unit);
    __m512 first = _mm512_permutexvar_ps(low, absmax), second = _mm512_permutexvar_ps(high, absmax);
    for (int line = 0; line < TILE / 8; line++) {
        __m512i codes = _mm512_loadu_si512(unit += PANEL * 4), by = shift;
        __m512i a = _mm512_permutexvar_epi32(low, codes), b = _mm512_permutexvar_epi32(high, codes);
        for (int pair = 0; pair < 4; pair++, by = _mm512_add_epi32(by, next), out += PANEL * 4)
            round_line(out, values_of(a, by, first), values_of(b, by, second));
    }
}

/* Two rows of 64 columns: a row's eight codes are one dword, read into all lanes. */
INLINE void turn_rows(unsigned char *out, size_t stride, const unsigned char *unit, size_t row)
{
    const __m512i shift = _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
    int64_t two[1 + TILE / 8];
    for (size_t i = 0; i <= TILE / 8; i++)
        memcpy(&two[i], unit + (i * PANEL + row) * 4, sizeof *two);
    __m512 absmax = _mm512_castsi512_ps(_mm512_set1_epi64(two[0]));
    for (size_t i = 1; i <= TILE / 8; i += 2, out += stride)
        round_line(out, values_of(_mm512_set1_epi64(two[i]), shift, absmax),
                   values_of(_mm512_set1_epi64(two[i + 1]), shift, absmax));
}

/* ---- BF16 transposed ---- */

/* 16 columns of 16 rows. A quarter of 128 bits of a line holds four rows of a pair of columns; its words are put into
 * two pairs of rows for each column, and those are 8 x 8 elements of 64 bits to be transposed. */
INLINE void turn_pairs(unsigned char *out, const unsigned char *in)
{
    const __m512i swap =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
    __m512i r[8], s[8];
    for (int i = 0; i < 8; i++)
        r[i] = _mm512_shuffle_epi8(_mm512_loadu_si512(in + i * 64), swap);
    for (int i = 0; i < 8; i += 2) {
        s[i] = _mm512_unpacklo_epi64(r[i], r[i + 1]);
        s[i + 1] = _mm512_unpackhi_epi64(r[i], r[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        r[i] = _mm512_shuffle_i64x2(s[i], s[i + 2], 0x88);
        r[i + 2] = _mm512_shuffle_i64x2(s[i], s[i + 2], 0xdd);
        r[i + 4] = _mm512_shuffle_i64x2(s[i + 4], s[i + 6], 0x88);
        r[i + 6] = _mm512_shuffle_i64x2(s[i + 4], s[i + 6], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        _mm512_storeu_si512(out + i * 64, _mm512_shuffle_i64x2(r[i], r[i + 4], 0x88));
        _mm512_storeu_si512(out + (i + 4) * 64, _mm512_shuffle_i64x2(r[i], r[i + 4], 0xdd));
    }
}

/* ---- what the table takes ---- */

DEFINE_PACK(avx512)

void unpack_avx512(void *out, enum dtype to, const struct matrix *w, size_t p0, size_t p1, size_t k0,
                   size_t k1)
{
    size_t bytes = matrix_panel_bytes(w->type, w->cols);
    unsigned char *at = out;
    if (w->type != DT_NF4 || to != DT_BF16) {
        unpack_any(out, to, w, p0, p1, k0, k1);
        return;
    }
    for (size_t p = p0; p < p1; p++)
        for (size_t k = k0; k < k1; k += TILE, at += TILE * PANEL * 2)
            unpack_block(at, w->data + p * bytes + k / TILE * NF4_UNIT);
}

/* One panel's 64 columns. */
static void turn_whole_panel(unsigned char *out, size_t stride, enum dtype from, const unsigned char *panel,
                             size_t k0)
{
    if (from == DT_NF4)
        for (size_t row = 0; row < PANEL; row += 2)
            turn_rows(out + row * PANEL * 2, stride, panel + k0 / TILE * NF4_UNIT, row);
    else
        for (size_t q = 0; q < TILE / PANEL; q++)
            turn_pairs(out + q * stride, panel + (k0 + q * PANEL) * PANEL * 2);
}

void unpack_transposed_avx512(void *out, enum dtype to, const struct matrix *w, size_t k0, size_t n0,
                              size_t n1)
{
    size_t bytes = matrix_panel_bytes(w->type, w->cols), stride = matrix_panel_bytes(to, n1 - n0), n = n0;
    bool known = to == DT_BF16 && (w->type == DT_NF4 || w->type == DT_BF16) && w->cols - k0 >= TILE;
    if (!known) {
        unpack_transposed_any(out, to, w, k0, n0, n1);
        return;
    }
    for (; n + PANEL <= n1; n += PANEL)
        turn_whole_panel((unsigned char *)out + (n - n0) * PANEL * 2, stride, w->type,
                         w->data + n / PANEL * bytes, k0);
    if (n < n1)
        turn_panel((unsigned char *)out + (n - n0) * PANEL * 2, stride, to, w->type,
                   w->data + n / PANEL * bytes, k0, TILE, n1 - n);
}
#endif
