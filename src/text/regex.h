/* Regular expressions over UTF-8 (PCRE2 with Unicode properties). Patterns come from model files and texts
 * from users, so both are untrusted: matching has a bound and gives up with an error instead of running on. A
 * compiled pattern may be used by several threads at once; a struct regex_match belongs to one. */
#ifndef GYEOL_TEXT_REGEX_H
#define GYEOL_TEXT_REGEX_H

#include "base/err.h"

#include <stddef.h>

enum regex_syntax {
    REGEX_PERL, /* as Perl and Python read it, for patterns of ordinary characters */
    REGEX_RUBY, /* as Oniguruma reads it, which tokenizer.json patterns are written for: ^ and $ at every
                   line, \s exactly White_Space, \w by UTS #18, \h a hexadecimal digit */
};

struct regex;
struct regex_match; /* working memory of matching */

/* pattern: n bytes of UTF-8. ERR_FORMAT says where the pattern is wrong. */
int regex_compile(struct regex **out, const char *pattern, size_t n, enum regex_syntax syntax,
                  struct err *e) MUST_CHECK;
void regex_free(struct regex *r); /* NULL allowed */

struct regex_match *regex_match_new(void); /* NULL when memory is out */
void regex_match_free(struct regex_match *m);

/* The first match in text[from..n), where lookbehind may see text[0..from). text: valid UTF-8. 1 found, 0
 * not, negative on error. */
int regex_search(const struct regex *r, struct regex_match *m, const char *text, size_t n, size_t from,
                 size_t *begin, size_t *end, struct err *e) MUST_CHECK;

/* Whether the pattern matches the whole text. text: any bytes; what is not UTF-8 is ERR_FORMAT. */
int regex_full(const struct regex *r, const char *text, size_t n, struct err *e) MUST_CHECK;

#endif
