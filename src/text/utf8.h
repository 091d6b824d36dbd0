/* UTF-8 and Unicode normalisation (utf8proc supplies the tables). */
#ifndef GYEOL_TEXT_UTF8_H
#define GYEOL_TEXT_UTF8_H

#include "base/arena.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One code point of a normalised text and the bytes of the original that it came from. */
struct utf8_unit {
    uint32_t code;
    uint32_t begin, end; /* byte offsets into the original */
};

/* True if n bytes are well-formed UTF-8 (Unicode 15, table 3-7: no surrogates, no overlong forms). On false
 * *bad is the offset of the first bad byte. bad may be NULL. */
bool utf8_valid(const char *s, size_t n, size_t *bad);

/* NFC of valid UTF-8, as units in the arena. Grapheme clusters are composed one by one, so each unit knows
 * its cluster's bytes. */
int utf8_nfc(const char *s, size_t n, struct arena *a, struct utf8_unit **out, size_t *count,
             struct err *e) MUST_CHECK;

bool utf8_is_space(uint32_t code); /* white space, NUL..US controls, BOM and zero-width space */

/* Appends one code point as UTF-8 to out (4 bytes room); returns the bytes written. */
size_t utf8_put(char *out, uint32_t code);

#endif
