/* Calibrates a language model as a judge: fits temperature, biases and thresholds on labelled posts. */
#ifndef GYEOL_TRAIN_ENGINE_CALIBRATE_H
#define GYEOL_TRAIN_ENGINE_CALIBRATE_H

#include "data/posts.h"
#include "judge/engine.h"

struct calibrate_fit {
    double before[AXES], after[AXES];        /* mean negative log-likelihood per axis */
    double meaningful[AXES], unneeded[AXES]; /* on the same rows, at the thresholds */
};

/* Fills g->calibration from dev; posts that are kept without judging take no part. budget: largest share of kept rows that may be moved, per axis. ERR_FORMAT
 * when an axis has no kept or no moved rows; ERR_STOPPED. Progress (rows judged) through `progress`, may be
 * NULL. */
int engine_calibrate(struct engine *g, const struct labelled_posts *dev, double budget,
                     struct calibrate_fit *fit, void (*progress)(void *context, size_t rows), void *context,
                     struct err *e) MUST_CHECK;

#endif
