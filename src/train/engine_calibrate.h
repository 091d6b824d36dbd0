/* Calibrates a language model as a judge: fits temperature, biases and thresholds on labelled posts. */
#ifndef GYEOL_TRAIN_ENGINE_CALIBRATE_H
#define GYEOL_TRAIN_ENGINE_CALIBRATE_H

#include "data/posts.h"
#include "judge/engine.h"

struct calibrate_fit {
    double before[AXES], after[AXES];        /* mean negative log-likelihood per axis */
    double meaningful[AXES], unneeded[AXES]; /* on the same rows, at the thresholds */
};

/* What the model said of labelled rows: raw logits, and which rows need no model (kept as too short). */
struct engine_said {
    float (*logits)[AXES][3]; /* [rows] */
    bool *settled;            /* [rows] */
};

/* Asks the model about all rows. Progress (rows judged) through `progress`, may be NULL. ERR_STOPPED. `said` is
 * to be given back with engine_said_deinit, on failure too. */
int engine_ask(struct engine *g, const struct labelled_posts *dev, struct engine_said *said,
               void (*progress)(void *context, size_t rows), void *context, struct err *e) MUST_CHECK;
void engine_said_deinit(struct engine_said *said);

/* Fills g->calibration from what was said. ERR_FORMAT when an axis has no kept or no moved rows. */
int engine_fit(struct engine *g, const struct labelled_posts *dev, const struct engine_said *said,
               double budget, struct calibrate_fit *fit, struct err *e) MUST_CHECK;

/* Both: fills g->calibration from dev; posts that are kept without judging take no part. budget: largest share
 * of kept rows that may be moved, per axis. */
int engine_calibrate(struct engine *g, const struct labelled_posts *dev, double budget,
                     struct calibrate_fit *fit, void (*progress)(void *context, size_t rows), void *context,
                     struct err *e) MUST_CHECK;

#endif
