/* The kernels that work element by element, and the rounding of activations, written once: each table's file
 * includes this and compiles it with its own flags. Sums run in LANES chains by position, so that a vector of
 * any width gives the same bits; nothing here may be contracted to a fused multiply-add (Makefile:
 * -ffp-contract=off). */
#ifndef GYEOL_COMPUTE_KERNELS_ELEMENT_H
#define GYEOL_COMPUTE_KERNELS_ELEMENT_H

#include "base/rng.h"
#include "compute/kernels.h"
#include "compute/kernels_math.h"

#define LANES 64 /* chains of a sum */

#define ELEMENT_KERNELS                                                                                      \
    .prepare = prepare, .rmsnorm = rmsnorm, .softmax = softmax, .gated = gated, .add = add,                  \
    .softcap = softcap, .rope = rope, .rmsnorm_backward = rmsnorm_backward,                                  \
    .softmax_backward = softmax_backward, .gated_backward = gated_backward, .dropout = dropout

/* ---- activations ---- */

static void prepare_bf16(struct activation *a, const float *x, size_t row)
{
    size_t n = a->cols, even = n + n % 2;
    uint16_t *out = a->bf16 + row * a->ld;
    for (size_t i = 0; i < n; i++)
        out[i] = math_bf16(x[i]);
    if (n < even)
        out[n] = 0;
}

/* 128 values. Below 1e-30 they are zero, for 127 / max must not overflow; one that is not finite makes the
 * scale so, and with it every product: an error upstream is not hidden. */
static void prepare_block(int8_t *q, float *scale, int32_t sum[4], const float *x, int32_t offset)
{
    int32_t top = 0;
    for (int i = 0; i < ACT_BLOCK; i++) {
        int32_t b = (int32_t)(math_bits(x[i]) & 0x7fffffff); /* |x| orders as its bits do, NaN on top */
        top = b > top ? b : top;
    }
    float max = math_float((uint32_t)top);
    bool usable = max >= 1e-30f && top < 0x7f800000;
    float inverse = usable ? 127.0f / max : 0.0f;
    *scale = max < 1e-30f ? 0.0f : max / 127.0f;
    for (int i = 0; i < ACT_BLOCK; i++) {
        float v = usable ? x[i] * inverse : 0.0f;
        q[i] = (int8_t)(math_bits(v + MATH_ROUND) - math_bits(MATH_ROUND));
    }
    for (int b = 0; b < 4; b++) {
        int32_t s = 0;
        for (int i = 0; i < 32; i++)
            s += q[32 * b + i];
        sum[b] = -offset * s;
    }
}

static void prepare_integers(struct activation *a, const float *x, size_t row)
{
    size_t blocks = (a->cols + ACT_BLOCK - 1) / ACT_BLOCK;
    int32_t offset = a->type == DT_Q8_0 ? 128 : 8;
    for (size_t b = 0; b < blocks; b++) {
        float part[ACT_BLOCK] = {0};
        const float *from = x + b * ACT_BLOCK;
        size_t left = a->cols - b * ACT_BLOCK, at = row * blocks + b;
        if (left < ACT_BLOCK)
            from = memcpy(part, from, left * sizeof *x);
        prepare_block(a->q + at * ACT_BLOCK, a->scale + at, a->sum + at * 4, from, offset);
    }
}

static void prepare(struct activation *a, const float *x, size_t ldx, size_t t0, size_t t1)
{
    for (size_t t = t0; t < t1; t++)
        if (a->type == DT_BF16)
            prepare_bf16(a, x + t * ldx, t);
        else if (a->type != DT_F32)
            prepare_integers(a, x + t * ldx, t);
}

/* ---- rows ---- */

static float sum_lanes(float lane[LANES])
{
    for (int half = LANES / 2; half; half /= 2)
        for (int j = 0; j < half; j++)
            lane[j] += lane[j + half];
    return lane[0];
}

static void rmsnorm(float *out, const float *x, const float *w, size_t n, float eps)
{
    float lane[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lane[j] += x[i + j] * x[i + j];
    for (size_t j = 0; i + j < n; j++)
        lane[j] += x[i + j] * x[i + j];
    float scale = 1.0f / sqrtf(sum_lanes(lane) / (float)n + eps);
    for (i = 0; i < n; i++)
        out[i] = x[i] * scale * w[i];
}

/* With s = 1 / sqrt(mean(x^2) + eps): dx = s w dy - x s^3 / n sum(w dy x), dw = s x dy. */
static void rmsnorm_backward(float *restrict dx, float *restrict dw, const float *restrict x,
                             const float *restrict w, const float *restrict dy, size_t n, float eps)
{
    float square[LANES] = {0}, along[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            square[j] += x[i + j] * x[i + j];
            along[j] += w[i + j] * dy[i + j] * x[i + j];
        }
    for (size_t j = 0; i + j < n; j++) {
        square[j] += x[i + j] * x[i + j];
        along[j] += w[i + j] * dy[i + j] * x[i + j];
    }
    float scale = 1.0f / sqrtf(sum_lanes(square) / (float)n + eps);
    float back = sum_lanes(along) * scale * scale * scale / (float)n;
    for (i = 0; i < n; i++)
        dx[i] += scale * w[i] * dy[i] - back * x[i];
    for (i = 0; dw && i < n; i++)
        dw[i] += scale * x[i] * dy[i];
}

static void softcap(float *x, size_t n, float cap)
{
    for (size_t i = 0; i < n; i++)
        x[i] = cap * math_tanh(x[i] / cap);
}

/* The 64 positions from `at`, or a copy with what lies outside [lo, n) at minus infinity. */
static float *softmax_part(float part[LANES], float *s, size_t at, size_t lo, size_t n)
{
    if (at >= lo && at + LANES <= n)
        return s + at;
    for (size_t j = 0; j < LANES; j++)
        part[j] = at + j >= lo && at + j < n ? s[at + j] : -INFINITY;
    return part;
}

static float softmax_max(float *s, size_t lo, size_t n)
{
    float part[LANES], lane[LANES], max = -INFINITY;
    for (size_t j = 0; j < LANES; j++)
        lane[j] = -INFINITY;
    for (size_t at = lo / LANES * LANES; at < n; at += LANES) {
        const float *b = softmax_part(part, s, at, lo, n);
        for (size_t j = 0; j < LANES; j++)
            lane[j] = b[j] > lane[j] ? b[j] : lane[j];
    }
    for (size_t j = 0; j < LANES; j++)
        max = lane[j] > max ? lane[j] : max;
    return max;
}

/* s = e^(s - max); returns the sum. */
static float softmax_exp(float *s, size_t lo, size_t n, float max)
{
    float part[LANES], lane[LANES] = {0};
    for (size_t at = lo / LANES * LANES; at < n; at += LANES) {
        float *b = softmax_part(part, s, at, lo, n);
        for (size_t j = 0; j < LANES; j++) {
            b[j] = math_exp(b[j] - max);
            lane[j] += b[j];
        }
        for (size_t j = 0; b == part && j < LANES; j++)
            if (at + j >= lo && at + j < n)
                s[at + j] = part[j];
    }
    return sum_lanes(lane);
}

static void softmax(float *s, size_t lo, size_t n, float scale, float cap)
{
    for (size_t i = lo; i < n; i++)
        s[i] *= scale;
    if (cap > 0)
        softcap(s + lo, n - lo, cap);
    float inverse = 1.0f / softmax_exp(s, lo, n, softmax_max(s, lo, n));
    for (size_t i = lo; i < n; i++)
        s[i] *= inverse;
    memset(s, 0, lo * sizeof *s);
    memset(s + n, 0, (PANEL - n % PANEL) % PANEL * sizeof *s);
}

/* sum of p dp over [lo, n), in chains by position. */
static float softmax_along(const float *p, const float *dp, size_t lo, size_t n)
{
    float lane[LANES] = {0};
    for (size_t at = lo / LANES * LANES; at < n; at += LANES) {
        if (at >= lo && at + LANES <= n) {
            for (size_t j = 0; j < LANES; j++)
                lane[j] += p[at + j] * dp[at + j];
            continue;
        }
        for (size_t j = 0; j < LANES; j++)
            if (at + j >= lo && at + j < n)
                lane[j] += p[at + j] * dp[at + j];
    }
    return sum_lanes(lane);
}

/* p = softmax(z): dz = p (dp - sum(p dp)). z = cap tanh(u / cap): du = dz (1 - (z / cap)^2). u = scale s. */
static void softmax_backward(float *restrict dp, const float *restrict p, const float *restrict capped,
                             size_t lo, size_t n, float scale, float cap)
{
    float along = softmax_along(p, dp, lo, n);
    for (size_t i = lo; i < n; i++)
        dp[i] = scale * p[i] * (dp[i] - along);
    for (size_t i = lo; capped && i < n; i++)
        dp[i] *= 1.0f - capped[i] / cap * (capped[i] / cap);
    memset(dp, 0, lo * sizeof *dp);
    memset(dp + n, 0, (PANEL - n % PANEL) % PANEL * sizeof *dp);
}

static void gated(float *restrict gate, const float *restrict up, size_t n, enum activation_function f)
{
    if (f == ACTIVATION_SILU)
        for (size_t i = 0; i < n; i++)
            gate[i] = math_silu(gate[i]) * up[i];
    else if (f == ACTIVATION_GELU_TANH)
        for (size_t i = 0; i < n; i++)
            gate[i] = math_gelu_tanh(gate[i]) * up[i];
    else
        for (size_t i = 0; i < n; i++)
            gate[i] = math_gelu(gate[i]) * up[i];
}

/* y = f(gate) up, slope = f'(gate). */
static inline void gated_gradient(float *gate, float *up, float dy, float y, float slope)
{
    *gate = dy * *up * slope;
    *up = dy * y;
}

static void gated_backward(float *restrict gate, float *restrict up, const float *restrict dy, size_t n,
                           enum activation_function f)
{
    if (f == ACTIVATION_SILU)
        for (size_t i = 0; i < n; i++)
            gated_gradient(gate + i, up + i, dy[i], math_silu(gate[i]), math_silu_slope(gate[i]));
    else if (f == ACTIVATION_GELU_TANH)
        for (size_t i = 0; i < n; i++)
            gated_gradient(gate + i, up + i, dy[i], math_gelu_tanh(gate[i]), math_gelu_tanh_slope(gate[i]));
    else
        for (size_t i = 0; i < n; i++)
            gated_gradient(gate + i, up + i, dy[i], math_gelu(gate[i]), math_gelu_slope(gate[i]));
}

/* A generator's states are a fixed step apart, so draws can be made side by side. */
static void draw(uint32_t bits[LANES], uint64_t seed)
{
    for (size_t i = 0; i < LANES / 2; i++) {
        struct rng r = {seed + i * RNG_STEP};
        uint64_t both = rng_next(&r);
        bits[2 * i] = (uint32_t)both;
        bits[2 * i + 1] = (uint32_t)(both >> 32);
    }
}

static void dropout(float *out, const float *x, size_t n, uint64_t seed, uint32_t below, float scale)
{
    uint32_t bits[LANES];
    for (size_t first = 0; first < n; first += LANES, seed += LANES / 2 * RNG_STEP) {
        size_t left = n - first < LANES ? n - first : LANES;
        draw(bits, seed);
        for (size_t i = 0; i < left; i++) {
            float kept = x[first + i] * scale;
            out[first + i] = bits[i] < below ? 0.0f : kept;
        }
    }
}

static void add(float *restrict y, const float *restrict x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += x[i];
}

static void rope(float *restrict x, const float *restrict cos, const float *restrict sin, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cos[i] - b * sin[i];
        x[i + half] = b * cos[i] + a * sin[i];
    }
}

#endif
