/* Near-duplicate texts: every pair whose sets of character trigrams have a Jaccard similarity of at least t.
 *
 * The search misses nothing and compares few pairs. Trigrams are ordered by how many texts hold them, rarest
 * first; two sets that overlap enough must then share one of their first few, so only texts listed under
 * these are candidates (prefix filter: Bayardo, Ma, Srikant 2007). Texts are taken by set size, so those too
 * small for t fall off the front of the lists (length filter), and the place of a shared trigram bounds how
 * much can still follow (positional filter of PPJoin: Xiao, Wang, Lin, Yu 2008). What is left is counted
 * exactly. */
#ifndef GYEOL_DATA_NEAR_H
#define GYEOL_DATA_NEAR_H

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* A text folded for comparing: NFC, each run of white space as one space, none at either end. */
struct near_text {
    const char *s; /* UTF-8, NUL-terminated */
    size_t len;
    const uint32_t *code; /* the same as code points */
    size_t n;
};

int near_fold(struct near_text *out, const char *text, struct arena *a, struct err *e) MUST_CHECK;

/* Called once for each pair, a < b, in an order that depends on the texts alone. */
typedef void near_found(void *context, uint32_t a, uint32_t b, double similarity);

/* Trigrams are of code points; a text of fewer than three is a set of one, itself. 0 < t <= 1. */
int near_pairs(const struct near_text *text, size_t n, double t, near_found *found, void *context,
               struct err *e) MUST_CHECK;

/* Rows that hold the same bytes: sort the keys, then walk the runs of equal ones. */
struct near_key {
    uint64_t hash;
    const char *s; /* borrowed */
    size_t len;
    uint32_t row;
};

struct near_key near_key(const char *s, size_t len, uint32_t row);
void near_key_sort(struct near_key *key, size_t n); /* equal keys side by side, there by row */
size_t near_key_run(const struct near_key *key, size_t n, size_t i); /* the end of the run that begins at i */

#endif
