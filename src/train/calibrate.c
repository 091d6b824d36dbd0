#include "train/calibrate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Mean negative log-likelihood of z' = c[0] z + c[1 + side], and its gradient. Convex in c. */
static double likelihood(const struct calibrate_axis *d, const double c[3], double g[3])
{
    double loss = 0;
    g[0] = g[1] = g[2] = 0;
    for (size_t i = 0; i < d->n; i++) {
        double z[SIDES], p[SIDES];
        for (int s = 0; s < SIDES; s++)
            z[s] = c[0] * d->z[i][s] + c[1 + s];
        softmax_probabilities(z, p);
        int label = d->label[i];
        double right = label > 0 ? p[SIDE_UP] : label < 0 ? p[SIDE_DOWN] : 1 - p[SIDE_UP] - p[SIDE_DOWN];
        loss -= log(fmax(right, 1e-12));
        double delta[SIDES] = {p[SIDE_UP] - (label > 0), p[SIDE_DOWN] - (label < 0)};
        for (int s = 0; s < SIDES; s++) {
            g[0] += delta[s] * d->z[i][s];
            g[1 + s] += delta[s];
        }
    }
    for (int k = 0; k < 3; k++)
        g[k] /= (double)d->n;
    return loss / (double)d->n;
}

double calibrate_loss(const struct calibrate_axis *d, const double c[3])
{
    double g[3];
    return d->n ? likelihood(d, c, g) : 0;
}

#define LEAST_SCALE 0.01 /* more would turn the model's word round, or leave nothing of it */

/* A step down the gradient, back to the wall where it would pass it; returns the decrease that the slope
 * promises. */
static double descend(const double c[3], const double g[3], double rate, double next[3])
{
    for (int k = 0; k < 3; k++)
        next[k] = c[k] - rate * g[k];
    if (next[0] > LEAST_SCALE)
        return rate * (g[0] * g[0] + g[1] * g[1] + g[2] * g[2]);
    next[0] = LEAST_SCALE;
    return (c[0] - next[0]) * g[0] + rate * (g[1] * g[1] + g[2] * g[2]);
}

/* Projected gradient descent with backtracking: three parameters, a convex loss, a few hundred cheap steps. */
void calibrate_fit(const struct calibrate_axis *d, double c[3])
{
    double g[3], loss = likelihood(d, c, g), rate = 1;
    for (int step = 0; step < 1000 && rate > 1e-9; step++) {
        double next[3], next_g[3], promised = descend(c, g, rate, next);
        double next_loss = likelihood(d, next, next_g);
        if (next_loss > loss - 0.25 * promised) {
            rate /= 2;
            continue;
        }
        memcpy(c, next, sizeof next);
        memcpy(g, next_g, sizeof next_g);
        loss = next_loss;
        rate *= 1.5;
    }
}

static int descending(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a < b) - (a > b);
}

/* Probabilities of one dev row; the larger of them. */
static double surest(const struct calibrate_axis *d, size_t i, double p[SIDES])
{
    softmax_probabilities(d->z[i], p);
    return fmax(p[SIDE_UP], p[SIDE_DOWN]);
}

void calibrate_measure(const struct calibrate_axis *d, double threshold, double *meaningful, double *unneeded)
{
    double p[SIDES];
    size_t kept = 0, over = 0, right = 0;
    for (size_t i = 0; i < d->n; i++) {
        bool moved = surest(d, i, p) > threshold;
        kept += d->label[i] == 0;
        over += d->label[i] == 0 && moved;
        right += d->label[i] != 0 && moved && (p[SIDE_UP] > p[SIDE_DOWN]) == (d->label[i] > 0);
    }
    *meaningful = (double)right / (double)(d->n - kept);
    *unneeded = (double)over / (double)kept;
}

/* The smallest threshold that moves at most the budgeted share of kept rows, and fits a float. */
int calibrate_threshold(const struct calibrate_axis *d, double budget, double *threshold, const char *axis,
                        struct err *e)
{
    double *kept = calloc(d->n + 1, sizeof *kept), p[SIDES];
    size_t n = 0;
    if (!kept)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", d->n);
    for (size_t i = 0; i < d->n; i++)
        if (d->label[i] == 0)
            kept[n++] = surest(d, i, p);
    qsort(kept, n, sizeof *kept, descending);
    size_t allowed = (size_t)(budget * (double)n);
    double least = allowed < n ? kept[allowed] : 0;
    float rounded = (float)least;
    *threshold = (double)rounded < least ? nextafterf(rounded, 1) : rounded;
    free(kept);
    if (n == 0 || n == d->n)
        return err_set(e, ERR_FORMAT, "dev data: no %s row on %s; the threshold is chosen on both kinds",
                       n == 0 ? "kept (0)" : "moved (+ or -)", axis);
    return 0;
}
