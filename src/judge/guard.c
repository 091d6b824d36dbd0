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

static int mask_sentences(const struct linear_model *m, const char *text, size_t n, bool *skip, bool *any,
                          struct arena *a, struct err *e)
{
    struct sentence *s;
    size_t count;
    struct features f;
    int rc = guard_split(text, n, a, &s, &count, e);
    for (size_t i = 0; i < count && !rc; i++) {
        rc = features_extract(&f, text + s[i].begin, s[i].len, NULL, a, e);
        if (rc || guard_probability(m, &f) <= m->guard_threshold)
            continue;
        memset(skip + s[i].begin, true, s[i].len);
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
