/* Two texts in NFC side by side, character by character; after a difference the smallest skip on both sides
 * that makes them agree for a few characters. Normalisers change little, so this needs no edit distance. */
#include "text/align.h"

#include "text/utf8.h"

#include <stdbool.h>

enum {
    SKIP_MAX = 12, /* characters left out or put in at one place */
    AGREE = 3,     /* characters in a row that count as agreeing again */
};

struct side {
    struct utf8_unit *unit;
    size_t n;
};

/* Full-width forms of ASCII are what normalisers fold most, and what neutralising (text/chat.h) puts in. */
static bool same(uint32_t made, uint32_t source)
{
    return made == source || (source >= 0xFF01 && source <= 0xFF5E && made == source - 0xFF00 + ' ');
}

static bool agree(const struct side *m, size_t i, const struct side *s, size_t j)
{
    for (int k = 0; k < AGREE; k++, i++, j++) {
        if (i == m->n || j == s->n)
            return i == m->n && j == s->n;
        if (!same(m->unit[i].code, s->unit[j].code))
            return false;
    }
    return true;
}

/* Skips `made` on one side and `source` on the other if the texts agree behind that. */
static bool skips(const struct side *m, size_t i, const struct side *s, size_t j, size_t made, size_t source)
{
    return made <= m->n - i && source <= s->n - j && agree(m, i + made, s, j + source);
}

/* The shortest difference behind which the texts agree, of as many characters on both sides if possible; one for one
 * when nothing near agrees. */
static void resync(const struct side *m, size_t i, const struct side *s, size_t j, size_t *made,
                   size_t *source)
{
    for (size_t longer = 1; longer <= SKIP_MAX; longer++)
        for (size_t less = 0; less <= longer; less++) {
            *made = longer - less, *source = longer;
            if (skips(m, i, s, j, *made, *source))
                return;
            *made = longer, *source = longer - less;
            if (skips(m, i, s, j, *made, *source))
                return;
        }
    *made = *source = 1;
}

struct walk {
    uint32_t *begin, *end; /* per byte of the made text */
    uint32_t last;         /* made bytes that have their range */
    uint32_t done;         /* source bytes that are somebody's */
};

/* Made bytes up to made_end stand for the source's [from, to). */
static void give(struct walk *w, uint32_t made_end, uint32_t from, uint32_t to)
{
    if (w->last == made_end && w->last == 0)
        return; /* left out at the very beginning: goes with what follows */
    if (w->last == 0)
        from = 0;
    else if (from < w->begin[w->last - 1]) /* within a cluster of the source, after something put in */
        from = w->begin[w->last - 1];
    if (w->last == made_end) { /* left out: goes with what stands before it */
        uint32_t same = w->begin[w->last - 1];
        for (uint32_t b = w->last; b > 0 && w->begin[b - 1] == same; b--)
            w->end[b - 1] = to;
    }
    for (; w->last < made_end; w->last++) {
        w->begin[w->last] = from;
        w->end[w->last] = to;
    }
    w->done = to;
}

static void walk_sides(const struct side *m, const struct side *s, struct walk *w)
{
    for (size_t i = 0, j = 0; i < m->n || j < s->n;) {
        size_t a = 1, b = 1;
        if (i == m->n || j == s->n)
            a = m->n - i, b = s->n - j;
        else if (!same(m->unit[i].code, s->unit[j].code))
            resync(m, i, s, j, &a, &b);
        if (a == b)
            a = b = 1; /* as many on both sides: one stands for one */
        /* The units of one cluster share its bytes. */
        give(w, a ? m->unit[i + a - 1].end : w->last, b ? s->unit[j].begin : w->done,
             b ? s->unit[j + b - 1].end : w->done);
        i += a, j += b;
    }
}

int align_texts(const char *made, size_t made_len, const char *source, size_t source_len, uint32_t *begin,
                uint32_t *end, struct arena *a, struct err *e)
{
    struct side m, s;
    struct walk w = {begin, end, 0, 0};
    if (source_len > UINT32_MAX / 4)
        return err_set(e, ERR_LIMIT, "text of %zu bytes: at most %u", source_len, UINT32_MAX / 4);
    if (!utf8_valid(made, made_len, NULL) || !utf8_valid(source, source_len, NULL)) {
        for (size_t i = 0; i < made_len; i++)
            begin[i] = 0, end[i] = (uint32_t)source_len;
        return 0;
    }
    int rc = utf8_nfc(made, made_len, a, &m.unit, &m.n, e);
    if (!rc)
        rc = utf8_nfc(source, source_len, a, &s.unit, &s.n, e);
    if (!rc)
        walk_sides(&m, &s, &w);
    return rc;
}
