/* Fits the linear judge: multinomial logistic regression per axis with class balancing and L2, by stochastic
 * gradient descent in a seeded order (Bottou, "Stochastic Gradient Descent Tricks", 2012), then temperature
 * and bias calibration and one decision threshold per axis on the dev split.
 *
 * The axes are independent and each is fitted by one thread, so the result does not depend on their number.
 */
#ifndef GYEOL_TRAIN_LINEAR_TRAIN_H
#define GYEOL_TRAIN_LINEAR_TRAIN_H

#include "base/buf.h"
#include "data/posts.h"

#include <stdint.h>

struct linear_options {
    uint64_t seed;
    int epochs;
    double l2;     /* weight of |w|^2 / 2 against the mean loss */
    double rate;   /* first learning rate; decays as rate / (1 + rate x l2 x step) */
    double budget; /* largest share of kept dev rows that may be moved, per axis */
};

struct linear_fit {
    double temperature[AXES], threshold[AXES]; /* chosen on dev */
    double meaningful[AXES], unneeded[AXES];   /* on dev, at that threshold */
};

#define LINEAR_OPTIONS_DEFAULT                                                                               \
    ((struct linear_options){.seed = 1, .epochs = 20, .l2 = 3e-6, .rate = 2, .budget = 0.05})

/* Appends a model file (judge/linear.h) to out. ERR_FORMAT when an axis lacks a direction in train, or moved
 * or kept rows in dev. */
int linear_train(struct buf *out, struct linear_fit *fit, const struct labelled_posts *train,
                 const struct labelled_posts *dev, const struct linear_options *o, struct err *e) MUST_CHECK;

#endif
