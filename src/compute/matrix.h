/* Weight matrices as the kernels read them: panels of 16 rows, so that the 16 lanes of a vector are 16
 * outputs and every output is one chain of sums in order of k. Nothing about the order depends on how many
 * tokens are multiplied or by how many threads, so results are bit-identical for every batch. One layout
 * serves every instruction set.
 *
 * A matrix [rows N, columns K] has ceil(N/16) panels; rows past N are zero. Panels, by type (little-endian):
 *   F32    f32 [K][16]
 *   BF16   u16 [ceil(K/2)][16][2]
 *   Q8_0   per 128 columns: f16 scale[4][16]; u8 q[32][16][4]   q = ggml's value + 128, k = 4 s + i
 *   Q4_0   per 128 columns: f16 scale[4][16]; u8 q[4][4][16][4] block b, step s: low nibble k = 32 b + 4 s +
 * i, high nibble k = 32 b + 16 + 4 s + i (ggml's own pairing and its unsigned codes, value = code - 8)
 *   NF4    per 64 columns: f32 absmax[16]; u8 q[8][16][4]: byte i of row r in group g holds columns 8 g + 2 i
 *          (low nibble) and 8 g + 2 i + 1 (high nibble), so that a row's eight codes are one 32-bit lane. K is
 *          a multiple of 64, bitsandbytes' block; absmax is the double-quantised value, decoded.
 * K is padded to the unit with zero weights (NF4 has none to pad). Panels are 64-byte aligned. */
#ifndef GYEOL_COMPUTE_MATRIX_H
#define GYEOL_COMPUTE_MATRIX_H

#include "base/dtype.h"

#include <stdbool.h>
#include <stddef.h>

#define PANEL 16 /* rows */

struct matrix {
    enum dtype type; /* DT_F32, DT_BF16, DT_Q8_0, DT_Q4_0, DT_NF4 */
    size_t rows, cols;
    const unsigned char *data; /* borrowed, 64-byte aligned: a mapping or an allocation */
};

static inline size_t matrix_panels(size_t rows)
{
    return rows / PANEL + (rows % PANEL != 0);
}

/* Bytes of one panel, and of the whole; 0 when the type is none of the five, the columns are none that NF4 can hold, or
 * it overflows. */
size_t matrix_panel_bytes(enum dtype type, size_t cols);
size_t matrix_bytes(enum dtype type, size_t rows, size_t cols);

/* Packs one panel from n <= 16 rows of floats [n, cols], converting to the type as quant_encode (NF4: nf4_encode) does. */
void matrix_pack(void *panel, enum dtype type, const float *rows, size_t n, size_t cols);

/* Packs one panel from n rows in ggml's blocks of the same type (DT_Q8_0, DT_Q4_0) without changing a value;
 * rows row_bytes apart; cols a multiple of 32. */
void matrix_pack_blocks(void *panel, enum dtype type, const unsigned char *rows, size_t row_bytes, size_t n,
                        size_t cols);

/* Packs one panel from n rows of NF4 as bitsandbytes has them: codes [n, cols / 2], absmax [n, cols / 64]. */
void matrix_pack_nf4(void *panel, const unsigned char *codes, const float *absmax, size_t n, size_t cols);

/* Where panels of NF4 at `data` keep the maximum of a row's block of 64. */
float *matrix_nf4_absmax(void *data, size_t cols, size_t row, size_t block);

/* One row as floats [cols]: embedding lookup, tests. */
void matrix_row(float *out, const struct matrix *m, size_t row);

/* Packs rows `ids` (n of them, each < m->rows) of m as a matrix of their own into `out` (matrix_bytes), value
 * for value. */
void matrix_gather(void *out, const struct matrix *m, const int32_t *ids, size_t n);

#endif
