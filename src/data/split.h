/* Splits labelled posts in train, dev and test so that near-relatives stay on one side: rows form one group
 * when they share a person or a text nearly the same, directly or by way of others. */
#ifndef GYEOL_DATA_SPLIT_H
#define GYEOL_DATA_SPLIT_H

#include "base/err.h"
#include "data/posts.h"

#include <stddef.h>
#include <stdint.h>

#define SPLIT_SIMILARITY 0.4 /* the usual threshold: trigram Jaccard, see data/near.h */

enum split_part { SPLIT_TRAIN, SPLIT_DEV, SPLIT_TEST, SPLIT_PARTS };

extern const char *const split_part_name[SPLIT_PARTS]; /* "train", "dev", "test" */

struct split {
    uint8_t *part;   /* [n] enum split_part of each row; owned */
    uint32_t *group; /* [n] numbers from 0 in order of their first row; owned */
    size_t n, groups;
    size_t largest;             /* rows of the largest group: the fractions cannot be met closer than by it */
    size_t target[SPLIT_PARTS]; /* rows wanted */
    size_t rows[SPLIT_PARTS];   /* rows got */
};

/* fraction: none negative, together 1 (to a thousandth). The same rows, threshold and seed give the same
 * split, on every machine. */
int split_make(struct split *out, const struct labelled_posts *posts, const double fraction[SPLIT_PARTS],
               double similarity, uint64_t seed, struct err *e) MUST_CHECK;
void split_deinit(struct split *s);

#endif
