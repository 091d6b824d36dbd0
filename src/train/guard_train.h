/* Fits the head that finds sentences talking to the judge (judge/guard.h) from posts of kind "to-judge", in
 * which it is not said which sentence does. Multiple-instance learning as in mi-SVM (Andrews et al. 2003): a
 * first fit on whole posts marks the likeliest sentences, a second one learns from sentences. */
#ifndef GYEOL_TRAIN_GUARD_TRAIN_H
#define GYEOL_TRAIN_GUARD_TRAIN_H

#include "train/linear_train.h"

#define GUARD_KIND "to-judge"

/* Sets the model's guard fields and its column of table [FEATURE_BUCKETS][LINEAR_COLUMNS], and fit's figures.
 * The threshold is 0.3, or more where that masks over 1 % of the sentences of other dev posts. Without such
 * rows the guard is off. */
int guard_train(struct linear_model *m, int8_t *table, struct linear_fit *fit,
                const struct labelled_posts *train, const struct labelled_posts *dev,
                const struct softmax_options *o, struct err *e) MUST_CHECK;

#endif
