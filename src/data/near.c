#include "data/near.h"

#include "text/utf8.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Bounds computed in floating point are loosened by this much: it only lets a candidate through to the exact
 * count, whereas a bound rounded the wrong way would lose a pair. */
#define SLACK 1e-6

/* ---- folding ---- */

static size_t fold_units(uint32_t *code, const struct utf8_unit *u, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (!utf8_is_space(u[i].code))
            code[k++] = u[i].code;
        else if (k > 0 && code[k - 1] != ' ')
            code[k++] = ' ';
    }
    return k > 0 && code[k - 1] == ' ' ? k - 1 : k;
}

int near_fold(struct near_text *out, const char *text, struct arena *a, struct err *e)
{
    struct arena scratch = {0};
    struct utf8_unit *u;
    size_t n;
    int rc = utf8_nfc(text, strlen(text), &scratch, &u, &n, e);
    uint32_t *code = rc ? NULL : arena_alloc(a, n + 1, sizeof *code);
    char *s = rc ? NULL : arena_alloc(a, 4 * n + 1, 1);
    if (!rc && (!code || !s))
        rc = err_set(e, ERR_MEMORY, "out of memory for a text of %zu characters", n);
    if (!rc) {
        *out = (struct near_text){.s = s, .code = code, .n = fold_units(code, u, n)};
        for (size_t i = 0; i < out->n; i++)
            out->len += utf8_put(s + out->len, code[i]);
    }
    arena_deinit(&scratch);
    return rc;
}

/* ---- equal bytes ---- */

struct near_key near_key(const char *s, size_t len, uint32_t row)
{
    uint64_t h = 0xCBF29CE484222325u; /* FNV-1a; only speed rests on it */
    for (size_t i = 0; i < len; i++)
        h = (h ^ (unsigned char)s[i]) * 0x100000001B3u;
    return (struct near_key){h, s, len, row};
}

static int compare_bytes(const struct near_key *a, const struct near_key *b)
{
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(a->s, b->s, a->len);
}

static int compare_keys(const void *pa, const void *pb)
{
    const struct near_key *a = pa, *b = pb;
    int c = compare_bytes(a, b);
    return c ? c : (a->row > b->row) - (a->row < b->row);
}

void near_key_sort(struct near_key *key, size_t n)
{
    if (n > 1)
        qsort(key, n, sizeof *key, compare_keys);
}

size_t near_key_run(const struct near_key *key, size_t n, size_t i)
{
    size_t end = i + 1;
    while (end < n && compare_bytes(&key[i], &key[end]) == 0)
        end++;
    return end;
}

/* ---- trigram sets ---- */

struct occurrence {
    uint64_t trigram;
    uint32_t set;
};

struct run { /* of the occurrences of one trigram */
    size_t begin, n;
};

struct posting {
    uint32_t set, position;
};

struct list { /* of the postings of one trigram; those before begin are too small for what comes */
    size_t begin, end;
};

struct overlap { /* of the current set with an earlier one */
    uint32_t shared;
    uint32_t x, y; /* just after the last trigram shared */
};

/* Equal texts are searched for once: set k is the text of keys member[k] .. member[k + 1]. */
struct search {
    struct arena arena;
    double t;
    struct near_key *key;
    size_t *member;
    size_t n_sets, n_trigrams;
    size_t *begin;   /* [n_sets + 1] of set k in rank */
    uint32_t *rank;  /* the trigrams of each set, rarest first, as their rank in rarity */
    uint32_t *order; /* sets by size */
    struct list *list;
    struct posting *posting;
    struct overlap *overlap;
    uint32_t *candidate;
    near_found *found;
    void *context;
};

#define PRUNED UINT32_MAX

static uint32_t set_size(const struct search *s, uint32_t k)
{
    return (uint32_t)(s->begin[k + 1] - s->begin[k]);
}

static void *take(struct search *s, size_t n, size_t size, int *rc, struct err *e)
{
    void *p = *rc ? NULL : arena_alloc(&s->arena, n ? n : 1, size);
    if (!*rc && !p)
        *rc = err_set(e, ERR_MEMORY, "out of memory comparing %zu texts", s->n_sets);
    return p;
}

static int compare_occurrences(const void *pa, const void *pb)
{
    const struct occurrence *a = pa, *b = pb;
    if (a->trigram != b->trigram)
        return a->trigram < b->trigram ? -1 : 1;
    return (a->set > b->set) - (a->set < b->set);
}

static int compare_runs(const void *pa, const void *pb)
{
    const struct run *a = pa, *b = pb;
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    return (a->begin > b->begin) - (a->begin < b->begin);
}

static size_t add_trigrams(struct occurrence *out, const struct near_text *t, uint32_t set)
{
    uint64_t window = 0;
    for (size_t i = 0; i < t->n; i++) {
        window = (window << 21 | t->code[i]) & (((uint64_t)1 << 63) - 1);
        if (i >= 2)
            out[i - 2] = (struct occurrence){window, set};
    }
    if (t->n >= 3)
        return t->n - 2;
    out[0] =
        (struct occurrence){window | (uint64_t)1 << 63, set}; /* a short text is no trigram of a longer one */
    return 1;
}

/* A trigram counts once in a text. */
static size_t unique_occurrences(struct occurrence *o, size_t n)
{
    qsort(o, n, sizeof *o, compare_occurrences);
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (k == 0 || compare_occurrences(&o[k - 1], &o[i]) != 0)
            o[k++] = o[i];
    return k;
}

static size_t find_runs(struct run *run, const struct occurrence *o, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || o[i].trigram != o[i - 1].trigram)
            run[k++] = (struct run){i, 0};
        run[k - 1].n++;
    }
    return k;
}

/* Handing the trigrams out by rank leaves every set sorted by it. */
static void fill_sets(struct search *s, const struct run *run, const struct occurrence *o, size_t n,
                      size_t *fill)
{
    for (size_t i = 0; i < n; i++)
        s->begin[o[i].set + 1]++;
    for (size_t k = 0; k < s->n_sets; k++)
        s->begin[k + 1] += s->begin[k];
    memcpy(fill, s->begin, s->n_sets * sizeof *fill);
    for (size_t r = 0; r < s->n_trigrams; r++)
        for (size_t i = run[r].begin; i < run[r].begin + run[r].n; i++)
            s->rank[fill[o[i].set]++] = (uint32_t)r;
}

static int build_sets(struct search *s, const struct near_text *text, struct err *e)
{
    size_t room = 0, n = 0;
    for (size_t k = 0; k < s->n_sets; k++)
        room += text[s->key[s->member[k]].row].n + 1;
    if (room >= UINT32_MAX)
        return err_set(e, ERR_LIMIT, "texts of %zu characters together: at most %u", room, UINT32_MAX - 1);
    int rc = 0;
    struct occurrence *o = take(s, room, sizeof *o, &rc, e);
    struct run *run = take(s, room, sizeof *run, &rc, e);
    size_t *fill = take(s, s->n_sets, sizeof *fill, &rc, e);
    s->begin = take(s, s->n_sets + 1, sizeof *s->begin, &rc, e);
    s->rank = take(s, room, sizeof *s->rank, &rc, e);
    if (rc)
        return rc;
    for (size_t k = 0; k < s->n_sets; k++)
        n += add_trigrams(o + n, &text[s->key[s->member[k]].row], (uint32_t)k);
    n = unique_occurrences(o, n);
    s->n_trigrams = find_runs(run, o, n);
    qsort(run, s->n_trigrams, sizeof *run, compare_runs);
    fill_sets(s, run, o, n, fill);
    return 0;
}

/* ---- search ---- */

/* The least whole number not below v, and at least 1: sets that share nothing are no pair. */
static size_t at_least(double v)
{
    double c = ceil(v - SLACK);
    return c < 1 ? 1 : (size_t)c;
}

/* Of a set of n, how many leading trigrams hold one shared with any partner; `index` when the partner is not
 * smaller than this set. */
static size_t prefix(const struct search *s, size_t n, bool index)
{
    size_t need = at_least((index ? 2 * s->t / (1 + s->t) : s->t) * (double)n);
    return need > n ? 0 : n - need + 1;
}

/* Counting sort by size. */
static int sort_sets(struct search *s, struct err *e)
{
    size_t largest = 0;
    for (uint32_t k = 0; k < s->n_sets; k++)
        largest = set_size(s, k) > largest ? set_size(s, k) : largest;
    int rc = 0;
    size_t *at = take(s, largest + 2, sizeof *at, &rc, e);
    s->order = take(s, s->n_sets, sizeof *s->order, &rc, e);
    if (rc)
        return rc;
    for (uint32_t k = 0; k < s->n_sets; k++)
        at[set_size(s, k) + 1]++;
    for (size_t i = 0; i <= largest; i++)
        at[i + 1] += at[i];
    for (uint32_t k = 0; k < s->n_sets; k++)
        s->order[at[set_size(s, k)]++] = k;
    return 0;
}

/* Room for the lists: how many sets will be indexed under each trigram is known beforehand. */
static int make_lists(struct search *s, struct err *e)
{
    int rc = 0;
    size_t total = 0;
    s->list = take(s, s->n_trigrams, sizeof *s->list, &rc, e);
    s->overlap = take(s, s->n_sets, sizeof *s->overlap, &rc, e);
    s->candidate = take(s, s->n_sets, sizeof *s->candidate, &rc, e);
    for (uint32_t k = 0; k < s->n_sets && !rc; k++) {
        size_t p = prefix(s, set_size(s, k), true);
        for (size_t i = 0; i < p; i++)
            s->list[s->rank[s->begin[k] + i]].end++;
        total += p;
    }
    s->posting = take(s, total, sizeof *s->posting, &rc, e);
    for (size_t r = 0, at = 0; r < s->n_trigrams && !rc; r++) {
        size_t n = s->list[r].end;
        s->list[r] = (struct list){at, at};
        at += n;
    }
    return rc;
}

static void index_set(struct search *s, uint32_t x)
{
    size_t p = prefix(s, set_size(s, x), true);
    for (uint32_t i = 0; i < p; i++)
        s->posting[s->list[s->rank[s->begin[x] + i]].end++] = (struct posting){x, i};
}

/* Trigrams two sets must share to be a pair: |x & y| / (|x| + |y| - |x & y|) >= t. */
static size_t needed(const struct search *s, uint32_t nx, uint32_t ny)
{
    return at_least(s->t / (1 + s->t) * ((double)nx + ny));
}

/* Position i of x holds the list's trigram. Everything rarer that x shares with y has been met before (in
 * both it stands further to the front), so `shared` is exact up to here and what can follow is bounded. */
static size_t scan_list(struct search *s, struct list *l, uint32_t nx, uint32_t i, size_t n)
{
    while (l->begin < l->end && set_size(s, s->posting[l->begin].set) + SLACK < s->t * nx)
        l->begin++;
    for (size_t k = l->begin; k < l->end; k++) {
        uint32_t y = s->posting[k].set, j = s->posting[k].position, ny = set_size(s, y);
        struct overlap *o = &s->overlap[y];
        if (o->shared == PRUNED)
            continue;
        if (o->shared == 0)
            s->candidate[n++] = y;
        uint32_t follow = nx - i < ny - j ? nx - i : ny - j; /* this one included */
        if ((size_t)o->shared + follow >= needed(s, nx, ny))
            *o = (struct overlap){o->shared + 1, i + 1, j + 1};
        else
            o->shared = PRUNED;
    }
    return n;
}

/* Completes the count; less than `need` as soon as it cannot be reached. */
static size_t count_shared(const struct search *s, uint32_t x, uint32_t y, size_t need)
{
    struct overlap o = s->overlap[y];
    const uint32_t *a = s->rank + s->begin[x], *b = s->rank + s->begin[y];
    size_t i = o.x, j = o.y, nx = set_size(s, x), ny = set_size(s, y), shared = o.shared;
    while (i < nx && j < ny) {
        size_t left = nx - i < ny - j ? nx - i : ny - j;
        if (shared + left < need)
            return 0;
        uint32_t u = a[i], v = b[j];
        shared += u == v;
        i += u <= v;
        j += v <= u;
    }
    return shared;
}

static void report(const struct search *s, uint32_t x, uint32_t y, double similarity)
{
    for (size_t i = s->member[x]; i < s->member[x + 1]; i++)
        for (size_t j = x == y ? i + 1 : s->member[y]; j < s->member[y + 1]; j++) {
            uint32_t a = s->key[i].row, b = s->key[j].row;
            s->found(s->context, a < b ? a : b, a < b ? b : a, similarity);
        }
}

static void probe(struct search *s, uint32_t x)
{
    uint32_t nx = set_size(s, x);
    size_t n = 0, p = prefix(s, nx, false);
    for (uint32_t i = 0; i < p; i++)
        n = scan_list(s, &s->list[s->rank[s->begin[x] + i]], nx, i, n);
    for (size_t k = 0; k < n; k++) {
        uint32_t y = s->candidate[k], ny = set_size(s, y);
        size_t shared = s->overlap[y].shared == PRUNED ? 0 : count_shared(s, x, y, needed(s, nx, ny));
        double similarity = (double)shared / (double)((size_t)nx + ny - shared);
        if (shared > 0 && similarity >= s->t)
            report(s, x, y, similarity);
        s->overlap[y] = (struct overlap){0};
    }
}

static int find_equal(struct search *s, const struct near_text *text, size_t n, struct err *e)
{
    int rc = 0;
    s->key = take(s, n, sizeof *s->key, &rc, e);
    s->member = take(s, n + 1, sizeof *s->member, &rc, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++)
        s->key[i] = near_key(text[i].s, text[i].len, (uint32_t)i);
    near_key_sort(s->key, n);
    for (size_t i = 0; i < n; i = s->member[s->n_sets])
        s->member[++s->n_sets] = near_key_run(s->key, n, i);
    return 0;
}

int near_pairs(const struct near_text *text, size_t n, double t, near_found *found, void *context,
               struct err *e)
{
    if (!(t > 0 && t <= 1))
        return err_set(e, ERR_USAGE, "similarity threshold %g: want above 0, at most 1", t);
    if (n >= UINT32_MAX)
        return err_set(e, ERR_LIMIT, "%zu texts: at most %u", n, UINT32_MAX - 1);
    struct search s = {.t = t, .found = found, .context = context};
    int rc = find_equal(&s, text, n, e);
    if (!rc)
        rc = build_sets(&s, text, e);
    if (!rc)
        rc = sort_sets(&s, e);
    if (!rc)
        rc = make_lists(&s, e);
    for (size_t k = 0; k < s.n_sets && !rc; k++) {
        uint32_t x = s.order[k];
        report(&s, x, x, 1);
        probe(&s, x);
        index_set(&s, x);
    }
    arena_deinit(&s.arena);
    return rc;
}
