/* Which bytes of one text those of another stand for, when the second was made from the first by a normaliser
 * that nobody can look into: a tokenizer gives ids, ids give text, and evidence must be shown in the words
 * people wrote. */
#ifndef GYEOL_TEXT_ALIGN_H
#define GYEOL_TEXT_ALIGN_H

#include "base/arena.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

/* For each byte of `made` the range of bytes of `source` that its character stands for: begin[made_len],
 * end[made_len]. Exact for canonically equivalent texts; where they differ otherwise, the nearest place in
 * which they agree again is sought, and without one characters are paired in order. Ranges never go back and
 * cover all of the source unless `made` is empty. Whole characters, and whole grapheme clusters where these
 * are not in NFC. A made text that is not UTF-8 stands for all of the source, as a whole. */
int align_texts(const char *made, size_t made_len, const char *source, size_t source_len, uint32_t *begin,
                uint32_t *end, struct arena *a, struct err *e) MUST_CHECK;

#endif
