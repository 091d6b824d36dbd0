/* compute/ for training: weights of every type unpacked and multiplied with rows of floats, transposed products and
 * outer products against sums in double precision; gradients of the element kernels against finite differences of the
 * functions they belong to, written here in double precision. */
#include "base/size.h"
#include "compute/kernels.h"
#include "compute/quant.h"
#include "compute/share.h"

#include <math.h>
#include <omp.h>

#include "kernel_values.h"

static const enum dtype types[] = {DT_F32, DT_BF16, DT_Q8_0, DT_Q4_0, DT_NF4};
static const enum dtype floats[] = {DT_F32, DT_BF16};

static float *random_floats(struct rng *r, size_t n, float size)
{
    float *v = space(n * sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = some(r, size);
    return v;
}

static float as(enum dtype type, float v)
{
    return type == DT_BF16 ? quant_bf16_to_f32(quant_f32_to_bf16(v)) : v;
}

/* A matrix and its values. */
struct weights {
    struct matrix m;
    float *value; /* [rows, cols] */
};

static struct weights make_weights(struct rng *r, enum dtype type, size_t N, size_t K)
{
    size_t bytes = matrix_panel_bytes(type, K);
    struct weights w = {{type, N, K, NULL}, random_floats(r, N * K, 0.1f)};
    unsigned char *data = space(matrix_bytes(type, N, K));
    for (size_t p = 0; p < matrix_panels(N); p++)
        matrix_pack(data + p * bytes, type, w.value + p * PANEL * K,
                    N - p * PANEL < PANEL ? N - p * PANEL : PANEL, K);
    w.m.data = data;
    for (size_t n = 0; n < N; n++)
        matrix_row(w.value + n * K, &w.m, n);
    return w;
}

static void drop_weights(struct weights *w)
{
    free(w->value);
    free((void *)w->m.data);
}

/* T rows, ld apart, prepared in a type; what lies past the columns is nobody's business. */
struct rows {
    struct activation a;
    float *value;
    size_t ld;
    void *rounded;
};

static struct rows make_rows(struct rng *r, enum dtype type, size_t T, size_t cols)
{
    struct rows x = {.ld = up16(cols) + 16 * rng_below(r, 2)};
    x.value = random_floats(r, T * x.ld, 2);
    for (size_t i = 0; i < T * x.ld; i++)
        if (i % x.ld >= cols)
            x.value[i] = NAN;
    x.rounded = space(activation_bytes(type, T, cols));
    activation_init(&x.a, type, T, cols, x.rounded);
    matmul_prepare(kernels_get(), &x.a, x.value, x.ld);
    return x;
}

static void drop_rows(struct rows *x)
{
    free(x->value);
    free(x->rounded);
}

static size_t some_size(struct rng *r, size_t most)
{
    return rng_below(r, 3) ? 1 + rng_below(r, most) : (size_t)16 << rng_below(r, 4);
}

static size_t some_columns(struct rng *r, enum dtype type)
{
    return type == DT_NF4 ? 64 * (1 + rng_below(r, 12)) : some_size(r, 1300);
}

/* Of a chain of n products and additions (Higham, Accuracy and Stability of Numerical Algorithms, 3.1); vdpbf16ps takes
 * denormals for zero. */
static void near(float got, double exact, double size, size_t n, const char *what, size_t i, size_t j)
{
    double bound = (double)(n + 2) * 1.01 * 0x1p-24 * size + (double)n * 0x1p-125;
    if (!(fabs((double)got - exact) <= bound))
        fail_msg("%s [%zu][%zu]: %.9g, exact %.9g, bound %g", what, i, j, (double)got, exact, bound);
}

/* ---- panels ---- */

static void test_nf4_panels(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (int round = 0; round < 40; round++) {
        size_t n = 1 + rng_below(&r, PANEL), K = 64 * (1 + rng_below(&r, 5)), blocks = n * K / 64;
        float *w = random_floats(&r, n * K, 1), *want = space(n * K * sizeof *want),
              *got = space(K * sizeof *got), *absmax = space(blocks * sizeof *absmax);
        unsigned char *codes = space(n * K / 2), *panel = space(matrix_panel_bytes(DT_NF4, K)),
                      *single = space(matrix_panel_bytes(DT_NF4, K));
        nf4_encode(codes, absmax, w, n * K);
        matrix_pack(single, DT_NF4, w, n, K);
        matrix_pack_nf4(panel, codes, absmax, n, K);
        assert_memory_equal(panel, single, matrix_panel_bytes(DT_NF4, K));
        for (size_t b = 0; b < blocks; b++) /* double quantisation can leave any sign */
            absmax[b] = some(&r, 1);
        matrix_pack_nf4(panel, codes, absmax, n, K);
        nf4_decode(want, codes, absmax, n * K);
        struct matrix m = {DT_NF4, n, K, panel};
        for (size_t i = 0; i < n; i++) {
            matrix_row(got, &m, i);
            assert_memory_equal(got, want + i * K, K * sizeof *got);
        }
        const int32_t last = (int32_t)n - 1;
        matrix_gather(single, &m, &last, 1);
        m = (struct matrix){DT_NF4, 1, K, single};
        matrix_row(got, &m, 0);
        assert_memory_equal(got, want + (n - 1) * K, K * sizeof *got);
        free(w), free(want), free(got), free(absmax), free(codes), free(panel), free(single);
    }
    assert_int_equal(matrix_panel_bytes(DT_NF4, 128), 2 * (64 + 512));
    assert_int_equal(matrix_panel_bytes(DT_NF4, 96), 0);
    assert_int_equal(matrix_bytes(DT_NF4, 17, 64), 2 * (64 + 512));
}

static void same_row(const float *got, const float *want, enum dtype to, size_t n, const char *isa,
                     enum dtype from)
{
    for (size_t i = 0; i < n; i++)
        if (got[i] != as(to, want[i]))
            fail_msg("%s, %s from %s: column %zu is %.9g, want %.9g", isa, dtype_info[to].name,
                     dtype_info[from].name, i, (double)got[i], (double)as(to, want[i]));
}

static void test_unpacking(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    for (size_t round = 0; round < 100 * tables; round++) {
        const struct kernels *k = all[round / 100];
        enum dtype from = types[round % 5], to = floats[round / 5 % 2];
        size_t N = some_size(&r, 100), K = some_columns(&r, from);
        struct weights w = make_weights(&r, from, N, K);
        size_t k0 = 128 * rng_below(&r, (K + 127) / 128), k1 = K - k0 > 512 ? k0 + 512 : K;
        size_t p0 = rng_below(&r, matrix_panels(N)), p1 = p0 + 1 + rng_below(&r, matrix_panels(N) - p0);
        unsigned char *out = space(matrix_bytes(to, (p1 - p0) * PANEL, k1 - k0));
        float *row = space((k1 - k0) * sizeof *row);
        k->unpack(out, to, &w.m, p0, p1, k0, k1);
        struct matrix m = {to, (p1 - p0) * PANEL, k1 - k0, out};
        for (size_t i = 0; i < m.rows && p0 * PANEL + i < N; i++) {
            matrix_row(row, &m, i);
            same_row(row, w.value + (p0 * PANEL + i) * K + k0, to, k1 - k0, k->isa, from);
        }
        free(row), free(out);
        drop_weights(&w);
    }
}

static void test_unpacking_transposed(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    for (size_t round = 0; round < 100 * tables; round++) {
        const struct kernels *k = all[round / 100];
        enum dtype from = types[round % 5], to = floats[round / 5 % 2];
        size_t N = some_size(&r, 700), K = from == DT_NF4 ? 128 : some_size(&r, 200);
        struct weights w = make_weights(&r, from, N, K);
        size_t k0 = 64 * rng_below(&r, (K + 63) / 64), columns = K - k0 < 64 ? K - k0 : 64;
        size_t n0 = 16 * rng_below(&r, (N + 15) / 16), n1 = N - n0 > 256 ? n0 + 256 : N;
        unsigned char *out = space(matrix_bytes(to, columns, n1 - n0));
        float *row = space((n1 - n0) * sizeof *row), *want = space((n1 - n0) * sizeof *want);
        k->unpack_transposed(out, to, &w.m, k0, n0, n1);
        struct matrix m = {to, up16(columns), n1 - n0, out};
        for (size_t i = 0; i < m.rows; i++) {
            matrix_row(row, &m, i);
            for (size_t n = n0; n < n1; n++)
                want[n - n0] = i < columns ? w.value[n * K + k0 + i] : 0;
            same_row(row, want, to, n1 - n0, k->isa, from);
        }
        free(row), free(want), free(out);
        drop_weights(&w);
    }
}

/* ---- products ---- */

static void check_forward(const struct rows *x, const struct weights *w, const float *y, size_t ldy,
                          const float *before, const char *isa)
{
    size_t N = w->m.rows, K = w->m.cols;
    enum dtype type = x->a.type;
    for (size_t t = 0; t < x->a.rows; t++)
        for (size_t n = 0; n < N; n++) {
            double exact = before ? before[t * ldy + n] : 0, size = fabs(exact);
            for (size_t k = 0; k < K; k++) {
                double term = (double)as(type, x->value[t * x->ld + k]) * as(type, w->value[n * K + k]);
                exact += term;
                size += fabs(term);
            }
            near(y[t * ldy + n], exact, size, K, isa, t, n);
        }
}

/* Rows of floats times weights of every type, alone, added, and several at once, by one thread and by more. */
static void test_rows_of_floats_multiply_any_weights(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    int threads = omp_get_max_threads();
    for (size_t round = 0; round < 40 * tables; round++) {
        const struct kernels *k = all[round / 40];
        enum dtype type = types[round % 5];
        size_t T = some_size(&r, 9), N = some_size(&r, 150), K = some_columns(&r, type), ldy = up16(N);
        struct rows x = make_rows(&r, floats[round / 5 % 2], T, K);
        struct weights w = make_weights(&r, type, N, K);
        float *y = random_floats(&r, T * ldy, 3), *onto = space(T * ldy * sizeof *y),
              *again = space(T * ldy * sizeof *y);
        memcpy(onto, y, T * ldy * sizeof *y);
        omp_set_num_threads(1);
        matmul_add(k, onto, ldy, &w.m, &x.a);
        check_forward(&x, &w, onto, ldy, y, k->isa);
        matmul_run(k, y, ldy, &w.m, &x.a);
        check_forward(&x, &w, y, ldy, NULL, k->isa);
        for (int n = 2; n <= 3; n++) {
            omp_set_num_threads(n);
            const struct product twice[] = {{onto, ldy, &w.m}, {again, ldy, &w.m}};
            matmul_many(k, twice, 2, &x.a);
            assert_memory_equal(onto, y, T * ldy * sizeof *y);
            assert_memory_equal(again, y, T * ldy * sizeof *y);
        }
        free(y), free(onto), free(again);
        drop_rows(&x);
        drop_weights(&w);
    }
    omp_set_num_threads(threads);
}

static void check_transposed(const struct rows *dy, const struct weights *w, const float *dx, size_t ld,
                             const float *before, const char *isa)
{
    size_t N = w->m.rows, K = w->m.cols;
    enum dtype type = dy->a.type;
    for (size_t t = 0; t < dy->a.rows; t++)
        for (size_t k = 0; k < K; k++) {
            double exact = before ? before[t * ld + k] : 0, size = fabs(exact);
            for (size_t n = 0; n < N; n++) {
                double term = (double)as(type, dy->value[t * dy->ld + n]) * as(type, w->value[n * K + k]);
                exact += term;
                size += fabs(term);
            }
            near(dx[t * ld + k], exact, size, N, isa, t, k);
        }
}

static void test_transposed_products(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    int threads = omp_get_max_threads();
    for (size_t round = 0; round < 40 * tables; round++) {
        const struct kernels *k = all[round / 40];
        enum dtype type = types[round % 5];
        size_t T = some_size(&r, 9), N = some_size(&r, 1200), K = type == DT_NF4 ? 128 : some_size(&r, 200),
               ld = up16(K);
        struct rows dy = make_rows(&r, floats[round / 5 % 2], T, N);
        struct weights w = make_weights(&r, type, N, K);
        float *dx = random_floats(&r, T * ld, 3), *onto = space(T * ld * sizeof *dx),
              *again = space(T * ld * sizeof *dx);
        memcpy(onto, dx, T * ld * sizeof *dx);
        omp_set_num_threads(1);
        matmul_transposed(k, onto, ld, &w.m, &dy.a, true);
        check_transposed(&dy, &w, onto, ld, dx, k->isa);
        matmul_transposed(k, dx, ld, &w.m, &dy.a, false);
        check_transposed(&dy, &w, dx, ld, NULL, k->isa);
        for (int n = 2; n <= 3; n++) {
            omp_set_num_threads(n);
            matmul_transposed(k, again, ld, &w.m, &dy.a, false);
            assert_memory_equal(again, dx, T * ld * sizeof *dx);
        }
        free(dx), free(onto), free(again);
        drop_rows(&dy);
        drop_weights(&w);
    }
    omp_set_num_threads(threads);
}

/* Rows of dy and x, and what is there before: dw += dy^T x. */
static void check_outer(const float *dw, const float *before, const struct rows *dy, const struct rows *x,
                        size_t N, size_t K, enum dtype type, const char *isa)
{
    size_t T = x->a.rows;
    for (size_t n = 0; n < N; n++)
        for (size_t k = 0; k < K; k++) {
            double exact = before[n * K + k], size = fabs(exact);
            for (size_t t = 0; t < T; t++) {
                double term = (double)as(type, dy->value[t * dy->ld + n]) * as(type, x->value[t * x->ld + k]);
                exact += term;
                size += fabs(term);
            }
            near(dw[n * K + k], exact, size, T, isa, n, k);
        }
}

/* LoRA's products have too few columns for all threads, which then share the rows: bits are one thread's. */
static void test_narrow_products(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *k = kernels_get();
    int threads = omp_get_max_threads();
    omp_set_num_threads(4);
    assert_int_equal(share_parts(1, 100), 4);
    assert_int_equal(share_parts(1, 40), 2);
    assert_int_equal(share_parts(1, 31), 1);
    assert_int_equal(share_parts(4, 1000), 1);
    for (int round = 0; round < 40; round++) {
        size_t T = 1 + rng_below(&r, 150), N = 1 + rng_below(&r, 20), K = 1000 + rng_below(&r, 1000);
        bool down = round % 2; /* else up: few columns of the gradient */
        struct rows x = make_rows(&r, floats[round / 2 % 2], T, K);
        struct weights w = down ? make_weights(&r, DT_F32, N, K) : make_weights(&r, DT_F32, K, N);
        size_t ld = up16(N), bytes = T * ld * sizeof(float);
        float *y = random_floats(&r, T * ld, 1), *want = space(bytes), *got = space(bytes);
        for (int n = 1; n <= 5; n++) {
            float *out = memcpy(n == 1 ? want : got, y, bytes);
            omp_set_num_threads(n);
            if (down && round % 4 == 1)
                matmul_run(k, out, ld, &w.m, &x.a);
            else if (down)
                matmul_add(k, out, ld, &w.m, &x.a);
            else
                matmul_transposed(k, out, ld, &w.m, &x.a, round % 4 == 2);
            assert_memory_equal(out, want, bytes);
        }
        free(y), free(want), free(got);
        drop_rows(&x);
        drop_weights(&w);
    }
    omp_set_num_threads(threads);
}

static void test_outer_products(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    int threads = omp_get_max_threads();
    for (size_t round = 0; round < 40 * tables; round++) {
        const struct kernels *k = all[round / 40];
        enum dtype type = floats[round % 2];
        size_t T = some_size(&r, 300), N = some_size(&r, 90), K = some_size(&r, 150), n = N * K;
        struct rows dy = make_rows(&r, DT_F32, T, N), x = make_rows(&r, DT_F32, T, K);
        float *before = random_floats(&r, n + 16, 3), *dw = space((n + 16) * sizeof *dw),
              *again = space((n + 16) * sizeof *dw);
        void *scratch = space(matmul_outer_bytes(N, K, T, type));
        for (int c = 1; c <= 3; c++) {
            omp_set_num_threads(c);
            memcpy(again, before, (n + 16) * sizeof *dw);
            matmul_outer(k, again, dy.value, dy.ld, N, x.value, x.ld, K, T, type, scratch);
            if (c == 1)
                memcpy(dw, again, (n + 16) * sizeof *dw);
            assert_memory_equal(dw, again, (n + 16) * sizeof *dw);
        }
        check_outer(dw, before, &dy, &x, N, K, type, k->isa);
        assert_memory_equal(dw + n, before + n, 16 * sizeof *dw);
        free(before), free(dw), free(again), free(scratch);
        drop_rows(&dy);
        drop_rows(&x);
    }
    omp_set_num_threads(threads);
}

/* ---- gradients of the element kernels: central differences of a loss sum(dy f(x)) ---- */

enum { MOST = 230, ROOM = MOST + 16 };

static double rmsnorm_loss(const double *x, const double *w, const float *dy, size_t n, double eps)
{
    double square = 0, loss = 0;
    for (size_t i = 0; i < n; i++)
        square += x[i] * x[i];
    for (size_t i = 0; i < n; i++)
        loss += dy[i] * x[i] * w[i] / sqrt(square / (double)n + eps);
    return loss;
}

static void close_to(double got, double want, double size, const char *what, size_t i)
{
    if (!(fabs(got - want) <= 2e-5 * size + 1e-6))
        fail_msg("%s: gradient %zu is %.9g, finite difference %.9g", what, i, got, want);
}

static void test_rmsnorm_backward(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (int round = 0; round < 30; round++) {
        size_t n = 1 + rng_below(&r, MOST);
        float x[MOST], w[MOST], dy[MOST], dx[MOST], dw[MOST], alone[MOST];
        double xd[MOST], wd[MOST], h = 1e-5;
        for (size_t i = 0; i < n; i++) {
            xd[i] = x[i] = (float)(uniform(&r) * 4 - 2);
            wd[i] = w[i] = (float)(uniform(&r) * 2 - 1);
            dy[i] = (float)(uniform(&r) * 2 - 1);
            alone[i] = dx[i] = 0.5f;
            dw[i] = -0.25f;
        }
        kernels_get()->rmsnorm_backward(dx, dw, x, w, dy, n, 1e-5f);
        kernels_get()->rmsnorm_backward(alone, NULL, x, w, dy, n, 1e-5f);
        assert_memory_equal(alone, dx, n * sizeof *dx);
        for (size_t i = 0; i < n; i++) {
            double at = xd[i], of = wd[i], up, down;
            xd[i] = at + h, up = rmsnorm_loss(xd, wd, dy, n, 1e-5f);
            xd[i] = at - h, down = rmsnorm_loss(xd, wd, dy, n, 1e-5f);
            xd[i] = at;
            close_to((double)dx[i] - 0.5, (up - down) / (2 * h), 1 + fabs(up - down) / (2 * h), "rmsnorm x",
                     i);
            wd[i] = of + h, up = rmsnorm_loss(xd, wd, dy, n, 1e-5f);
            wd[i] = of - h, down = rmsnorm_loss(xd, wd, dy, n, 1e-5f);
            wd[i] = of;
            close_to((double)dw[i] + 0.25, (up - down) / (2 * h), 1 + fabs(up - down) / (2 * h), "rmsnorm w",
                     i);
        }
    }
}

static double softmax_loss(const double *s, const float *dp, size_t lo, size_t n, double scale, double cap)
{
    double sum = 0, loss = 0;
    for (size_t i = lo; i < n; i++) {
        double z = scale * s[i], e = exp(cap > 0 ? cap * tanh(z / cap) : z);
        sum += e;
        loss += e * dp[i];
    }
    return loss / sum;
}

static void test_softmax_backward(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (int round = 0; round < 60; round++) {
        size_t n = 1 + rng_below(&r, MOST - 16), lo = rng_below(&r, n);
        float scale = 0.3f, cap = round % 2 ? 3 : 0, p[ROOM], capped[ROOM], dp[ROOM], grad[ROOM];
        double s[ROOM], h = 1e-5;
        for (size_t i = 0; i < ROOM; i++) {
            float v = (float)(uniform(&r) * 16 - 8);
            s[i] = p[i] = v;
            capped[i] = i >= lo && i < n ? v * scale : NAN;
            dp[i] = i >= lo && i < n ? (float)(uniform(&r) * 2 - 1) : NAN;
        }
        memcpy(grad, dp, sizeof dp);
        kernels_get()->softmax(p, lo, n, scale, cap);
        if (cap > 0)
            kernels_get()->softcap(capped + lo, n - lo, cap);
        kernels_get()->softmax_backward(grad, p, cap > 0 ? capped : NULL, lo, n, scale, cap);
        for (size_t i = 0; i < up16(n); i++) {
            if (i < lo || i >= n) {
                assert_true(grad[i] == 0);
                continue;
            }
            double at = s[i], up, down;
            s[i] = at + h, up = softmax_loss(s, dp, lo, n, (double)scale, cap);
            s[i] = at - h, down = softmax_loss(s, dp, lo, n, (double)scale, cap);
            s[i] = at;
            close_to(grad[i], (up - down) / (2 * h), fabs(up - down) / (2 * h), "softmax", i);
        }
    }
}

static double activation(double x, enum activation_function f)
{
    if (f == ACTIVATION_SILU)
        return x / (1 + exp(-x));
    if (f == ACTIVATION_GELU_TANH)
        return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    return 0.5 * x * erfc(-x * sqrt(0.5));
}

static void test_gated_backward(void **state)
{
    (void)state;
    struct rng r = seeded();
    for (int round = 0; round < 60; round++) {
        enum activation_function f = (enum activation_function)(round % 3);
        size_t n = 1 + rng_below(&r, MOST);
        float gate[MOST], up[MOST], dy[MOST], dgate[MOST], dup[MOST];
        for (size_t i = 0; i < n; i++) {
            dgate[i] = gate[i] = (float)(uniform(&r) * 24 - 12) * (round % 2 ? 1 : 0.1f);
            dup[i] = up[i] = (float)(uniform(&r) * 4 - 2);
            dy[i] = (float)(uniform(&r) * 2 - 1);
        }
        kernels_get()->gated_backward(dgate, dup, dy, n, f);
        for (size_t i = 0; i < n; i++) {
            double h = 1e-5, slope = (activation(gate[i] + h, f) - activation(gate[i] - h, f)) / (2 * h);
            close_to(dgate[i], (double)dy[i] * up[i] * slope, 1, "gate", i);
            close_to(dup[i], dy[i] * activation(gate[i], f), 1 + fabsf(gate[i]), "up", i);
        }
    }
}

/* Against a generator that draws one after another; in place too, and nothing past the end is written. */
static void test_dropout(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    for (int round = 0; round < 200; round++) {
        float x[ROOM], want[ROOM], got[ROOM];
        size_t n = rng_below(&r, MOST + 1);
        uint64_t seed = rng_next(&r), bits = 0;
        uint32_t below = round % 8 ? (uint32_t)rng_next(&r) : 0;
        struct rng drawn = {seed};
        for (size_t i = 0; i < ROOM; i++)
            want[i] = x[i] = some(&r, 2);
        for (size_t i = 0; i < n; i++) {
            bits = i % 2 ? bits >> 32 : rng_next(&drawn);
            want[i] = (uint32_t)bits < below ? 0 : x[i] * 1.25f;
        }
        for (size_t k = 0; k < tables; k++) {
            memcpy(got, x, sizeof x);
            all[k]->dropout(got, round % 2 ? got : x, n, seed, below, 1.25f);
            assert_memory_equal(got, want, sizeof want);
        }
    }
}

static void test_gradients_agree_between_tables(void **state)
{
    (void)state;
    struct rng r = seeded();
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    for (int round = 0; round < 60; round++) {
        float in[3][ROOM], got[6][ROOM], want[6][ROOM];
        size_t n = 1 + rng_below(&r, MOST), lo = rng_below(&r, n);
        for (size_t i = 0; i < 3 * ROOM; i++)
            in[i / ROOM][i % ROOM] = some(&r, 2);
        for (size_t k = 0; k < tables; k++) {
            for (int i = 0; i < 6; i++)
                memcpy(got[i], in[i % 3], sizeof *in);
            all[k]->rmsnorm_backward(got[0], got[1], in[1], in[2], in[0], n, 1e-6f);
            all[k]->softmax_backward(got[2], in[0], round % 2 ? in[1] : NULL, lo, n, 0.3f,
                                     round % 2 ? 30 : 0);
            all[k]->gated_backward(got[3], got[4], in[2], n, (enum activation_function)(round % 3));
            if (k == 0)
                memcpy(want, got, sizeof got);
            assert_memory_equal(got, want, sizeof got);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nf4_panels),
        cmocka_unit_test(test_unpacking),
        cmocka_unit_test(test_unpacking_transposed),
        cmocka_unit_test(test_rows_of_floats_multiply_any_weights),
        cmocka_unit_test(test_transposed_products),
        cmocka_unit_test(test_narrow_products),
        cmocka_unit_test(test_outer_products),
        cmocka_unit_test(test_rmsnorm_backward),
        cmocka_unit_test(test_softmax_backward),
        cmocka_unit_test(test_gated_backward),
        cmocka_unit_test(test_dropout),
        cmocka_unit_test(test_gradients_agree_between_tables),
    };
    return cmocka_run_group_tests_name("kernels_backward", tests, NULL, NULL);
}
