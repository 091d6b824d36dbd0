/* Unicode properties and normalisation forms, as tokenizers need them: text in, text out, no offsets. Strings
 * are valid UTF-8 unless said otherwise. (utf8proc supplies the tables.) */
#ifndef GYEOL_TEXT_UNICODE_H
#define GYEOL_TEXT_UNICODE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum unicode_form { UNICODE_NFC, UNICODE_NFD, UNICODE_NFKC, UNICODE_NFKD };

/* The code point at s[*i], *i moved behind it. *i < n. Bytes that are not UTF-8 give U+FFFD, one each. */
uint32_t unicode_next(const char *s, size_t n, size_t *i);

/* The code point that ends at s[i], i > 0. */
uint32_t unicode_before(const char *s, size_t i);

/* Bytes of the character that begins with this byte: 1 to 4; 1 for a byte that begins none. */
static inline size_t unicode_width(unsigned char first)
{
    return first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

bool unicode_is_white_space(uint32_t c); /* White_Space of PropList.txt */
bool unicode_is_punctuation(uint32_t c); /* P*, and the symbols of ASCII */
bool unicode_is_number(uint32_t c);      /* Nd, Nl, No */
bool unicode_is_mark(uint32_t c);        /* Mn, Mc, Me */
bool unicode_is_nonspacing(uint32_t c);  /* Mn */
bool unicode_is_control(uint32_t c);     /* Cc, Cf, Co */
bool unicode_is_word(uint32_t c);        /* \w of UTS #18: Alphabetic, M, Nd, Pc, Join_Control */

/* Appends the lower case of c by SpecialCasing.txt without conditions (U+0130 gives two code points). */
void unicode_lower(struct buf *out, uint32_t c);
void unicode_put(struct buf *out, uint32_t c);

/* Appends the normalised text. Linear in n whatever the marks. ERR_MEMORY alone. */
int unicode_normalize(struct buf *out, enum unicode_form form, const char *s, size_t n,
                      struct err *e) MUST_CHECK;

/* True when nothing in s can change or compose under the form: a quick check that may say no to text that is
 * normalised. */
bool unicode_is_plain(enum unicode_form form, const char *s, size_t n);

/* The length of the extended grapheme cluster (UAX #29) at the start of s, n > 0. */
size_t unicode_grapheme(const char *s, size_t n);

#endif
