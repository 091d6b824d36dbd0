/* Operation for operation what torch.optim.AdamW does to one tensor (torch/optim/adamw.py, _single_tensor_adamw),
 * every product rounded to 32 bits where torch rounds it. With 8 bits the moments are those of bitsandbytes'
 * blockwise optimisers (csrc/kernels.cu, kOptimizerStatic8bit2StateBlockwise): decoded, moved, used for the step
 * as they are, and coded again by the block's new largest value. */
#include "train/adamw.h"

#include "base/size.h"
#include "compute/quant.h"
#include "train/adamw_map.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256, CHUNK = 32 * BLOCK };

enum { KEY_SHIFT = 20, KEYS = 1 << (32 - KEY_SHIFT) };

/* The 256 codes of one moment, and for a number's upper bits where to begin to look for it. */
struct coder {
    const float *map;
    uint8_t start[KEYS];
};

struct adamw {
    struct adamw_options o;
    size_t n;
    uint64_t steps;
    float *first, *second;             /* 32 bits: [n] */
    uint8_t *first_code, *second_code; /* 8 bits: [n] */
    struct coder first_coder, second_coder;
    float *first_scale, *second_scale; /* 8 bits: [ceil(n / BLOCK)] */
};

/* What is the same for all values of a step. */
struct step {
    float beta1, beta2, rest1, rest2; /* rest: 1 - beta */
    float keep, eps, root, size;      /* 1 - lr * decay; sqrt(1 - beta2^t); -lr / (1 - beta1^t) */
    float scale;                      /* of the gradients */
};

/* ---- 8-bit codes */

/* Floats in ascending order as ascending numbers, their upper bits. */
static unsigned float_key(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits ^ (bits >> 31 ? UINT32_MAX : 0x80000000u)) >> KEY_SHIFT;
}

/* For each key the last entry that is not above any number of that key. */
static void index_map(struct coder *c, const float map[256])
{
    int code = 0;
    c->map = map;
    for (unsigned key = 0; key < KEYS; key++) {
        uint32_t bits = key << KEY_SHIFT;
        float least;
        bits ^= bits >> 31 ? 0x80000000u : UINT32_MAX;
        /* Of a negative number the bits that the key leaves out are all set where it is least. */
        memcpy(&least, &bits, sizeof least);
        while (code < 254 && map[code + 1] <= least)
            code++;
        c->start[key] = (uint8_t)code;
    }
}

/* The nearest entry; the lower of two equally near. */
static int nearest(const struct coder *c, float x)
{
    const float *map = c->map;
    int lo = c->start[float_key(x)];
    while (lo < 254 && map[lo + 1] <= x)
        lo++;
    return fabsf(x - map[lo + 1]) < fabsf(x - map[lo]) ? lo + 1 : lo;
}

static void decode(float *out, const uint8_t *code, float scale, const struct coder *c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = c->map[code[i]] * scale;
}

/* Returns the scale. A value below zero keeps its sign where the nearest code is 0, as in bitsandbytes. */
static float encode(uint8_t *code, const float *x, const struct coder *c, size_t n)
{
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    for (size_t i = 0; i < n; i++) {
        int k = nearest(c, most > 0 ? x[i] / most : 0);
        code[i] = (uint8_t)(k - (x[i] < 0 && c->map[k] >= 0));
    }
    return most;
}

/* ---- memory */

static size_t blocks(size_t n)
{
    return n / BLOCK + (n % BLOCK != 0);
}

size_t adamw_bytes(size_t n, int bits)
{
    return bits == 8 ? 2 * n + 2 * blocks(n) * sizeof(float) : 2 * n * sizeof(float);
}

static bool allocate(struct adamw *a, size_t n)
{
    if (a->o.bits == 32) {
        a->first = calloc(n + 1, sizeof *a->first);
        a->second = calloc(n + 1, sizeof *a->second);
        return a->first && a->second;
    }
    a->first_code = calloc(n + 1, 1);
    a->second_code = calloc(n + 1, 1);
    a->first_scale = calloc(blocks(n) + 1, sizeof(float));
    a->second_scale = calloc(blocks(n) + 1, sizeof(float));
    index_map(&a->first_coder, nf4_dynamic_map());
    index_map(&a->second_coder, adamw_map);
    return a->first_code && a->second_code && a->first_scale && a->second_scale;
}

int adamw_new(struct adamw **out, size_t n, const struct adamw_options *o, struct err *e)
{
    *out = NULL;
    if (o->bits != 32 && o->bits != 8)
        return err_set(e, ERR_USAGE, "%d bits of optimiser state: want 32 or 8", o->bits);
    struct adamw *a = calloc(1, sizeof *a);
    if (a) {
        a->o = *o;
        a->n = n;
    }
    if (!a || n > SIZE_MAX / 16 || !allocate(a, n)) {
        adamw_free(a);
        return err_set(e, ERR_MEMORY, "out of memory for the optimiser's state of %zu values", n);
    }
    *out = a;
    return 0;
}

void adamw_free(struct adamw *a)
{
    if (!a)
        return;
    free(a->first);
    free(a->second);
    free(a->first_code);
    free(a->second_code);
    free(a->first_scale);
    free(a->second_scale);
    free(a);
}

size_t adamw_parts(struct adamw *a, struct adamw_part part[4])
{
    size_t scales = blocks(a->n) * sizeof(float);
    if (a->o.bits == 32) {
        part[0] = (struct adamw_part){"exp_avg", a->first, a->n * sizeof(float)};
        part[1] = (struct adamw_part){"exp_avg_sq", a->second, a->n * sizeof(float)};
        return 2;
    }
    part[0] = (struct adamw_part){"exp_avg", a->first_code, a->n};
    part[1] = (struct adamw_part){"exp_avg_sq", a->second_code, a->n};
    part[2] = (struct adamw_part){"exp_avg_scale", a->first_scale, scales};
    part[3] = (struct adamw_part){"exp_avg_sq_scale", a->second_scale, scales};
    return 4;
}

uint64_t adamw_steps(const struct adamw *a)
{
    return a->steps;
}

void adamw_set_steps(struct adamw *a, uint64_t steps)
{
    a->steps = steps;
}

/* ---- a step */

static void update(const struct step *s, float *restrict p, const float *restrict grad, float *restrict m,
                   float *restrict v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float g = grad[i] * s->scale;
        m[i] = m[i] * s->beta1 + s->rest1 * g;
        v[i] = v[i] * s->beta2 + s->rest2 * g * g;
        p[i] = p[i] * s->keep + s->size * m[i] / (sqrtf(v[i]) / s->root + s->eps);
    }
}

static void update_block(struct adamw *a, const struct step *s, size_t at, float *value, const float *grad,
                         size_t n)
{
    float m[BLOCK], v[BLOCK];
    size_t block = at / BLOCK;
    decode(m, a->first_code + at, a->first_scale[block], &a->first_coder, n);
    decode(v, a->second_code + at, a->second_scale[block], &a->second_coder, n);
    update(s, value, grad, m, v, n);
    a->first_scale[block] = encode(a->first_code + at, m, &a->first_coder, n);
    a->second_scale[block] = encode(a->second_code + at, v, &a->second_coder, n);
}

static void update_chunk(struct adamw *a, const struct step *s, size_t at, float *value, const float *grad)
{
    size_t end = a->n - at < CHUNK ? a->n : at + CHUNK;
    if (a->o.bits == 32) {
        update(s, value + at, grad + at, a->first + at, a->second + at, end - at);
        return;
    }
    for (; at < end; at += BLOCK)
        update_block(a, s, at, value + at, grad + at, end - at < BLOCK ? end - at : BLOCK);
}

void adamw_step(struct adamw *a, float *value, const float *grad, double lr, double grad_scale)
{
    const struct adamw_options *o = &a->o;
    double t = (double)++a->steps;
    const struct step s = {.beta1 = (float)o->beta1,
                           .beta2 = (float)o->beta2,
                           .rest1 = (float)(1 - o->beta1),
                           .rest2 = (float)(1 - o->beta2),
                           .keep = (float)(1 - lr * o->weight_decay),
                           .eps = (float)o->eps,
                           .root = (float)sqrt(1 - pow(o->beta2, t)),
                           .size = (float)(-lr / (1 - pow(o->beta1, t))),
                           .scale = (float)grad_scale};
#pragma omp parallel for schedule(static)
    for (size_t at = 0; at < a->n; at += CHUNK)
        update_chunk(a, &s, at, value, grad);
}

/* ---- norm and schedules */

static double squares(const float *x, size_t n)
{
    double lane[8] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i % 8] += (double)x[i] * (double)x[i];
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

double gradient_norm(const float *grad, size_t n)
{
    enum { PARTS = 256 };
    double part[PARTS], sum = 0;
    size_t each = n / PARTS + 1;
#pragma omp parallel for schedule(static)
    for (size_t k = 0; k < PARTS; k++) {
        size_t from = k * each < n ? k * each : n;
        part[k] = squares(grad + from, n - from < each ? n - from : each);
    }
    for (size_t k = 0; k < PARTS; k++)
        sum += part[k];
    return sqrt(sum);
}

double schedule_factor(enum schedule s, uint64_t step, uint64_t warmup, uint64_t steps)
{
    static const double pi = 3.14159265358979323846;
    if (step < warmup)
        return (double)step / (double)warmup;
    if (s == SCHEDULE_CONSTANT)
        return 1;
    if (step >= steps)
        return 0;
    double done = (double)(step - warmup) / (double)(steps - warmup);
    return s == SCHEDULE_LINEAR ? 1 - done : 0.5 * (1 + cos(pi * done));
}
