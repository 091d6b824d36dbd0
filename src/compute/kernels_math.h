/* exp, tanh and erfc for the kernels: straight-line C that a compiler turns into vectors, so that every
 * instruction set computes the same bits and no loop calls into libm. Polynomials are Chebyshev interpolants
 * fitted for this file in double precision; relative errors, all roundings included, are below 3e-7
 * (tests/test_kernels.c). */
#ifndef GYEOL_COMPUTE_KERNELS_MATH_H
#define GYEOL_COMPUTE_KERNELS_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define MATH_ROUND 12582912.0f /* 1.5 * 2^23: adding it rounds to a whole number, found in the low bits */

static inline uint32_t math_bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

static inline float math_float(uint32_t u)
{
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

/* A choice by mask: gcc makes jumps of a ternary here, and then no vectors. */
static inline float math_choose(int condition, float yes, float no)
{
    uint32_t mask = -(uint32_t)condition;
    return math_float((math_bits(yes) & mask) | (math_bits(no) & ~mask));
}

/* Nearest even; a NaN stays one. */
static inline uint16_t math_bf16(float f)
{
    uint32_t u = math_bits(f), up = u + 0x7fff + (u >> 16 & 1);
    return (uint16_t)((u & 0x7fffffff) > 0x7f800000 ? u >> 16 | 0x40 : up >> 16);
}

/* e^x = 2^n e^r with |r| <= ln(2) / 2. Zero below -87.3 (no denormals), e^88.3 from there on. */
static inline float math_exp(float x)
{
    float c = math_choose(x > 88.3f, 88.3f, x);
    c = math_choose(c < -87.3f, -87.3f, c);
    float shifted = c * 1.44269504f + MATH_ROUND, n = shifted - MATH_ROUND;
    float r = (c - n * 0.693359375f) - n * -2.12194440e-4f; /* Cody and Waite: the first product is exact */
    float p = 0.00139411189f;
    p = p * r + 0.00837513478f;
    p = p * r + 0.0416663528f;
    p = p * r + 0.166664154f;
    p = p * r + 0.500000005f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    float power = math_float((math_bits(shifted) - math_bits(MATH_ROUND) + 127) << 23);
    return math_choose(x < -87.3f, 0.0f, p * power);
}

/* Near zero x P(x^2), elsewhere 1 - 2 / (e^2|x| + 1): neither loses digits to cancellation. */
static inline float math_tanh(float x)
{
    float u = x * x, a = fabsf(x);
    float p = 0.00156567082f;
    p = p * u - 0.00737025397f;
    p = p * u + 0.0212719533f;
    p = p * u - 0.0538406217f;
    p = p * u + 0.13332008f;
    p = p * u - 0.33333281f;
    p = p * u + 1.0f;
    float far = 1.0f - 2.0f / (math_exp(2.0f * a) + 1.0f);
    return math_choose(a < 0.8f, x * p, copysignf(far, x));
}

/* erfc(z), z >= 0: e^-z^2 t P(t), t = 1 / (1 + z / 2). */
static inline float math_erfc(float z)
{
    float t = 1.0f / (1.0f + 0.5f * z);
    float p = 0.032673046f;
    p = p * t - 0.173281139f;
    p = p * t + 0.33693216f;
    p = p * t - 0.225634169f;
    p = p * t - 0.0802152275f;
    p = p * t + 0.0704319427f;
    p = p * t + 0.0408390252f;
    p = p * t + 0.189289157f;
    p = p * t + 0.244569733f;
    p = p * t + 0.282309225f;
    p = p * t + 0.282086248f;
    return p * t * math_exp(-z * z);
}

/* x / (1 + e^-x) */
static inline float math_silu(float x)
{
    return x / (1.0f + math_exp(-x));
}

/* With s the logistic function of x: s + x s (1 - s). */
static inline float math_silu_slope(float x)
{
    float s = 1.0f / (1.0f + math_exp(-x));
    return s + x * s * (1.0f - s);
}

/* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), tanh written as the logistic function of twice its
 * argument. */
static inline float math_gelu_tanh(float x)
{
    return x / (1.0f + math_exp(-1.59576912f * (x + 0.044715f * x * x * x)));
}

/* With s the logistic function above, of u(x): s + x s (1 - s) u'(x). */
static inline float math_gelu_tanh_slope(float x)
{
    float s = 1.0f / (1.0f + math_exp(-1.59576912f * (x + 0.044715f * x * x * x)));
    return s + x * s * (1.0f - s) * 1.59576912f * (1.0f + 0.134145f * x * x);
}

/* x Phi(x), Phi from the tail, which keeps its digits. */
static inline float math_gelu(float x)
{
    float tail = 0.5f * math_erfc(fabsf(x) * 0.707106781f);
    return x * math_choose(x < 0, tail, 1.0f - tail);
}

/* Phi(x) + x phi(x), phi the normal density. */
static inline float math_gelu_slope(float x)
{
    float tail = 0.5f * math_erfc(fabsf(x) * 0.707106781f);
    return math_choose(x < 0, tail, 1.0f - tail) + x * 0.398942280f * math_exp(-0.5f * x * x);
}

#endif
