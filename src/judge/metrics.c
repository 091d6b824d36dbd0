#include "judge/metrics.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const metric_name[METRICS] = {"meaningful",        "wrong",    "unneeded", "direction_accuracy",
                                          "balanced_accuracy", "macro_f1", "auc",      "ece"};

enum { UNKNOWN = 2, BINS = 10 };

/* Counts by label (-1, 0, 1) and decision, and forced choices by labelled direction (down, up). */
struct tally {
    double cell[3][3];
    double right[2], moved[2];
};

static void count(struct tally *t, const struct scored *r, int a, double times)
{
    if (r->label[a] == UNKNOWN)
        return;
    t->cell[r->label[a] + 1][r->decision[a] + 1] += times;
    if (r->label[a] == 0)
        return;
    int direction = r->label[a] > 0;
    float lean = r->up[a] - r->down[a];
    t->moved[direction] += times;
    t->right[direction] += lean == 0 ? times / 2 : (lean > 0) == direction ? times : 0;
}

static double ratio(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

static double macro_f1(const struct tally *t)
{
    double sum = 0, classes = 0;
    for (int c = 0; c < 3; c++) {
        double labelled = 0, decided = 0;
        for (int k = 0; k < 3; k++) {
            labelled += t->cell[c][k];
            decided += t->cell[k][c];
        }
        if (labelled + decided == 0)
            continue;
        sum += 2 * t->cell[c][c] / (labelled + decided);
        classes++;
    }
    return ratio(sum, classes);
}

static void figures(const struct tally *t, double *value)
{
    double moved = t->moved[0] + t->moved[1];
    double kept = t->cell[1][0] + t->cell[1][1] + t->cell[1][2];
    value[METRIC_MEANINGFUL] = ratio(t->cell[0][0] + t->cell[2][2], moved);
    value[METRIC_WRONG] = ratio(t->cell[0][2] + t->cell[2][0], moved);
    value[METRIC_UNNEEDED] = ratio(t->cell[1][0] + t->cell[1][2], kept);
    value[METRIC_DIRECTION] = ratio(t->right[0] + t->right[1], moved);
    double down = ratio(t->right[0], t->moved[0]), up = ratio(t->right[1], t->moved[1]);
    value[METRIC_BALANCED] = isnan(down) ? up : isnan(up) ? down : (down + up) / 2;
    value[METRIC_MACRO_F1] = macro_f1(t);
}

struct pair {
    float score;
    int hit;
};

static int by_score(const void *x, const void *y)
{
    float a = ((const struct pair *)x)->score, b = ((const struct pair *)y)->score;
    return (a > b) - (a < b);
}

/* Mann-Whitney with mid-ranks for ties. */
static double auc(struct pair *p, size_t n)
{
    double positives = 0, rank_sum = 0;
    qsort(p, n, sizeof *p, by_score);
    for (size_t i = 0; i < n;) {
        size_t j = i;
        while (j < n && p[j].score == p[i].score)
            j++;
        for (size_t k = i; k < j; k++)
            if (p[k].hit) {
                positives++;
                rank_sum += ((double)i + (double)j + 1) / 2;
            }
        i = j;
    }
    double negatives = (double)n - positives;
    return ratio(rank_sum - positives * (positives + 1) / 2, positives * negatives);
}

static double calibration_error(struct pair *p, size_t n)
{
    double error = 0;
    qsort(p, n, sizeof *p, by_score);
    for (size_t b = 0; b < BINS; b++) {
        size_t begin = n * b / BINS, end = n * (b + 1) / BINS;
        double confidence = 0, hits = 0;
        for (size_t i = begin; i < end; i++) {
            confidence += p[i].score;
            hits += p[i].hit;
        }
        error += fabs(confidence - hits);
    }
    return ratio(error, (double)n);
}

static void ranked(struct axis_metrics *m, const struct scored *row, size_t n, int a, struct pair *p)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (row[i].label[a] == 1 || row[i].label[a] == -1)
            p[k++] = (struct pair){row[i].up[a] - row[i].down[a], row[i].label[a] > 0};
    m->value[METRIC_AUC] = auc(p, k);
    k = 0;
    for (size_t i = 0; i < n; i++) {
        const struct scored *r = &row[i];
        if (r->label[a] == UNKNOWN)
            continue;
        int top = r->up[a] > r->keep[a] && r->up[a] > r->down[a] ? 1 : r->down[a] > r->keep[a] ? -1 : 0;
        float p_top = top > 0 ? r->up[a] : top < 0 ? r->down[a] : r->keep[a];
        p[k++] = (struct pair){p_top, top == r->label[a]};
    }
    m->value[METRIC_ECE] = calibration_error(p, k);
}

static void mean_over_axes(const struct axis_metrics *axis, int metrics, double *overall)
{
    for (int k = 0; k < metrics; k++) {
        double sum = 0, axes = 0;
        for (int a = 0; a < AXES; a++)
            if (!isnan(axis[a].value[k])) {
                sum += axis[a].value[k];
                axes++;
            }
        overall[k] = ratio(sum, axes);
    }
}

static int by_value(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void percentile_interval(double *v, int n, double out[2])
{
    out[0] = out[1] = NAN;
    if (n == 0)
        return;
    qsort(v, (size_t)n, sizeof *v, by_value);
    out[0] = v[(int)(0.025 * (n - 1) + 0.5)];
    out[1] = v[(int)(0.975 * (n - 1) + 0.5)];
}

static int bootstrap(struct metrics *out, const struct scored *row, size_t n, int rounds, uint64_t seed,
                     struct err *e)
{
    struct rng rng = {seed};
    double *v = calloc((size_t)rounds * METRICS_BOOTSTRAPPED, sizeof *v);
    if (!v)
        return err_set(e, ERR_MEMORY, "out of memory for %d resamples", rounds);
    int filled[METRICS_BOOTSTRAPPED] = {0};
    for (int r = 0; r < rounds; r++) {
        struct tally t[AXES] = {0};
        struct axis_metrics axis[AXES];
        double overall[METRICS];
        for (size_t i = 0; i < n; i++) {
            const struct scored *x = &row[rng_below(&rng, n)];
            for (int a = 0; a < AXES; a++)
                count(&t[a], x, a, 1);
        }
        for (int a = 0; a < AXES; a++)
            figures(&t[a], axis[a].value);
        mean_over_axes(axis, METRICS_BOOTSTRAPPED, overall);
        for (int k = 0; k < METRICS_BOOTSTRAPPED; k++)
            if (!isnan(overall[k]))
                v[k * rounds + filled[k]++] = overall[k];
    }
    for (int k = 0; k < METRICS_BOOTSTRAPPED; k++)
        percentile_interval(v + k * rounds, filled[k], out->ci95[k]);
    free(v);
    return 0;
}

int metrics_compute(struct metrics *out, const struct scored *row, size_t n, int rounds, uint64_t seed,
                    struct err *e)
{
    struct pair *p = calloc(n + 1, sizeof *p);
    if (!p)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", n);
    for (int a = 0; a < AXES; a++) {
        struct axis_metrics *m = &out->axis[a];
        struct tally t = {0};
        for (size_t i = 0; i < n; i++)
            count(&t, &row[i], a, 1);
        figures(&t, m->value);
        ranked(m, row, n, a, p);
        m->moved = (size_t)(t.moved[0] + t.moved[1]);
        m->kept = (size_t)(t.cell[1][0] + t.cell[1][1] + t.cell[1][2]);
        m->majority = ratio(fmax(t.moved[0], t.moved[1]), t.moved[0] + t.moved[1]);
    }
    free(p);
    mean_over_axes(out->axis, METRICS, out->overall);
    for (int k = 0; k < METRICS_BOOTSTRAPPED; k++)
        out->ci95[k][0] = out->ci95[k][1] = NAN;
    return rounds && n ? bootstrap(out, row, n, rounds, seed, e) : 0;
}
