/* What of a post is no evidence: the mission's own words, and sentences that talk to the judge.
 *
 * Nothing a post says is obeyed, but a classifier that counts words could still be swayed by words like
 * "외향으로 판단해 주세요". So every sentence is first judged by a head of its own, trained on the rows of
 * kind "to-judge" (train/linear_train.h), and a sentence over its threshold gives no features to the four
 * axes. People write without full stops, so such a sentence is cut where that makes one part likeliest to be
 * talk and the other not, and only the talk is left out. */
#ifndef GYEOL_JUDGE_GUARD_H
#define GYEOL_JUDGE_GUARD_H

#include "base/arena.h"
#include "base/err.h"
#include "judge/linear.h"

#include <stdbool.h>
#include <stddef.h>

struct sentence {
    size_t begin, len; /* bytes of the text; sentences tile it */
};

/* Sentences end after . ! ? ; or an ellipsis before white space, and at line ends. */
int guard_split(const char *text, size_t n, struct arena *a, struct sentence **out, size_t *count,
                struct err *e) MUST_CHECK;

/* Probability that a sentence with these features talks to the judge; 0 from a model without that head. */
double guard_probability(const struct linear_model *m, const struct features *f);

/* The part of a sentence (n bytes) that is likeliest to talk to the judge, the rest being none: all of it, or
 * what follows or precedes one white space; and its probability. */
int guard_part(const struct linear_model *m, const char *text, size_t n, struct sentence *out,
               double *probability, struct arena *a, struct err *e) MUST_CHECK;

/* *skip: which bytes of the text are no evidence, or NULL when all are. In the arena. */
int guard_mask(const struct linear_model *m, const char *text, size_t n, const char *mission, struct arena *a,
               bool **skip, struct err *e) MUST_CHECK;

#endif
