/* Softmax regression over up, keep, down (keep's logit 0) on rows of distinct buckets, by stochastic gradient
 * descent in a seeded order with learning rate decay (Bottou, "Stochastic Gradient Descent Tricks", 2012), L2
 * by shrinking, and balanced classes. One thread, no global state: the same input gives the same weights. */
#ifndef GYEOL_TRAIN_SOFTMAX_H
#define GYEOL_TRAIN_SOFTMAX_H

#include "base/err.h"
#include "judge/features.h"
#include "judge/linear.h"

#include <stddef.h>
#include <stdint.h>

/* Rows one after another; zero-initialised is empty. */
struct feature_rows {
    uint32_t *bucket; /* [start[n]] */
    size_t *start;    /* [n + 1] */
    size_t n, capacity, bucket_capacity;
};

int feature_rows_add(struct feature_rows *m, const struct features *f, struct err *e) MUST_CHECK;
void feature_rows_deinit(struct feature_rows *m);

struct softmax {
    double *w; /* [FEATURE_BUCKETS][SIDES], to be multiplied by shrink; owned */
    double shrink, bias[SIDES];
};

struct softmax_options {
    uint64_t seed;
    int epochs;
    double l2;   /* weight of |w|^2 / 2 against the mean loss */
    double rate; /* first learning rate */
};

/* label [m->n]: -1 down, 0 keep, 1 up; anything else takes no part. ERR_STOPPED when interrupted. */
int softmax_fit(struct softmax *x, const struct feature_rows *m, const int8_t *label,
                const struct softmax_options *o, struct err *e) MUST_CHECK;
void softmax_deinit(struct softmax *x);

/* Logits of the two sides for a row's distinct buckets. */
void softmax_logits(const struct softmax *x, const uint32_t *bucket, size_t n, double z[SIDES]);

/* p(up), p(down) from logits. */
void softmax_probabilities(const double z[SIDES], double p[SIDES]);

/* Puts a side's weights in a column of table [FEATURE_BUCKETS][LINEAR_COLUMNS] as 8-bit integers; returns
 * what they are to be multiplied by. */
float softmax_quantise(const struct softmax *x, int side, int8_t *table, int column);

#endif
