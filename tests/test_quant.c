/* compute/quant: against ggml's and bitsandbytes' own output (tests/fixtures/ggml_quants, nf4: golden.json
 * says how they were made) and against the formats' definitions. */
#include "compute/quant.h"

#include "base/file.h"
#include "base/size.h"

#include <math.h>

#include "testing.h"

#define FIXTURES "tests/fixtures/"
enum { N = 4096 };

static char *loaded(const char *folder, const char *name, size_t want)
{
    char path[200], *data;
    size_t n;
    snprintf(path, sizeof path, FIXTURES "%s/%s", folder, name);
    ok(file_read(&data, &n, path, 1 << 20, &error));
    if (n != want)
        fail_msg("%s: %zu bytes, wanted %zu", path, n, want);
    return data;
}

static uint32_t bits(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static void same_bits(const float *got, const char *folder, const char *name, size_t n)
{
    float *want = (float *)loaded(folder, name, 4 * n);
    for (size_t i = 0; i < n; i++)
        if (bits(got[i]) != bits(want[i]))
            fail_msg("%s/%s: value %zu is %.9g, wanted %.9g", folder, name, i, got[i], want[i]);
    free(want);
}

static void same_bytes(const void *got, const char *folder, const char *name, size_t n)
{
    char *want = loaded(folder, name, n);
    for (size_t i = 0; i < n; i++)
        if (((const unsigned char *)got)[i] != (unsigned char)want[i])
            fail_msg("%s/%s: byte %zu is %d, wanted %d", folder, name, i, ((const unsigned char *)got)[i],
                     (unsigned char)want[i]);
    free(want);
}

/* ---- ggml ---- */

static const enum dtype ggml_type[] = {DT_F16,  DT_BF16, DT_Q8_0, DT_Q4_0, DT_Q4_1,
                                       DT_Q5_0, DT_Q5_1, DT_Q4_K, DT_Q5_K, DT_Q6_K};

/* From an odd address, and one block at a time as well. */
static void test_decodes_as_ggml(void **state)
{
    (void)state;
    for (size_t k = 0; k < COUNT_OF(ggml_type); k++) {
        const struct dtype_info *d = &dtype_info[ggml_type[k]];
        char name[40];
        size_t bytes;
        assert_true(dtype_row_bytes(ggml_type[k], N, &bytes));
        snprintf(name, sizeof name, "%s.bin", d->name);
        char *packed = loaded("ggml_quants", name, bytes), *odd = malloc(bytes + 1);
        snprintf(name, sizeof name, "%s.f32", d->name);
        float *want = (float *)loaded("ggml_quants", name, 4 * N), got[N], again[N];
        memcpy(odd + 1, packed, bytes);
        quant_decode(got, ggml_type[k], odd + 1, N);
        for (size_t b = 0; b < N / d->values; b++)
            quant_decode(again + b * d->values, ggml_type[k], packed + b * d->bytes, d->values);
        for (size_t i = 0; i < N; i++) /* by value: a zero may have either sign */
            if (got[i] != want[i] || bits(got[i]) != bits(again[i]))
                fail_msg("%s: value %zu is %.9g, %.9g, wanted %.9g", name, i, got[i], again[i], want[i]);
        free(packed);
        free(odd);
        free(want);
    }
}

static void test_encodes_as_ggml(void **state)
{
    (void)state;
    static const enum dtype type[] = {DT_F32, DT_F16, DT_BF16, DT_Q8_0, DT_Q4_0};
    float *input = (float *)loaded("ggml_quants", "input.f32", 4 * N);
    for (size_t k = 0; k < COUNT_OF(type); k++) {
        unsigned char packed[4 * N];
        char name[40];
        size_t bytes;
        assert_true(dtype_row_bytes(type[k], N, &bytes));
        snprintf(name, sizeof name, type[k] == DT_F32 ? "input.f32" : "%s.bin", dtype_info[type[k]].name);
        quant_encode(packed, type[k], input, N);
        same_bytes(packed, "ggml_quants", name, bytes);
    }
    free(input);
}

/* Weights that are not finite, or so small that 1/d overflows, are somebody's broken file: any value, no
 * trap. */
static void test_encoding_survives_anything(void **state)
{
    (void)state;
    static const float odd[] = {INFINITY, -INFINITY, NAN, 1e-44f, -1e-44f, 3e38f, -3e38f, 0, 1};
    struct rng r = seeded();
    for (int round = 0; round < 2000; round++) {
        float v[32], back[32];
        unsigned char packed[64];
        for (int i = 0; i < 32; i++)
            v[i] = odd[rng_below(&r, COUNT_OF(odd))];
        quant_encode(packed, DT_Q8_0, v, 32);
        quant_decode(back, DT_Q8_0, packed, 32);
        quant_encode(packed, DT_Q4_0, v, 32);
        quant_decode(back, DT_Q4_0, packed, 32);
    }
}

static void test_wide_floats_are_rounded(void **state)
{
    (void)state;
    static const double in[] = {1.0 + 0x1p-25, -2.5, 1e300};
    float out[3];
    quant_decode(out, DT_F64, in, 3);
    assert_true(out[0] == 1 && out[1] == -2.5f && isinf(out[2]));
}

/* ---- 16 bits, from the definition of IEEE 754 ---- */

static double half_value(unsigned h)
{
    int e = h >> 10 & 31, m = h & 1023;
    double v = e == 0 ? ldexp(m, -24) : ldexp(1024 + m, e - 25);
    return h & 0x8000 ? -v : v;
}

static void test_every_half(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        float f = quant_f16_to_f32((uint16_t)h);
        unsigned back = quant_f32_to_f16(f);
        if ((h & 0x7C00) != 0x7C00) {
            if ((double)f != half_value(h) || back != h)
                fail_msg("%04x is %.9g, and back %04x; wanted %.9g", h, f, back, half_value(h));
        } else if (h & 0x3FF) {
            if (!isnan(f) || back != (h | 0x200))
                fail_msg("%04x is %.9g, and back %04x; wanted NaN", h, f, back);
        } else if (f != (h & 0x8000 ? -INFINITY : INFINITY) || back != h) {
            fail_msg("%04x is %.9g, and back %04x; wanted infinity", h, f, back);
        }
    }
}

/* Between neighbouring halves: halfway goes to the even one, anything else to the nearer. */
static void test_half_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7C00; h++) {
        double top = h == 0x7BFF ? 65536 : half_value(h + 1);
        float middle = (float)((half_value(h) + top) / 2);
        unsigned below = quant_f32_to_f16(nextafterf(middle, 0)), at = quant_f32_to_f16(middle),
                 above = quant_f32_to_f16(nextafterf(middle, INFINITY));
        if (below != h || at != h + (h & 1) || above != h + 1)
            fail_msg("around %.9g: %04x %04x %04x", middle, below, at, above);
        assert_int_equal(quant_f32_to_f16(-middle), at | 0x8000);
    }
}

static void test_every_bfloat(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = quant_bf16_to_f32((uint16_t)h);
        uint16_t back = quant_f32_to_bf16(f);
        assert_int_equal(bits(f), h << 16);
        assert_int_equal(back, isnan(f) ? h | 0x40 : h);
        if ((h & 0x7F80) == 0x7F80)
            continue;
        uint32_t low[] = {0x7FFF, 0x8000, 0x8001};
        for (int k = 0; k < 3; k++) {
            uint32_t u = h << 16 | low[k];
            memcpy(&f, &u, 4);
            assert_int_equal(quant_f32_to_bf16(f), h + (k == 2 || (k == 1 && h & 1)));
        }
    }
    assert_int_equal(quant_f32_to_bf16(NAN) & 0x7FC0, 0x7FC0);
}

/* ---- NF4 ---- */

static void test_nf4_tables(void **state)
{
    (void)state;
    same_bits(nf4_codebook, "nf4", "nf4_codebook.bin", 16);
    same_bits(nf4_dynamic_map(), "nf4", "dynamic_map.bin", 256);
}

static void test_nf4_blocks(void **state)
{
    (void)state;
    float *a = (float *)loaded("nf4", "A.bin", 4 * N), absmax[N / 64], back[N];
    uint8_t packed[N / 2], codes[N];
    nf4_encode(packed, absmax, a, N);
    same_bits(absmax, "nf4", "absmax.bin", N / 64);
    same_bytes(packed, "nf4", "packed.bin", N / 2);
    for (size_t i = 0; i < N; i++)
        codes[i] = packed[i / 2] >> (i % 2 ? 0 : 4) & 15;
    same_bytes(codes, "nf4", "codes.bin", N);
    nf4_decode(back, packed, absmax, N);
    same_bits(back, "nf4", "dequant.bin", N);
    free(a);
}

static void test_nf4_double(void **state)
{
    (void)state;
    float *a = (float *)loaded("nf4", "A.bin", 4 * N), absmax[N / 64], again[N / 64], scale, offset, back[N];
    uint8_t packed[N / 2], codes[N / 64];
    nf4_encode(packed, absmax, a, N);
    nf4_encode_absmax(codes, &scale, &offset, absmax, N / 64);
    same_bits(&offset, "nf4", "absmax_offset.bin", 1);
    same_bits(&scale, "nf4", "absmax2.bin", 1);
    same_bytes(codes, "nf4", "absmax_q.bin", N / 64);
    nf4_decode_absmax(again, codes, &scale, offset, nf4_dynamic_map(), N / 64);
    same_bits(again, "nf4", "absmax_dequant.bin", N / 64);
    nf4_decode(back, packed, again, N);
    same_bits(back, "nf4", "dequant_double.bin", N);
    assert_int_equal(nf4_round_trip(a, N), 0);
    same_bits(a, "nf4", "dequant_double.bin", N);
    free(a);
}

/* The steps one by one must give what nf4_round_trip does in place, also where the last block is short. */
static void test_nf4_ragged_sizes(void **state)
{
    (void)state;
    static const size_t size[] = {2, 62, 64, 66, 130, 64 * 256, 64 * 256 + 2, 64 * 700 + 36};
    struct rng r = seeded();
    for (size_t k = 0; k < COUNT_OF(size); k++) {
        size_t n = size[k], blocks = (n + 63) / 64;
        float *v = malloc(n * 4), *want = malloc(n * 4), *absmax = malloc(blocks * 4), scale[8], offset;
        uint8_t *packed = malloc(n / 2), *codes = malloc(blocks);
        for (size_t i = 0; i < n; i++)
            v[i] = (float)((double)rng_next(&r) * 0x1p-64 - 0.5) * (float)(1 + i / 64 % 7);
        nf4_encode(packed, absmax, v, n);
        nf4_encode_absmax(codes, scale, &offset, absmax, blocks);
        nf4_decode_absmax(absmax, codes, scale, offset, nf4_dynamic_map(), blocks);
        nf4_decode(want, packed, absmax, n);
        assert_int_equal(nf4_round_trip(v, n), 0);
        assert_memory_equal(v, want, n * 4);
        free(v);
        free(want);
        free(absmax);
        free(packed);
        free(codes);
    }
    assert_int_equal(nf4_round_trip(NULL, 0), 0);
}

/* The sum is taken in an order of its own; of small integers it is exact in any. */
static void test_nf4_mean_counts_everything(void **state)
{
    (void)state;
    enum { MOST = 600000 };
    struct rng r = seeded();
    float *v = malloc(MOST * 4), *scale = malloc((MOST / 256 + 1) * 4), offset;
    uint8_t *codes = malloc(MOST);
    for (size_t n = 1; n < MOST; n += n < 1100 ? 1 : n / 3) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)(v[i] = (float)rng_below(&r, 28));
        nf4_encode_absmax(codes, scale, &offset, v, n);
        if (offset != (float)sum / (float)n)
            fail_msg("mean of %zu is %.9g, wanted %.9g", n, offset, sum / (double)n);
    }
    free(v);
    free(scale);
    free(codes);
}

static void test_nf4_zeros_stay_zero(void **state)
{
    (void)state;
    float v[67] = {0};
    assert_int_equal(nf4_round_trip(v, 67), 0);
    for (int i = 0; i < 67; i++)
        assert_true(v[i] == 0);
}

/* ---- dtype ---- */

static void test_row_bytes(void **state)
{
    (void)state;
    size_t n;
    assert_true(dtype_row_bytes(DT_Q4_K, 512, &n) && n == 288);
    assert_true(dtype_row_bytes(DT_F32, 0, &n) && n == 0);
    assert_false(dtype_row_bytes(DT_Q4_K, 128, &n));
    assert_false(dtype_row_bytes(DT_F32, SIZE_MAX / 2, &n));
    assert_false(dtype_row_bytes(DT_OTHER, 1, &n));
    assert_false(dtype_row_bytes(DT_NF4, 64, &n));
}

static void test_names(void **state)
{
    (void)state;
    for (int t = 0; t < DT_OTHER; t++)
        assert_int_equal(dtype_parse(dtype_info[t].name), t);
    assert_int_equal(dtype_parse("F32"), -1);
    assert_int_equal(dtype_parse(""), -1);
    assert_int_equal(dtype_parse("other"), -1);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_decodes_as_ggml),
        T(test_encodes_as_ggml),
        T(test_encoding_survives_anything),
        T(test_wide_floats_are_rounded),
        T(test_every_half),
        T(test_half_rounds_to_nearest_even),
        T(test_every_bfloat),
        T(test_nf4_tables),
        T(test_nf4_blocks),
        T(test_nf4_double),
        T(test_nf4_ragged_sizes),
        T(test_nf4_mean_counts_everything),
        T(test_nf4_zeros_stay_zero),
        T(test_row_bytes),
        T(test_names),
    };
    return cmocka_run_group_tests_name("quant", tests, NULL, NULL);
}
