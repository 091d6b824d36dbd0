/* compute/ matrix, kernels, matmul: panels against quant_decode, every table against the portable one,
 * integer products against exact sums of the rounded operands, elementwise functions against libm in double
 * precision, and that a result does not depend on what is computed beside it. */
#include "base/size.h"
#include "compute/kernels.h"
#include "compute/kernels_math.h"
#include "compute/quant.h"

#include <math.h>
#include <omp.h>

#include "kernel_values.h"

static const enum dtype types[] = {DT_F32, DT_BF16, DT_Q8_0, DT_Q4_0};
static const float eps = 0x1p-24f; /* half a unit in the last place of 1 */

struct operands {
    enum dtype type;
    size_t T, N, K, ldx, ldy;
    float *w; /* [N, K], as the panels hold them */
    float *x; /* [T, ldx] */
    struct matrix m;
    struct activation a;
    void *panels, *rounded;
};

static void *pack(enum dtype type, const float *w, size_t N, size_t K)
{
    size_t bytes = matrix_panel_bytes(type, K);
    unsigned char *data = space(matrix_bytes(type, N, K));
    for (size_t p = 0; p < matrix_panels(N); p++)
        matrix_pack(data + p * bytes, type, w + p * PANEL * K, N - p * PANEL < PANEL ? N - p * PANEL : PANEL,
                    K);
    return data;
}

static void make(struct operands *p, struct rng *r, enum dtype type, size_t T, size_t N, size_t K)
{
    *p = (struct operands){.type = type, .T = T, .N = N, .K = K};
    p->ldx = up16(K) + 16 * rng_below(r, 2);
    p->ldy = up16(N) + 16 * rng_below(r, 2);
    p->w = space(N * K * sizeof *p->w);
    p->x = space(T * p->ldx * sizeof *p->x);
    for (size_t i = 0; i < N * K; i++)
        p->w[i] = some(r, 0.1f);
    for (size_t i = 0; i < T * p->ldx; i++)
        p->x[i] = i % p->ldx < K ? some(r, 2) : NAN; /* what lies past K is nobody's business */
    p->panels = pack(type, p->w, N, K);
    p->m = (struct matrix){type, N, K, p->panels};
    for (size_t n = 0; n < N; n++)
        matrix_row(p->w + n * K, &p->m, n);
    p->rounded = space(activation_bytes(type, T, K));
    activation_init(&p->a, type, T, K, p->rounded);
    matmul_prepare(kernels_get(), &p->a, p->x, p->ldx);
}

static void drop(struct operands *p)
{
    free(p->w);
    free(p->x);
    free(p->panels);
    free(p->rounded);
}

static float *multiply(const struct kernels *k, const struct operands *p)
{
    float *y = space(p->T * p->ldy * sizeof *y);
    matmul_run(k, y, p->ldy, &p->m, &p->a);
    return y;
}

/* The value of activation [t][k] after rounding. */
static double rounded(const struct operands *p, size_t t, size_t k)
{
    size_t blocks = (p->K + ACT_BLOCK - 1) / ACT_BLOCK;
    if (p->type == DT_F32)
        return p->x[t * p->ldx + k];
    if (p->type == DT_BF16)
        return quant_bf16_to_f32(p->a.bf16[t * (p->K + p->K % 2) + k]);
    return (double)p->a.scale[t * blocks + k / ACT_BLOCK] * p->a.q[t * blocks * ACT_BLOCK + k];
}

/* How far a float sum may be from the exact one: every term goes through at most one rounding of the product
 * and one of each addition after it, so |error| <= (roundings) eps sum|terms| (Higham, Accuracy and Stability
 * of Numerical Algorithms, 3.1), with a little more for the second order. vdpbf16ps takes denormals for zero:
 * a term may be off by the smallest normal number. */
static void check_product(const struct kernels *k, const struct operands *p, const float *y)
{
    bool integers = p->type == DT_Q8_0 || p->type == DT_Q4_0;
    size_t blocks = (p->K + ACT_BLOCK - 1) / ACT_BLOCK;
    double roundings =
        integers ? 4 + 2 + (double)blocks + 1 : (double)p->K * (p->type == DT_BF16 ? 1.0 : 1.0) + 1;
    for (size_t t = 0; t < p->T; t++)
        for (size_t n = 0; n < p->N; n++) {
            double exact = 0, size = 0;
            if (!integers)
                for (size_t j = 0; j < p->K; j++) {
                    double term = rounded(p, t, j) * (double)p->w[n * p->K + j];
                    exact += term;
                    size += fabs(term);
                }
            for (size_t b = 0; integers && b < blocks * 4;
                 b++) { /* the float steps begin with exact block sums */
                double sum = 0;
                for (size_t j = b * 32; j < b * 32 + 32 && j < p->K; j++)
                    sum += rounded(p, t, j) * (double)p->w[n * p->K + j];
                exact += sum;
                size += fabs(sum);
            }
            double bound = roundings * 1.01 * (double)eps * size + (double)p->K * 0x1p-125;
            if (!(fabs(y[t * p->ldy + n] - exact) <= bound))
                fail_msg("%s %s T %zu N %zu K %zu: y[%zu][%zu] = %.9g, exact %.9g, bound %g", k->isa,
                         dtype_info[p->type].name, p->T, p->N, p->K, t, n, (double)y[t * p->ldy + n], exact,
                         bound);
        }
}

/* ---- panels ---- */

static void test_a_row_is_what_quant_decode_gives(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (size_t i = 0; i < 60; i++) {
        enum dtype type = types[i % 4];
        bool blocks = type == DT_Q8_0 || type == DT_Q4_0;
        size_t N = 1 + rng_below(&r, 40), K = blocks ? 32 * (1 + rng_below(&r, 9)) : 1 + rng_below(&r, 200),
               bytes;
        assert_true(dtype_row_bytes(type, K, &bytes));
        float *w = space(N * K * sizeof *w), *want = space(K * sizeof *w), *got = space(K * sizeof *w);
        unsigned char *encoded = space(bytes);
        for (size_t j = 0; j < N * K; j++)
            w[j] = some(&r, 1);
        struct matrix m = {type, N, K, pack(type, w, N, K)};
        for (size_t n = 0; n < N; n++) {
            quant_encode(encoded, type, w + n * K, K);
            quant_decode(want, type, encoded, K);
            matrix_row(got, &m, n);
            assert_memory_equal(got, want, K * sizeof *want);
        }
        free(w);
        free(want);
        free(got);
        free(encoded);
        free((void *)m.data);
    }
}

static void test_ggml_blocks_are_repacked_unchanged(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (size_t i = 0; i < 40; i++) {
        enum dtype type = types[2 + i % 2];
        size_t n = 1 + rng_below(&r, PANEL), K = 32 * (1 + rng_below(&r, 12)), bytes;
        assert_true(dtype_row_bytes(type, K, &bytes));
        size_t size = matrix_panel_bytes(type, K);
        unsigned char *rows = space(n * bytes), *a = space(size), *b = space(size);
        float *w = space(n * K * sizeof *w), *got = space(K * sizeof *w), *want = space(K * sizeof *w);
        for (size_t j = 0; j < n * K; j++)
            w[j] = some(&r, 1);
        for (size_t j = 0; j < n; j++)
            quant_encode(rows + j * bytes, type, w + j * K, K);
        matrix_pack(a, type, w, n, K);
        matrix_pack_blocks(b, type, rows, bytes, n, K);
        assert_memory_equal(a, b, size);
        for (size_t j = 0; j < n * bytes; j++) /* any bytes at all, scales that are finite */
            rows[j] = (unsigned char)(rng_next(&r) & (j % (type == DT_Q8_0 ? 34 : 18) == 1 ? 0x3f : 0xff));
        matrix_pack_blocks(b, type, rows, bytes, n, K);
        struct matrix m = {type, n, K, b};
        for (size_t j = 0; j < n; j++) {
            quant_decode(want, type, rows + j * bytes, K);
            matrix_row(got, &m, j);
            assert_memory_equal(got, want, K * sizeof *want);
        }
        free(rows);
        free(a);
        free(b);
        free(w);
        free(got);
        free(want);
    }
}

static void test_sizes_of_panels(void **state)
{
    (void)state;
    assert_int_equal(matrix_panel_bytes(DT_F32, 3), 3 * 64);
    assert_int_equal(matrix_panel_bytes(DT_BF16, 3), 2 * 64);
    assert_int_equal(matrix_panel_bytes(DT_Q8_0, 129), 2 * (128 + 2048));
    assert_int_equal(matrix_panel_bytes(DT_Q4_0, 128), 128 + 1024);
    assert_int_equal(matrix_bytes(DT_Q4_0, 17, 1), 2 * (128 + 1024));
    assert_int_equal(matrix_panel_bytes(DT_F16, 32), 0);
    assert_int_equal(matrix_panel_bytes(DT_F32, SIZE_MAX), 0);
    assert_int_equal(matrix_bytes(DT_F32, SIZE_MAX, 1000), 0);
    assert_int_equal(matrix_bytes(DT_Q8_0, 1000, SIZE_MAX), 0);
    assert_int_equal(activation_bytes(DT_F32, 100, 100), 0);
    assert_int_equal(activation_bytes(DT_BF16, 3, 33), 256); /* 3 * 34 * 2, rounded up */
    assert_int_equal(activation_bytes(DT_Q8_0, 3, 129), 768 + 64 + 128);
    for (size_t i = 1; i < COUNT_OF(types); i++) { /* too much: a size nobody can allocate */
        assert_true(activation_bytes(types[i], SIZE_MAX, 2) >= SIZE_MAX - 63);
        assert_true(activation_bytes(types[i], 2, SIZE_MAX) >= SIZE_MAX - 63);
    }
}

/* ---- rounding of activations ---- */

static void check_block(const struct activation *a, const float *x, size_t blocks, size_t t, size_t b)
{
    size_t n = a->cols - b * ACT_BLOCK < ACT_BLOCK ? a->cols - b * ACT_BLOCK : ACT_BLOCK;
    int offset = a->type == DT_Q8_0 ? 128 : 8;
    float max = 0;
    for (size_t i = 0; i < n; i++)
        max = fmaxf(max, fabsf(x[i]));
    assert_true(a->scale[t * blocks + b] == (max < 1e-30f ? 0 : max / 127));
    for (int part = 0; part < 4; part++) {
        int sum = 0;
        for (size_t i = 32 * (size_t)part; i < 32 * (size_t)part + 32; i++) {
            int q = a->q[(t * blocks + b) * ACT_BLOCK + i];
            float v = i < n && max >= 1e-30f ? x[i] * (127 / max) : 0;
            if (q != (int)rintf(v))
                fail_msg("x %.9g, max %.9g: %d, want %d", (double)x[i], (double)max, q, (int)rintf(v));
            sum += q;
        }
        assert_int_equal(a->sum[(t * blocks + b) * 4 + (size_t)part], -offset * sum);
    }
}

static void test_activations_are_rounded_exactly(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    for (size_t round = 0; round < 90; round++) {
        enum dtype type = types[1 + round % 3];
        size_t T = 1 + rng_below(&r, 5), K = 1 + rng_below(&r, 500), ld = up16(K), blocks = (K + 127) / 128;
        float *x = space(T * ld * sizeof *x);
        static const float size[] = {1, 1e-20f, 1e-31f, 1e-38f, 1e-44f, 1e30f, 3e38f, 100};
        for (size_t i = 0; i < T * ld; i++)
            x[i] = i % ld < K ? (float)(uniform(&r) * 2 - 1) * size[round / 3 % COUNT_OF(size)] : NAN;
        for (size_t i = 0; i < n; i++) {
            struct activation a;
            void *p = space(activation_bytes(type, T, K));
            activation_init(&a, type, T, K, p);
            matmul_prepare(all[i], &a, x, ld);
            for (size_t t = 0; t < T; t++) {
                for (size_t k = 0; type == DT_BF16 && k < K + K % 2; k++)
                    assert_int_equal(a.bf16[t * (K + K % 2) + k],
                                     k < K ? quant_f32_to_bf16(x[t * ld + k]) : 0);
                for (size_t b = 0; type != DT_BF16 && b < blocks; b++)
                    check_block(&a, x + t * ld + b * ACT_BLOCK, blocks, t, b);
            }
            free(p);
        }
        free(x);
    }
}

static void test_what_is_not_finite_stays_visible(void **state)
{
    (void)state;
    struct rng r = seeded();
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    for (size_t i = 0; i < n * COUNT_OF(types) * COUNT_OF(bad); i++) {
        struct operands p;
        make(&p, &r, types[i % 4], 3, 20, 200);
        p.x[p.ldx + 77] = bad[i / 4 % 3];
        matmul_prepare(all[i / 12], &p.a, p.x, p.ldx);
        float *y = multiply(all[i / 12], &p);
        for (size_t j = 0; j < p.N; j++) {
            assert_false(isfinite(y[p.ldy + j]) && p.w[j * p.K + 77] != 0);
            assert_true(isfinite(y[j]) && isfinite(y[2 * p.ldy + j]));
        }
        free(y);
        drop(&p);
    }
}

/* ---- products ---- */

static void shape(struct rng *r, size_t *T, size_t *N, size_t *K)
{
    static const size_t round[] = {1, 16, 32, 64, 128, 256, 512};
    *T = 1 + rng_below(r, rng_below(r, 3) ? 9 : 40);
    *N = rng_below(r, 4) ? 1 + rng_below(r, 150) : round[1 + rng_below(r, 4)];
    *K = rng_below(r, 3) ? 1 + rng_below(r, 700) : round[rng_below(r, 7)];
}

static void test_products_are_exact_within_rounding(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    for (size_t i = 0; i < 160; i++) {
        struct operands p;
        size_t T, N, K;
        shape(&r, &T, &N, &K);
        make(&p, &r, types[i % 4], T, N, K);
        for (size_t j = 0; j < n; j++) {
            float *y = multiply(all[j], &p);
            check_product(all[j], &p, y);
            for (size_t t = 0; t < T; t++) /* sums of zero rows */
                for (size_t c = N; c < up16(N); c++)
                    assert_true(y[t * p.ldy + c] == 0);
            free(y);
        }
        drop(&p);
    }
}

/* The extremes of every code and of the activations: nothing saturates. */
static void test_extreme_codes(void **state)
{
    (void)state;
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    enum { N = 64, K = 256 };
    for (int round = 0; round < 8; round++)
        for (size_t j = 0; j < 2 * n; j++) {
            enum dtype type = types[2 + j % 2];
            size_t bytes = matrix_panel_bytes(type, K);
            unsigned char *data = space(4 * bytes);
            for (size_t i = 0; i < 4 * bytes; i++) {
                size_t in = i % (bytes / 2);
                data[i] = in < 128    ? (in % 2 ? 0x3c : 0)
                          : round & 1 ? 0xff
                          : round & 2 ? 0
                          : i & 1     ? 0xff
                                      : 0;
            }
            struct operands p = {.type = type, .T = 5, .N = N, .K = K, .ldx = K, .ldy = N};
            p.x = space(5 * K * sizeof *p.x);
            p.w = space(N * K * sizeof *p.w);
            for (size_t i = 0; i < 5 * K; i++)
                p.x[i] = round & 4 && i % 2 ? -127 : 127;
            p.panels = data;
            p.m = (struct matrix){type, N, K, data};
            for (size_t i = 0; i < N; i++)
                matrix_row(p.w + i * K, &p.m, i);
            p.rounded = space(activation_bytes(type, 5, K));
            activation_init(&p.a, type, 5, K, p.rounded);
            matmul_prepare(all[j / 2], &p.a, p.x, K);
            float *y = multiply(all[j / 2], &p);
            check_product(all[j / 2], &p, y);
            free(y);
            drop(&p);
        }
}

/* y[t] of a product of many rows, of many threads, is bit for bit what the row gives alone. */
static void test_a_row_does_not_depend_on_the_others(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    int threads = omp_get_max_threads();
    for (size_t i = 0; i < 60 * n; i++) {
        const struct kernels *k = all[i / 60];
        struct operands p;
        size_t T, N, K;
        shape(&r, &T, &N, &K);
        make(&p, &r, types[i % 4], i % 7 ? T : 37, N, K);
        omp_set_num_threads(1 + (int)rng_below(&r, 4));
        float *whole = multiply(k, &p), *y = space(p.ldy * sizeof *y);
        struct activation one;
        void *room = space(activation_bytes(p.type, 1, K));
        for (size_t t = 0; t < p.T; t++) {
            activation_init(&one, p.type, 1, K, room);
            matmul_prepare(k, &one, p.x + t * p.ldx, p.ldx);
            for (size_t from = 0, to; from < matrix_panels(N);
                 from = to) { /* any cut into ranges of panels */
                to = from + 1 + rng_below(&r, matrix_panels(N) - from);
                k->matmul(y, p.ldy, &p.m, &one, from, to, false);
            }
            assert_memory_equal(y, whole + t * p.ldy, up16(N) * sizeof *y);
        }
        free(whole);
        free(y);
        free(room);
        drop(&p);
    }
    omp_set_num_threads(threads);
}

static void test_accumulation_goes_on_with_the_chain(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    for (size_t i = 0; i < 40 * n; i++) { /* a product cut in two along K, against the whole */
        const struct kernels *k = all[i / 40];
        size_t T, N, K, cut, panels;
        shape(&r, &T, &N, &K);
        cut = rng_below(&r, K + 1);
        panels = matrix_panels(N);
        size_t ld = up16(K), ldy = panels * PANEL, stride = PANEL * K + PANEL * rng_below(&r, 3);
        float *x = space(T * ld * sizeof *x), *w = space(panels * stride * sizeof *w);
        float *y = space(T * ldy * sizeof *y), *whole = space(T * ldy * sizeof *y);
        for (size_t j = 0; j < T * ld; j++)
            x[j] = some(&r, 1);
        for (size_t j = 0; j < panels * stride; j++)
            w[j] = some(&r, 1);
        k->matmul_f32(whole, ldy, w, stride, panels, x, ld, T, K, false);
        k->matmul_f32(y, ldy, w, stride, panels, x, ld, T, cut, false);
        k->matmul_f32(y, ldy, w + PANEL * cut, stride, panels, x + cut, ld, T, K - cut, true);
        assert_memory_equal(y, whole, T * ldy * sizeof *y);
        free(x);
        free(w);
        free(y);
        free(whole);
    }
}

/* The product of the columns from..to-1 of p, onto y or not. */
static void part_of(const struct kernels *k, const struct operands *p, float *y, size_t from, size_t to,
                    bool onto)
{
    size_t n = to - from;
    float *w = space(p->N * n * sizeof *w);
    struct activation a;
    void *room = space(activation_bytes(p->type, p->T, n));
    for (size_t i = 0; i < p->N; i++)
        memcpy(w + i * n, p->w + i * p->K + from, n * sizeof *w);
    struct matrix m = {p->type, p->N, n, pack(p->type, w, p->N, n)};
    activation_init(&a, p->type, p->T, n, room);
    matmul_prepare(k, &a, p->x + from, p->ldx);
    if (onto)
        matmul_add(k, y, p->ldy, &m, &a);
    else
        matmul_run(k, y, p->ldy, &m, &a);
    free(w);
    free(room);
    free((void *)m.data);
}

static void test_adding_a_product_goes_on_with_the_chain(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    for (size_t i = 0; i < 40 * n; i++) {
        const struct kernels *k = all[i / 40];
        struct operands p;
        size_t T, N, K;
        shape(&r, &T, &N, &K);
        make(&p, &r, types[i % 2], T, N, K + 1);
        size_t cut = p.type == DT_BF16 ? rng_below(&r, K / 2 + 1) * 2 : rng_below(&r, K + 1);
        float *whole = multiply(k, &p), *y = space(T * p.ldy * sizeof *y);
        part_of(k, &p, y, 0, cut, false);
        part_of(k, &p, y, cut, K + 1, true);
        for (size_t t = 0; t < T; t++)
            assert_memory_equal(y + t * p.ldy, whole + t * p.ldy, up16(N) * sizeof *y);
        free(whole);
        free(y);
        drop(&p);
    }
}

static void test_several_products_at_once(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *k = kernels_get();
    for (size_t i = 0; i < 30; i++) {
        struct operands a, b;
        size_t T, N, K;
        shape(&r, &T, &N, &K);
        make(&a, &r, types[i % 4], T, N, K);
        make(&b, &r, types[i % 4], T, 1 + rng_below(&r, 100), K);
        float *ya = multiply(k, &a), *got = space(T * a.ldy * sizeof *got),
              *more = space(T * b.ldy * sizeof *got);
        b.a = a.a; /* the same rows */
        float *yb = multiply(k, &b);
        const struct product both[] = {{got, a.ldy, &a.m}, {more, b.ldy, &b.m}};
        matmul_many(k, both, 2, &a.a);
        for (size_t t = 0; t < T; t++) {
            assert_memory_equal(got + t * a.ldy, ya + t * a.ldy, up16(N) * sizeof *got);
            assert_memory_equal(more + t * b.ldy, yb + t * b.ldy, up16(b.N) * sizeof *got);
        }
        free(ya);
        free(yb);
        free(got);
        free(more);
        drop(&a);
        drop(&b);
    }
}

/* ---- functions ---- */

/* Largest relative error of f against the reference over [lo, hi]. */
static double worst(float (*f)(float), double (*reference)(double), double lo, double hi)
{
    double most = 0;
    for (int i = 0; i <= 200000; i++) {
        float x = (float)(lo + (hi - lo) * i / 200000);
        double want = reference(x), error = fabs(f(x) - want) / fabs(want);
        if (want != 0 && error > most)
            most = error;
    }
    return most;
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static double gelu_tanh(double x)
{
    return x / (1 + exp(-2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); /* 1 + tanh u = 2 / (1 + e^-2u) */
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x * sqrt(0.5));
}

static void check_function(const char *name, float (*f)(float), double (*reference)(double), double lo,
                           double hi, double bound)
{
    double most = worst(f, reference, lo, hi);
    print_message("# %s in %g .. %g: relative error %.2g\n", name, lo, hi, most);
    if (!(most < bound))
        fail_msg("%s: relative error %g, want below %g", name, most, bound);
}

static void test_functions_against_libm(void **state)
{
    (void)state;
    check_function("exp", math_exp, exp, -87, 88, 3e-7);
    check_function("tanh", math_tanh, tanh, -12, 12, 3e-7);
    check_function("silu", math_silu, silu, -20, 20, 3e-7);
    check_function("erfc", math_erfc, erfc, 0, 1, 5e-7);
    check_function("gelu_tanh", math_gelu_tanh, gelu_tanh, -1, 10, 5e-7);
    check_function("gelu", math_gelu, gelu, -1, 10, 5e-7);
    /* further out e^-u is off by eps u in relation, for its argument is rounded */
    check_function("gelu_tanh", math_gelu_tanh, gelu_tanh, -5, -1, 5e-6);
    check_function("gelu", math_gelu, gelu, -5, -1, 5e-6);
    assert_true(math_exp(-INFINITY) == 0 && math_exp(-87.4f) == 0 && math_exp(0) == 1);
    assert_true(math_exp(1000) > 1e38f && isfinite(math_exp(INFINITY)));
    assert_true(math_tanh(50) == 1 && math_tanh(-INFINITY) == -1 && math_tanh(0) == 0);
    assert_true(isnan(math_exp(NAN)) && isnan(math_tanh(NAN)) && isnan(math_silu(NAN)) &&
                isnan(math_gelu(NAN)));
    assert_true(math_silu(-200) <= 0 && math_silu(-200) > -1e-30f && math_gelu(-40) <= 0 &&
                math_gelu_tanh(300) == 300);
}

static void near(const char *what, const struct kernels *k, double got, double want, double bound)
{
    if (!(fabs(got - want) <= bound))
        fail_msg("%s %s: %.9g, want %.9g within %g", k->isa, what, got, want, bound);
}

static void check_softmax(const struct kernels *k, struct rng *r)
{
    size_t n = 1 + rng_below(r, 400), lo = rng_below(r, 2) ? rng_below(r, n) : 0, room = up16(n) + 16;
    float cap = rng_below(r, 2) ? 20 : 0, scale = 0.125f;
    float *s = space(room * sizeof *s), *in = space(room * sizeof *s);
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < room; i++)
        in[i] = s[i] = some(r, 60);
    for (int pass = 0; pass < 3; pass++) {
        if (pass == 2)
            k->softmax(s, lo, n, scale, cap);
        for (size_t i = lo; i < n; i++) {
            double v = (double)scale * in[i];
            v = cap > 0 ? cap * tanh(v / cap) : v;
            if (pass == 0)
                max = fmax(max, v);
            else if (pass == 1)
                sum += exp(v - max);
            else { /* e^u loses what v and max, rounded a few times each, are off by */
                double want = exp(v - max) / sum;
                near("softmax", k, s[i], want,
                     want * (1e-6 + 8 * (double)eps * (fabs(v) + fabs(max))) + 1e-37);
            }
        }
    }
    for (size_t i = 0; i < up16(n); i++)
        assert_true((i >= lo && i < n) || s[i] == 0);
    assert_memory_equal(s + up16(n), in + up16(n), 16 * sizeof *s);
    free(s);
    free(in);
}

static void test_softmax(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    for (size_t i = 0; i < 300 * n; i++)
        check_softmax(all[i / 300], &r);
}

static void check_rows(const struct kernels *k, struct rng *r)
{
    size_t n = 1 + rng_below(r, 300);
    float *x = space(n * sizeof *x), *w = space(n * sizeof *x), *y = space(n * sizeof *x);
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        x[i] = some(r, 5);
        w[i] = some(r, 2);
        sum += (double)x[i] * x[i];
    }
    k->rmsnorm(y, x, w, n, 1e-6f);
    for (size_t i = 0; i < n; i++)
        near("rmsnorm", k, y[i], x[i] / sqrt(sum / (double)n + 1e-6) * w[i], fabs(y[i]) * 2e-6);
    memcpy(y, x, n * sizeof *x);
    k->add(y, w, n);
    for (size_t i = 0; i < n; i++)
        assert_true(y[i] == x[i] + w[i]);
    memcpy(y, x, n * sizeof *x);
    k->softcap(y, n, 3);
    for (size_t i = 0; i < n; i++)
        near("softcap", k, y[i], 3 * tanh(x[i] / 3.0), fabs(y[i]) * 4e-7);
    for (int f = 0; f < 3; f++) {
        static double (*const reference[])(double) = {silu, gelu_tanh, gelu};
        memcpy(y, x, n * sizeof *x);
        k->gated(y, w, n, (enum activation_function)f);
        for (size_t i = 0; i < n; i++) {
            /* e^-u loses what the few roundings of u are worth: eps u each */
            double g = reference[f](x[i]), u = x[i] < 0 ? -log(g / x[i] + 1e-38) : 0;
            near("gated", k, y[i], g * w[i], fabs(g * w[i]) * (6e-7 + 5 * (double)eps * u) + 1e-25);
        }
    }
    free(x);
    free(w);
    free(y);
}

static void check_rope(const struct kernels *k, struct rng *r)
{
    enum { MOST = 128 };
    size_t half = 1 + rng_below(r, MOST);
    float x[2 * MOST], in[2 * MOST], c[MOST], s[MOST];
    for (size_t i = 0; i < half; i++) {
        double angle = uniform(r) * 7;
        in[i] = x[i] = some(r, 3);
        in[i + half] = x[i + half] = some(r, 3);
        c[i] = (float)cos(angle);
        s[i] = (float)sin(angle);
    }
    k->rope(x, c, s, half);
    for (size_t i = 0; i < half; i++) {
        double a = in[i], b = in[i + half], bound = (fabs(a) + fabs(b)) * 3 * (double)eps;
        near("rope", k, x[i], a * c[i] - b * s[i], bound);
        near("rope", k, x[i + half], b * c[i] + a * s[i], bound);
    }
}

static void test_row_functions(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    for (size_t i = 0; i < 200 * n; i++) {
        check_rows(all[i / 200], &r);
        check_rope(all[i / 200], &r);
    }
}

/* What every table computes by the same steps has the same bits in all of them. */
static void test_row_functions_agree_between_tables(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    for (int round = 0; round < 100; round++) {
        enum { ROOM = 420 };
        float in[ROOM], up[ROOM], want[5][ROOM], got[5][ROOM];
        size_t n = 1 + rng_below(&r, 400), lo = rng_below(&r, n);
        for (size_t i = 0; i < ROOM; i++) {
            in[i] = some(&r, 9);
            up[i] = some(&r, 2);
        }
        for (size_t k = 0; k < tables; k++) {
            for (int i = 0; i < 5; i++)
                memcpy(got[i], in, sizeof in);
            all[k]->rmsnorm(got[0], in, up, n, 1e-5f);
            all[k]->softmax(got[1], lo, n, 0.3f, round % 2 ? 30 : 0);
            all[k]->gated(got[2], up, n, (enum activation_function)(round % 3));
            all[k]->softcap(got[3], n, 4);
            all[k]->rope(got[4], up, up + 7, n / 2);
            if (k == 0)
                memcpy(want, got, sizeof got);
            assert_memory_equal(got, want, sizeof got);
        }
    }
}

/* ---- the choice ---- */

static void test_the_table_can_be_chosen(void **state)
{
    (void)state;
    const struct kernels *all[3];
    size_t n = kernels_all(all);
    char *given = getenv("GYEOL_ISA"), before[40] = "";
    snprintf(before, sizeof before, "%s", given ? given : "");
    assert_string_equal(all[0]->isa, "portable");
    for (size_t i = 0; i < n; i++) {
        print_message("# this processor runs %s\n", all[i]->isa);
        setenv("GYEOL_ISA", all[i]->isa, 1);
        assert_ptr_equal(kernels_get(), all[i]);
    }
    setenv("GYEOL_ISA", "abacus", 1);
    assert_ptr_equal(kernels_get(), all[n - 1]);
    unsetenv("GYEOL_ISA");
    assert_ptr_equal(kernels_get(), all[n - 1]);
    if (given)
        setenv("GYEOL_ISA", before, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_row_is_what_quant_decode_gives),
        cmocka_unit_test(test_ggml_blocks_are_repacked_unchanged),
        cmocka_unit_test(test_sizes_of_panels),
        cmocka_unit_test(test_activations_are_rounded_exactly),
        cmocka_unit_test(test_what_is_not_finite_stays_visible),
        cmocka_unit_test(test_products_are_exact_within_rounding),
        cmocka_unit_test(test_extreme_codes),
        cmocka_unit_test(test_a_row_does_not_depend_on_the_others),
        cmocka_unit_test(test_accumulation_goes_on_with_the_chain),
        cmocka_unit_test(test_adding_a_product_goes_on_with_the_chain),
        cmocka_unit_test(test_several_products_at_once),
        cmocka_unit_test(test_functions_against_libm),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_row_functions),
        cmocka_unit_test(test_row_functions_agree_between_tables),
        cmocka_unit_test(test_the_table_can_be_chosen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
