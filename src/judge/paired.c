#include "judge/paired.h"

#include "base/rng.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

const char *const paired_name[PAIRED_MEASURES] = {"direction_accuracy", "meaningful", "unneeded",
                                                  "whole_verdict"};

enum { UNKNOWN = 2, JUDGES = 2 };

/* What a row, or a group of rows, adds to the figures. All are halves of whole numbers, so sums are exact. */
struct tally {
    double rows, moved[AXES], kept[AXES];
    struct {
        double direction[AXES], meaningful[AXES], unneeded[AXES], whole;
    } of[JUDGES];
};

static double forced_choice(const struct scored *r, int a)
{
    float lean = r->up[a] - r->down[a];
    return lean == 0 ? 0.5 : (lean > 0) == (r->label[a] > 0);
}

static void count_judge(struct tally *t, const struct scored *r, int judge)
{
    bool whole = true;
    for (int a = 0; a < AXES; a++) {
        if (r->label[a] == UNKNOWN)
            continue;
        whole &= r->label[a] == r->decision[a];
        if (r->label[a] == 0) {
            t->of[judge].unneeded[a] += r->decision[a] != 0;
            continue;
        }
        t->of[judge].meaningful[a] += r->decision[a] == r->label[a];
        t->of[judge].direction[a] += forced_choice(r, a);
    }
    t->of[judge].whole += whole;
}

static void count_row(struct tally *t, const struct scored *a, const struct scored *b)
{
    t->rows++;
    for (int x = 0; x < AXES; x++) {
        t->moved[x] += a->label[x] == 1 || a->label[x] == -1;
        t->kept[x] += a->label[x] == 0;
    }
    count_judge(t, a, 0);
    count_judge(t, b, 1);
}

static void add(struct tally *sum, const struct tally *t)
{
    double *to = (double *)sum;
    const double *from = (const double *)t;
    for (size_t i = 0; i < sizeof *t / sizeof *from; i++)
        to[i] += from[i];
}

static double mean_share(const double *part, const double *of)
{
    double sum = 0, axes = 0;
    for (int a = 0; a < AXES; a++)
        if (of[a] > 0) {
            sum += part[a] / of[a];
            axes++;
        }
    return axes > 0 ? sum / axes : NAN;
}

static void figures(const struct tally *t, int judge, double value[PAIRED_MEASURES])
{
    value[PAIRED_DIRECTION] = mean_share(t->of[judge].direction, t->moved);
    value[PAIRED_MEANINGFUL] = mean_share(t->of[judge].meaningful, t->moved);
    value[PAIRED_UNNEEDED] = mean_share(t->of[judge].unneeded, t->kept);
    value[PAIRED_WHOLE] = t->rows > 0 ? t->of[judge].whole / t->rows : NAN;
}

/* ---- McNemar ---- */

double mcnemar_p(size_t only_a, size_t only_b)
{
    size_t n = only_a + only_b, k = only_a < only_b ? only_a : only_b;
    double term =
        exp(lgamma((double)n + 1) - lgamma((double)k + 1) - lgamma((double)(n - k) + 1) - (double)n * log(2));
    double tail = 0;
    for (size_t i = k;; i--) { /* the largest first: what follows only shrinks */
        tail += term;
        if (i == 0)
            break;
        term *= (double)i / (double)(n - i + 1);
    }
    return fmin(1, 2 * tail);
}

static void count_discordant(struct paired *out, const struct scored *a, const struct scored *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (int x = 0; x < AXES; x++) {
            bool kept = a[i].label[x] == 0;
            if (a[i].label[x] == UNKNOWN)
                continue;
            bool in_a = kept ? a[i].decision[x] != 0 : forced_choice(&a[i], x) == 1;
            bool in_b = kept ? b[i].decision[x] != 0 : forced_choice(&b[i], x) == 1;
            struct mcnemar *m = kept ? &out->unneeded : &out->direction;
            m->only_a += in_a && !in_b;
            m->only_b += in_b && !in_a;
        }
    out->direction.p = mcnemar_p(out->direction.only_a, out->direction.only_b);
    out->unneeded.p = mcnemar_p(out->unneeded.only_a, out->unneeded.only_b);
}

/* ---- bootstrap ---- */

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void interval(double *v, int n, double out[2])
{
    if (n == 0)
        return;
    qsort(v, (size_t)n, sizeof *v, by_value);
    out[0] = v[(int)(0.025 * (n - 1) + 0.5)];
    out[1] = v[(int)(0.975 * (n - 1) + 0.5)];
}

static int bootstrap(struct paired *out, const struct tally *group, int rounds, uint64_t seed, struct err *e)
{
    struct rng rng = {seed};
    int filled[PAIRED_MEASURES] = {0};
    double *v = calloc((size_t)rounds * PAIRED_MEASURES + 1, sizeof *v);
    if (!v)
        return err_set(e, ERR_MEMORY, "out of memory for %d resamples", rounds);
    for (int r = 0; r < rounds; r++) {
        struct tally t = {0};
        double value[JUDGES][PAIRED_MEASURES];
        for (size_t i = 0; i < out->groups; i++)
            add(&t, &group[rng_below(&rng, out->groups)]);
        for (int j = 0; j < JUDGES; j++)
            figures(&t, j, value[j]);
        for (int k = 0; k < PAIRED_MEASURES; k++)
            if (!isnan(value[0][k]))
                v[k * rounds + filled[k]++] = value[0][k] - value[1][k];
    }
    for (int k = 0; k < PAIRED_MEASURES; k++)
        interval(v + k * rounds, filled[k], out->ci95[k]);
    free(v);
    return 0;
}

int paired_compute(struct paired *out, const struct scored *a, const struct scored *b, const uint32_t *group,
                   size_t n, int rounds, uint64_t seed, struct err *e)
{
    *out = (struct paired){.rows = n};
    struct tally all = {0}, *t = calloc(n + 1, sizeof *t);
    if (!t)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", n);
    for (size_t i = 0; i < n; i++) {
        size_t g = group ? group[i] : i;
        count_row(&t[g], &a[i], &b[i]);
        out->groups = g >= out->groups ? g + 1 : out->groups;
    }
    for (size_t g = 0; g < out->groups; g++)
        add(&all, &t[g]);
    figures(&all, 0, out->a);
    figures(&all, 1, out->b);
    for (int k = 0; k < PAIRED_MEASURES; k++) {
        out->difference[k] = out->a[k] - out->b[k];
        out->ci95[k][0] = out->ci95[k][1] = NAN;
    }
    count_discordant(out, a, b, n);
    int rc = bootstrap(out, t, rounds, seed, e);
    free(t);
    return rc;
}

/* ---- who is better ---- */

enum paired_better paired_side(const struct paired *p, enum paired_measure m)
{
    int sign = p->ci95[m][0] > 0 ? 1 : p->ci95[m][1] < 0 ? -1 : 0;
    if (m == PAIRED_UNNEEDED)
        sign = -sign;
    return sign > 0 ? PAIRED_A : sign < 0 ? PAIRED_B : PAIRED_UNKNOWN;
}

enum paired_better paired_better(const struct paired *p)
{
    enum paired_better x = paired_side(p, PAIRED_DIRECTION), y = paired_side(p, PAIRED_UNNEEDED);
    if (x == PAIRED_UNKNOWN || x == y)
        return y;
    return y == PAIRED_UNKNOWN ? x : PAIRED_MIXED;
}
