/* What the blocks of ggml's formats mean, in the order of operations of its reference functions, so that
 * every value is the same to the last bit. "d" and "m" are a block's scale and minimum. */
#include "compute/quant.h"

#include "base/le.h"

#include <assert.h>
#include <math.h>

static float from_bits(uint32_t u)
{
    return le_f32(&u);
}

/* ---- 16 bits ---- */

/* Exponents are moved by a multiplication, which is exact and puts subnormals right; what comes out at 2^16
 * or more was infinity or NaN. A NaN becomes quiet, as in F16C. */
float quant_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, u = (uint32_t)(h & 0x7FFF) << 13;
    if (u >= 0x1Fu << 23)
        return from_bits(sign | u | 0x7F800000u | (u > 0x1Fu << 23 ? 0x400000u : 0));
    float f = from_bits(u) * 0x1p112f;
    return from_bits(sign | le32(&f));
}

uint16_t quant_f32_to_f16(float f)
{
    uint32_t u = le32(&f), sign = u >> 16 & 0x8000, a = u & 0x7FFFFFFF;
    if (a > 0x7F800000) /* NaN: quiet, with what fits of its payload */
        return (uint16_t)(sign | 0x7E00 | (a >> 13 & 0x1FF));
    if (a >= 0x477FF000) /* 65520 and more */
        return (uint16_t)(sign | 0x7C00);
    if (a < 0x38800000) { /* subnormal: 1/2 has the ulp of the smallest half, so the addition rounds */
        float s = from_bits(a) + 0.5f;
        return (uint16_t)(sign | (le32(&s) - 0x3F000000));
    }
    a += 0xFFF + (a >> 13 & 1);
    return (uint16_t)(sign | ((a >> 13) - (112 << 10)));
}

float quant_bf16_to_f32(uint16_t h)
{
    return from_bits((uint32_t)h << 16);
}

uint16_t quant_f32_to_bf16(float f)
{
    uint32_t u = le32(&f);
    if ((u & 0x7FFFFFFF) > 0x7F800000)
        return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static float half_at(const uint8_t *p)
{
    return quant_f16_to_f32(le16(p));
}

/* ---- decoding: n values from whole blocks ---- */

static void decode_f32(float *out, const uint8_t *b, size_t n)
{
    memcpy(out, b, n * sizeof *out);
}

static void decode_f64(float *out, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)le_f64(b + 8 * i);
}

static void decode_f16(float *out, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = half_at(b + 2 * i);
}

static void decode_bf16(float *out, const uint8_t *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = quant_bf16_to_f32(le16(b + 2 * i));
}

static void decode_q8_0(float *out, const uint8_t *b, size_t n)
{
    for (; n; n -= 32, out += 32, b += 34) {
        float d = half_at(b);
        for (int i = 0; i < 32; i++)
            out[i] = (float)(int8_t)b[2 + i] * d;
    }
}

static void decode_q4_0(float *out, const uint8_t *b, size_t n)
{
    for (; n; n -= 32, out += 32, b += 18) {
        float d = half_at(b);
        for (int j = 0; j < 16; j++) {
            out[j] = (float)((b[2 + j] & 15) - 8) * d;
            out[j + 16] = (float)((b[2 + j] >> 4) - 8) * d;
        }
    }
}

static void decode_q4_1(float *out, const uint8_t *b, size_t n)
{
    for (; n; n -= 32, out += 32, b += 20) {
        float d = half_at(b), m = half_at(b + 2);
        for (int j = 0; j < 16; j++) {
            out[j] = (float)(b[4 + j] & 15) * d + m;
            out[j + 16] = (float)(b[4 + j] >> 4) * d + m;
        }
    }
}

static void decode_q5_0(float *out, const uint8_t *b, size_t n)
{
    for (; n; n -= 32, out += 32, b += 22) {
        float d = half_at(b);
        uint32_t high = le32(b + 2);
        for (int j = 0; j < 16; j++) {
            int lo = (b[6 + j] & 15) | (int)(high >> j & 1) << 4;
            int hi = b[6 + j] >> 4 | (int)(high >> (j + 16) & 1) << 4;
            out[j] = (float)(lo - 16) * d;
            out[j + 16] = (float)(hi - 16) * d;
        }
    }
}

static void decode_q5_1(float *out, const uint8_t *b, size_t n)
{
    for (; n; n -= 32, out += 32, b += 24) {
        float d = half_at(b), m = half_at(b + 2);
        uint32_t high = le32(b + 4);
        for (int j = 0; j < 16; j++) {
            int lo = (b[8 + j] & 15) | (int)(high >> j & 1) << 4;
            int hi = b[8 + j] >> 4 | (int)(high >> (j + 16) & 1) << 4;
            out[j] = (float)lo * d + m;
            out[j + 16] = (float)hi * d + m;
        }
    }
}

/* Q4_K, Q5_K: eight 6-bit scales and minima in 12 bytes; those of sub-blocks 4..7 have their upper two bits
 * on top of the first eight bytes. */
static void k_scale(const uint8_t *s, int sub, int *scale, int *min)
{
    if (sub < 4) {
        *scale = s[sub] & 63;
        *min = s[sub + 4] & 63;
    } else {
        *scale = (s[sub + 4] & 15) | s[sub - 4] >> 6 << 4;
        *min = s[sub + 4] >> 4 | s[sub] >> 6 << 4;
    }
}

/* A super-block of 256 with 4 bits per value at `low`, a fifth in bit `sub` of high[i] when there is one. */
static void decode_k45(float *out, const uint8_t *b, const uint8_t *high, const uint8_t *low)
{
    float d = half_at(b), dmin = half_at(b + 2);
    for (int sub = 0; sub < 8; sub++, out += 32) {
        int scale, min, shift = 4 * (sub % 2);
        k_scale(b + 4, sub, &scale, &min);
        float step = d * (float)scale, base = dmin * (float)min;
        const uint8_t *q = low + 32 * (sub / 2);
        for (int i = 0; i < 32; i++) {
            int fifth = high ? (high[i] >> sub & 1) << 4 : 0;
            out[i] = step * (float)((q[i] >> shift & 15) | fifth) - base;
        }
    }
}

static void decode_q4_k(float *out, const uint8_t *b, size_t n)
{
    for (; n; n -= 256, out += 256, b += 144)
        decode_k45(out, b, NULL, b + 16);
}

static void decode_q5_k(float *out, const uint8_t *b, size_t n)
{
    for (; n; n -= 256, out += 256, b += 176)
        decode_k45(out, b, b + 16, b + 48);
}

/* Half a super-block: four runs of 32, each two sub-blocks of 16. Runs 0 and 1 are low nibbles, 2 and 3 high
 * ones; run r has its upper two bits in bits 2r of high[i]. */
static void decode_q6_half(float *out, const uint8_t *low, const uint8_t *high, const int8_t *scale, float d)
{
    for (int r = 0; r < 4; r++)
        for (int i = 0; i < 32; i++) {
            int q = (low[i + 32 * (r % 2)] >> 4 * (r / 2) & 15) | (high[i] >> 2 * r & 3) << 4;
            out[32 * r + i] = d * (float)scale[2 * r + i / 16] * (float)(q - 32);
        }
}

static void decode_q6_k(float *out, const uint8_t *b, size_t n)
{
    for (; n; n -= 256, out += 256, b += 210) {
        float d = half_at(b + 208);
        const int8_t *scale = (const int8_t *)(b + 192);
        decode_q6_half(out, b, b + 128, scale, d);
        decode_q6_half(out + 128, b + 64, b + 160, scale + 8, d);
    }
}

void quant_decode(float *out, enum dtype t, const void *bytes, size_t n)
{
    static void (*const decode[DT_COUNT])(float *, const uint8_t *, size_t) = {
        [DT_F32] = decode_f32,   [DT_F16] = decode_f16,   [DT_BF16] = decode_bf16, [DT_F64] = decode_f64,
        [DT_Q8_0] = decode_q8_0, [DT_Q4_0] = decode_q4_0, [DT_Q4_1] = decode_q4_1, [DT_Q5_0] = decode_q5_0,
        [DT_Q5_1] = decode_q5_1, [DT_Q4_K] = decode_q4_k, [DT_Q5_K] = decode_q5_k, [DT_Q6_K] = decode_q6_k,
    };
    assert(decode[t] && n % dtype_info[t].values == 0);
    if (n)
        decode[t](out, bytes, n);
}

/* ---- encoding ---- */

static void put16(uint8_t *p, uint16_t v)
{
    memcpy(p, &v, sizeof v);
}

/* To an integer in lo..hi; NaN, which only weights that are not finite can give, to 0. */
static int clamped(float v, int lo, int hi)
{
    return v >= (float)hi ? hi : v <= (float)lo ? lo : v == v ? (int)v : 0;
}

/* The value that is farthest from zero, with its sign; the first of equals. */
static float farthest(const float *v, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(v[i]) > fabsf(most))
            most = v[i];
    return most;
}

static void encode_q8_0(uint8_t *b, const float *v, size_t n)
{
    for (; n; n -= 32, v += 32, b += 34) {
        float d = fabsf(farthest(v, 32)) / 127, inverse = d != 0 ? 1 / d : 0;
        put16(b, quant_f32_to_f16(d));
        for (int i = 0; i < 32; i++)
            b[2 + i] = (uint8_t)clamped(roundf(v[i] * inverse), -128, 127);
    }
}

static void encode_q4_0(uint8_t *b, const float *v, size_t n)
{
    for (; n; n -= 32, v += 32, b += 18) {
        float d = farthest(v, 32) / -8, inverse = d != 0 ? 1 / d : 0; /* the farthest one becomes code 0 */
        put16(b, quant_f32_to_f16(d));
        for (int j = 0; j < 16; j++) {
            int lo = clamped(v[j] * inverse + 8.5f, 0, 15), hi = clamped(v[j + 16] * inverse + 8.5f, 0, 15);
            b[2 + j] = (uint8_t)(lo | hi << 4);
        }
    }
}

void quant_encode(void *out, enum dtype t, const float *values, size_t n)
{
    assert(n % dtype_info[t].values == 0);
    uint8_t *b = out;
    if (t == DT_F32 && n)
        memcpy(out, values, n * sizeof *values);
    else if (t == DT_F16)
        for (size_t i = 0; i < n; i++)
            put16(b + 2 * i, quant_f32_to_f16(values[i]));
    else if (t == DT_BF16)
        for (size_t i = 0; i < n; i++)
            put16(b + 2 * i, quant_f32_to_bf16(values[i]));
    else if (t == DT_Q8_0)
        encode_q8_0(b, values, n);
    else if (t == DT_Q4_0)
        encode_q4_0(b, values, n);
    else
        assert(t == DT_F32);
}
