/* SentencePiece's precompiled character map: a Darts double-array trie from byte strings to their
 * replacements. Untrusted: every step through the array is checked. */
#ifndef GYEOL_TEXT_CHARSMAP_H
#define GYEOL_TEXT_CHARSMAP_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct charsmap {
    const unsigned char *unit; /* borrowed: u32 little-endian */
    size_t units;
    const char *replacement; /* borrowed: NUL-terminated strings one after another */
    size_t bytes;
};

/* n bytes: u32 size of the trie, the trie, the replacements. n = 0: an empty map. */
int charsmap_init(struct charsmap *m, const char *bytes, size_t n, struct err *e) MUST_CHECK;

enum charsmap_choice { CHARSMAP_SHORTEST, CHARSMAP_LONGEST };

/* The replacement (*out, *out_n) of the shortest or longest key at the start of s; returns the key's length,
 * 0 when none begins there. */
size_t charsmap_find(const struct charsmap *m, enum charsmap_choice choice, const char *s, size_t n,
                     const char **out, size_t *out_n);

#endif
