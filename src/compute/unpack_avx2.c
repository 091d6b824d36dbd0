/* Unpacking for AVX2. */
#include "compute/kernels_tables.h"

#if KERNELS_X86
#include "compute/kernels_unpack.h"

#include <immintrin.h>

/* Codes in the lowest four bits of each lane: two tables of eight, and bit 3 chooses. */
INLINE __m256 codebook_of(__m256i code)
{
    __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(nf4_codebook), code);
    __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(nf4_codebook + 8), code);
    return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)));
}

INLINE void tile_nf4(float tile[TILE][PANEL], const unsigned char *unit)
{
    for (size_t half = 0; half < PANEL; half += 8) {
        const unsigned char *line = unit + half * 4;
        __m256 absmax = _mm256_loadu_ps((const void *)line);
        for (size_t k = 0; k < TILE; k += 8) {
            __m256i codes = _mm256_loadu_si256((const void *)(line += PANEL * 4));
            for (size_t i = 0; i < 8; i++, codes = _mm256_srli_epi32(codes, 4))
                _mm256_storeu_ps(&tile[k + i][half], _mm256_mul_ps(codebook_of(codes), absmax));
        }
    }
}

/* 8 x 8, from and to rows 16 apart. */
INLINE void turn8(float *out, const float *in)
{
    __m256 r[8], s[8];
    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(in + i * PANEL);
    for (int i = 0; i < 8; i += 2) {
        s[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        s[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(s[i], s[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(s[i], s[i + 2], 0xee);
        r[i + 2] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(s[i + 1], s[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(out + i * PANEL, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(out + (i + 4) * PANEL, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

INLINE void turn(float out[PANEL][PANEL], const float (*in)[PANEL])
{
    turn8(&out[0][0], &in[0][0]);
    turn8(&out[0][8], &in[8][0]);
    turn8(&out[8][0], &in[0][8]);
    turn8(&out[8][8], &in[8][8]);
}

INLINE void pair_line(void *out, const float *a, const float *b)
{
    pair_line_plain(out, a, b);
}

DEFINE_PACK(avx2)
DEFINE_UNPACK(avx2)
#endif
