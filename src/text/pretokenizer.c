/* The pre-tokenizer steps (Hugging Face tokenizers, pre_tokenizers/): a text is cut into words, word by word
 * again at every step; some steps also write the words anew. */
#include "base/size.h"
#include "text/byte_level.h"
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

int pretokenizer_init(struct pretokenizer *p, const struct spec_pretokenizer *spec, struct err *e)
{
    *p = (struct pretokenizer){.spec = spec};
    if (spec->kind == PRETOKENIZER_METASPACE && spec->pattern.len == 0)
        return err_set(e, ERR_FORMAT, "pre-tokenizer Metaspace: the replacement is empty");
    if (spec->kind == PRETOKENIZER_BYTE_LEVEL && spec->gpt2_pattern)
        return regex_compile(&p->regex, gpt2_pattern, sizeof gpt2_pattern - 1, REGEX_RUBY, e);
    /* the empty string matches between all characters, which the regular expression knows how to do */
    if (spec->kind == PRETOKENIZER_SPLIT && (spec->regex || spec->pattern.len == 0))
        return regex_compile(&p->regex, spec->pattern.bytes ? spec->pattern.bytes : "", spec->pattern.len,
                             REGEX_RUBY, e);
    return 0;
}

void pretokenizer_deinit(struct pretokenizer *p)
{
    regex_free(p->regex);
    *p = (struct pretokenizer){0};
}

static int add_span(struct spans *to, size_t begin, size_t end, struct err *e)
{
    if (begin == end)
        return 0;
    if (to->n == to->capacity) {
        size_t capacity = to->capacity ? 2 * to->capacity : 64, bytes;
        struct span *at = size_mul(capacity, sizeof *at, &bytes) ? realloc(to->at, bytes) : NULL;
        if (!at)
            return err_set(e, ERR_MEMORY, "out of memory for %zu words", to->n);
        to->at = at;
        to->capacity = capacity;
    }
    to->at[to->n++] = (struct span){(uint32_t)begin, (uint32_t)end};
    return 0;
}

/* ---- cutting ---- */

/* Takes the matches of one word and what is between them, in order, and puts out what the behaviour makes of
 * them. */
struct cutter {
    struct spans *to;
    enum split_behavior behavior;
    bool invert, last_match, held; /* held: begin..end waits for what follows */
    size_t begin, end;
};

static int flush(struct cutter *c, struct err *e)
{
    int rc = c->held ? add_span(c->to, c->begin, c->end, e) : 0;
    c->held = false;
    return rc;
}

static int hold(struct cutter *c, size_t begin, size_t end, struct err *e)
{
    int rc = flush(c, e);
    c->held = true;
    c->begin = begin;
    c->end = end;
    return rc;
}

static int cut(struct cutter *c, size_t begin, size_t end, bool match, struct err *e)
{
    match ^= c->invert;
    bool join = false;
    switch (c->behavior) {
    case SPLIT_REMOVED:
        return match ? 0 : add_span(c->to, begin, end, e);
    case SPLIT_ISOLATED:
        return add_span(c->to, begin, end, e);
    case SPLIT_CONTIGUOUS:
        join = match == c->last_match;
        break;
    case SPLIT_MERGED_WITH_PREVIOUS:
        join = match && !c->last_match;
        break;
    case SPLIT_MERGED_WITH_NEXT:
        join = !match && c->last_match;
        break;
    }
    c->last_match = match;
    if (!join || !c->held)
        return hold(c, begin, end, e);
    c->end = end;
    return 0;
}

/* All matches of the step in text[begin..end), which is all it sees. */
static int cut_regex(struct cutter *c, const struct regex *r, struct regex_match *m, const char *text,
                     size_t begin, size_t end, struct err *e)
{
    const char *s = text + begin;
    size_t n = end - begin, done = 0, b, x, last = SIZE_MAX;
    for (size_t from = 0; from <= n;) {
        int got = regex_search(r, m, s, n, from, &b, &x, e);
        if (got < 0)
            return got;
        if (got == 0)
            break;
        if (b == x && x == last) { /* no empty match right behind a match */
            from += from < n ? unicode_width((unsigned char)s[from]) : 1;
            continue;
        }
        int rc = b > done ? cut(c, begin + done, begin + b, false, e) : 0;
        if (!rc)
            rc = cut(c, begin + b, begin + x, true, e);
        if (rc)
            return rc;
        done = from = last = x;
    }
    return n > done ? cut(c, begin + done, end, false, e) : 0;
}

static int cut_string(struct cutter *c, const struct spec_string *p, const char *text, size_t begin,
                      size_t end, struct err *e)
{
    int rc = 0;
    const char *hit;
    while (!rc && (hit = memmem(text + begin, end - begin, p->bytes, p->len)) != NULL) {
        size_t at = (size_t)(hit - text);
        rc = at > begin ? cut(c, begin, at, false, e) : 0;
        if (!rc)
            rc = cut(c, at, at + p->len, true, e);
        begin = at + p->len;
    }
    return !rc && begin < end ? cut(c, begin, end, false, e) : rc;
}

/* Single characters of a class, each a match of its own. */
static int cut_class(struct cutter *c, bool (*in)(uint32_t), const char *text, size_t begin, size_t end,
                     struct err *e)
{
    int rc = 0;
    size_t done = begin;
    for (size_t i = begin, at; i < end && !rc;) {
        at = i;
        if (!in(unicode_next(text, end, &i)))
            continue;
        rc = at > done ? cut(c, done, at, false, e) : 0;
        if (!rc)
            rc = cut(c, at, i, true, e);
        done = i;
    }
    return !rc && done < end ? cut(c, done, end, false, e) : rc;
}

/* Runs of word characters and runs of what is neither that nor white space (the pattern \w+|[^\w\s]+). */
static int cut_words(struct cutter *c, const char *text, size_t begin, size_t end, struct err *e)
{
    int rc = 0, last = 0; /* of the run: 0 white space, 1 word, 2 other */
    size_t from = begin;
    for (size_t i = begin, at; i < end && !rc;) {
        at = i;
        uint32_t x = unicode_next(text, end, &i);
        int kind = unicode_is_word(x) ? 1 : unicode_is_white_space(x) ? 0 : 2;
        if (kind == last)
            continue;
        rc = last ? cut(c, from, at, false, e) : 0;
        from = at;
        last = kind;
    }
    return !rc && last ? cut(c, from, end, false, e) : rc;
}

static int cut_one(struct cutter *c, const struct pretokenizer *p, struct regex_match *m, const char *text,
                   size_t begin, size_t end, struct err *e)
{
    switch (p->spec->kind) {
    case PRETOKENIZER_DIGITS:
        return cut_class(c, unicode_is_number, text, begin, end, e);
    case PRETOKENIZER_PUNCTUATION:
    case PRETOKENIZER_BERT: /* its second half */
        return cut_class(c, unicode_is_punctuation, text, begin, end, e);
    case PRETOKENIZER_WHITESPACE:
        return cut_words(c, text, begin, end, e);
    case PRETOKENIZER_WHITESPACE_SPLIT:
        return cut_class(c, unicode_is_white_space, text, begin, end, e);
    default:
        if (p->regex)
            return cut_regex(c, p->regex, m, text, begin, end, e);
        return cut_string(c, &p->spec->pattern, text, begin, end, e);
    }
}

static int cut_all(const struct pretokenizer *p, struct regex_match *m, enum split_behavior behavior,
                   bool invert, const char *text, const struct spans *from, struct spans *to, struct err *e)
{
    int rc = 0;
    to->n = 0;
    to->at_start = from->at_start;
    for (size_t i = 0; i < from->n && !rc; i++) {
        struct cutter c = {.to = to, .behavior = behavior, .invert = invert};
        rc = cut_one(&c, p, m, text, from->at[i].begin, from->at[i].end, e);
        if (!rc)
            rc = flush(&c, e);
    }
    return rc;
}

/* ---- writing anew ---- */

static int end_word(struct spans *to, size_t begin, struct err *e)
{
    int rc = buf_check(&to->text, "words", e);
    if (!rc && to->text.len > INT32_MAX)
        rc = err_set(e, ERR_LIMIT, "words of %zu bytes: at most %d", to->text.len, INT32_MAX);
    return rc ? rc : add_span(to, begin, to->text.len, e);
}

static bool begins_with(const char *s, size_t n, const char *prefix, size_t prefix_n)
{
    return n >= prefix_n && memcmp(s, prefix, prefix_n) == 0;
}

static int metaspace_word(const struct pretokenizer *p, const char *s, size_t n, bool first, struct spans *to,
                          struct err *e)
{
    const struct spec_string *r = &p->spec->pattern;
    size_t begin = to->text.len;
    bool has = begins_with(s, n, " ", 1) || begins_with(s, n, r->bytes, r->len);
    if (!has && (p->spec->prepend == PREPEND_ALWAYS || (p->spec->prepend == PREPEND_FIRST && first)))
        buf_add(&to->text, r->bytes, r->len);
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i; k < n && s[k] != ' ';)
            k++;
        buf_add(&to->text, s + i, k - i);
        if (k < n) {
            buf_add(&to->text, r->bytes, r->len);
            k++;
        }
    }
    if (!p->spec->split)
        return end_word(to, begin, e);
    int rc = buf_check(&to->text, "words", e);
    struct cutter c = {.to = to, .behavior = SPLIT_MERGED_WITH_NEXT};
    if (!rc)
        rc = cut_string(&c, r, to->text.data, begin, to->text.len, e);
    return rc ? rc : flush(&c, e);
}

/* ByteLevel without a pattern: a space before words that want one, and bytes as characters unless the model
 * takes them as they are. */
static int byte_level_word(const struct pretokenizer *p, bool raw, const char *s, size_t n, struct spans *to,
                           struct err *e)
{
    size_t begin = to->text.len;
    const char *prefix = p->spec->prefix_space && s[0] != ' ' ? " " : "";
    if (raw) {
        buf_str(&to->text, prefix);
        buf_add(&to->text, s, n);
    } else {
        byte_level_put(&to->text, prefix, strlen(prefix));
        byte_level_put(&to->text, s, n);
    }
    return end_word(to, begin, e);
}

static int write_all(const struct pretokenizer *p, bool raw, const char *text, const struct spans *from,
                     struct spans *to, struct err *e)
{
    int rc = 0;
    buf_reset(&to->text);
    to->n = 0;
    to->at_start = from->at_start && from->n > 0 && from->at[0].begin == 0;
    for (size_t i = 0; i < from->n && !rc; i++) {
        const char *s = text + from->at[i].begin;
        size_t n = from->at[i].end - from->at[i].begin;
        bool first = i == 0 && to->at_start;
        rc = p->spec->kind == PRETOKENIZER_METASPACE ? metaspace_word(p, s, n, first, to, e)
                                                     : byte_level_word(p, raw, s, n, to, e);
    }
    return rc;
}

/* ---- all steps ---- */

struct pass {
    const struct tokenizer *t;
    struct scratch *s;
    const char *text; /* what the spans are of: the caller's, or the text of one of the lists */
    int which;        /* the list that holds the words so far */
};

/* Lists change places; a step that only cuts leaves the text where it is, in the list that is not `to`. */
static int run_cut(struct pass *a, const struct pretokenizer *p, enum split_behavior behavior, bool invert,
                   struct err *e)
{
    struct spans *from = &a->s->spans[a->which], *to = &a->s->spans[!a->which];
    int rc = cut_all(p, a->s->match, behavior, invert, a->text, from, to, e);
    if (from->text.data && a->text == from->text.data) { /* the text goes with the words */
        struct buf b = to->text;
        to->text = from->text;
        from->text = b;
    }
    a->which = !a->which;
    return rc;
}

static int run_write(struct pass *a, const struct pretokenizer *p, bool raw, struct err *e)
{
    struct spans *from = &a->s->spans[a->which], *to = &a->s->spans[!a->which];
    int rc = write_all(p, raw, a->text, from, to, e);
    a->text = to->text.data;
    a->which = !a->which;
    return rc;
}

static int run_byte_level(struct pass *a, const struct pretokenizer *p, bool last, struct err *e)
{
    bool raw = last && a->t->raw_bytes;
    struct pretokenizer space = {.spec = p->spec};
    int rc = 0;
    /* the space comes before the pattern sees the word, the bytes are mapped after */
    if (p->regex && p->spec->prefix_space)
        rc = run_write(a, &space, true, e);
    if (!rc && p->regex)
        rc = run_cut(a, p, SPLIT_ISOLATED, false, e);
    if (rc || (raw && (p->regex || !p->spec->prefix_space)))
        return rc;
    struct spec_pretokenizer bare = *p->spec;
    bare.prefix_space = p->spec->prefix_space && !p->regex;
    space.spec = &bare;
    return run_write(a, &space, raw, e);
}

static int run_step(struct pass *a, const struct pretokenizer *p, bool last, struct err *e)
{
    int rc;
    switch (p->spec->kind) {
    case PRETOKENIZER_BYTE_LEVEL:
        return run_byte_level(a, p, last, e);
    case PRETOKENIZER_METASPACE:
        return run_write(a, p, false, e);
    case PRETOKENIZER_WHITESPACE:
        return run_cut(a, p, SPLIT_ISOLATED, false, e);
    case PRETOKENIZER_WHITESPACE_SPLIT:
        return run_cut(a, p, SPLIT_REMOVED, false, e);
    case PRETOKENIZER_BERT: {
        struct spec_pretokenizer split = {.kind = PRETOKENIZER_WHITESPACE_SPLIT};
        rc = run_cut(a, &(struct pretokenizer){.spec = &split}, SPLIT_REMOVED, false, e);
        return rc ? rc : run_cut(a, p, SPLIT_ISOLATED, false, e);
    }
    default:
        return run_cut(a, p, p->spec->behavior, p->spec->invert, e);
    }
}

int pretokenize(const struct tokenizer *t, struct scratch *s, const char *text, size_t n, bool at_start,
                int *which, struct err *e)
{
    struct pass a = {t, s, text, 0};
    s->spans[0].n = 0;
    s->spans[0].at_start = at_start;
    int rc = t->spec.pretokenizers ? check_utf8(text, n, e) : 0;
    if (!rc)
        rc = add_span(&s->spans[0], 0, n, e);
    for (size_t i = 0; i < t->spec.pretokenizers && !rc; i++)
        rc = run_step(&a, &t->pretokenizer[i], i + 1 == t->spec.pretokenizers, e);
    s->words = a.text;
    *which = a.which;
    return rc;
}
