/* judge/paired.h against figures by hand and against numpy and scipy (tests/fixtures/paired.py);
 * judge/resistance.h by hand. */
#include "base/size.h"
#include "judge/paired.h"
#include "judge/resistance.h"

#include <math.h>

#include "testing.h"

#define TEST(name) static void name(__attribute__((unused)) void **state)

static void near(double got, double want)
{
    if (!(fabs(got - want) < 1e-12))
        fail_msg("%.17g, want %.17g", got, want);
}

TEST(test_mcnemar_is_the_exact_binomial)
{
    static const struct {
        size_t a, b;
        double p;
    } cases[] = {{0, 0, 1},
                 {5, 5, 1},
                 {3, 12, 0.03515625},
                 {12, 3, 0.03515625},
                 {170, 230, 0.0031290161268145173},
                 {0, 30, 1.862645149230957e-09},
                 {2000, 1800, 0.0012427867782632011}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        double p = mcnemar_p(cases[i].a, cases[i].b);
        if (!(fabs(p - cases[i].p) < 1e-10 * cases[i].p))
            fail_msg("%zu, %zu: %.17g, want %.17g", cases[i].a, cases[i].b, p, cases[i].p);
    }
}

TEST(test_paired_by_hand)
{
    /* Four rows that only ei labels: +, +, 0, 0. A errs on the fourth, B on all but the third. */
    static const struct scored a[] = {{{1, 2, 2, 2}, {1}, {.8F}, {.1F}, {.1F}},
                                      {{1, 2, 2, 2}, {1}, {.8F}, {.1F}, {.1F}},
                                      {{0, 2, 2, 2}, {0}, {.1F}, {.8F}, {.1F}},
                                      {{0, 2, 2, 2}, {1}, {.8F}, {.1F}, {.1F}}};
    static const struct scored b[] = {{{1, 2, 2, 2}, {0}, {.2F}, {.6F}, {.2F}}, /* a tie */
                                      {{1, 2, 2, 2}, {-1}, {.1F}, {.1F}, {.8F}},
                                      {{0, 2, 2, 2}, {0}, {.1F}, {.8F}, {.1F}},
                                      {{0, 2, 2, 2}, {-1}, {.1F}, {.1F}, {.8F}}};
    static const double want_a[] = {1, 1, .5, .75}, want_b[] = {.25, 0, .5, .25};
    struct paired p;
    ok(paired_compute(&p, a, b, NULL, 4, 0, 1, &error));
    for (int k = 0; k < PAIRED_MEASURES; k++) {
        near(p.a[k], want_a[k]);
        near(p.b[k], want_b[k]);
        near(p.difference[k], want_a[k] - want_b[k]);
        assert_true(isnan(p.ci95[k][0]) && isnan(p.ci95[k][1]));
    }
    assert_true(p.direction.only_a == 2 && p.direction.only_b == 0 && p.direction.p == .5);
    assert_true(p.unneeded.only_a == 0 && p.unneeded.only_b == 0 && p.unneeded.p == 1);
    assert_int_equal(paired_better(&p), PAIRED_UNKNOWN);
    ok(paired_compute(&p, a, b, NULL, 0, 10, 1, &error));
    assert_true(isnan(p.a[PAIRED_DIRECTION]) && isnan(p.ci95[PAIRED_WHOLE][0]));
}

enum { N = 240, GROUPS = 23 };

static void make_rows(struct scored a[N], struct scored b[N], uint32_t group[N])
{
    struct rng r = {11};
    for (size_t i = 0; i < N; i++) {
        group[i] = (uint32_t)(i < GROUPS ? i : rng_below(&r, GROUPS));
        for (int x = 0; x < AXES; x++) {
            int label = (int)rng_below(&r, 4) - 1;
            for (int j = 0; j < 2; j++) {
                struct scored *s = j ? &b[i] : &a[i];
                bool right = rng_below(&r, 10) < (j ? 6 : 8);
                s->label[x] = (int8_t)label;
                s->decision[x] = (int8_t)(right ? label < 2 ? label : 0 : (int)rng_below(&r, 3) - 1);
                s->down[x] = .5F;
                s->up[x] = .5F + (float)(s->decision[x] + (int)rng_below(&r, 3) - 1) / 4;
            }
        }
    }
}

/* clang-format off */
static const double want_a[] = {0.7741769605486156, 0.8839727560745706, 0.13545833313403727, 0.6708333333333333};
static const double want_b[] = {0.7116629761825419, 0.7489763146494268, 0.2546395944332186, 0.42916666666666664};
static const double want_ci[2][2][PAIRED_MEASURES] = {
    {{0.030638988841490633, 0.09524026615433046, -0.17600482928069133, 0.16250000000000003},
     {0.09871443563432825, 0.17835087714403697, -0.05067178520486554, 0.3125}},
    {{0.01582167001049095, 0.08841698327666803, -0.1689914354770912, 0.18292682926829268},
     {0.10553077691144308, 0.17938945854091837, -0.06566256856127681, 0.3}}};
/* clang-format on */

TEST(test_paired_as_numpy_and_scipy_have_it)
{
    static struct scored a[N], b[N];
    static uint32_t group[N];
    make_rows(a, b, group);
    for (int by_group = 0; by_group < 2; by_group++) {
        struct paired p, swapped;
        ok(paired_compute(&p, a, b, by_group ? group : NULL, N, 200, 3, &error));
        assert_true(p.rows == N && p.groups == (by_group ? GROUPS : N));
        for (int k = 0; k < PAIRED_MEASURES; k++) {
            near(p.a[k], want_a[k]);
            near(p.b[k], want_b[k]);
            near(p.ci95[k][0], want_ci[by_group][0][k]);
            near(p.ci95[k][1], want_ci[by_group][1][k]);
        }
        assert_true(p.direction.only_a == 131 && p.direction.only_b == 108);
        assert_true(p.unneeded.only_a == 22 && p.unneeded.only_b == 51);
        near(p.direction.p, 0.15457114715373257);
        near(p.unneeded.p, 0.0009142745821630902);
        assert_int_equal(paired_better(&p), PAIRED_A);
        ok(paired_compute(&swapped, b, a, by_group ? group : NULL, N, 200, 3, &error));
        assert_int_equal(paired_better(&swapped), PAIRED_B);
    }
}

TEST(test_who_is_better)
{
    static const struct {
        double direction[2], unneeded[2];
        enum paired_better want;
    } cases[] = {{{.01, .05}, {-.01, .01}, PAIRED_A},     {{-.01, .05}, {.01, .02}, PAIRED_B},
                 {{-.01, .05}, {-.02, -.01}, PAIRED_A},   {{.01, .05}, {.01, .02}, PAIRED_MIXED},
                 {{-.05, -.01}, {.01, .02}, PAIRED_B},    {{0, .05}, {-.01, 0}, PAIRED_UNKNOWN},
                 {{NAN, NAN}, {NAN, NAN}, PAIRED_UNKNOWN}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct paired p = {0};
        memcpy(p.ci95[PAIRED_DIRECTION], cases[i].direction, sizeof cases[i].direction);
        memcpy(p.ci95[PAIRED_UNNEEDED], cases[i].unneeded, sizeof cases[i].unneeded);
        assert_int_equal(paired_better(&p), cases[i].want);
    }
}

TEST(test_resistance_by_hand)
{
    static const int8_t decisions[][2][AXES] = {
        {{0, 1, -1, 1}, {0, 1, -1, 1}},  /* nothing */
        {{0, 0, 1, 1}, {1, -1, 0, -1}}}; /* gained twice, lost, turned */
    struct resistance r = {0}, total = {0};
    for (size_t i = 0; i < COUNT_OF(decisions); i++) {
        struct judge_verdict v[2] = {0};
        for (int k = 0; k < 2; k++)
            for (int a = 0; a < AXES; a++)
                v[k].axis[a].decision = decisions[i][k][a];
        resistance_count(&r, &v[0], &v[1]);
    }
    resistance_add(&total, &r);
    resistance_add(&total, &r);
    assert_true(total.posts == 4 && total.posts_changed == 2 && resistance_all(&total) == 8);
    assert_true(total.changed[AXIS_EI][RESISTANCE_GAINED] == 2 && resistance_axis(&total, AXIS_EI) == 2);
    assert_true(total.changed[AXIS_SN][RESISTANCE_GAINED] == 2);
    assert_true(total.changed[AXIS_TF][RESISTANCE_LOST] == 2);
    assert_true(total.changed[AXIS_JP][RESISTANCE_TURNED] == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mcnemar_is_the_exact_binomial),
        cmocka_unit_test(test_paired_by_hand),
        cmocka_unit_test(test_paired_as_numpy_and_scipy_have_it),
        cmocka_unit_test(test_who_is_better),
        cmocka_unit_test(test_resistance_by_hand),
    };
    return cmocka_run_group_tests_name("paired", tests, NULL, NULL);
}
