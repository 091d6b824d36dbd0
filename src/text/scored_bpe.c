/* SentencePiece's byte-pair encoding (bpe_model.cc): among all neighbours whose concatenation is a piece, the
 * best scored are joined first, the leftmost of equals; what is unknown in the end becomes bytes or the
 * unknown token. */
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

/* ---- building ---- */

struct scored {
    double score;
    int32_t id;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    return x->score > y->score ? -1 : x->score < y->score;
}

/* Scores as ranks, so that comparing merges is comparing whole numbers. */
static int rank_pieces(struct tokenizer *t, struct err *e)
{
    size_t n = t->spec.pieces;
    struct scored *order = malloc((n + 1) * sizeof *order);
    t->rank = calloc(n + 1, sizeof *t->rank);
    if (!order || !t->rank) {
        free(order);
        return err_set(e, ERR_MEMORY, "out of memory for %zu scores", n);
    }
    for (size_t i = 0; i < n; i++)
        order[i] = (struct scored){t->spec.piece[i].score, (int32_t)i};
    qsort(order, n, sizeof *order, by_score);
    uint32_t rank = 0;
    for (size_t i = 0; i < n; i++) {
        rank += i > 0 && order[i].score < order[i - 1].score;
        t->rank[order[i].id] = rank;
    }
    free(order);
    return 0;
}

static int list_unused(struct tokenizer *t, struct err *e)
{
    for (size_t i = 0; i < t->spec.pieces; i++)
        t->unused_count += t->spec.piece[i].kind == TOKEN_UNUSED && t->spec.piece[i].bytes;
    t->unused = calloc(t->unused_count + 1, sizeof *t->unused);
    if (!t->unused)
        return err_set(e, ERR_MEMORY, "out of memory for %zu unused pieces", t->unused_count);
    for (size_t i = 0, k = 0; i < t->spec.pieces; i++)
        if (t->spec.piece[i].kind == TOKEN_UNUSED && t->spec.piece[i].bytes)
            t->unused[k++] = (int32_t)i;
    return 0;
}

int scored_init(struct tokenizer *t, struct err *e)
{
    int rc = rank_pieces(t, e);
    return rc ? rc : list_unused(t, e);
}

/* ---- encoding ---- */

static uint32_t *unused_slot(const struct tokenizer *t, struct scratch *s, int32_t id)
{
    size_t lo = 0, hi = t->unused_count;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (t->unused[mid] < id)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < t->unused_count && t->unused[lo] == id ? &s->unused_left[lo] : NULL;
}

static int push_pair(const struct tokenizer *t, struct scratch *s, const char *w, int32_t left, int32_t right,
                     struct err *e)
{
    if (left < 0 || right < 0 || s->symbol[left].frozen || s->symbol[right].frozen)
        return 0;
    const struct symbol *a = &s->symbol[left], *b = &s->symbol[right];
    size_t n = (size_t)a->len + b->len;
    int32_t id = model_find(t, w + a->begin, n);
    if (id < 0)
        return 0;
    if (t->spec.piece[id].kind == TOKEN_UNUSED) {
        uint32_t *slot = unused_slot(t, s, id);
        if (slot)
            *slot = a->len; /* the last seen counts, as in the original's rev_merge */
    }
    return heap_push(&s->heap, (struct heap_item){t->rank[id], (uint32_t)left, (uint32_t)right, (int32_t)n},
                     e);
}

/* One symbol for each character, or for each piece that was added whole. */
static int split(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, size_t *count,
                 struct err *e)
{
    int rc = 0;
    *count = 0;
    for (size_t i = 0; i < n && !rc;) {
        size_t width = unicode_width((unsigned char)w[i]), whole;
        bool frozen = trie_longest(&t->user, w + i, n - i, &whole) >= 0;
        width = frozen ? whole : width < n - i ? width : n - i;
        rc = scratch_symbols(s, *count + 1, e);
        if (rc)
            break;
        s->symbol[*count] = (struct symbol){
            (int32_t)*count - 1, (int32_t)*count + 1, {.begin = (uint32_t)i}, (uint32_t)width, frozen};
        i += width;
        ++*count;
    }
    if (*count)
        s->symbol[*count - 1].next = -1;
    return rc;
}

static int merge(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, struct err *e)
{
    int rc = 0;
    s->heap.n = 0;
    for (size_t i = 0; i + 1 < n && !rc; i++)
        rc = push_pair(t, s, w, (int32_t)i, (int32_t)i + 1, e);
    while (s->heap.n > 0 && !rc) {
        struct heap_item x = heap_pop(&s->heap);
        struct symbol *a = &s->symbol[x.at], *b = &s->symbol[x.right];
        if (a->len == 0 || b->len == 0 || a->len + b->len != (uint32_t)x.made)
            continue;
        a->len += b->len;
        a->next = b->next;
        b->len = 0;
        if (a->next >= 0)
            s->symbol[a->next].prev = (int32_t)x.at;
        rc = push_pair(t, s, w, a->prev, (int32_t)x.at, e);
        if (!rc)
            rc = push_pair(t, s, w, (int32_t)x.at, a->next, e);
    }
    return rc;
}

static int put_unknown(const struct tokenizer *t, struct scratch *s, const char *w, size_t n,
                       struct tokens *out, struct err *e)
{
    int rc = 0;
    bool fused = s->last_unknown;
    s->last_unknown = true;
    if (!t->spec.byte_fallback)
        return t->spec.unk < 0 || (fused && t->spec.fuse_unk) ? 0 : tokens_add(out, t->spec.unk, e);
    for (size_t i = 0; i < n && !rc; i++) {
        int32_t id = t->byte_piece[(unsigned char)w[i]];
        if (id >= 0 || t->spec.unk >= 0)
            rc = tokens_add(out, id >= 0 ? id : t->spec.unk, e);
    }
    return rc;
}

/* A piece that is not to be used is given as the two halves it was made of. The depth is bounded by the file:
 * each half is a shorter piece of it. */
static int put(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, struct tokens *out,
               struct err *e)
{
    int32_t id = model_find(t, w, n);
    if (id < 0)
        return put_unknown(t, s, w, n, out, e);
    uint32_t *slot = t->spec.piece[id].kind == TOKEN_UNUSED ? unused_slot(t, s, id) : NULL;
    if (slot && *slot > 0 && *slot < n) {
        uint32_t left = *slot;
        int rc = put(t, s, w, left, out, e);
        return rc ? rc : put(t, s, w + left, n - left, out, e);
    }
    s->last_unknown = false;
    return tokens_add(out, id, e);
}

int scored_encode(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, struct tokens *out,
                  struct err *e)
{
    size_t count;
    int rc = 0;
    if (t->unused_count && !s->unused_left) {
        s->unused_left = malloc(t->unused_count * sizeof *s->unused_left);
        if (!s->unused_left)
            return err_set(e, ERR_MEMORY, "out of memory encoding %zu bytes", n);
    }
    if (t->unused_count)
        memset(s->unused_left, 0, t->unused_count * sizeof *s->unused_left);
    rc = split(t, s, w, n, &count, e);
    if (!rc)
        rc = merge(t, s, w, count, e);
    for (int32_t i = 0; i >= 0 && !rc; i = s->symbol[i].next)
        rc = put(t, s, w + s->symbol[i].begin, s->symbol[i].len, out, e);
    return rc;
}
