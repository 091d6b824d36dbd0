/* Weights of any type as panels of F32 or BF16, as they lie or transposed, written once for all tables: a tile of
 * 64 columns of a panel becomes floats, and those are written as wanted. */
#ifndef GYEOL_COMPUTE_KERNELS_UNPACK_H
#define GYEOL_COMPUTE_KERNELS_UNPACK_H

#include "compute/kernels_element.h"
#include "compute/quant.h"

enum {
    TILE = 64, /* columns: NF4's block; those of ggml's types begin at a multiple of it or in its middle */
    NF4_UNIT = PANEL * sizeof(float) + TILE * PANEL / 2,
    INTEGER_SCALES = 4 * PANEL * 2, /* bytes before a unit's codes */
};

static inline float widen_bf16(uint16_t h)
{
    return math_float((uint32_t)h << 16);
}

static void tile_bf16(float tile[TILE][PANEL], const uint16_t *pairs, size_t n)
{
    for (size_t k = 0; k < n; k += 2, pairs += 2 * PANEL)
        for (int r = 0; r < PANEL; r++) {
            tile[k][r] = widen_bf16(pairs[2 * r]);
            if (k + 1 < n)
                tile[k + 1][r] = widen_bf16(pairs[2 * r + 1]);
        }
}

/* Two blocks of 32 columns, from an even block on. */
static void tile_integers(float tile[TILE][PANEL], const unsigned char *unit, size_t block, size_t n, bool q4)
{
    for (size_t k = 0; k < n; k++) {
        size_t b = block + k / 32, i = k % 32, at = q4 ? i % 16 : i;
        const unsigned char *codes =
            unit + INTEGER_SCALES + b * (32 * PANEL) / (q4 ? 2 : 1) + at / 4 * PANEL * 4;
        for (size_t r = 0; r < PANEL; r++) {
            uint16_t half;
            memcpy(&half, unit + (b * PANEL + r) * 2, sizeof half);
            int code = codes[r * 4 + at % 4], value = q4 ? (i < 16 ? code & 15 : code >> 4) - 8 : code - 128;
            tile[k][r] = quant_f16_to_f32(half) * (float)value;
        }
    }
}

static void tile_nf4(float tile[TILE][PANEL], const unsigned char *unit)
{
    const float *absmax = (const void *)unit;
    const unsigned char *codes = unit + PANEL * sizeof *absmax;
    for (size_t k = 0; k < TILE; k++)
        for (size_t r = 0; r < PANEL; r++) {
            unsigned pair = codes[(k / 8 * PANEL + r) * 4 + k % 8 / 2];
            tile[k][r] = nf4_codebook[k % 2 ? pair >> 4 : pair & 15] * absmax[r];
        }
}

/* Columns k0 .. k0+n-1 of a panel, k0 a multiple of TILE, n at most TILE. */
static void tile_of(float tile[TILE][PANEL], enum dtype type, const unsigned char *panel, size_t k0, size_t n)
{
    if (type == DT_F32)
        memcpy(tile, panel + k0 * PANEL * sizeof(float), n * sizeof *tile);
    else if (type == DT_BF16)
        tile_bf16(tile, (const uint16_t *)(const void *)panel + k0 * PANEL, n);
    else if (type == DT_NF4)
        tile_nf4(tile, panel + k0 / TILE * NF4_UNIT);
    else
        tile_integers(tile, panel + k0 / ACT_BLOCK * matrix_panel_bytes(type, ACT_BLOCK), k0 % ACT_BLOCK / 32,
                      n, type == DT_Q4_0);
}

/* A line of pairs from two rows of 16 floats; b NULL: zeros. */
static inline void pair_line(uint16_t *out, const float *a, const float *b)
{
    for (int i = 0; i < PANEL; i++) {
        out[2 * i] = round_bf16(a[i]);
        out[2 * i + 1] = b ? round_bf16(b[i]) : 0;
    }
}

static void unpack_tile(unsigned char *out, enum dtype to, const float (*tile)[PANEL], size_t n)
{
    if (to == DT_F32) {
        memcpy(out, tile, n * sizeof *tile);
        return;
    }
    for (size_t k = 0; k < n; k += 2)
        pair_line((uint16_t *)(void *)out + k * PANEL, tile[k], k + 1 < n ? tile[k + 1] : NULL);
}

static void unpack(void *out, enum dtype to, const struct matrix *w, size_t p0, size_t p1, size_t k0,
                   size_t k1)
{
    size_t bytes = matrix_panel_bytes(w->type, w->cols), column = PANEL * (to == DT_F32 ? 4 : 2);
    unsigned char *at = out;
    for (size_t p = p0; p < p1; p++, at += matrix_panel_bytes(to, k1 - k0))
        for (size_t k = k0; k < k1; k += TILE) {
            _Alignas(64) float tile[TILE][PANEL];
            size_t n = k1 - k < TILE ? k1 - k : TILE;
            tile_of(tile, w->type, w->data + p * bytes, k, n);
            unpack_tile(at + (k - k0) * column, to, tile, n);
        }
}

/* Panel q's 16 rows of the tile are columns here. */
static void turn_tile(float turned[PANEL][PANEL], const float (*tile)[PANEL], size_t q)
{
    for (size_t r = 0; r < PANEL; r++)
        for (size_t i = 0; i < PANEL; i++)
            turned[r][i] = tile[q * PANEL + i][r];
}

static void unpack_transposed(void *out, enum dtype to, const struct matrix *w, size_t k0, size_t n0,
                              size_t n1)
{
    size_t bytes = matrix_panel_bytes(w->type, w->cols), stride = matrix_panel_bytes(to, n1 - n0);
    size_t columns = w->cols - k0 < TILE ? w->cols - k0 : TILE, line = PANEL * (to == DT_F32 ? 4 : 2);
    for (size_t n = n0; n < n1; n += PANEL) {
        _Alignas(64) float tile[TILE][PANEL] = {{0}}, turned[PANEL][PANEL];
        tile_of(tile, w->type, w->data + n / PANEL * bytes, k0, columns);
        for (size_t q = 0; q * PANEL < columns; q++) {
            turn_tile(turned, tile, q);
            unpack_tile((unsigned char *)out + q * stride + (n - n0) * line, to, turned,
                        n1 - n < PANEL ? n1 - n : PANEL);
        }
    }
}

#endif
