#include "train/linear_train.h"

#include "train/calibrate.h"

#include "judge/guard.h"
#include "train/guard_train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The features of each post that the judge would see. With guarded = false those of all sentences: the axes
 * learn from talk to the judge, too, that it means nothing, in case the guard misses some. */
static int build(struct feature_rows *x, const struct linear_model *m, bool guarded,
                 const struct labelled_posts *p, struct err *e)
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
            rc = feature_rows_add(x, &f, e);
    }
    arena_deinit(&a);
    return rc;
}

static int fit_axis(struct softmax *w, const struct feature_rows *x, const struct labelled_posts *p, int a,
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

/* Logits as linear_verdict computes them. */
static void dev_logits(struct calibrate_axis *d, const struct linear_model *m, const struct feature_rows *x,
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

/* Calibrates, rounds to what the file holds, and chooses the threshold on exactly that. */
static int finish_axis(struct linear_model *m, struct linear_fit *fit, const struct feature_rows *x,
                       const struct labelled_posts *dev, int a, double budget, struct err *e)
{
    struct calibrate_axis d = {.z = calloc(dev->n + 1, sizeof *d.z), .label = calloc(dev->n + 1, 1)};
    double c[3] = {1, 0, 0};
    int rc = d.z && d.label ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", dev->n);
    if (!rc) {
        dev_logits(&d, m, x, dev, a);
        if (d.n)
            calibrate_fit(&d, c);
        fit->temperature[a] = 1 / c[0];
        for (int s = 0; s < SIDES; s++) {
            m->scale[a][s] = (float)(m->scale[a][s] * c[0]);
            m->bias[a][s] = (float)(m->bias[a][s] * c[0] + c[1 + s]);
        }
        dev_logits(&d, m, x, dev, a);
        rc = calibrate_threshold(&d, budget, &fit->threshold[a], axis_info[a].key, e);
        m->threshold[a] = (float)fit->threshold[a];
        calibrate_measure(&d, fit->threshold[a], &fit->meaningful[a], &fit->unneeded[a]);
    }
    free(d.z);
    free(d.label);
    return rc;
}

static int fit_all(struct softmax w[AXES], const struct feature_rows *x, const struct labelled_posts *train,
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
    struct feature_rows x = {0}, y = {0};
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
    feature_rows_deinit(&x);
    feature_rows_deinit(&y);
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
