/* Unpacking in plain C. */
#include "compute/kernels_tables.h"
#include "compute/kernels_unpack.h"

INLINE void tile_nf4(float tile[TILE][PANEL], const unsigned char *unit)
{
    const float *absmax = (const void *)unit;
    const unsigned char *codes = unit + PANEL * sizeof *absmax;
    for (size_t k = 0; k < TILE; k++)
        for (size_t r = 0; r < PANEL; r++) {
            unsigned pair = codes[(k / 8 * PANEL + r) * 4 + k % 8 / 2];
            tile[k][r] = nf4_codebook[k % 2 ? pair >> 4 : pair & 15] * absmax[r];
        }
}

INLINE void turn(float out[PANEL][PANEL], const float (*in)[PANEL])
{
    for (size_t i = 0; i < PANEL; i++)
        for (size_t j = 0; j < PANEL; j++)
            memcpy(&out[i][j], &in[j][i], sizeof **in);
}

INLINE void pair_line(void *out, const float *a, const float *b)
{
    pair_line_plain(out, a, b);
}

DEFINE_PACK(portable)
DEFINE_UNPACK(portable)
