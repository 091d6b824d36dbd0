/* NF4, the 4-bit format of QLoRA (Dettmers et al. 2023), as bitsandbytes computes it: a value is its block's
 * absolute maximum times one of 16 quantiles of the normal distribution; the maxima themselves are kept in 8
 * bits. Every step is rounded to 32 bits where bitsandbytes rounds it, so the bits are the same. */
#include "compute/quant.h"

#include "base/err.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const float nf4_codebook[16] = {
    -1.0f,
    -0.6961928009986877f,
    -0.5250730514526367f,
    -0.39491748809814453f,
    -0.28444138169288635f,
    -0.18477343022823334f,
    -0.09105003625154495f,
    0.0f,
    0.07958029955625534f,
    0.16093020141124725f,
    0.24611230194568634f,
    0.33791524171829224f,
    0.44070982933044434f,
    0.5626170039176941f,
    0.7229568362236023f,
    1.0f,
};

/* functional.py, create_dynamic_map(signed=True): for i in 0..6 the midpoints of 2^i equal steps from 0.1 to
 * 1, times 10^(i-6), and their negatives, and 0, and 1. A table, because the last bits are those of
 * torch.linspace. */
static const float dynamic_map[256] = {
    -0.99296874f,    -0.9789062f,     -0.96484375f,    -0.9507812f,
    -0.9367187f,     -0.92265624f,    -0.9085938f,     -0.89453125f,
    -0.8804687f,     -0.8664062f,     -0.85234374f,    -0.8382812f,
    -0.82421875f,    -0.8101562f,     -0.7960937f,     -0.78203124f,
    -0.7679688f,     -0.75390625f,    -0.7398438f,     -0.72578126f,
    -0.7117188f,     -0.6976563f,     -0.68359375f,    -0.6695313f,
    -0.65546876f,    -0.64140624f,    -0.6273438f,     -0.61328125f,
    -0.5992187f,     -0.58515626f,    -0.5710938f,     -0.5570313f,
    -0.54296875f,    -0.5289062f,     -0.51484376f,    -0.50078124f,
    -0.48671877f,    -0.47265625f,    -0.45859373f,    -0.44453126f,
    -0.43046874f,    -0.4164062f,     -0.40234375f,    -0.38828123f,
    -0.37421876f,    -0.36015624f,    -0.3460937f,     -0.33203125f,
    -0.31796873f,    -0.30390626f,    -0.28984374f,    -0.27578127f,
    -0.26171875f,    -0.24765626f,    -0.23359376f,    -0.21953125f,
    -0.20546874f,    -0.19140625f,    -0.17734374f,    -0.16328125f,
    -0.14921875f,    -0.13515624f,    -0.12109375f,    -0.107031256f,
    -0.09859375f,    -0.095781244f,   -0.092968754f,   -0.09015625f,
    -0.08734375f,    -0.08453125f,    -0.08171874f,    -0.07890625f,
    -0.07609375f,    -0.07328125f,    -0.070468746f,   -0.067656256f,
    -0.06484375f,    -0.062031247f,   -0.059218753f,   -0.05640625f,
    -0.05359375f,    -0.05078125f,    -0.04796875f,    -0.04515625f,
    -0.042343747f,   -0.03953125f,    -0.036718752f,   -0.033906247f,
    -0.03109375f,    -0.028281247f,   -0.02546875f,    -0.02265625f,
    -0.01984375f,    -0.01703125f,    -0.01421875f,    -0.01140625f,
    -0.00971875f,    -0.009156249f,   -0.00859375f,    -0.00803125f,
    -0.00746875f,    -0.00690625f,    -0.00634375f,    -0.00578125f,
    -0.0052187503f,  -0.0046562497f,  -0.00409375f,    -0.0035312497f,
    -0.00296875f,    -0.00240625f,    -0.00184375f,    -0.0012812499f,
    -0.0009437501f,  -0.00083125f,    -0.00071875006f, -0.0006062501f,
    -0.00049375003f, -0.00038125002f, -0.00026875004f, -0.00015625001f,
    -8.875e-05f,     -6.625e-05f,     -4.375e-05f,     -2.1249998e-05f,
    -7.75e-06f,      -3.2500002e-06f, -5.5000004e-07f, 0.0f,
    5.5000004e-07f,  3.2500002e-06f,  7.75e-06f,       2.1249998e-05f,
    4.375e-05f,      6.625e-05f,      8.875e-05f,      0.00015625001f,
    0.00026875004f,  0.00038125002f,  0.00049375003f,  0.0006062501f,
    0.00071875006f,  0.00083125f,     0.0009437501f,   0.0012812499f,
    0.00184375f,     0.00240625f,     0.00296875f,     0.0035312497f,
    0.00409375f,     0.0046562497f,   0.0052187503f,   0.00578125f,
    0.00634375f,     0.00690625f,     0.00746875f,     0.00803125f,
    0.00859375f,     0.009156249f,    0.00971875f,     0.01140625f,
    0.01421875f,     0.01703125f,     0.01984375f,     0.02265625f,
    0.02546875f,     0.028281247f,    0.03109375f,     0.033906247f,
    0.036718752f,    0.03953125f,     0.042343747f,    0.04515625f,
    0.04796875f,     0.05078125f,     0.05359375f,     0.05640625f,
    0.059218753f,    0.062031247f,    0.06484375f,     0.067656256f,
    0.070468746f,    0.07328125f,     0.07609375f,     0.07890625f,
    0.08171874f,     0.08453125f,     0.08734375f,     0.09015625f,
    0.092968754f,    0.095781244f,    0.09859375f,     0.107031256f,
    0.12109375f,     0.13515624f,     0.14921875f,     0.16328125f,
    0.17734374f,     0.19140625f,     0.20546874f,     0.21953125f,
    0.23359376f,     0.24765626f,     0.26171875f,     0.27578127f,
    0.28984374f,     0.30390626f,     0.31796873f,     0.33203125f,
    0.3460937f,      0.36015624f,     0.37421876f,     0.38828123f,
    0.40234375f,     0.4164062f,      0.43046874f,     0.44453126f,
    0.45859373f,     0.47265625f,     0.48671877f,     0.50078124f,
    0.51484376f,     0.5289062f,      0.54296875f,     0.5570313f,
    0.5710938f,      0.58515626f,     0.5992187f,      0.61328125f,
    0.6273438f,      0.64140624f,     0.65546876f,     0.6695313f,
    0.68359375f,     0.6976563f,      0.7117188f,      0.72578126f,
    0.7398438f,      0.75390625f,     0.7679688f,      0.78203124f,
    0.7960937f,      0.8101562f,      0.82421875f,     0.8382812f,
    0.85234374f,     0.8664062f,      0.8804687f,      0.89453125f,
    0.9085938f,      0.92265624f,     0.9367187f,      0.9507812f,
    0.96484375f,     0.9789062f,      0.99296874f,     1.0f,
};

const float *nf4_dynamic_map(void)
{
    return dynamic_map;
}

static float largest(const float *v, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(v[i]) > most)
            most = fabsf(v[i]);
    return most;
}

/* The nearest codes of v times inverse, in -1..1; halfway goes down, NaN (a block of zeros) to code 0. */
static void nearest4(uint8_t code[NF4_BLOCK], const float *v, size_t n, float inverse)
{
    float x[NF4_BLOCK] = {0};
    uint32_t above[NF4_BLOCK] = {0};
    for (size_t i = 0; i < n; i++)
        x[i] = v[i] * inverse;
    for (int c = 0; c < 15; c++) {
        float middle = (nf4_codebook[c] + nf4_codebook[c + 1]) / 2;
        for (int i = 0; i < NF4_BLOCK; i++)
            above[i] += x[i] > middle;
    }
    for (int i = 0; i < NF4_BLOCK; i++)
        code[i] = (uint8_t)above[i];
}

static size_t block_at(size_t at, size_t block, size_t n)
{
    return n - at < block ? n - at : block;
}

void nf4_encode(uint8_t *packed, float *absmax, const float *values, size_t n)
{
    for (size_t at = 0; at < n; at += NF4_BLOCK) {
        size_t len = block_at(at, NF4_BLOCK, n);
        float most = largest(values + at, len);
        uint8_t code[NF4_BLOCK];
        absmax[at / NF4_BLOCK] = most;
        nearest4(code, values + at, len, 1 / most);
        for (size_t i = 0; i + 1 < len; i += 2)
            packed[(at + i) / 2] = (uint8_t)(code[i] << 4 | code[i + 1]);
    }
}

void nf4_decode(float *out, const uint8_t *packed, const float *absmax, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        out[i] = nf4_codebook[packed[i / 2] >> 4] * absmax[i / NF4_BLOCK];
        out[i + 1] = nf4_codebook[packed[i / 2] & 15] * absmax[i / NF4_BLOCK];
    }
}

/* The nearest entry of the map; the lower of two equally near, entry 0 for NaN. */
static uint8_t nearest8(float x)
{
    int lo = 0, hi = 255; /* map[lo] <= x < map[hi], where x is within the map at all */
    while (hi - lo > 1) {
        int mid = (lo + hi) / 2;
        if (x >= dynamic_map[mid])
            lo = mid;
        else
            hi = mid;
    }
    return (uint8_t)(fabsf(x - dynamic_map[hi]) < fabsf(x - dynamic_map[lo]) ? hi : lo);
}

/* The order in which torch adds up 32-bit floats on a processor with vectors of 8 (aten/src/ATen/native/cpu/
 * SumKernel.cpp, one thread): 4 vectors side by side, their sums cascading through LEVELS accumulators so
 * that the error grows slowly, then the vectors left over, then the lanes and the values left over.
 * bitsandbytes takes the mean with torch, and in any other order its last bit differs. */
enum { LEVELS = 4, LANES = 8, SIDE = 4 * LANES };

static void add_to(float *sum, const float *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sum[i] += v[i];
}

/* Full rows of SIDE values. */
static void cascade(float sum[SIDE], const float *v, size_t rows)
{
    float acc[LEVELS][SIDE] = {{0}};
    size_t log = 0;
    while (log < 63 && (size_t)1 << log < rows)
        log++;
    size_t power = log / LEVELS > 4 ? log / LEVELS : 4, step = (size_t)1 << power, whole = rows - rows % step;
    for (size_t i = 0; i < rows; i++) {
        add_to(acc[0], v + i * SIDE, SIDE);
        if ((i + 1) % step != 0 || i >= whole)
            continue;
        for (size_t level = 1; level < LEVELS; level++) {
            add_to(acc[level], acc[level - 1], SIDE);
            memset(acc[level - 1], 0, sizeof acc[0]);
            if ((i + 1) >> level * power & (step - 1))
                break;
        }
    }
    for (size_t level = 1; level < LEVELS; level++)
        add_to(acc[0], acc[level], SIDE);
    memcpy(sum, acc[0], sizeof acc[0]);
}

static float torch_sum(const float *v, size_t n)
{
    float side[SIDE], sum = 0;
    size_t i = n - n % SIDE;
    cascade(side, v, n / SIDE);
    for (; n - i >= LANES; i += LANES)
        add_to(side, v + i, LANES);
    for (int k = 1; k < SIDE / LANES; k++)
        add_to(side, side + k * LANES, LANES);
    for (; i < n; i++)
        sum += v[i];
    for (int k = 0; k < LANES; k++)
        sum += side[k];
    return sum;
}

void nf4_encode_absmax(uint8_t *codes, float *scale, float *offset, const float *absmax, size_t n)
{
    *offset = n ? torch_sum(absmax, n) / (float)n : 0;
    for (size_t at = 0; at < n; at += NF4_BLOCK2) {
        size_t len = block_at(at, NF4_BLOCK2, n);
        float most = 0;
        for (size_t i = at; i < at + len; i++)
            if (fabsf(absmax[i] - *offset) > most)
                most = fabsf(absmax[i] - *offset);
        scale[at / NF4_BLOCK2] = most;
        float inverse = 1 / most;
        for (size_t i = at; i < at + len; i++)
            codes[i] = nearest8((absmax[i] - *offset) * inverse);
    }
}

void nf4_decode_absmax(float *absmax, const uint8_t *codes, const float *scale, float offset,
                       const float *map, size_t n)
{
    for (size_t i = 0; i < n; i++)
        absmax[i] = map[codes[i]] * scale[i / NF4_BLOCK2] + offset;
}

int nf4_round_absmax(float *absmax, size_t blocks)
{
    float offset, *scale = malloc((blocks / NF4_BLOCK2 + 1) * sizeof *scale);
    uint8_t *codes = malloc(blocks + 1);
    int rc = scale && codes ? 0 : ERR_MEMORY;
    if (rc == 0) {
        nf4_encode_absmax(codes, scale, &offset, absmax, blocks);
        nf4_decode_absmax(absmax, codes, scale, offset, dynamic_map, blocks);
    }
    free(scale);
    free(codes);
    return rc;
}

int nf4_round_trip(float *values, size_t n)
{
    size_t blocks = n / NF4_BLOCK + (n % NF4_BLOCK != 0);
    float *absmax = malloc((blocks + 1) * sizeof *absmax);
    if (!absmax)
        return ERR_MEMORY;
    for (size_t b = 0; b < blocks; b++) {
        float *v = values + NF4_BLOCK * b;
        size_t len = block_at(NF4_BLOCK * b, NF4_BLOCK, n);
        uint8_t code[NF4_BLOCK];
        absmax[b] = largest(v, len);
        nearest4(code, v, len, 1 / absmax[b]);
        for (size_t i = 0; i < len; i++)
            v[i] = nf4_codebook[code[i]];
    }
    int rc = nf4_round_absmax(absmax, blocks);
    for (size_t i = 0; i < n && rc == 0; i++)
        values[i] *= absmax[i / NF4_BLOCK];
    free(absmax);
    return rc;
}
