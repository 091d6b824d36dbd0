/* Quality of verdicts against labels, per axis and over all axes (docs/DESIGN.md, "eval"). */
#ifndef GYEOL_JUDGE_METRICS_H
#define GYEOL_JUDGE_METRICS_H

#include "base/axis.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* One row: label -1, 0, 1 or LABEL_UNKNOWN (2), and what the judge said. */
struct scored {
    int8_t label[AXES], decision[AXES];
    float up[AXES], keep[AXES], down[AXES];
};

enum metric {
    METRIC_MEANINGFUL, /* moved rows decided in the labelled direction */
    METRIC_WRONG,      /* moved rows decided in the opposite direction */
    METRIC_UNNEEDED,   /* kept rows decided anything but keep */
    METRIC_DIRECTION,  /* forced choice by p_up - p_down on moved rows; a tie is half right */
    METRIC_BALANCED,   /* the same, averaged over the two directions */
    METRIC_MACRO_F1,   /* three classes; a class neither labelled nor decided takes no part */
    METRIC_AUC,        /* of p_up - p_down on moved rows */
    METRIC_ECE,        /* top-class probability, 10 equal-mass bins */
    METRICS,
    METRICS_BOOTSTRAPPED = METRIC_AUC /* those before it get intervals */
};

extern const char *const metric_name[METRICS];

struct axis_metrics {
    size_t moved, kept;
    double value[METRICS]; /* NAN where there are no rows */
    double majority;       /* direction accuracy of always answering the commoner direction */
};

struct metrics {
    struct axis_metrics axis[AXES];
    double overall[METRICS]; /* mean over axes that have the figure */
    double ci95[METRICS_BOOTSTRAPPED][2];
};

/* rounds bootstrap resamples of rows (0: none, intervals NAN), from the seed: percentile intervals of the
 * overall figures. */
int metrics_compute(struct metrics *out, const struct scored *row, size_t n, int rounds, uint64_t seed,
                    struct err *e) MUST_CHECK;

#endif
