/* Packing weights into panels, and reading them back. Runs once per model, so it is simple rather than fast:
 * one block of 32 values at a time, no memory of its own. */
#include "compute/matrix.h"

#include "base/size.h"
#include "compute/quant.h"

#include <string.h>

enum {
    BLOCK = 32, /* ggml's */
    Q8_BLOCK = 2 + 32,
    Q4_BLOCK = 2 + 16,
    UNIT = 128,             /* columns whose scales lie together */
    SCALES = 4 * PANEL * 2, /* bytes of them */
    Q8_UNIT = SCALES + UNIT * PANEL,
    Q4_UNIT = SCALES + UNIT * PANEL / 2,
    NF4_LINES = NF4_BLOCK / 8, /* of 16 lanes' codes */
    NF4_UNIT = PANEL * 4 * (1 + NF4_LINES),
};

static size_t ceil_div(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

size_t matrix_panel_bytes(enum dtype type, size_t cols)
{
    size_t units, bytes, r;
    switch (type) {
    case DT_F32:
        units = cols, bytes = PANEL * sizeof(float);
        break;
    case DT_BF16:
        units = ceil_div(cols, 2), bytes = PANEL * 2 * sizeof(uint16_t);
        break;
    case DT_Q8_0:
        units = ceil_div(cols, UNIT), bytes = Q8_UNIT;
        break;
    case DT_Q4_0:
        units = ceil_div(cols, UNIT), bytes = Q4_UNIT;
        break;
    case DT_NF4:
        units = cols % NF4_BLOCK == 0 ? cols / NF4_BLOCK : 0, bytes = NF4_UNIT;
        break;
    default:
        return 0;
    }
    return size_mul(units, bytes, &r) ? r : 0;
}

size_t matrix_bytes(enum dtype type, size_t rows, size_t cols)
{
    size_t r;
    return size_mul(matrix_panels(rows), matrix_panel_bytes(type, cols), &r) ? r : 0;
}

/* Where the unit, its scales and its codes are. */
struct place {
    unsigned char *scale; /* f16 of block 0, lane 0 */
    unsigned char *codes;
};

static struct place place_of(void *panel, enum dtype type, size_t block)
{
    unsigned char *unit = (unsigned char *)panel + block / 4 * (type == DT_Q8_0 ? Q8_UNIT : Q4_UNIT);
    size_t b = block % 4;
    return (struct place){unit + b * PANEL * 2,
                          unit + SCALES + b * BLOCK * PANEL / (type == DT_Q8_0 ? 1 : 2)};
}

/* One block of ggml's into lane `lane`: its scale is an f16, little-endian in both layouts. */
static void put_block(void *panel, enum dtype type, size_t block, size_t lane, const unsigned char *ggml)
{
    struct place at = place_of(panel, type, block);
    memcpy(at.scale + 2 * lane, ggml, 2);
    const unsigned char *code = ggml + 2;
    size_t n = type == DT_Q8_0 ? BLOCK : BLOCK / 2, offset = type == DT_Q8_0 ? 128 : 0;
    for (size_t i = 0; i < n; i++)
        at.codes[(i / 4 * PANEL + lane) * 4 + i % 4] = (unsigned char)(code[i] + offset);
}

/* A panel of zeros: codes that mean zero, scales of zero. */
static void clear(void *panel, enum dtype type, size_t cols)
{
    memset(panel, 0, matrix_panel_bytes(type, cols));
    for (size_t b = 0; (type == DT_Q8_0 || type == DT_Q4_0) && b < 4 * ceil_div(cols, UNIT); b++) {
        struct place at = place_of(panel, type, b);
        if (type == DT_Q8_0)
            memset(at.codes, 128, BLOCK * PANEL);
        else
            memset(at.codes, 0x88, BLOCK * PANEL / 2);
    }
}

static void pack_quantised(void *panel, enum dtype type, const float *rows, size_t n, size_t cols)
{
    for (size_t r = 0; r < n; r++)
        for (size_t b = 0; b * BLOCK < cols; b++) {
            float values[BLOCK] = {0};
            unsigned char ggml[Q8_BLOCK];
            size_t have = cols - b * BLOCK < BLOCK ? cols - b * BLOCK : BLOCK;
            memcpy(values, rows + r * cols + b * BLOCK, have * sizeof *values);
            quant_encode(ggml, type, values, BLOCK);
            put_block(panel, type, b, r, ggml);
        }
}

/* A lane's block: bitsandbytes has the first of two codes in the high nibble. */
static void put_nf4(unsigned char *unit, size_t lane, const unsigned char *codes, float absmax)
{
    memcpy(unit + 4 * lane, &absmax, sizeof absmax);
    for (size_t i = 0; i < NF4_LINES; i++) {
        uint32_t eight;
        memcpy(&eight, codes + 4 * i, sizeof eight);
        eight = (eight & 0x0f0f0f0f) << 4 | (eight >> 4 & 0x0f0f0f0f);
        memcpy(unit + ((1 + i) * PANEL + lane) * 4, &eight, sizeof eight);
    }
}

float *matrix_nf4_absmax(void *data, size_t cols, size_t row, size_t block)
{
    unsigned char *panel = (unsigned char *)data + row / PANEL * matrix_panel_bytes(DT_NF4, cols);
    return (float *)(void *)(panel + block * NF4_UNIT) + row % PANEL;
}

void matrix_pack_nf4(void *panel, const unsigned char *codes, const float *absmax, size_t n, size_t cols)
{
    clear(panel, DT_NF4, cols);
    for (size_t r = 0; r < n; r++)
        for (size_t b = 0; b < cols / NF4_BLOCK; b++)
            put_nf4((unsigned char *)panel + b * NF4_UNIT, r, codes + (r * cols + b * NF4_BLOCK) / 2,
                    absmax[r * (cols / NF4_BLOCK) + b]);
}

static void pack_nf4(void *panel, const float *rows, size_t n, size_t cols)
{
    for (size_t r = 0; r < n; r++)
        for (size_t b = 0; b < cols / NF4_BLOCK; b++) {
            unsigned char codes[NF4_BLOCK / 2];
            float absmax;
            nf4_encode(codes, &absmax, rows + r * cols + b * NF4_BLOCK, NF4_BLOCK);
            put_nf4((unsigned char *)panel + b * NF4_UNIT, r, codes, absmax);
        }
}

void matrix_pack(void *panel, enum dtype type, const float *rows, size_t n, size_t cols)
{
    clear(panel, type, cols);
    if (type == DT_NF4) {
        pack_nf4(panel, rows, n, cols);
        return;
    }
    if (type == DT_Q8_0 || type == DT_Q4_0) {
        pack_quantised(panel, type, rows, n, cols);
        return;
    }
    for (size_t r = 0; r < n; r++)
        for (size_t k = 0; k < cols; k++)
            if (type == DT_F32)
                ((float *)panel)[k * PANEL + r] = rows[r * cols + k];
            else
                ((uint16_t *)panel)[(k / 2 * PANEL + r) * 2 + k % 2] = quant_f32_to_bf16(rows[r * cols + k]);
}

void matrix_pack_blocks(void *panel, enum dtype type, const unsigned char *rows, size_t row_bytes, size_t n,
                        size_t cols)
{
    clear(panel, type, cols);
    for (size_t r = 0; r < n; r++)
        for (size_t b = 0; b < cols / BLOCK; b++)
            put_block(panel, type, b, r, rows + r * row_bytes + b * (type == DT_Q8_0 ? Q8_BLOCK : Q4_BLOCK));
}

static void block_values(float *out, void *panel, enum dtype type, size_t block, size_t lane)
{
    struct place at = place_of(panel, type, block);
    uint16_t half;
    memcpy(&half, at.scale + 2 * lane, 2);
    float scale = quant_f16_to_f32(half);
    for (size_t i = 0; i < BLOCK; i++) {
        size_t k = type == DT_Q8_0 ? i : i % 16;
        unsigned code = at.codes[(k / 4 * PANEL + lane) * 4 + k % 4];
        int value = type == DT_Q8_0 ? (int)code - 128 : (int)(i < 16 ? code & 15 : code >> 4) - 8;
        out[i] = scale * (float)value;
    }
}

static void nf4_values(float *out, const unsigned char *unit, size_t lane)
{
    unsigned char codes[NF4_BLOCK / 2];
    float absmax;
    memcpy(&absmax, unit + 4 * lane, sizeof absmax);
    for (size_t i = 0; i < NF4_BLOCK / 2; i++) {
        unsigned char code = unit[((1 + i / 4) * PANEL + lane) * 4 + i % 4];
        codes[i] = (unsigned char)(code << 4 | code >> 4);
    }
    nf4_decode(out, codes, &absmax, NF4_BLOCK);
}

void matrix_row(float *out, const struct matrix *m, size_t row)
{
    size_t lane = row % PANEL;
    void *panel = (void *)(m->data + row / PANEL * matrix_panel_bytes(m->type, m->cols));
    switch (m->type) {
    case DT_F32:
        for (size_t k = 0; k < m->cols; k++)
            out[k] = ((const float *)panel)[k * PANEL + lane];
        break;
    case DT_BF16:
        for (size_t k = 0; k < m->cols; k++)
            out[k] = quant_bf16_to_f32(((const uint16_t *)panel)[(k / 2 * PANEL + lane) * 2 + k % 2]);
        break;
    case DT_NF4:
        for (size_t b = 0; b < m->cols / NF4_BLOCK; b++)
            nf4_values(out + b * NF4_BLOCK, (unsigned char *)panel + b * NF4_UNIT, lane);
        break;
    default:
        for (size_t k = 0; k < m->cols; k += BLOCK) {
            float values[BLOCK];
            block_values(values, panel, m->type, k / BLOCK, lane);
            memcpy(out + k, values, (m->cols - k < BLOCK ? m->cols - k : BLOCK) * sizeof *out);
        }
    }
}

/* Lines of 16 lanes: a lane's part of each from one place to another. */
static void copy_lane(unsigned char *to, size_t to_lane, const unsigned char *from, size_t from_lane,
                      size_t size, size_t lines)
{
    for (size_t i = 0; i < lines; i++)
        memcpy(to + (i * PANEL + to_lane) * size, from + (i * PANEL + from_lane) * size, size);
}

static void copy_row(unsigned char *to, size_t to_lane, const unsigned char *from, size_t from_lane,
                     enum dtype type, size_t bytes)
{
    if (type == DT_F32 || type == DT_BF16 || type == DT_NF4) { /* all of it lines of dwords */
        copy_lane(to, to_lane, from, from_lane, 4, bytes / (4 * PANEL));
        return;
    }
    size_t unit = type == DT_Q8_0 ? Q8_UNIT : Q4_UNIT;
    for (size_t u = 0; u < bytes; u += unit) {
        copy_lane(to + u, to_lane, from + u, from_lane, 2, 4);
        copy_lane(to + u + SCALES, to_lane, from + u + SCALES, from_lane, 4, (unit - SCALES) / (4 * PANEL));
    }
}

void matrix_gather(void *out, const struct matrix *m, const int32_t *ids, size_t n)
{
    size_t bytes = matrix_panel_bytes(m->type, m->cols);
    for (size_t p = 0; p < matrix_panels(n); p++)
        clear((unsigned char *)out + p * bytes, m->type, m->cols);
    for (size_t i = 0; i < n; i++)
        copy_row((unsigned char *)out + i / PANEL * bytes, i % PANEL,
                 m->data + (size_t)ids[i] / PANEL * bytes, (size_t)ids[i] % PANEL, m->type, bytes);
}
