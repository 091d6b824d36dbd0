#include "text/unicode.h"

#include "base/size.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

uint32_t unicode_next(const char *s, size_t n, size_t *i)
{
    const unsigned char *p = (const unsigned char *)s + *i;
    size_t left = n - *i, w = unicode_width(p[0]);
    if (p[0] < 0x80) {
        (*i)++;
        return p[0];
    }
    if (w == 3 && left >= 3 && (p[1] & 0xC0) == 0x80 && (p[2] & 0xC0) == 0x80) {
        uint32_t c = (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
        if (c >= 0x800 && (c < 0xD800 || c > 0xDFFF)) {
            *i += 3;
            return c;
        }
    }
    utf8proc_int32_t code;
    utf8proc_ssize_t got = utf8proc_iterate(p, (utf8proc_ssize_t)(left < 4 ? left : 4), &code);
    *i += got > 0 ? (size_t)got : 1;
    return got > 0 ? (uint32_t)code : 0xFFFD;
}

uint32_t unicode_before(const char *s, size_t i)
{
    size_t at = i - 1;
    while (at > 0 && i - at < 4 && ((unsigned char)s[at] & 0xC0) == 0x80)
        at--;
    return unicode_next(s, i, &at);
}

bool unicode_is_white_space(uint32_t c)
{
    if (c < 0x80)
        return (c >= 9 && c <= 13) || c == ' ';
    return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
           c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/* A set of general categories as bits. */
static bool in_categories(uint32_t c, uint32_t set)
{
    return set >> utf8proc_category((utf8proc_int32_t)c) & 1;
}

#define CAT(x) (1u << UTF8PROC_CATEGORY_##x)

bool unicode_is_punctuation(uint32_t c)
{
    if (c < 0x80)
        return c > ' ' && c < 0x7F && !((c | 32) >= 'a' && (c | 32) <= 'z') && !(c >= '0' && c <= '9');
    return in_categories(c, CAT(PC) | CAT(PD) | CAT(PS) | CAT(PE) | CAT(PI) | CAT(PF) | CAT(PO));
}

bool unicode_is_number(uint32_t c)
{
    return in_categories(c, CAT(ND) | CAT(NL) | CAT(NO));
}

bool unicode_is_mark(uint32_t c)
{
    return c >= 0x300 && in_categories(c, CAT(MN) | CAT(MC) | CAT(ME));
}

bool unicode_is_nonspacing(uint32_t c)
{
    return c >= 0x300 && in_categories(c, CAT(MN));
}

bool unicode_is_control(uint32_t c)
{
    return in_categories(c, CAT(CC) | CAT(CF) | CAT(CO));
}

bool unicode_is_word(uint32_t c)
{
    if (in_categories(c, CAT(LU) | CAT(LL) | CAT(LT) | CAT(LM) | CAT(LO) | CAT(MN) | CAT(MC) | CAT(ME) |
                             CAT(ND) | CAT(NL) | CAT(PC)))
        return true;
    /* Other_Alphabetic among the symbols, and the joiners */
    return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
           (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
}

void unicode_put(struct buf *out, uint32_t c)
{
    char s[4];
    buf_add(out, s, utf8_put(s, c));
}

void unicode_lower(struct buf *out, uint32_t c)
{
    if (c == 0x130)
        buf_str(out, "i\u0307");
    else
        unicode_put(out, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
}

size_t unicode_grapheme(const char *s, size_t n)
{
    size_t i = 0, end;
    utf8proc_int32_t state = 0, before = (utf8proc_int32_t)unicode_next(s, n, &i);
    for (end = i; i < n; end = i) {
        utf8proc_int32_t c = (utf8proc_int32_t)unicode_next(s, n, &i);
        if (utf8proc_grapheme_break_stateful(before, c, &state))
            break;
        before = c;
    }
    return end;
}

/* ---- normalisation forms ---- */

struct range {
    uint32_t first, last;
};

/* Code points that a form leaves alone, that have combining class 0 and never compose with one before them. A
 * following mark may still compose with them. Not all of them, but what Korean and English are written with.
 */
static const struct range plain_nfc[] = {{0, 0x2FF},         {0x2010, 0x2027},   {0x3001, 0x3029},
                                         {0x3041, 0x3096},   {0x30A1, 0x30FA},   {0x3131, 0x318E},
                                         {0x4E00, 0x9FFF},   {0xAC00, 0xD7A3},   {0xFF01, 0xFFEE},
                                         {0x1F300, 0x1F64F}, {0x1F900, 0x1F9FF}, {0, 0}};
static const struct range plain_nfd[] = {{0, 0xBF}, {0x3131, 0x318E}, {0x4E00, 0x9FFF}, {0, 0}};
static const struct range plain_nfkc[] = {
    {0, 0x9F}, {0x3001, 0x3029}, {0x3041, 0x3096}, {0x30A1, 0x30FA}, {0x4E00, 0x9FFF}, {0xAC00, 0xD7A3},
    {0, 0}};
static const struct range plain_nfkd[] = {{0, 0x9F}, {0x4E00, 0x9FFF}, {0, 0}};
static const struct range *const plain[] = {plain_nfc, plain_nfd, plain_nfkc, plain_nfkd};

static bool is_plain(const struct range *r, uint32_t c)
{
    for (; r->last; r++)
        if (c >= r->first && c <= r->last)
            return true;
    return false;
}

bool unicode_is_plain(enum unicode_form form, const char *s, size_t n)
{
    const struct range *r = plain[form];
    for (size_t i = 0; i < n;)
        if (!is_plain(r, unicode_next(s, n, &i)))
            return false;
    return true;
}

struct codes {
    utf8proc_int32_t *at;
    size_t n, capacity;
};

static bool codes_reserve(struct codes *c, size_t more)
{
    if (c->capacity - c->n >= more)
        return true;
    size_t capacity, bytes;
    if (!size_add(c->capacity, more, &capacity) || !size_mul(capacity, 2 * sizeof *c->at, &bytes))
        return false;
    utf8proc_int32_t *at = realloc(c->at, bytes);
    if (!at)
        return false;
    c->at = at;
    c->capacity = 2 * capacity;
    return true;
}

static bool decompose(struct codes *out, const char *s, size_t n, bool compatible)
{
    utf8proc_option_t how = UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t c = (utf8proc_int32_t)unicode_next(s, n, &i);
        enum { LONGEST = 18 }; /* of a compatibility decomposition: U+FDFA */
        if (!codes_reserve(out, LONGEST))
            return false;
        utf8proc_ssize_t w = utf8proc_decompose_char(c, out->at + out->n, LONGEST, how, NULL);
        if (w < 0 || w > LONGEST)
            return false;
        out->n += (size_t)w;
    }
    return true;
}

static unsigned class_of(utf8proc_int32_t c)
{
    return c < 0x300 ? 0 : (unsigned)utf8proc_get_property(c)->combining_class;
}

/* Stable counting sort by combining class: a text may hold as many marks in a row as it likes. */
static void sort_marks(utf8proc_int32_t *at, utf8proc_int32_t *spare, size_t n)
{
    size_t start[257] = {0};
    for (size_t i = 0; i < n; i++)
        start[class_of(at[i]) % 256 + 1]++;
    for (size_t k = 1; k < 257; k++)
        start[k] += start[k - 1];
    for (size_t i = 0; i < n; i++)
        spare[start[class_of(at[i]) % 256]++] = at[i];
    memcpy(at, spare, n * sizeof *at);
}

static bool order(struct codes *c)
{
    utf8proc_int32_t *spare = NULL;
    bool fine = true;
    for (size_t i = 0; i < c->n && fine;) {
        size_t end = i;
        while (end < c->n && class_of(c->at[end]) > 0)
            end++;
        if (end - i > 1) {
            if (!spare)
                spare = malloc(c->n * sizeof *spare);
            if ((fine = spare != NULL))
                sort_marks(c->at + i, spare, end - i);
        }
        i = end + 1;
    }
    free(spare);
    return fine;
}

static int normalize_run(struct buf *out, struct codes *c, enum unicode_form form, const char *s, size_t n,
                         struct err *e)
{
    c->n = 0;
    if (!decompose(c, s, n, form == UNICODE_NFKC || form == UNICODE_NFKD) || !order(c))
        return err_set(e, ERR_MEMORY, "out of memory normalising a text of %zu bytes", n);
    if (form == UNICODE_NFC || form == UNICODE_NFKC) {
        utf8proc_ssize_t w =
            utf8proc_normalize_utf32(c->at, (utf8proc_ssize_t)c->n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        c->n = w > 0 ? (size_t)w : 0;
    }
    for (size_t i = 0; i < c->n; i++)
        unicode_put(out, (uint32_t)c->at[i]);
    return 0;
}

/* Runs that are not plain, each with the one plain character before it that it may compose with, are
 * normalised by themselves; everything else is copied. */
int unicode_normalize(struct buf *out, enum unicode_form form, const char *s, size_t n, struct err *e)
{
    const struct range *r = plain[form];
    struct codes c = {0};
    size_t done = 0, before = 0; /* before: where the last plain character began */
    int rc = 0;
    for (size_t i = 0; i < n && !rc;) {
        size_t at = i;
        if (is_plain(r, unicode_next(s, n, &i))) {
            before = at;
            continue;
        }
        size_t from = before > done ? before : done, end = i;
        while (end < n) {
            size_t next = end;
            if (is_plain(r, unicode_next(s, n, &next)))
                break;
            end = next;
        }
        buf_add(out, s + done, from - done);
        rc = normalize_run(out, &c, form, s + from, end - from, e);
        done = before = i = end;
    }
    if (!rc)
        buf_add(out, s + done, n - done);
    free(c.at);
    return rc ? rc : buf_check(out, "normalised text", e);
}
