#include "judge/features.h"

#include "text/utf8.h"

#include <stdbool.h>
#include <string.h>
#include <utf8proc.h>

static uint32_t fold_code(uint32_t c)
{
    if (c >= 0xAC00 && c <= 0xD7A3)
        return c;
    if (utf8_is_space(c))
        return ' ';
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + 32 : c >= '0' && c <= '9' ? '0' : c;
    if (utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND)
        return '0';
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

/* Normalises units in place; the result begins and ends with a space. u has room for two more. */
static size_t fold_units(struct utf8_unit *u, size_t n, size_t bytes)
{
    size_t m = 1;
    memmove(u + 1, u, n * sizeof *u);
    u[0] = (struct utf8_unit){' ', 0, 0};
    for (size_t i = 1; i <= n; i++) {
        struct utf8_unit x = u[i];
        x.code = fold_code(x.code);
        bool extra_space = x.code == ' ' && u[m - 1].code == ' ';
        bool third = m >= 2 && x.code == u[m - 1].code && x.code == u[m - 2].code;
        if (extra_space || third)
            u[m - 1].end = x.end;
        else
            u[m++] = x;
    }
    if (u[m - 1].code != ' ')
        u[m++] = (struct utf8_unit){' ', (uint32_t)bytes, (uint32_t)bytes};
    return m;
}

static uint64_t mix(uint64_t h, uint32_t x)
{
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ (h >> 29);
}

struct extraction {
    struct features *f;
    uint32_t *slot; /* open addressing: 1 + index of the distinct bucket, 0 empty */
    size_t mask;
    const uint32_t *skipped; /* [bytes + 1] bytes to skip before each offset; NULL: none */
};

static void add(struct extraction *x, uint64_t hash, uint32_t begin, uint32_t end)
{
    if (x->skipped && x->skipped[end] != x->skipped[begin])
        return;
    struct features *f = x->f;
    uint32_t bucket = (uint32_t)(hash >> (64 - FEATURE_BITS));
    size_t i = (bucket * (size_t)2654435761u) & x->mask;
    while (x->slot[i] && f->bucket[x->slot[i] - 1] != bucket)
        i = (i + 1) & x->mask;
    if (!x->slot[i]) {
        f->bucket[f->n_distinct] = bucket;
        f->times[f->n_distinct] = 0;
        x->slot[i] = (uint32_t)++f->n_distinct;
    }
    uint32_t d = x->slot[i] - 1;
    f->times[d]++;
    f->all[f->n++] = (struct feature){bucket, begin, end, d};
}

enum { SALT_CHARS = 1, SALT_WORDS = 2 };

static void add_chars(struct extraction *x, const struct utf8_unit *u, size_t n)
{
    for (size_t end = 0; end < n; end++) {
        uint64_t h = SALT_CHARS;
        for (size_t k = 0; k < FEATURE_CHARS && k <= end; k++) {
            const struct utf8_unit *first = &u[end - k];
            h = mix(h, first->code);
            if (k > 0 || first->code != ' ')
                add(x, mix(h, (uint32_t)k), first->begin, u[end].end);
        }
    }
}

static void add_words(struct extraction *x, const struct utf8_unit *u, size_t n)
{
    uint64_t previous = 0;
    uint32_t previous_begin = 0;
    for (size_t i = 1; i + 1 < n;) {
        size_t begin = i;
        uint64_t h = SALT_WORDS;
        for (; u[i].code != ' '; i++)
            h = mix(h, u[i].code);
        add(x, mix(h, 0), u[begin].begin, u[i - 1].end);
        if (previous)
            add(x, mix(mix(h, (uint32_t)previous), (uint32_t)(previous >> 32)), previous_begin, u[i - 1].end);
        previous = h;
        previous_begin = u[begin].begin;
        i++;
    }
}

static int prepare(struct extraction *x, size_t units, struct arena *a, struct err *e)
{
    size_t most = units * (FEATURE_CHARS + FEATURE_WORDS), slots = 64;
    while (slots < 2 * most)
        slots *= 2;
    struct features *f = x->f;
    f->all = arena_alloc(a, most + 1, sizeof *f->all);
    f->bucket = arena_alloc(a, most + 1, sizeof *f->bucket);
    f->times = arena_alloc(a, most + 1, sizeof *f->times);
    x->slot = arena_alloc(a, slots, sizeof *x->slot);
    x->mask = slots - 1;
    if (!f->all || !f->bucket || !f->times || !x->slot)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu characters", units);
    return 0;
}

/* Running count of the bytes to skip, so that a range is checked by one subtraction. */
static int count_skipped(struct extraction *x, const bool *skip, size_t n, struct arena *a, struct err *e)
{
    uint32_t *sum = arena_alloc(a, n + 1, sizeof *sum);
    if (!sum)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", n);
    for (size_t i = 0; i < n; i++)
        sum[i + 1] = sum[i] + skip[i];
    x->skipped = sum;
    return 0;
}

int features_extract(struct features *out, const char *text, size_t n, const bool *skip, struct arena *a,
                     struct err *e)
{
    struct utf8_unit *nfc, *u;
    size_t count;
    *out = (struct features){0};
    struct extraction x = {.f = out};
    int rc = utf8_nfc(text, n, a, &nfc, &count, e);
    if (!rc && skip)
        rc = count_skipped(&x, skip, n, a, e);
    if (rc)
        return rc;
    u = arena_alloc(a, count + 2, sizeof *u);
    if (!u)
        return err_set(e, ERR_MEMORY, "out of memory for a text of %zu bytes", n);
    if (count)
        memcpy(u, nfc, count * sizeof *u);
    count = fold_units(u, count, n);
    if ((rc = prepare(&x, count, a, e)))
        return rc;
    add_chars(&x, u, count);
    add_words(&x, u, count);
    return 0;
}
