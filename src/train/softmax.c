#include "train/softmax.h"

#include "base/rng.h"
#include "base/size.h"
#include "base/stop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int reserve(void **p, size_t *capacity, size_t want, size_t size, struct err *e)
{
    size_t bytes;
    if (want <= *capacity)
        return 0;
    void *q = size_mul(2 * want, size, &bytes) ? realloc(*p, bytes) : NULL;
    if (!q)
        return err_set(e, ERR_MEMORY, "out of memory for %zu features", want);
    *p = q;
    *capacity = 2 * want;
    return 0;
}

int feature_rows_add(struct feature_rows *m, const struct features *f, struct err *e)
{
    int rc = reserve((void **)&m->start, &m->capacity, m->n + 2, sizeof *m->start, e);
    if (rc)
        return rc;
    size_t begin = m->n ? m->start[m->n] : 0, end = begin + f->n_distinct;
    rc = reserve((void **)&m->bucket, &m->bucket_capacity, end + 1, sizeof *m->bucket, e);
    if (rc)
        return rc;
    if (f->n_distinct)
        memcpy(m->bucket + begin, f->bucket, f->n_distinct * sizeof *f->bucket);
    m->start[m->n] = begin;
    m->start[++m->n] = end;
    return 0;
}

void feature_rows_deinit(struct feature_rows *m)
{
    free(m->bucket);
    free(m->start);
    *m = (struct feature_rows){0};
}

void softmax_deinit(struct softmax *x)
{
    free(x->w);
    *x = (struct softmax){0};
}

void softmax_logits(const struct softmax *x, const uint32_t *bucket, size_t n, double z[SIDES])
{
    double norm = n ? 1 / sqrt((double)n) : 0;
    z[SIDE_UP] = z[SIDE_DOWN] = 0;
    for (size_t k = 0; k < n; k++)
        for (int s = 0; s < SIDES; s++)
            z[s] += x->w[(size_t)bucket[k] * SIDES + (size_t)s];
    for (int s = 0; s < SIDES; s++)
        z[s] = z[s] * x->shrink * norm + x->bias[s];
}

void softmax_probabilities(const double z[SIDES], double p[SIDES])
{
    double top = fmax(0, fmax(z[SIDE_UP], z[SIDE_DOWN]));
    double up = exp(z[SIDE_UP] - top), down = exp(z[SIDE_DOWN] - top), keep = exp(-top),
           sum = up + down + keep;
    p[SIDE_UP] = up / sum;
    p[SIDE_DOWN] = down / sum;
}

static void descend(struct softmax *x, const uint32_t *bucket, size_t n, int label, double rate, double l2)
{
    double norm = n ? 1 / sqrt((double)n) : 0, z[SIDES], p[SIDES];
    softmax_logits(x, bucket, n, z);
    softmax_probabilities(z, p);
    double gradient[SIDES] = {p[SIDE_UP] - (label > 0), p[SIDE_DOWN] - (label < 0)};
    x->shrink *= 1 - fmin(rate * l2, 0.5);
    for (int s = 0; s < SIDES; s++) {
        double step = rate * gradient[s];
        x->bias[s] -= 0.1 * step; /* the bias sees every row: a slower rate keeps it from swinging */
        step *= norm / x->shrink;
        for (size_t k = 0; k < n; k++)
            x->w[(size_t)bucket[k] * SIDES + (size_t)s] -= step;
    }
}

/* Balanced: every class that occurs weighs the same in total (scikit-learn's class_weight="balanced"). The
 * rows that take part go to order. */
static size_t balance(const int8_t *label, size_t n, uint32_t *order, double weight[3])
{
    double rows[3] = {0}, classes = 0;
    size_t used = 0;
    for (size_t i = 0; i < n; i++)
        if (label[i] >= -1 && label[i] <= 1) {
            rows[label[i] + 1]++;
            order[used++] = (uint32_t)i;
        }
    for (int c = 0; c < 3; c++)
        classes += rows[c] > 0;
    for (int c = 0; c < 3; c++)
        weight[c] = rows[c] > 0 ? (double)used / (classes * rows[c]) : 0;
    return used;
}

int softmax_fit(struct softmax *x, const struct feature_rows *m, const int8_t *label,
                const struct softmax_options *o, struct err *e)
{
    double weight[3], t = 0;
    struct rng rng = {o->seed};
    uint32_t *order = calloc(m->n + 1, sizeof *order);
    *x = (struct softmax){.w = calloc(FEATURE_BUCKETS * SIDES, sizeof *x->w), .shrink = 1};
    int rc = order && x->w ? 0 : err_set(e, ERR_MEMORY, "out of memory for %zu rows", m->n);
    size_t n = rc ? 0 : balance(label, m->n, order, weight);
    for (int epoch = 0; epoch < o->epochs && !rc; epoch++) {
        if (stop_requested())
            rc = err_set(e, ERR_STOPPED, "interrupted; nothing was written");
        rng_shuffle(&rng, order, n);
        for (size_t i = 0; i < n && !rc; i++, t++) {
            size_t row = order[i], begin = m->start[row];
            /* Bottou's decay, and a linear one to zero over the run: the last iterate is as good as an
             * average. */
            double rate = o->rate / (1 + o->rate * o->l2 * t) * (1 - t / ((double)n * o->epochs));
            double class_weight = weight[label[row] + 1];
            descend(x, m->bucket + begin, m->start[row + 1] - begin, label[row], rate * class_weight,
                    o->l2 / class_weight);
        }
    }
    free(order);
    if (rc)
        softmax_deinit(x);
    return rc;
}

float softmax_quantise(const struct softmax *x, int side, int8_t *table, int column)
{
    double most = 0;
    for (size_t b = 0; b < FEATURE_BUCKETS; b++)
        most = fmax(most, fabs(x->w[b * SIDES + (size_t)side] * x->shrink));
    float scale = most > 0 ? (float)(most / 127) : 1;
    for (size_t b = 0; b < FEATURE_BUCKETS; b++)
        table[b * LINEAR_COLUMNS + (size_t)column] =
            (int8_t)lrint(x->w[b * SIDES + (size_t)side] * x->shrink / (double)scale);
    return scale;
}
