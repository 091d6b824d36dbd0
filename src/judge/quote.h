/* Which words of a post carried a decision: exact attribution of a linear judge's features to the text. */
#ifndef GYEOL_JUDGE_QUOTE_H
#define GYEOL_JUDGE_QUOTE_H

#include "base/arena.h"
#include "base/err.h"
#include "judge/features.h"

#include <stddef.h>

#define QUOTE_CHARS_MAX 32 /* code points, unless a single word is longer: then that word is cut to it */

/* The run of whole words in one sentence, at most QUOTE_CHARS_MAX code points, whose share of the features'
 * weights [f->n] is largest (a feature gives each of its bytes an equal part), on to the end of the sentence
 * where that fits. Bytes *begin, *len of text; surrounding punctuation stays out. A text with any non-space
 * character gives a non-empty quote. */
int quote_find(const char *text, const struct features *f, const float *weight, struct arena *a,
               size_t *begin, size_t *len, struct err *e) MUST_CHECK;

/* A run of whole words of one sentence, and what would be quoted for it: on to the sentence's end where that
 * fits. */
struct quote_span {
    size_t begin, end; /* bytes of text, surrounding punctuation left out */
    size_t quote_begin, quote_end;
};

/* Cuts a text into such runs of at most `chars` code points (a longer word stands alone). In the arena. */
int quote_spans(const char *text, size_t chars, struct arena *a, struct quote_span **out, size_t *count,
                struct err *e) MUST_CHECK;

#endif
