/* The kernels in plain C: what every other table is checked against, and what runs where there is no other.
 */
#include "compute/kernels_element.h"
#include "compute/kernels_tables.h"
#include "compute/quant.h"

static void matmul_f32(float *y, size_t ldy, const float *w, size_t panel_stride, size_t panels,
                       const float *x, size_t ldx, size_t T, size_t K, bool accumulate)
{
    for (size_t p = 0; p < panels; p++)
        for (size_t t = 0; t < T; t++) {
            float acc[PANEL] = {0}, *out = y + t * ldy + p * PANEL;
            const float *v = w + p * panel_stride;
            if (accumulate)
                memcpy(acc, out, sizeof acc);
            for (size_t k = 0; k < K; k++, v += PANEL)
                for (int lane = 0; lane < PANEL; lane++)
                    acc[lane] += x[t * ldx + k] * v[lane];
            memcpy(out, acc, sizeof acc);
        }
}

static float widen(uint16_t bf16)
{
    return math_float((uint32_t)bf16 << 16);
}

static void panel_bf16(float *y, size_t ldy, const uint16_t *panel, const struct activation *a,
                       bool accumulate)
{
    size_t pairs = (a->cols + 1) / 2;
    for (size_t t = 0; t < a->rows; t++) {
        const uint16_t *x = a->bf16 + t * a->ld, *w = panel;
        float acc[PANEL] = {0};
        if (accumulate)
            memcpy(acc, y + t * ldy, sizeof acc);
        for (size_t k = 0; k < pairs; k++, w += 2 * PANEL) {
            float even = widen(x[2 * k]), odd = widen(x[2 * k + 1]);
            for (int lane = 0; lane < PANEL; lane++)
                acc[lane] = acc[lane] + even * widen(w[2 * lane]) + odd * widen(w[2 * lane + 1]);
        }
        memcpy(y + t * ldy, acc, sizeof acc);
    }
}

/* Codes of 128 columns as they lie for Q8_0: [32][16][4]. */
static void unpack_q4(uint8_t out[ACT_BLOCK * PANEL], const uint8_t *codes)
{
    for (size_t b = 0; b < 4; b++)
        for (size_t i = 0; i < 4 * PANEL * 4; i++) {
            out[b * 512 + i] = codes[b * 256 + i] & 15;
            out[b * 512 + 256 + i] = codes[b * 256 + i] >> 4;
        }
}

/* y[0..15] of one token += one unit of 128 columns */
static void unit_token(float *y, const uint8_t *codes, const float *scale, const int8_t *q,
                       const int32_t *sum, float act_scale)
{
    float total[PANEL] = {0};
    for (int b = 0; b < 4; b++) {
        int32_t acc[PANEL];
        for (int lane = 0; lane < PANEL; lane++)
            acc[lane] = sum[b];
        for (int s = 8 * b; s < 8 * b + 8; s++)
            for (int lane = 0; lane < PANEL; lane++)
                for (int i = 0; i < 4; i++)
                    acc[lane] += codes[(s * PANEL + lane) * 4 + i] * q[4 * s + i];
        for (int lane = 0; lane < PANEL; lane++)
            total[lane] += (float)acc[lane] * scale[b * PANEL + lane];
    }
    for (int lane = 0; lane < PANEL; lane++)
        y[lane] += total[lane] * act_scale;
}

static void panel_integer(float *y, size_t ldy, const unsigned char *unit, const struct activation *a)
{
    size_t units = (a->cols + ACT_BLOCK - 1) / ACT_BLOCK;
    for (size_t t = 0; t < a->rows; t++)
        memset(y + t * ldy, 0, PANEL * sizeof *y);
    for (size_t u = 0; u < units; u++, unit += matrix_panel_bytes(a->type, ACT_BLOCK)) {
        uint8_t unpacked[ACT_BLOCK * PANEL];
        const uint8_t *codes = unit + 128;
        float scale[4 * PANEL];
        for (int i = 0; i < 4 * PANEL; i++)
            scale[i] = quant_f16_to_f32((uint16_t)(unit[2 * i] | unit[2 * i + 1] << 8));
        if (a->type == DT_Q4_0) {
            unpack_q4(unpacked, codes);
            codes = unpacked;
        }
        for (size_t t = 0; t < a->rows; t++) {
            size_t at = t * units + u;
            unit_token(y + t * ldy, codes, scale, a->q + at * ACT_BLOCK, a->sum + at * 4, a->scale[at]);
        }
    }
}

static void matmul(float *y, size_t ldy, const struct matrix *w, const struct activation *a, size_t p0,
                   size_t p1, bool accumulate)
{
    size_t bytes = matrix_panel_bytes(w->type, w->cols);
    const unsigned char *panel = w->data + p0 * bytes;
    if (w->type == DT_F32) {
        matmul_f32(y + p0 * PANEL, ldy, (const void *)panel, bytes / sizeof(float), p1 - p0, a->f32, a->ld,
                   a->rows, a->cols, accumulate);
        return;
    }
    for (size_t p = p0; p < p1; p++, panel += bytes)
        if (w->type == DT_BF16)
            panel_bf16(y + p * PANEL, ldy, (const void *)panel, a, accumulate);
        else
            panel_integer(y + p * PANEL, ldy, panel, a);
}

const struct kernels kernels_portable = {
    .isa = "portable", .matmul = matmul, .matmul_f32 = matmul_f32, UNPACK_KERNELS(portable), ELEMENT_KERNELS};
