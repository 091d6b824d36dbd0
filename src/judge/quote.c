#include "judge/quote.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct word {
    size_t begin, end; /* bytes */
    double share;
    bool starts; /* a line or a sentence: no quote goes over its beginning */
};

/* Bytes of the white space or control character at s, or 0. */
static size_t space_at(const char *s)
{
    static const char *const wide[] = {"\u00A0", "\u2002", "\u2003", "\u2009", "\u200B",
                                       "\u2028", "\u2029", "\u3000", "\uFEFF"};
    if ((unsigned char)*s <= ' ' || *s == 0x7F)
        return *s != 0;
    if ((unsigned char)*s < 0x80)
        return 0;
    if ((unsigned char)s[0] == 0xC2 && (unsigned char)s[1] < 0xA0) /* C1 */
        return 2;
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        size_t n = strlen(wide[i]);
        if (strncmp(s, wide[i], n) == 0)
            return n;
    }
    return 0;
}

/* Inside a quote only spaces may stand between words; control characters and line separators end the run. */
static bool is_plain_space(const char *s, size_t n)
{
    bool c1 = n == 2 && (unsigned char)s[1] < 0xA0;
    return n == 1 ? *s == ' ' : !c1 && strncmp(s, "\u2028", n) && strncmp(s, "\u2029", n);
}

static size_t count_chars(const char *s, size_t n)
{
    size_t chars = 0;
    for (size_t i = 0; i < n; i++)
        chars += ((unsigned char)s[i] & 0xC0) != 0x80;
    return chars;
}

/* ASCII punctuation around a word reads badly inside quotation marks. A word of nothing else stays whole. */
static void trim_punctuation(const char *text, struct word *w)
{
    static const char marks[] = ".,!?~;:'\"()[]{}<>-*/|\\^_=+`";
    size_t b = w->begin, e = w->end;
    while (b < e && strchr(marks, text[b]))
        b++;
    while (e > b && strchr(marks, text[e - 1]))
        e--;
    if (b < e) {
        w->begin = b;
        w->end = e;
    }
}

static bool ends_sentence(const char *word, size_t n)
{
    return strchr(".!?;", word[n - 1]) ||
           (n >= 3 && (!memcmp(word + n - 3, "…", 3) || !memcmp(word + n - 3, "。", 3)));
}

static size_t split(const char *text, struct word *w)
{
    size_t n = 0, space;
    bool line = true;
    for (size_t i = 0; text[i];) {
        if ((space = space_at(text + i))) {
            line |= !is_plain_space(text + i, space);
            i += space;
            continue;
        }
        size_t begin = i;
        while (text[i] && !space_at(text + i))
            i++;
        w[n] = (struct word){.begin = begin, .end = i, .starts = line};
        line = ends_sentence(text + begin, i - begin);
        trim_punctuation(text, &w[n]);
        n++;
    }
    return n;
}

/* Prefix sums over bytes turn each feature's even share into two marks. */
static double *share_of_bytes(const char *text, const struct features *f, const float *weight,
                              struct arena *a)
{
    size_t n = strlen(text);
    double *sum = arena_alloc(a, n + 2, sizeof *sum);
    if (!sum)
        return NULL;
    for (size_t i = 0; i < f->n; i++) {
        const struct feature *x = &f->all[i];
        if (x->end <= x->begin)
            continue;
        double each = weight[i] / (double)(x->end - x->begin);
        sum[x->begin] += each;
        sum[x->end] -= each;
    }
    for (int pass = 0; pass < 2; pass++) { /* marks -> per byte -> cumulative */
        double running = 0;
        for (size_t i = 0; i <= n; i++) {
            double v = sum[i];
            sum[i] = pass ? running : running + v;
            running += v;
        }
    }
    return sum;
}

/* Byte offset of the first character boundary after at most `chars` characters. */
static size_t cut(const char *s, size_t n, size_t chars)
{
    size_t i = 0;
    for (; i < n; i++)
        if (((unsigned char)s[i] & 0xC0) != 0x80 && chars-- == 0)
            break;
    return i;
}

/* Of runs with the same share the shortest. */
static void best_run(const char *text, const struct word *w, size_t n, size_t *first, size_t *last)
{
    double best = -1e300;
    size_t fewest = SIZE_MAX;
    *first = *last = 0;
    for (size_t i = 0; i < n; i++) {
        double share = 0;
        for (size_t k = i; k < n && (k == i || !w[k].starts); k++) {
            size_t chars = count_chars(text + w[i].begin, w[k].end - w[i].begin);
            share += w[k].share;
            if (k > i && chars > QUOTE_CHARS_MAX)
                break;
            if (share < best || (share == best && chars >= fewest))
                continue;
            best = share;
            fewest = chars;
            *first = i;
            *last = k;
        }
    }
}

/* Korean says yes or no at the end: "혼자 있는 게" without its "싫다" would say the opposite. So the quote
 * goes on to the end of its sentence where there is room for all of it. */
static size_t to_sentence_end(const char *text, const struct word *w, size_t n, size_t first, size_t last)
{
    size_t end = last;
    while (end + 1 < n && !w[end + 1].starts)
        end++;
    return count_chars(text + w[first].begin, w[end].end - w[first].begin) <= QUOTE_CHARS_MAX ? end : last;
}

int quote_find(const char *text, const struct features *f, const float *weight, struct arena *a,
               size_t *begin, size_t *len, struct err *e)
{
    size_t bytes = strlen(text);
    struct word *w = arena_alloc(a, bytes / 2 + 2, sizeof *w);
    double *sum = share_of_bytes(text, f, weight, a);
    if (!w || !sum)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", bytes);
    size_t n = split(text, w), first, last;
    *begin = *len = 0;
    if (n == 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        w[i].share = sum[w[i].end] - sum[w[i].begin];
    best_run(text, w, n, &first, &last);
    last = to_sentence_end(text, w, n, first, last);
    *begin = w[first].begin;
    *len = w[last].end - w[first].begin;
    if (first == last)
        *len = cut(text + *begin, *len, QUOTE_CHARS_MAX);
    return 0;
}

static size_t span_end(const char *text, const struct word *w, size_t n, size_t first, size_t chars)
{
    size_t last = first;
    while (last + 1 < n && !w[last + 1].starts &&
           count_chars(text + w[first].begin, w[last + 1].end - w[first].begin) <= chars)
        last++;
    return last;
}

int quote_spans(const char *text, size_t chars, struct arena *a, struct quote_span **out, size_t *count,
                struct err *e)
{
    size_t bytes = strlen(text);
    struct word *w = arena_alloc(a, bytes / 2 + 2, sizeof *w);
    *out = arena_alloc(a, bytes / 2 + 2, sizeof **out);
    *count = 0;
    if (!w || !*out)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", bytes);
    size_t n = split(text, w);
    for (size_t i = 0; i < n;) {
        size_t last = span_end(text, w, n, i, chars), shown = to_sentence_end(text, w, n, i, last);
        struct quote_span *s = &(*out)[(*count)++];
        *s = (struct quote_span){w[i].begin, w[last].end, w[i].begin, w[shown].end};
        if (i == shown)
            s->quote_end =
                s->quote_begin + cut(text + s->quote_begin, w[i].end - w[i].begin, QUOTE_CHARS_MAX);
        i = last + 1;
    }
    return 0;
}
