#include "train/linear_train.h"

#include "judge/guard.h"
#include "train/guard_train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The features of each post that the judge would see. With guarded = false those of all sentences: the axes
 * learn from talk to the judge, too, that it means nothing, in case the guard misses some. */
static int build(struct matrix *x, const struct linear_model *m, bool guarded, const struct labelled_posts *p,
                 struct err *e)
{
    struct arena a = {0};
    struct linear_model as_is = *m;
    int rc = 0;
    if (!guarded)
        as_is.guard_threshold = 1;
    for (size_t i = 0; i < p->n && !rc; i++) {
        const char *text = p->row[i].text;
        struct features f;
        bool *skip;
        arena_reset(&a);
        rc = guard_mask(&as_is, text, strlen(text), p->row[i].mission, &a, &skip, e);
        if (!rc)
            rc = features_extract(&f, text, strlen(text), skip, &a, e);
        if (!rc)
            rc = matrix_add(x, &f, e);
    }
    arena_deinit(&a);
    return rc;
}

static int fit_axis(struct softmax *w, const struct matrix *x, const struct labelled_posts *p, int a,
                    const struct linear_options *o, struct err *e)
{
    struct softmax_options options = o->softmax;
    size_t rows[3] = {0};
    int8_t *label = calloc(p->n + 1, 1);
    if (!label)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", p->n);
    for (size_t i = 0; i < p->n; i++) {
        label[i] = p->row[i].label[a];
        if (label[i] != LABEL_UNKNOWN)
            rows[label[i] + 1]++;
    }
    options.seed += (uint64_t)a;
    int rc = rows[0] && rows[2]
                 ? softmax_fit(w, x, label, &options, e)
                 : err_set(e, ERR_FORMAT, "training data: no row is %s on %s; both directions are needed",
                           rows[0] ? "up" : "down", axis_info[a].key);
    free(label);
    return rc;
}

/* ---- calibration on dev ---- */

struct dev_axis {
    double (*z)[SIDES]; /* logits of the rows with a label */
    int8_t *label;
    size_t n;
};

/* Logits as linear_verdict computes them. */
static void dev_logits(struct dev_axis *d, const struct linear_model *m, const struct matrix *x,
                       const struct labelled_posts *p, int a)
{
    d->n = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->row[i].label[a] == LABEL_UNKNOWN)
            continue;
        size_t n = x->start[i + 1] - x->start[i];
        double norm = n ? 1 / sqrt((double)n) : 0;
        for (int s = 0; s < SIDES; s++) {
            int32_t sum = 0;
            for (size_t k = x->start[i]; k < x->start[i + 1]; k++)
                sum += m->weight[(size_t)x->bucket[k] * LINEAR_COLUMNS + (size_t)(a * SIDES + s)];
            d->z[d->n][s] = m->bias[a][s] + m->scale[a][s] * (double)sum * norm;
        }
        d->label[d->n++] = p->row[i].label[a];
    }
}

/* Mean negative log-likelihood of z' = c[0] z + c[1 + side], and its gradient. Convex in c. */
static double likelihood(const struct dev_axis *d, const double c[3], double g[3])
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

/* Gradient descent with backtracking: three parameters, a convex loss, a few hundred cheap steps. */
static void calibrate(const struct dev_axis *d, double c[3])
{
    double g[3], loss = likelihood(d, c, g), rate = 1;
    for (int step = 0; step < 1000 && rate > 1e-9; step++) {
        double next[3], next_g[3], slope = g[0] * g[0] + g[1] * g[1] + g[2] * g[2];
        for (int k = 0; k < 3; k++)
            next[k] = c[k] - rate * g[k];
        double next_loss = next[0] > 0.01 ? likelihood(d, next, next_g) : INFINITY;
        if (next_loss > loss - 0.25 * rate * slope) {
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
static double surest(const struct dev_axis *d, size_t i, double p[SIDES])
{
    softmax_probabilities(d->z[i], p);
    return fmax(p[SIDE_UP], p[SIDE_DOWN]);
}

static void measure(struct linear_fit *fit, const struct dev_axis *d, int a)
{
    double p[SIDES];
    size_t kept = 0, over = 0, right = 0;
    for (size_t i = 0; i < d->n; i++) {
        bool moved = surest(d, i, p) > fit->threshold[a];
        kept += d->label[i] == 0;
        over += d->label[i] == 0 && moved;
        right += d->label[i] != 0 && moved && (p[SIDE_UP] > p[SIDE_DOWN]) == (d->label[i] > 0);
    }
    fit->meaningful[a] = (double)right / (double)(d->n - kept);
    fit->unneeded[a] = (double)over / (double)kept;
}

/* The smallest threshold that moves at most the budgeted share of kept rows, and fits a float. */
static int choose_threshold(struct linear_fit *fit, const struct dev_axis *d, int a, double budget,
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
    fit->threshold[a] = (double)rounded < least ? nextafterf(rounded, 1) : rounded;
    free(kept);
    if (n == 0 || n == d->n)
        return err_set(e, ERR_FORMAT, "dev data: no %s row on %s; the threshold is chosen on both kinds",
                       n == 0 ? "kept (0)" : "moved (+ or -)", axis_info[a].key);
    measure(fit, d, a);
    return 0;
}

/* Calibrates, rounds to what the file holds, and chooses the threshold on exactly that. */
static int finish_axis(struct linear_model *m, struct linear_fit *fit, const struct matrix *x,
                       const struct labelled_posts *dev, int a, double budget, struct err *e)
{
    struct dev_axis d = {.z = calloc(dev->n + 1, sizeof *d.z), .label = calloc(dev->n + 1, 1)};
    double c[3] = {1, 0, 0};
    int rc = d.z && d.label ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", dev->n);
    if (!rc) {
        dev_logits(&d, m, x, dev, a);
        if (d.n)
            calibrate(&d, c);
        fit->temperature[a] = 1 / c[0];
        for (int s = 0; s < SIDES; s++) {
            m->scale[a][s] = (float)(m->scale[a][s] * c[0]);
            m->bias[a][s] = (float)(m->bias[a][s] * c[0] + c[1 + s]);
        }
        dev_logits(&d, m, x, dev, a);
        rc = choose_threshold(fit, &d, a, budget, e);
        m->threshold[a] = (float)fit->threshold[a];
    }
    free(d.z);
    free(d.label);
    return rc;
}

static int fit_all(struct softmax w[AXES], const struct matrix *x, const struct labelled_posts *train,
                   const struct linear_options *o, struct err *e)
{
    struct err errors[AXES] = {0};
    int rc[AXES] = {0};
#pragma omp parallel for schedule(dynamic, 1)
    for (int a = 0; a < AXES; a++)
        rc[a] = fit_axis(&w[a], x, train, a, o, &errors[a]);
    for (int a = 0; a < AXES; a++)
        if (rc[a])
            return err_set(e, rc[a], "%s", errors[a].msg);
    return 0;
}

static int fit_model(struct linear_model *m, int8_t *table, struct linear_fit *fit, struct softmax w[AXES],
                     const struct labelled_posts *train, const struct labelled_posts *dev,
                     const struct linear_options *o, struct err *e)
{
    struct matrix x = {0}, y = {0};
    int rc = guard_train(m, table, fit, train, dev, &o->softmax, e);
    if (!rc)
        rc = build(&x, m, false, train, e);
    if (!rc)
        rc = build(&y, m, true, dev, e);
    if (!rc)
        rc = fit_all(w, &x, train, o, e);
    for (int a = 0; a < AXES && !rc; a++) {
        for (int s = 0; s < SIDES; s++) {
            m->scale[a][s] = softmax_quantise(&w[a], s, table, a * SIDES + s);
            m->bias[a][s] = (float)w[a].bias[s];
        }
        rc = finish_axis(m, fit, &y, dev, a, o->budget, e);
    }
    matrix_deinit(&x);
    matrix_deinit(&y);
    return rc;
}

int linear_train(struct buf *out, struct linear_fit *fit, const struct labelled_posts *train,
                 const struct labelled_posts *dev, const struct linear_options *o, struct err *e)
{
    struct softmax w[AXES] = {0};
    struct linear_model m = {
        .seed = o->softmax.seed, .train_rows = (uint32_t)train->n, .dev_rows = (uint32_t)dev->n};
    int8_t *table = calloc(FEATURE_BUCKETS, LINEAR_COLUMNS);
    *fit = (struct linear_fit){0};
    m.weight = table;
    memcpy(m.train_sha256, train->sha256, DIGEST_HEX);
    memcpy(m.dev_sha256, dev->sha256, DIGEST_HEX);
    int rc = table ? fit_model(&m, table, fit, w, train, dev, o, e) : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc)
        rc = linear_write(out, &m, e);
    for (int a = 0; a < AXES; a++)
        softmax_deinit(&w[a]);
    free(table);
    return rc;
}
