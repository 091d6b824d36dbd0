/* train/adamw: against torch.optim.AdamW's own steps (tests/fixtures/lora_llama), the definition in double, and
 * bitsandbytes' 8-bit algorithm as numpy computes it (tests/fixtures/adamw8); the learning-rate schedules of
 * Transformers. */
#include "train/adamw.h"

#include "base/file.h"
#include "base/size.h"
#include "format/safetensors.h"
#include "train/adamw_map.h"

#include <math.h>
#include <omp.h>

#include "testing.h"

static const struct adamw_options usual = {
    .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01, .bits = 32};

static struct adamw *optimiser(size_t n, int bits, double decay)
{
    struct adamw_options o = usual;
    struct adamw *a;
    o.bits = bits;
    o.weight_decay = decay;
    ok(adamw_new(&a, n, &o, &error));
    return a;
}

/* Roughly normal, of all magnitudes, some exactly 0. */
static float *random_values(struct rng *r, size_t n, bool wild)
{
    float *x = malloc((n + 1) * sizeof *x);
    for (size_t i = 0; i < n; i++) {
        double u = (double)(rng_next(r) >> 11) / 9007199254740992.0 * 2 - 1;
        x[i] = (float)(wild ? u * exp(8 * u) : u);
        if (rng_below(r, 50) == 0)
            x[i] = 0;
    }
    return x;
}

/* ---- 32 bits ---- */

static struct safetensors *fixture(const char *name)
{
    char path[100];
    struct safetensors *s;
    snprintf(path, sizeof path, "tests/fixtures/lora_llama/%s.safetensors", name);
    ok(safetensors_open(&s, path, &error));
    return s;
}

/* Gradients are there for the first step only. 2e-7: the last place of values up to 2. */
static void test_steps_as_torch(void **state)
{
    (void)state;
    struct safetensors *before = fixture("adapter_model"), *grads = fixture("grads"),
                       *after = fixture("adapter_after_step1");
    size_t seen = 0;
    for (size_t k = 0; k < safetensors_count(before); k++) {
        const struct tensor *p = safetensors_at(before, k), *g = safetensors_find(grads, p->name),
                            *want = safetensors_find(after, p->name);
        assert_non_null(g);
        assert_non_null(want);
        size_t n = p->bytes / sizeof(float);
        float *value = malloc(p->bytes), *grad = malloc(p->bytes), *end = malloc(p->bytes);
        memcpy(value, p->data, p->bytes);
        memcpy(grad, g->data, p->bytes);
        memcpy(end, want->data, p->bytes);
        struct adamw *a = optimiser(n, 32, 0.01);
        adamw_step(a, value, grad, 1e-3, 1);
        for (size_t i = 0; i < n; i++)
            assert_float_equal(value[i], end[i], 2e-7);
        seen += n;
        adamw_free(a);
        free(value);
        free(grad);
        free(end);
    }
    assert_true(seen > 1000);
    safetensors_close(before);
    safetensors_close(grads);
    safetensors_close(after);
}

/* Twenty steps with clipping and a rate that changes. 32-bit rounding leaves about 20 x 6e-8 of the moments. */
static void test_steps_as_defined(void **state)
{
    (void)state;
    enum { N = 20001 };
    struct rng r = seeded();
    float *value = random_values(&r, N, false);
    double *p = calloc(N, sizeof *p), *m = calloc(N, sizeof *m), *v = calloc(N, sizeof *v);
    for (size_t i = 0; i < N; i++)
        p[i] = value[i];
    struct adamw *a = optimiser(N, 32, 0.1);
    for (int t = 1; t <= 20; t++) {
        float *grad = random_values(&r, N, true);
        double lr = 0.01 * t, clip = t % 2 ? 1 : 0.25;
        adamw_step(a, value, grad, lr, clip);
        for (size_t i = 0; i < N; i++) {
            double g = grad[i] * clip;
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            p[i] *= 1 - lr * 0.1;
            p[i] -= lr / (1 - pow(0.9, t)) * m[i] / (sqrt(v[i]) / sqrt(1 - pow(0.999, t)) + 1e-8);
            if (fabs(value[i] - p[i]) > 1e-5)
                fail_msg("step %d value %zu: %.9g, wanted %.9g", t, i, value[i], p[i]);
        }
        free(grad);
    }
    assert_int_equal(adamw_steps(a), 20);
    adamw_free(a);
    free(value);
    free(p);
    free(m);
    free(v);
}

/* ---- 8 bits ---- */

static void *loaded(const char *name, size_t want)
{
    char path[100], *data;
    size_t n;
    snprintf(path, sizeof path, "tests/fixtures/adamw8/%s.bin", name);
    ok(file_read(&data, &n, path, 1 << 20, &error));
    assert_int_equal(n, want);
    return data;
}

static void test_8_bits_as_bitsandbytes(void **state)
{
    (void)state;
    enum { N = 700, STEPS = 6 };
    float *value = loaded("start", 4 * N), *grads = loaded("grads", 4 * N * STEPS),
          *want = loaded("values", 4 * N * STEPS);
    struct adamw *a = optimiser(N, 8, 0.1);
    struct adamw_part part[4];
    for (int t = 0; t < STEPS; t++) {
        adamw_step(a, value, grads + t * N, 0.01, 0.5);
        for (int i = 0; i < N; i++)
            if (fabsf(value[i] - want[t * N + i]) > 1e-7f)
                fail_msg("step %d value %d: %.9g, wanted %.9g", t, i, value[i], want[t * N + i]);
    }
    assert_int_equal(adamw_parts(a, part), 4);
    for (int k = 0; k < 4; k++) {
        void *state_want = loaded(part[k].name, part[k].bytes);
        assert_memory_equal(part[k].data, state_want, part[k].bytes);
        free(state_want);
    }
    float *map = loaded("unsigned_map", sizeof adamw_map);
    assert_memory_equal(map, adamw_map, sizeof adamw_map);
    adamw_free(a);
    free(map);
    free(value);
    free(grads);
    free(want);
}

/* On a convex problem both kinds of state find the minimum. */
static double distance_after(int bits, uint64_t seed)
{
    enum { N = 3000 };
    struct rng r = {seed};
    float *target = random_values(&r, N, false), *value = calloc(N, sizeof *value),
          *grad = calloc(N, sizeof *grad);
    struct adamw *a = optimiser(N, bits, 0);
    double sum = 0;
    for (int t = 0; t < 400; t++) {
        for (size_t i = 0; i < N; i++)
            grad[i] = (value[i] - target[i]) * (1 + (float)(i % 7));
        adamw_step(a, value, grad, 0.05 * schedule_factor(SCHEDULE_COSINE, (uint64_t)t, 0, 400), 1);
    }
    for (size_t i = 0; i < N; i++)
        sum += fabs(value[i] - target[i]) / N;
    adamw_free(a);
    free(target);
    free(value);
    free(grad);
    return sum;
}

static void test_8_bits_find_the_minimum(void **state)
{
    (void)state;
    struct rng r = seeded();
    uint64_t seed = rng_next(&r);
    assert_true(distance_after(32, seed) < 1e-3);
    assert_true(distance_after(8, seed) < 1e-2);
}

/* ---- any number of threads, from any checkpoint ---- */

static void run(struct adamw *a, float *value, float *const grad[], int from, int to)
{
    for (int t = from; t < to; t++)
        adamw_step(a, value, grad[t], 0.01, 0.7);
}

static void check_bits(int bits, size_t n, struct rng *r)
{
    enum { STEPS = 4 };
    float *start = random_values(r, n, false), *grad[STEPS], *one = malloc(4 * n + 4),
          *other = malloc(4 * n + 4);
    for (int t = 0; t < STEPS; t++)
        grad[t] = random_values(r, n, true);
    memcpy(one, start, 4 * n);
    memcpy(other, start, 4 * n);
    struct adamw *a = optimiser(n, bits, 0.01), *b = optimiser(n, bits, 0.01), *c = optimiser(n, bits, 0.01);
    omp_set_num_threads(1);
    run(a, one, grad, 0, STEPS);
    double norm = gradient_norm(grad[0], n);
    omp_set_num_threads(5);
    assert_true(norm == gradient_norm(grad[0], n));
    run(b, other, grad, 0, 2);
    struct adamw_part from[4], to[4];
    size_t parts = adamw_parts(b, from), bytes = 0;
    assert_int_equal(adamw_parts(c, to), parts);
    for (size_t k = 0; k < parts; k++) {
        assert_string_equal(from[k].name, to[k].name);
        assert_int_equal(from[k].bytes, to[k].bytes);
        memcpy(to[k].data, from[k].data, from[k].bytes);
        bytes += from[k].bytes;
    }
    assert_int_equal(bytes, adamw_bytes(n, bits));
    adamw_set_steps(c, adamw_steps(b));
    run(c, other, grad, 2, STEPS);
    assert_memory_equal(one, other, 4 * n);
    omp_set_num_threads(omp_get_num_procs());
    adamw_free(a);
    adamw_free(b);
    adamw_free(c);
    for (int t = 0; t < STEPS; t++)
        free(grad[t]);
    free(start);
    free(one);
    free(other);
}

static void test_threads_and_checkpoints(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 255, 256, 257, 8192, 40000};
    struct rng r = seeded();
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        check_bits(32, sizes[i], &r);
        check_bits(8, sizes[i], &r);
    }
}

static void test_norm(void **state)
{
    (void)state;
    struct rng r = seeded();
    static const size_t sizes[] = {0, 1, 2, 255, 256, 257, 100003};
    for (size_t k = 0; k < COUNT_OF(sizes); k++) {
        size_t n = sizes[k];
        float *x = random_values(&r, n, true);
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += (double)x[i] * x[i];
        assert_true(fabs(gradient_norm(x, n) - sqrt(sum)) <= 1e-12 * sqrt(sum));
        if (n > 2) {
            x[n - 1] = NAN;
            assert_true(isnan(gradient_norm(x, n)));
        }
        free(x);
    }
}

static void test_other_bits_are_refused(void **state)
{
    (void)state;
    struct adamw_options o = usual;
    struct adamw *a;
    o.bits = 4;
    assert_int_equal(adamw_new(&a, 10, &o, &error), ERR_USAGE);
    assert_null(a);
}

/* ---- schedules ---- */

/* transformers.get_cosine_schedule_with_warmup(optimizer, 2, 10) and its linear and constant sisters, by their
 * formulas (optimization.py). */
static void test_schedules(void **state)
{
    (void)state;
    static const double cosine[] = {0,
                                    0.5,
                                    1,
                                    0.9619397662556434,
                                    0.8535533905932737,
                                    0.6913417161825449,
                                    0.5,
                                    0.3086582838174551,
                                    0.14644660940672627,
                                    0.03806023374435663,
                                    0};
    static const double linear[] = {0, 0.5, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0};
    for (uint64_t s = 0; s <= 10; s++) {
        assert_true(fabs(schedule_factor(SCHEDULE_COSINE, s, 2, 10) - cosine[s]) < 1e-15);
        assert_true(fabs(schedule_factor(SCHEDULE_LINEAR, s, 2, 10) - linear[s]) < 1e-15);
        assert_true(schedule_factor(SCHEDULE_CONSTANT, s, 2, 10) == (s < 2 ? s / 2.0 : 1));
    }
    assert_true(schedule_factor(SCHEDULE_COSINE, 0, 0, 10) == 1);
    assert_true(schedule_factor(SCHEDULE_LINEAR, 99, 0, 10) == 0);
    assert_true(schedule_factor(SCHEDULE_COSINE, 10, 10, 10) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps_as_torch),          cmocka_unit_test(test_steps_as_defined),
        cmocka_unit_test(test_8_bits_as_bitsandbytes),  cmocka_unit_test(test_8_bits_find_the_minimum),
        cmocka_unit_test(test_threads_and_checkpoints), cmocka_unit_test(test_norm),
        cmocka_unit_test(test_other_bits_are_refused),  cmocka_unit_test(test_schedules),
    };
    return cmocka_run_group_tests_name("adamw", tests, NULL, NULL);
}
