/* The normaliser steps of tokenizers (Hugging Face tokenizers, normalizers/; SentencePiece, normalizer.cc):
 * each takes a text and gives a text. */
#include "text/byte_level.h"
#include "text/tokenizer_int.h"
#include "text/unicode.h"
#include "text/utf8.h"

#include <string.h>

int normalizer_init(struct normalizer *z, const struct spec_normalizer *spec, struct err *e)
{
    *z = (struct normalizer){.spec = spec};
    int rc = 0;
    if (spec->kind == NORMALIZER_PRECOMPILED || spec->kind == NORMALIZER_SENTENCEPIECE)
        rc = charsmap_init(&z->charsmap, spec->charsmap.bytes, spec->charsmap.len, e);
    if (spec->kind == NORMALIZER_REPLACE && spec->regex)
        rc = regex_compile(&z->regex, spec->pattern.bytes, spec->pattern.len, REGEX_RUBY, e);
    if (spec->kind == NORMALIZER_REPLACE && !spec->regex && spec->pattern.len == 0)
        rc = err_set(e, ERR_FORMAT, "normalizer Replace: the pattern is empty");
    return rc;
}

void normalizer_deinit(struct normalizer *z)
{
    regex_free(z->regex);
    *z = (struct normalizer){0};
}

/* A character map or an added token out of a damaged file can leave half a character, which the matcher of regular
 * expressions must not see. */
int check_utf8(const char *s, size_t n, struct err *e)
{
    size_t bad;
    if (utf8_valid(s, n, &bad))
        return 0;
    return err_set(e, ERR_FORMAT, "text: after normalisation not UTF-8 at offset %zu: a damaged tokenizer",
                   bad);
}

/* ---- one character at a time ---- */

static void lowercase(struct buf *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n;)
        unicode_lower(out, unicode_next(s, n, &i));
}

static void drop(struct buf *out, const char *s, size_t n, bool (*dropped)(uint32_t))
{
    for (size_t i = 0, begin; i < n;) {
        begin = i;
        if (!dropped(unicode_next(s, n, &i)))
            buf_add(out, s + begin, i - begin);
    }
}

static bool nmt_drops(uint32_t c)
{
    return (c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F;
}

static bool nmt_blanks(uint32_t c)
{
    return c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) ||
           c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xFEFF || c == 0xFFFD;
}

static void nmt(struct buf *out, const char *s, size_t n)
{
    for (size_t i = 0, begin; i < n;) {
        begin = i;
        uint32_t c = unicode_next(s, n, &i);
        if (nmt_blanks(c))
            buf_add(out, " ", 1);
        else if (!nmt_drops(c))
            buf_add(out, s + begin, i - begin);
    }
}

static void strip(struct buf *out, const char *s, size_t n, bool left, bool right)
{
    size_t begin = 0, end = n;
    while (left && begin < end) {
        size_t next = begin;
        if (!unicode_is_white_space(unicode_next(s, n, &next)))
            break;
        begin = next;
    }
    while (right && end > begin) {
        uint32_t c = unicode_before(s, end);
        if (!unicode_is_white_space(c))
            break;
        end -= c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
    }
    buf_add(out, s + begin, end - begin);
}

/* ---- BERT ---- */

/* The ranges are the library's, with its 2B920 where BERT's own code has 2B820. */
static bool is_chinese(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } chinese[] = {{0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
                   {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
    for (size_t i = 0; i < sizeof chinese / sizeof *chinese; i++)
        if (c >= chinese[i].first && c <= chinese[i].last)
            return true;
    return false;
}

static void bert_character(struct buf *out, const struct spec_normalizer *z, const char *s, size_t n,
                           uint32_t c)
{
    bool blank = c == '\t' || c == '\n' || c == '\r' || unicode_is_white_space(c);
    bool control = c == 0 || c == 0xFFFD || (c != '\t' && c != '\n' && c != '\r' && unicode_is_control(c));
    if (z->clean_text && control)
        return;
    if (z->clean_text && blank) {
        buf_add(out, " ", 1);
    } else if (z->chinese && is_chinese(c)) {
        buf_add(out, " ", 1);
        buf_add(out, s, n);
        buf_add(out, " ", 1);
    } else {
        buf_add(out, s, n);
    }
}

static int bert(struct buf *out, const struct spec_normalizer *z, const char *s, size_t n, struct err *e)
{
    struct buf a = {0}, b = {0};
    int rc = 0;
    for (size_t i = 0, begin; i < n;) {
        begin = i;
        uint32_t c = unicode_next(s, n, &i);
        bert_character(&a, z, s + begin, i - begin, c);
    }
    if (z->strip_accents && a.len > 0) {
        rc = unicode_normalize(&b, UNICODE_NFD, a.data, a.len, e);
        buf_reset(&a);
        drop(&a, b.data, b.len, unicode_is_nonspacing);
    }
    if (!rc)
        rc = buf_check(&a, "normalised text", e);
    if (!rc && z->lowercase)
        lowercase(out, a.data, a.len);
    else if (!rc)
        buf_add(out, a.data, a.len);
    buf_deinit(&a);
    buf_deinit(&b);
    return rc;
}

/* ---- patterns ---- */

static int replace_regex(struct buf *out, const struct normalizer *z, struct scratch *s, const char *text,
                         size_t n, struct err *e)
{
    size_t done = 0, begin, end, last = SIZE_MAX;
    int rc = check_utf8(text, n, e);
    if (rc)
        return rc;
    for (size_t from = 0; from <= n;) {
        int got = regex_search(z->regex, s->match, text, n, from, &begin, &end, e);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        if (begin == end && end == last) { /* no empty match right behind a match */
            from += from < n ? unicode_width((unsigned char)text[from]) : 1;
            continue;
        }
        buf_add(out, text + done, begin - done);
        buf_add(out, z->spec->content.bytes, z->spec->content.len);
        done = from = last = end;
    }
    buf_add(out, text + done, n - done);
    return 0;
}

static void replace_string(struct buf *out, const struct spec_normalizer *z, const char *s, size_t n)
{
    size_t done = 0;
    const char *hit;
    while ((hit = memmem(s + done, n - done, z->pattern.bytes, z->pattern.len)) != NULL) {
        buf_add(out, s + done, (size_t)(hit - s) - done);
        buf_add(out, z->content.bytes, z->content.len);
        done = (size_t)(hit - s) + z->pattern.len;
    }
    buf_add(out, s + done, n - done);
}

/* The library's way with the map: a whole grapheme cluster of less than 6 bytes is replaced by what the
 * shortest key at its start maps to; longer clusters, and those without a key, character by character. */
static bool transform(struct buf *out, const struct charsmap *m, const char *s, size_t n)
{
    const char *as;
    size_t as_n;
    if (charsmap_find(m, CHARSMAP_SHORTEST, s, n, &as, &as_n) == 0)
        return false;
    buf_add(out, as, as_n);
    return true;
}

static void precompiled(struct buf *out, const struct charsmap *m, const char *s, size_t n)
{
    for (size_t i = 0, end; i < n; i = end) {
        end = i + unicode_grapheme(s + i, n - i);
        if (end - i < 6 && transform(out, m, s + i, end - i))
            continue;
        for (size_t k = i, next; k < end; k = next) {
            next = k;
            unicode_next(s, end, &next);
            if (!transform(out, m, s + k, next - k))
                buf_add(out, s + k, next - k);
        }
    }
}

/* ---- SentencePiece ---- */

/* The normal form of what is at the start of s; returns how many bytes of s it stands for. */
static size_t normal_prefix(const struct tokenizer *t, const struct normalizer *z, const char *s, size_t n,
                            const char **out, size_t *out_n)
{
    size_t k;
    if (z->spec->keep_user && trie_longest(&t->user, s, n, &k) >= 0) {
        *out = s;
        *out_n = k;
        return k;
    }
    k = charsmap_find(&z->charsmap, CHARSMAP_LONGEST, s, n, out, out_n);
    if (k > 0)
        return k;
    k = unicode_width((unsigned char)s[0]);
    *out = s;
    *out_n = k < n ? k : n;
    return *out_n;
}

static void put_escaped(struct buf *out, const char *s, size_t n, bool escape)
{
    const char *space = escape ? METASPACE : " ";
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i; k < n && s[k] != ' ';)
            k++;
        buf_add(out, s + i, k - i);
        if (k < n) {
            buf_str(out, space);
            k++;
        }
    }
}

static size_t skip_leading(const struct tokenizer *t, const struct normalizer *z, const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        const char *as;
        size_t as_n, k = normal_prefix(t, z, s + i, n - i, &as, &as_n);
        if (as_n != 1 || as[0] != ' ')
            break;
        i += k;
    }
    return i;
}

static void put_normal(struct buf *out, const struct tokenizer *t, const struct normalizer *z, const char *s,
                       size_t n)
{
    const struct spec_normalizer *o = z->spec;
    bool after_space = o->remove_extra_whitespaces;
    for (size_t i = 0; i < n;) {
        const char *as;
        size_t as_n;
        i += normal_prefix(t, z, s + i, n - i, &as, &as_n);
        while (after_space && as_n > 0 && as[0] == ' ')
            as++, as_n--;
        if (as_n > 0) {
            put_escaped(out, as, as_n, o->escape_whitespaces);
            after_space = as[as_n - 1] == ' ' && o->remove_extra_whitespaces;
        }
    }
}

static void sentencepiece(struct buf *out, const struct tokenizer *t, const struct normalizer *z,
                          const char *s, size_t n)
{
    const struct spec_normalizer *o = z->spec;
    const char *space = o->escape_whitespaces ? METASPACE : " ";
    size_t skipped = o->remove_extra_whitespaces ? skip_leading(t, z, s, n) : 0, w = strlen(space);
    if (skipped == n)
        return;
    if (!o->whitespace_suffix && o->dummy_prefix)
        buf_str(out, space);
    put_normal(out, t, z, s + skipped, n - skipped);
    while (o->remove_extra_whitespaces && out->len >= w && memcmp(out->data + out->len - w, space, w) == 0)
        out->len -= w;
    if (o->whitespace_suffix && o->dummy_prefix)
        buf_str(out, space);
}

/* ---- all of them ---- */

static int form(struct buf *out, enum unicode_form f, const char *s, size_t n, struct err *e)
{
    return unicode_normalize(out, f, s, n, e);
}

static int apply(struct buf *out, const struct tokenizer *t, const struct normalizer *z, struct scratch *s,
                 const char *text, size_t n, struct err *e)
{
    switch (z->spec->kind) {
    case NORMALIZER_NFC:
        return form(out, UNICODE_NFC, text, n, e);
    case NORMALIZER_NFD:
        return form(out, UNICODE_NFD, text, n, e);
    case NORMALIZER_NFKC:
        return form(out, UNICODE_NFKC, text, n, e);
    case NORMALIZER_NFKD:
        return form(out, UNICODE_NFKD, text, n, e);
    case NORMALIZER_LOWERCASE:
        return lowercase(out, text, n), 0;
    case NORMALIZER_STRIP_ACCENTS:
        return drop(out, text, n, unicode_is_mark), 0;
    case NORMALIZER_STRIP:
        return strip(out, text, n, z->spec->left, z->spec->right), 0;
    case NORMALIZER_REPLACE:
        return z->regex ? replace_regex(out, z, s, text, n, e) : (replace_string(out, z->spec, text, n), 0);
    case NORMALIZER_PREPEND:
        if (n > 0)
            buf_add(out, z->spec->content.bytes, z->spec->content.len);
        return buf_add(out, text, n), 0;
    case NORMALIZER_NMT:
        return nmt(out, text, n), 0;
    case NORMALIZER_BERT:
        return bert(out, z->spec, text, n, e);
    case NORMALIZER_PRECOMPILED:
        return precompiled(out, &z->charsmap, text, n), 0;
    case NORMALIZER_BYTE_LEVEL:
        return byte_level_put(out, text, n), 0;
    case NORMALIZER_SENTENCEPIECE:
        return sentencepiece(out, t, z, text, n), 0;
    }
    return 0;
}

/* Whether a step that costs a copy changes nothing: the usual case of NFC. */
static bool leaves_alone(const struct normalizer *z, const char *s, size_t n)
{
    return z->spec->kind <= NORMALIZER_NFKD && unicode_is_plain((enum unicode_form)z->spec->kind, s, n);
}

int normalize(const struct tokenizer *t, struct scratch *s, const char *text, size_t n, const char **out,
              size_t *out_n, struct err *e)
{
    int which = 0;
    _Static_assert((int)NORMALIZER_NFKD == (int)UNICODE_NFKD, "the forms come first and in the same order");
    for (size_t i = 0; i < t->spec.normalizers; i++) {
        if (leaves_alone(&t->normalizer[i], text, n))
            continue;
        struct buf *b = &s->normal[which];
        buf_reset(b);
        buf_add(b, "", 0);
        int rc = apply(b, t, &t->normalizer[i], s, text, n, e);
        if (!rc)
            rc = buf_check(b, "normalised text", e);
        if (rc)
            return rc;
        text = b->data;
        n = b->len;
        which = !which;
    }
    *out = text;
    *out_n = n;
    return 0;
}
