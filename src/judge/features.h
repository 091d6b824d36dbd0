/* What the linear judge sees of a post: hashed n-grams, each with the bytes of the post it came from.
 *
 * The text is normalised (NFC, lower case, every digit as 0, white space runs as one space, a character
 * repeated more than twice as two, a space at either end), then gives all character n-grams of 1 to 4 code
 * points, inside and across words, and all word 1- and 2-grams. Each distinct feature counts once, so a post
 * cannot raise its weight by repeating itself. (Feature hashing: Weinberger et al. 2009, arXiv:0902.2206,
 * without signs.) */
#ifndef GYEOL_JUDGE_FEATURES_H
#define GYEOL_JUDGE_FEATURES_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FEATURE_BITS    18
#define FEATURE_BUCKETS ((size_t)1 << FEATURE_BITS)
#define FEATURE_CHARS   4
#define FEATURE_WORDS   2

struct feature {
    uint32_t bucket;     /* < FEATURE_BUCKETS */
    uint32_t begin, end; /* bytes of the post */
    uint32_t distinct;   /* index of its bucket among the distinct ones */
};

struct features {
    struct feature *all; /* every occurrence: the characters', then the words', each in text order */
    size_t n;
    uint32_t *bucket; /* [n_distinct] each bucket once, in order of first occurrence */
    uint32_t *times;  /* [n_distinct] occurrences */
    size_t n_distinct;
};

/* Features of valid UTF-8, without those that touch a byte i with skip[i] (skip: [n], or NULL for none).
 * Everything lives in the arena. */
int features_extract(struct features *out, const char *text, size_t n, const bool *skip, struct arena *a,
                     struct err *e) MUST_CHECK;

#endif
