#include "text/regex.h"

#include "base/buf.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Steps of backtracking for one match: split patterns take a few for each byte they look at. */
enum { STEPS = 100 * 1000, STEPS_PER_BYTE = 32, DEPTH_LIMIT = 100 * 1000, HEAP_LIMIT_KIB = 64 * 1024 };
enum { PATTERN_MAX = 64 * 1024 };

struct regex {
    pcre2_code *code;
};

struct regex_match {
    pcre2_match_data *data;
    pcre2_match_context *limits;
};

/* What an escape of Oniguruma means in PCRE2, outside a bracketed class and inside one; NULL: the same. */
struct translation {
    char letter;
    const char *outside, *inside;
};

#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
static const struct translation translations[] = {
    {'s', "\\p{White_Space}", "\\p{White_Space}"},
    {'S', "\\P{White_Space}", "\\P{White_Space}"},
    {'w', "[" WORD "]", WORD},
    {'W', "[^" WORD "]", NULL},
    {'h', "[0-9A-Fa-f]", "0-9A-Fa-f"},
    {'H', "[^0-9A-Fa-f]", NULL},
};

static const char *translate_escape(char letter, bool inside)
{
    for (size_t i = 0; i < sizeof translations / sizeof *translations; i++)
        if (translations[i].letter == letter)
            return inside ? translations[i].inside : translations[i].outside;
    return NULL;
}

/* Oniguruma (Ruby syntax) to PCRE2, for what the two read differently: the escapes above, classes within
 * classes (flattened: their union), and a plus after an interval, which repeats there and is possessive here.
 */
struct translator {
    struct buf *out;
    const char *p;
    size_t n, i;
    size_t atom; /* where in out the last atom began; SIZE_MAX: none that could be wrapped */
    int depth;   /* of brackets */
};

/* The bytes of the escape at p: two, or with its braces for \p{..}, \x{..}, \k<..>. */
static size_t escape_length(const char *p, size_t n)
{
    const char *end = n > 2 && p[2] == '{' && strchr("pPxo", p[1]) ? memchr(p + 3, '}', n - 3) : NULL;
    return end ? (size_t)(end - p) + 1 : 2;
}

static void translate_one_escape(struct translator *t)
{
    const char *p = t->p + t->i;
    const char *as = translate_escape(p[1], t->depth > 0);
    size_t k = escape_length(p, t->n - t->i);
    if (t->depth == 0)
        t->atom = t->out->len;
    if (as)
        buf_str(t->out, as);
    else
        buf_add(t->out, p, k);
    t->i += k;
}

static int translate_in_class(struct translator *t, struct err *e)
{
    const char *p = t->p + t->i;
    size_t left = t->n - t->i;
    const char *posix = left > 1 && p[0] == '[' && p[1] == ':' ? memmem(p + 2, left - 2, ":]", 2) : NULL;
    if (posix) {
        buf_add(t->out, p, (size_t)(posix - p) + 2);
        t->i += (size_t)(posix - p) + 2;
        return 0;
    }
    if (left > 1 && ((p[0] == '[' && p[1] == '^') || (p[0] == '&' && p[1] == '&')))
        return err_set(e, ERR_FORMAT,
                       "regular expression: %.2s inside a class at offset %zu is not supported", p, t->i);
    bool kept = true;
    if (p[0] == '[') {
        t->depth++;
        kept = false;
    } else if (p[0] == ']') {
        kept = --t->depth == 0;
    }
    if (kept)
        buf_add(t->out, p, 1);
    t->i++;
    return 0;
}

static void open_class(struct translator *t)
{
    const char *p = t->p + t->i;
    size_t left = t->n - t->i, k = 1 + (left > 1 && p[1] == '^');
    k += left > k && p[k] == ']'; /* a bracket that comes first is a literal */
    t->atom = t->out->len;
    t->depth = 1;
    buf_add(t->out, p, k);
    t->i += k;
}

/* The length of "{1,3}" when that is what stands at p and a plus follows, else 0. */
static size_t repeated_interval(const char *p, size_t n)
{
    size_t k = 1 + strspn(p + 1, "0123456789,");
    return k > 1 && k + 1 < n && p[k] == '}' && p[k + 1] == '+' ? k + 1 : 0;
}

static int wrap_interval(struct translator *t, size_t k, struct err *e)
{
    if (t->atom == SIZE_MAX)
        return err_set(e, ERR_FORMAT,
                       "regular expression: {..}+ after a group at offset %zu is not supported", t->i);
    struct buf atom = {0};
    buf_add(&atom, t->out->data + t->atom, t->out->len - t->atom);
    int rc = buf_check(&atom, "regular expression", e);
    if (!rc) {
        t->out->len = t->atom;
        buf_str(t->out, "(?:");
        buf_add(t->out, atom.data, atom.len);
        buf_add(t->out, t->p + t->i, k);
        buf_str(t->out, ")+");
        t->i += k + 1;
    }
    buf_deinit(&atom);
    return rc;
}

static int translate(struct buf *out, const char *pattern, size_t n, struct err *e)
{
    struct translator t = {.out = out, .p = pattern, .n = n, .atom = SIZE_MAX};
    int rc = 0;
    while (t.i < n && !rc) {
        const char *p = pattern + t.i;
        size_t k;
        if (p[0] == '\\' && t.i + 1 < n) {
            translate_one_escape(&t);
        } else if (t.depth > 0) {
            rc = translate_in_class(&t, e);
        } else if (p[0] == '[') {
            open_class(&t);
        } else if (p[0] == '{' && (k = repeated_interval(p, n - t.i)) > 0) {
            rc = wrap_interval(&t, k, e);
        } else {
            if ((p[0] & 0xC0) != 0x80) /* not within a character */
                t.atom = p[0] == ')' ? SIZE_MAX : out->len;
            buf_add(out, p, 1);
            t.i++;
        }
    }
    return rc;
}

static int compile(struct regex *r, const char *pattern, size_t n, uint32_t options, struct err *e)
{
    int code;
    PCRE2_SIZE at;
    r->code = pcre2_compile((PCRE2_SPTR)pattern, n, PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | options,
                            &code, &at, NULL);
    if (!r->code) {
        PCRE2_UCHAR text[120] = {0};
        pcre2_get_error_message(code, text, sizeof text);
        return err_set(e, ERR_FORMAT, "regular expression: %s at offset %zu", (const char *)text, at);
    }
    /* Where the processor has no JIT, or there is no memory for it, matching falls back to the interpreter.
     */
    (void)pcre2_jit_compile(r->code, PCRE2_JIT_COMPLETE);
    return 0;
}

int regex_compile(struct regex **out, const char *pattern, size_t n, enum regex_syntax syntax, struct err *e)
{
    *out = NULL;
    if (n > PATTERN_MAX)
        return err_set(e, ERR_LIMIT, "regular expression of %zu bytes: at most %d", n, PATTERN_MAX);
    struct regex *r = calloc(1, sizeof *r);
    if (!r)
        return err_set(e, ERR_MEMORY, "out of memory for a regular expression");
    struct buf translated = {0};
    buf_add(&translated, "", 0);
    int rc = 0;
    if (syntax == REGEX_RUBY)
        rc = translate(&translated, pattern, n, e);
    else
        buf_add(&translated, pattern, n);
    if (!rc)
        rc = buf_check(&translated, "regular expression", e);
    if (!rc)
        rc = compile(r, translated.data, translated.len, syntax == REGEX_RUBY ? PCRE2_MULTILINE : 0, e);
    buf_deinit(&translated);
    if (rc) {
        regex_free(r);
        return rc;
    }
    *out = r;
    return 0;
}

void regex_free(struct regex *r)
{
    if (!r)
        return;
    pcre2_code_free(r->code);
    free(r);
}

struct regex_match *regex_match_new(void)
{
    struct regex_match *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->data = pcre2_match_data_create(1, NULL);
    m->limits = pcre2_match_context_create(NULL);
    if (!m->data || !m->limits) {
        regex_match_free(m);
        return NULL;
    }
    pcre2_set_depth_limit(m->limits, DEPTH_LIMIT);
    pcre2_set_heap_limit(m->limits, HEAP_LIMIT_KIB);
    return m;
}

void regex_match_free(struct regex_match *m)
{
    if (!m)
        return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->limits);
    free(m);
}

static int match(const struct regex *r, struct regex_match *m, const char *text, size_t n, size_t from,
                 uint32_t options)
{
    size_t steps = n < UINT32_MAX / STEPS_PER_BYTE - STEPS ? STEPS + STEPS_PER_BYTE * n : UINT32_MAX;
    pcre2_set_match_limit(m->limits, (uint32_t)steps);
    return pcre2_match(r->code, (PCRE2_SPTR)(n ? text : ""), n, from, options, m->data, m->limits);
}

static int match_error(int got, struct err *e)
{
    PCRE2_UCHAR text[120] = {0};
    pcre2_get_error_message(got, text, sizeof text);
    int code = got == PCRE2_ERROR_NOMEMORY                                     ? ERR_MEMORY
               : got <= PCRE2_ERROR_UTF8_ERR1 && got >= PCRE2_ERROR_UTF8_ERR21 ? ERR_FORMAT
               : got == PCRE2_ERROR_MATCHLIMIT || got == PCRE2_ERROR_DEPTHLIMIT ||
                       got == PCRE2_ERROR_HEAPLIMIT || got == PCRE2_ERROR_JIT_STACKLIMIT
                   ? ERR_LIMIT
                   : ERR_FORMAT;
    return err_set(e, code, "matching a regular expression: %s", (const char *)text);
}

int regex_search(const struct regex *r, struct regex_match *m, const char *text, size_t n, size_t from,
                 size_t *begin, size_t *end, struct err *e)
{
    int got = match(r, m, text, n, from, PCRE2_NO_UTF_CHECK);
    if (got == PCRE2_ERROR_JIT_STACKLIMIT)
        got = match(r, m, text, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
    if (got == PCRE2_ERROR_NOMATCH)
        return 0;
    if (got < 0)
        return match_error(got, e);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(m->data);
    if (span[0] > span[1] || span[0] < from) /* \K in a lookahead or behind the start */
        return err_set(e, ERR_FORMAT,
                       "regular expression: a match that begins after its end or before its start");
    *begin = span[0];
    *end = span[1];
    return 1;
}

int regex_full(const struct regex *r, const char *text, size_t n, struct err *e)
{
    struct regex_match *m = regex_match_new();
    if (!m)
        return err_set(e, ERR_MEMORY, "out of memory for a regular expression");
    int got = match(r, m, text, n, 0, PCRE2_ANCHORED | PCRE2_ENDANCHORED);
    regex_match_free(m);
    if (got == PCRE2_ERROR_NOMATCH)
        return 0;
    return got < 0 ? match_error(got, e) : 1;
}
