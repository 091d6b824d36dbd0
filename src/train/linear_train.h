/* Fits the linear judge: the guard (judge/guard.h), then per axis a softmax regression (train/softmax.h) on
 * what the guard lets through, then temperature and bias calibration and one decision threshold per axis on
 * the dev split.
 *
 * The axes are independent and each is fitted by one thread, so the result does not depend on their number.
 */
#ifndef GYEOL_TRAIN_LINEAR_TRAIN_H
#define GYEOL_TRAIN_LINEAR_TRAIN_H

#include "base/buf.h"
#include "data/posts.h"
#include "train/softmax.h"

struct linear_options {
    struct softmax_options softmax;
    double budget; /* largest share of kept dev rows that may be moved, per axis */
};

struct linear_fit {
    double temperature[AXES], threshold[AXES]; /* chosen on dev */
    double meaningful[AXES], unneeded[AXES];   /* on dev, at that threshold */
    size_t guard_rows;                         /* training rows of kind "to-judge"; 0: no guard */
    double guard_threshold;
    double guard_caught, guard_false; /* dev: share of to-judge posts with a masked sentence, of others */
};

#define LINEAR_OPTIONS_DEFAULT                                                                               \
    ((struct linear_options){{.seed = 1, .epochs = 30, .l2 = 3e-6, .rate = 2}, .budget = 0.05})

/* Appends a model file (judge/linear.h) to out. ERR_FORMAT when an axis lacks a direction in train, or moved
 * or kept rows in dev. */
int linear_train(struct buf *out, struct linear_fit *fit, const struct labelled_posts *train,
                 const struct labelled_posts *dev, const struct linear_options *o, struct err *e) MUST_CHECK;

#endif
