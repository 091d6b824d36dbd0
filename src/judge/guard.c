#include "judge/guard.h"

#include <math.h>
#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Bytes of the mark that ends a sentence at s, or 0. */
static size_t end_mark(const char *s)
{
    if (*s == '\n' || ((*s == '.' || *s == '!' || *s == '?' || *s == ';') && (is_space(s[1]) || !s[1])))
        return 1;
    return strncmp(s, "…", 3) == 0 || strncmp(s, "。", 3) == 0 ? 3 : 0;
}

int guard_split(const char *text, size_t n, struct arena *a, struct sentence **out, size_t *count,
                struct err *e)
{
    struct sentence *s = arena_alloc(a, n + 1, sizeof *s);
    if (!s)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", n);
    *out = s;
    *count = 0;
    size_t begin = 0;
    for (size_t i = 0; i < n;) {
        size_t mark = end_mark(text + i);
        i += mark ? mark : 1;
        if (!mark && i < n)
            continue;
        while (i < n && is_space(text[i]))
            i++;
        s[(*count)++] = (struct sentence){begin, i - begin};
        begin = i;
    }
    return 0;
}

double guard_probability(const struct linear_model *m, const struct features *f)
{
    int32_t sum = 0;
    for (size_t i = 0; i < f->n_distinct; i++)
        sum += m->weight[(size_t)f->bucket[i] * LINEAR_COLUMNS + LINEAR_GUARD];
    double norm = f->n_distinct ? 1 / sqrt((double)f->n_distinct) : 0;
    return 1 / (1 + exp(-(m->guard_bias + m->guard_scale * (double)sum * norm)));
}

static double logit(const struct linear_model *m, int32_t sum, uint32_t features)
{
    double norm = features ? 1 / sqrt((double)features) : 0;
    return m->guard_bias + m->guard_scale * (double)sum * norm;
}

/* Log of the probability that a logit stands for. */
static double log_probability(double z)
{
    return z < 0 ? z - log1p(exp(z)) : -log1p(exp(-z));
}

/* What a sentence has up to each byte, and from each byte on: features (each once) and their weights. */
struct sums {
    int32_t *weight_to, *weight_from;
    uint32_t *count_to, *count_from;
};

static int sum_up(struct sums *s, const struct linear_model *m, const struct features *f, size_t n,
                  struct arena *a, struct err *e)
{
    uint32_t *first = arena_alloc(a, f->n_distinct + 1, sizeof *first);
    uint32_t *last = arena_alloc(a, f->n_distinct + 1, sizeof *last);
    s->weight_to = arena_alloc(a, n + 2, sizeof *s->weight_to);
    s->weight_from = arena_alloc(a, n + 2, sizeof *s->weight_from);
    s->count_to = arena_alloc(a, n + 2, sizeof *s->count_to);
    s->count_from = arena_alloc(a, n + 2, sizeof *s->count_from);
    if (!first || !last || !s->weight_to || !s->weight_from || !s->count_to || !s->count_from)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", n);
    memset(first, 0xff, f->n_distinct * sizeof *first);
    for (size_t i = 0; i < f->n; i++) {
        const struct feature *x = &f->all[i];
        first[x->distinct] = x->end < first[x->distinct] ? x->end : first[x->distinct];
        last[x->distinct] = x->begin > last[x->distinct] ? x->begin : last[x->distinct];
    }
    for (size_t i = 0; i < f->n_distinct; i++) {
        int8_t w = m->weight[(size_t)f->bucket[i] * LINEAR_COLUMNS + LINEAR_GUARD];
        s->weight_to[first[i]] += w;
        s->count_to[first[i]]++;
        s->weight_from[last[i]] += w;
        s->count_from[last[i]]++;
    }
    for (size_t i = 1; i <= n; i++) {
        s->weight_to[i] += s->weight_to[i - 1];
        s->count_to[i] += s->count_to[i - 1];
        s->weight_from[n - i] += s->weight_from[n - i + 1];
        s->count_from[n - i] += s->count_from[n - i + 1];
    }
    return 0;
}

/* Whether the n bytes of text before a white space may be a sentence without a full stop: they end in what
 * Korean predicates end in, in a mark, or in another script. */
static bool may_end(const char *text, size_t n)
{
    static const char *const last[] = {"다", "요", "죠", "네", "지", "까", "라", "자", "고", "데", "니", "ㅋ",
                                       "ㅎ", "ㅠ", "ㅜ", "야", "어", "아", "해", "줘", "게", "걸", "서"};
    if (n < 3)
        return false;
    const unsigned char *p = (const unsigned char *)text + n - 3;
    if (p[2] < 0x80)
        return true;
    for (size_t i = 0; i < sizeof last / sizeof *last; i++)
        if (memcmp(p, last[i], 3) == 0)
            return true;
    uint32_t code = (uint32_t)(p[0] & 15) << 12 | (uint32_t)(p[1] & 63) << 6 | (uint32_t)(p[2] & 63);
    bool hangul = p[0] >= 0xEA && p[0] <= 0xED && code >= 0xAC00 && code <= 0xD7A3;
    return !hangul || (code - 0xAC00) % 28 == 16; /* a final m makes a noun of a verb */
}

/* The cut that a sentence's two parts make likeliest, one of them being talk and the other not; or none.
 * Returns the logit of the talk. */
static double likeliest(const struct linear_model *m, const struct sums *s, const char *text, size_t n,
                        struct sentence *part)
{
    double talk = logit(m, s->weight_to[n], s->count_to[n]), best = log_probability(talk);
    *part = (struct sentence){0, n};
    for (size_t i = 1; i < n; i++) {
        if (is_space(text[i]) || !is_space(text[i - 1]))
            continue;
        size_t gap = i;
        while (gap > 0 && is_space(text[gap - 1]))
            gap--;
        if (!may_end(text, gap))
            continue;
        double before = logit(m, s->weight_to[i], s->count_to[i]);
        double after = logit(m, s->weight_from[gap], s->count_from[gap]);
        double talk_after = log_probability(after) + log_probability(-before);
        double talk_before = log_probability(before) + log_probability(-after);
        if (talk_after > best) {
            best = talk_after;
            talk = after;
            *part = (struct sentence){i, n - i};
        }
        if (talk_before > best) {
            best = talk_before;
            talk = before;
            *part = (struct sentence){0, gap};
        }
    }
    return talk;
}

int guard_part(const struct linear_model *m, const char *text, size_t n, struct sentence *out,
               double *probability, struct arena *a, struct err *e)
{
    struct features f;
    struct sums s;
    int rc = features_extract(&f, text, n, NULL, a, e);
    if (!rc)
        rc = sum_up(&s, m, &f, n, a, e);
    if (!rc)
        *probability = 1 / (1 + exp(-likeliest(m, &s, text, n, out)));
    return rc;
}

static int mask_sentences(const struct linear_model *m, const char *text, size_t n, bool *skip, bool *any,
                          struct arena *a, struct err *e)
{
    struct sentence *s, part;
    size_t count;
    double p;
    int rc = guard_split(text, n, a, &s, &count, e);
    for (size_t i = 0; i < count && !rc; i++) {
        rc = guard_part(m, text + s[i].begin, s[i].len, &part, &p, a, e);
        if (rc || p <= m->guard_threshold)
            continue;
        memset(skip + s[i].begin + part.begin, true, part.len);
        *any = true;
    }
    return rc;
}

int guard_mask(const struct linear_model *m, const char *text, size_t n, const char *mission, struct arena *a,
               bool **skip, struct err *e)
{
    bool *mask = arena_alloc(a, n + 1, sizeof *mask), any = false;
    *skip = NULL;
    if (!mask)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", n);
    size_t length = mission ? strlen(mission) : 0;
    for (const char *copy = text; length && (copy = strstr(copy, mission)); copy += length) {
        memset(mask + (copy - text), true, length);
        any = true;
    }
    int rc = mask_sentences(m, text, n, mask, &any, a, e);
    if (any)
        *skip = mask;
    return rc;
}
