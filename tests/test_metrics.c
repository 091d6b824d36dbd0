/* judge/metrics.h against figures worked out by hand and against definitions computed the slow way. */
#include "base/rng.h"
#include "base/size.h"
#include "judge/metrics.h"

#include <math.h>

#include "testing.h"

#define TEST(name) static void name(__attribute__((unused)) void **state)

static void near(double got, double want)
{
    if (!(fabs(got - want) < 1e-6))
        fail_msg("%.9f, want %.9f", got, want);
}

/* clang-format off */
static const struct scored by_hand[] = {
#define ROW(l, d, u, k, dn) {{l, 2, 2, 2}, {d}, {u}, {k}, {dn}}
    ROW(1, 1, .7F, .2F, .1F),   ROW(1, -1, .2F, .3F, .5F), ROW(1, 0, .3F, .4F, .3F),
    ROW(-1, -1, .1F, .1F, .8F), ROW(-1, 0, .3F, .4F, .3F), ROW(0, 1, .6F, .3F, .1F),
    ROW(0, 0, .1F, .9F, 0)};
/* clang-format on */

TEST(test_metrics_by_hand)
{
    static const double want[METRICS] = {.4, .2, .5, .6, .625, 1.3 / 3, .75, 2.5 / 7};
    struct metrics m;
    ok(metrics_compute(&m, by_hand, COUNT_OF(by_hand), 0, 1, &error));
    for (int k = 0; k < METRICS; k++) {
        near(m.axis[AXIS_EI].value[k], want[k]);
        near(m.overall[k], want[k]); /* the one axis that has rows */
        assert_true(isnan(m.axis[AXIS_SN].value[k]) && isnan(m.axis[AXIS_JP].value[k]));
    }
    near(m.axis[AXIS_EI].majority, .6);
    assert_true(m.axis[AXIS_EI].moved == 5 && m.axis[AXIS_EI].kept == 2 && m.axis[AXIS_TF].moved == 0);
    for (int k = 0; k < METRICS_BOOTSTRAPPED; k++)
        assert_true(isnan(m.ci95[k][0]) && isnan(m.ci95[k][1]));
    ok(metrics_compute(&m, by_hand, 0, 10, 1, &error));
    assert_true(isnan(m.overall[METRIC_AUC]) && isnan(m.overall[METRIC_MEANINGFUL]));
}

TEST(test_metrics_auc_is_the_share_of_ordered_pairs)
{
    enum { N = 200 };
    static struct scored row[N];
    struct rng r = seeded();
    struct metrics m, again;
    for (int i = 0; i < N; i++)
        for (int a = 0; a < AXES; a++) { /* eighths: exact, and often tied */
            row[i].label[a] = (int8_t)((int)rng_below(&r, 4) - 1);
            row[i].decision[a] = (int8_t)((int)rng_below(&r, 3) - 1);
            row[i].up[a] = (float)rng_below(&r, 5) / 8;
            row[i].down[a] = (float)rng_below(&r, 5) / 8;
            row[i].keep[a] = 1 - row[i].up[a] - row[i].down[a];
        }
    ok(metrics_compute(&m, row, N, 200, 5, &error));
    for (int a = 0; a < AXES; a++) {
        double won = 0, pairs = 0;
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++)
                if (row[i].label[a] == 1 && row[k].label[a] == -1) {
                    float x = row[i].up[a] - row[i].down[a], y = row[k].up[a] - row[k].down[a];
                    won += x > y ? 1 : x == y ? .5 : 0;
                    pairs++;
                }
        near(m.axis[a].value[METRIC_AUC], won / pairs);
    }
    ok(metrics_compute(&again, row, N, 200, 5, &error));
    assert_memory_equal(m.ci95, again.ci95, sizeof m.ci95); /* the seed decides */
    for (int k = 0; k < METRICS_BOOTSTRAPPED; k++)
        assert_true(m.ci95[k][0] < m.overall[k] && m.overall[k] < m.ci95[k][1]);
}

/* 1,000 rows of confidences .40 .. .94, 100 rows each, of which exactly that share is right: ECE 0. Claiming
 * .05 more each makes it .05. */
TEST(test_metrics_ece_of_a_calibrated_judge)
{
    static struct scored row[1000];
    struct metrics m;
    for (int shift = 0; shift < 2; shift++) {
        for (int i = 0; i < 1000; i++) {
            int percent = 40 + 6 * (i % 10);
            float sure = (float)(percent + 5 * shift) / 100;
            row[i] = (struct scored){
                {i / 10 < percent ? 1 : -1, 2, 2, 2}, {1}, {sure}, {(1 - sure) / 2}, {(1 - sure) / 2}};
        }
        ok(metrics_compute(&m, row, 1000, 0, 1, &error));
        near(m.axis[AXIS_EI].value[METRIC_ECE], shift ? .05 : 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_by_hand),
        cmocka_unit_test(test_metrics_auc_is_the_share_of_ordered_pairs),
        cmocka_unit_test(test_metrics_ece_of_a_calibrated_judge),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
