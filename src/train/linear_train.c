#include "train/linear_train.h"

#include "base/rng.h"
#include "base/stop.h"
#include "judge/linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Rows as lists of distinct buckets, one after another. */
struct matrix {
    uint32_t *bucket; /* [start[n]] */
    size_t *start;    /* [n + 1] */
    size_t n;
};

struct axis_weights {
    double *w; /* [FEATURE_BUCKETS][SIDES], times `shrink` */
    double shrink, bias[SIDES];
};

static void matrix_free(struct matrix *m)
{
    free(m->bucket);
    free(m->start);
    *m = (struct matrix){0};
}

static int append(struct matrix *m, size_t *capacity, const struct features *f, struct err *e)
{
    size_t end = m->start[m->n] + f->n_distinct;
    if (end > *capacity) {
        size_t want = 2 * end;
        uint32_t *p = realloc(m->bucket, want * sizeof *p);
        if (!p)
            return err_set(e, ERR_MEMORY, "out of memory for %zu features", want);
        m->bucket = p;
        *capacity = want;
    }
    if (f->n_distinct)
        memcpy(m->bucket + m->start[m->n], f->bucket, f->n_distinct * sizeof *f->bucket);
    m->start[++m->n] = end;
    return 0;
}

static int matrix_build(struct matrix *m, const struct labelled_posts *p, struct err *e)
{
    struct arena a = {0};
    size_t capacity = 0;
    int rc = 0;
    *m = (struct matrix){.start = calloc(p->n + 1, sizeof *m->start)};
    if (!m->start)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", p->n);
    for (size_t i = 0; i < p->n && !rc; i++) {
        struct features f;
        arena_reset(&a);
        rc = features_extract(&f, p->row[i].text, strlen(p->row[i].text), p->row[i].mission, &a, e);
        if (!rc)
            rc = append(m, &capacity, &f, e);
    }
    arena_deinit(&a);
    if (rc)
        matrix_free(m);
    return rc;
}

/* Balanced: every class weighs the same in total (n / (3 n_class), as scikit-learn's
 * class_weight="balanced"). */
static int class_weights(double weight[3], const struct labelled_posts *p, int a, struct err *e)
{
    double n[3] = {0}, total = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->row[i].label[a] != LABEL_UNKNOWN) {
            n[p->row[i].label[a] + 1]++;
            total++;
        }
    if (n[0] == 0 || n[2] == 0)
        return err_set(e, ERR_FORMAT, "training data: no row is %s on %s; both directions are needed",
                       n[0] == 0 ? "down" : "up", axis_info[a].key);
    for (int c = 0; c < 3; c++)
        weight[c] = n[c] > 0 ? total / (3 * n[c]) : 0;
    return 0;
}

/* p(up), p(down) from logits with keep at 0. */
static void softmax(const double z[SIDES], double p[SIDES])
{
    double top = fmax(0, fmax(z[0], z[1]));
    double up = exp(z[0] - top), down = exp(z[1] - top), keep = exp(-top), sum = up + down + keep;
    p[SIDE_UP] = up / sum;
    p[SIDE_DOWN] = down / sum;
}

static void descend(struct axis_weights *x, const struct matrix *m, size_t i, int label, double rate,
                    double l2)
{
    const uint32_t *bucket = m->bucket + m->start[i];
    size_t n = m->start[i + 1] - m->start[i];
    double norm = n ? 1 / sqrt((double)n) : 0, z[SIDES] = {0}, p[SIDES];
    for (size_t k = 0; k < n; k++)
        for (int s = 0; s < SIDES; s++)
            z[s] += x->w[(size_t)bucket[k] * SIDES + (size_t)s];
    for (int s = 0; s < SIDES; s++)
        z[s] = z[s] * x->shrink * norm + x->bias[s];
    softmax(z, p);
    double gradient[SIDES] = {p[SIDE_UP] - (label > 0), p[SIDE_DOWN] - (label < 0)};
    x->shrink *= 1 - (rate < 1 / l2 ? rate * l2 : 0.5);
    for (int s = 0; s < SIDES; s++) {
        double step = rate * gradient[s];
        x->bias[s] -= 0.1 * step; /* the bias sees every row: a slower rate keeps it from swinging */
        step *= norm / x->shrink;
        for (size_t k = 0; k < n; k++)
            x->w[(size_t)bucket[k] * SIDES + (size_t)s] -= step;
    }
}

static int fit_axis(struct axis_weights *x, const struct matrix *m, const struct labelled_posts *p, int a,
                    const struct linear_options *o, struct err *e)
{
    double weight[3];
    uint32_t *order = calloc(p->n, sizeof *order);
    x->w = calloc(FEATURE_BUCKETS * SIDES, sizeof *x->w);
    x->shrink = 1;
    if (!order || !x->w) {
        free(order);
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", p->n);
    }
    int rc = class_weights(weight, p, a, e);
    struct rng rng = {o->seed + (uint64_t)a};
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        if (p->row[i].label[a] != LABEL_UNKNOWN)
            order[n++] = (uint32_t)i;
    double t = 0;
    for (int epoch = 0; epoch < o->epochs && !rc; epoch++) {
        rng_shuffle(&rng, order, n);
        if (stop_requested())
            rc = err_set(e, ERR_STOPPED, "interrupted; nothing was written");
        for (size_t i = 0; i < n && !rc; i++, t++) {
            int label = p->row[order[i]].label[a];
            double rate = o->rate / (1 + o->rate * o->l2 * t);
            /* Linear decay to zero over the run makes the last iterate as good as an average. */
            rate *= 1 - t / ((double)n * o->epochs);
            descend(x, m, order[i], label, rate * weight[label + 1], o->l2 / weight[label + 1]);
        }
    }
    free(order);
    return rc;
}

static void quantise(struct linear_model *m, int8_t *table, const struct axis_weights *x, int a)
{
    for (int s = 0; s < SIDES; s++) {
        double most = 0;
        for (size_t b = 0; b < FEATURE_BUCKETS; b++)
            most = fmax(most, fabs(x->w[b * SIDES + (size_t)s] * x->shrink));
        double scale = most > 0 ? most / 127 : 1;
        for (size_t b = 0; b < FEATURE_BUCKETS; b++)
            table[b * LINEAR_COLUMNS + (size_t)(a * SIDES + s)] =
                (int8_t)lrint(x->w[b * SIDES + (size_t)s] * x->shrink / scale);
        m->scale[a][s] = (float)scale;
        m->bias[a][s] = (float)x->bias[s];
    }
}

/* ---- calibration on dev ---- */

struct dev_axis {
    double (*z)[SIDES]; /* logits of the rows with a label */
    int8_t *label;
    size_t n;
};

static int dev_logits(struct dev_axis *d, const struct linear_model *m, const struct matrix *x,
                      const struct labelled_posts *p, int a, struct err *e)
{
    *d = (struct dev_axis){.z = calloc(p->n, sizeof *d->z), .label = calloc(p->n, 1)};
    if (!d->z || !d->label)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", p->n);
    for (size_t i = 0; i < p->n; i++) {
        if (p->row[i].label[a] == LABEL_UNKNOWN)
            continue;
        size_t n = x->start[i + 1] - x->start[i];
        for (int s = 0; s < SIDES; s++) {
            int32_t sum = 0;
            for (size_t k = x->start[i]; k < x->start[i + 1]; k++)
                sum += m->weight[(size_t)x->bucket[k] * LINEAR_COLUMNS + (size_t)(a * SIDES + s)];
            d->z[d->n][s] = m->bias[a][s] + m->scale[a][s] * (double)sum / sqrt((double)(n ? n : 1));
        }
        d->label[d->n++] = p->row[i].label[a];
    }
    return 0;
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
        softmax(z, p);
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

/* Probabilities of one dev row under calibration c; the larger of them. */
static double surest(const struct dev_axis *d, size_t i, const double c[3], double p[SIDES])
{
    double z[SIDES];
    for (int s = 0; s < SIDES; s++)
        z[s] = c[0] * d->z[i][s] + c[1 + s];
    softmax(z, p);
    return fmax(p[SIDE_UP], p[SIDE_DOWN]);
}

static void measure(struct linear_fit *fit, const struct dev_axis *d, const double c[3], int a)
{
    double p[SIDES];
    size_t kept = 0, over = 0, right = 0;
    for (size_t i = 0; i < d->n; i++) {
        bool moved = surest(d, i, c, p) > fit->threshold[a];
        kept += d->label[i] == 0;
        over += d->label[i] == 0 && moved;
        right += d->label[i] != 0 && moved && (p[SIDE_UP] > p[SIDE_DOWN]) == (d->label[i] > 0);
    }
    fit->meaningful[a] = (double)right / (double)(d->n - kept);
    fit->unneeded[a] = (double)over / (double)kept;
}

/* The smallest threshold that moves at most the budgeted share of kept rows. */
static int choose_threshold(struct linear_fit *fit, const struct dev_axis *d, const double c[3], int a,
                            double budget, struct err *e)
{
    double *kept = calloc(d->n + 1, sizeof *kept), p[SIDES];
    size_t n = 0;
    if (!kept)
        return err_set(e, ERR_MEMORY, "out of memory for %zu rows", d->n);
    for (size_t i = 0; i < d->n; i++)
        if (d->label[i] == 0)
            kept[n++] = surest(d, i, c, p);
    qsort(kept, n, sizeof *kept, descending);
    size_t allowed = (size_t)(budget * (double)n);
    fit->threshold[a] = allowed < n ? kept[allowed] : 0;
    free(kept);
    if (n == 0 || n == d->n)
        return err_set(e, ERR_FORMAT, "dev data: no %s row on %s; the threshold is chosen on both kinds",
                       n == 0 ? "kept (0)" : "moved (+ or -)", axis_info[a].key);
    measure(fit, d, c, a);
    return 0;
}

static int finish_axis(struct linear_model *m, struct linear_fit *fit, const struct matrix *x,
                       const struct labelled_posts *dev, int a, double budget, struct err *e)
{
    struct dev_axis d;
    double c[3] = {1, 0, 0};
    int rc = dev_logits(&d, m, x, dev, a, e);
    if (!rc) {
        calibrate(&d, c);
        rc = choose_threshold(fit, &d, c, a, budget, e);
    }
    fit->temperature[a] = 1 / c[0];
    for (int s = 0; s < SIDES; s++) {
        m->scale[a][s] = (float)(m->scale[a][s] * c[0]);
        m->bias[a][s] = (float)(m->bias[a][s] * c[0] + c[1 + s]);
    }
    m->threshold[a] = (float)fit->threshold[a];
    free(d.z);
    free(d.label);
    return rc;
}

static int fit_all(struct axis_weights w[AXES], const struct matrix *x, const struct labelled_posts *train,
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

int linear_train(struct buf *out, struct linear_fit *fit, const struct labelled_posts *train,
                 const struct labelled_posts *dev, const struct linear_options *o, struct err *e)
{
    struct matrix x = {0}, y = {0};
    struct axis_weights w[AXES] = {0};
    struct linear_model m = {.seed = o->seed, .train_rows = (uint32_t)train->n, .dev_rows = (uint32_t)dev->n};
    int8_t *table = calloc(FEATURE_BUCKETS, LINEAR_COLUMNS);
    int rc = table ? matrix_build(&x, train, e) : err_set(e, ERR_MEMORY, "out of memory");
    if (!rc)
        rc = matrix_build(&y, dev, e);
    if (!rc)
        rc = fit_all(w, &x, train, o, e);
    m.weight = table;
    memcpy(m.train_sha256, train->sha256, DIGEST_HEX);
    memcpy(m.dev_sha256, dev->sha256, DIGEST_HEX);
    for (int a = 0; a < AXES && !rc; a++) {
        quantise(&m, table, &w[a], a);
        rc = finish_axis(&m, fit, &y, dev, a, o->budget, e);
    }
    if (!rc)
        rc = linear_write(out, &m, e);
    for (int a = 0; a < AXES; a++)
        free(w[a].w);
    matrix_free(&x);
    matrix_free(&y);
    free(table);
    return rc;
}
