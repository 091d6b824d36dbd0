/* Weights of any type as panels of F32 or BF16, as they lie or transposed, and activations as panels and as rows of
 * their columns; written once for all tables. A tile of 64 columns of a panel becomes floats, and those are written as
 * wanted. The file that includes this defines the steps that a compiler makes no good vectors of. */
#ifndef GYEOL_COMPUTE_KERNELS_UNPACK_H
#define GYEOL_COMPUTE_KERNELS_UNPACK_H

#include "compute/kernels.h"
#include "compute/kernels_math.h"
#include "compute/quant.h"

#ifndef INLINE
#define INLINE static inline __attribute__((always_inline))
#endif

enum {
    TILE = 64, /* columns: NF4's block; those of ggml's types begin at a multiple of it or in its middle */
    NF4_UNIT = PANEL * sizeof(float) + TILE * PANEL / 2,
    INTEGER_SCALES = 4 * PANEL * 2, /* bytes before a unit's codes */
};

/* A block of 64 columns. */
INLINE void tile_nf4(float tile[TILE][PANEL], const unsigned char *unit);

/* out[i][j] = in[j][i]; any 32 bits. */
INLINE void turn(float out[PANEL][PANEL], const float (*in)[PANEL]);

/* A line of pairs from two rows of 16 floats. */
INLINE void pair_line(void *out, const float *a, const float *b);

INLINE void pair_line_plain(void *out, const float *a, const float *b)
{
    for (int i = 0; i < PANEL; i++) {
        uint32_t pair = math_bf16(a[i]) | (uint32_t)math_bf16(b[i]) << 16;
        memcpy((char *)out + 4 * i, &pair, sizeof pair);
    }
}

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

static const float zeros[PANEL];

static void unpack_tile(unsigned char *out, enum dtype to, const float (*tile)[PANEL], size_t n)
{
    if (to == DT_F32) {
        memcpy(out, tile, n * sizeof *tile);
        return;
    }
    for (size_t k = 0; k < n; k += 2, out += PANEL * 4)
        pair_line(out, tile[k], k + 1 < n ? tile[k + 1] : zeros);
}

static void unpack_any(void *out, enum dtype to, const struct matrix *w, size_t p0, size_t p1, size_t k0,
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

/* One panel of w: its n columns from k0 on are parts of rows, `stride` bytes from one 16 to the next, of as many as its
 * `rows` rows. */
static void turn_panel(unsigned char *out, size_t stride, enum dtype to, enum dtype from,
                       const unsigned char *panel, size_t k0, size_t n, size_t rows)
{
    _Alignas(64) float tile[TILE][PANEL], turned[PANEL][PANEL];
    tile_of(tile, from, panel, k0, n);
    memset(tile[n], 0, (TILE - n) * sizeof *tile);
    for (size_t q = 0; q < n; q += PANEL, out += stride) {
        turn(turned, (const float(*)[PANEL])tile + q);
        unpack_tile(out, to, (const float(*)[PANEL])turned, rows);
    }
}

static void unpack_transposed_any(void *out, enum dtype to, const struct matrix *w, size_t k0, size_t n0,
                                  size_t n1)
{
    size_t bytes = matrix_panel_bytes(w->type, w->cols), stride = matrix_panel_bytes(to, n1 - n0);
    size_t columns = w->cols - k0 < TILE ? w->cols - k0 : TILE, column = PANEL * (to == DT_F32 ? 4 : 2);
    for (size_t n = n0; n < n1; n += PANEL)
        turn_panel((unsigned char *)out + (n - n0) * column, stride, to, w->type, w->data + n / PANEL * bytes,
                   k0, columns, n1 - n < PANEL ? n1 - n : PANEL);
}

/* ---- activations ---- */

/* n columns of tokens t, t+1 as a line of pairs (BF16), or of t alone (F32); zeros past T and n. */
static void token_line(float out[PANEL], enum dtype to, const float *x, size_t ldx, size_t T, size_t t,
                       size_t n)
{
    _Alignas(64) float two[2][PANEL] = {{0}};
    const float *a = x + t * ldx, *b = to == DT_BF16 && t + 1 < T ? a + ldx : NULL;
    if (n < PANEL) {
        a = memcpy(two[0], a, n * sizeof *a);
        b = b ? memcpy(two[1], b, n * sizeof *b) : NULL;
    }
    if (to == DT_F32)
        memcpy(out, a, sizeof *two);
    else
        pair_line(out, a, b ? b : zeros);
}

static void pack_panel(void *panel, enum dtype to, const float *x, size_t ldx, size_t T, size_t n)
{
    float *out = panel;
    for (size_t t = 0; t < T; t += to == DT_F32 ? 1 : 2, out += PANEL)
        token_line(out, to, x, ldx, T, t, n);
}

static void pack_rows(void *rows, size_t ld, enum dtype to, const float *x, size_t ldx, size_t T, size_t n)
{
    size_t step = to == DT_F32 ? 1 : 2, lines = (T + step - 1) / step, stride = ld / step;
    float *dword = rows; /* one value, or a pair */
    for (size_t s = 0; s < lines; s += PANEL) {
        _Alignas(64) float in[PANEL][PANEL] = {{0}}, out[PANEL][PANEL];
        size_t some = lines - s < PANEL ? lines - s : PANEL;
        for (size_t i = 0; i < some; i++)
            token_line(in[i], to, x, ldx, T, (s + i) * step, n);
        turn(out, (const float(*)[PANEL])in);
        for (size_t r = 0; r < n; r++)
            memcpy(dword + r * stride + s, out[r], some * sizeof **out);
    }
}

/* ---- what the table takes ---- */

#define DEFINE_PACK(isa)                                                                                     \
    void pack_panel_##isa(void *panel, enum dtype to, const float *x, size_t ldx, size_t T, size_t n)        \
    {                                                                                                        \
        pack_panel(panel, to, x, ldx, T, n);                                                                 \
    }                                                                                                        \
    void pack_rows_##isa(void *rows, size_t ld, enum dtype to, const float *x, size_t ldx, size_t T,         \
                         size_t n)                                                                           \
    {                                                                                                        \
        pack_rows(rows, ld, to, x, ldx, T, n);                                                               \
    }

#define DEFINE_UNPACK(isa)                                                                                   \
    void unpack_##isa(void *out, enum dtype to, const struct matrix *w, size_t p0, size_t p1, size_t k0,     \
                      size_t k1)                                                                             \
    {                                                                                                        \
        unpack_any(out, to, w, p0, p1, k0, k1);                                                              \
    }                                                                                                        \
    void unpack_transposed_##isa(void *out, enum dtype to, const struct matrix *w, size_t k0, size_t n0,     \
                                 size_t n1)                                                                  \
    {                                                                                                        \
        unpack_transposed_any(out, to, w, k0, n0, n1);                                                       \
    }

#endif
