/* Byte-pair encoding by a list of merges: the first merge of the list that applies anywhere is made, leftmost
 * first, until none applies (Hugging Face tokenizers, models/bpe). A short word is searched from end to end
 * for every merge; a long one keeps its possible merges in a heap, so that n bytes cost n log n whatever they
 * are. */
#include "base/size.h"
#include "text/byte_level.h"
#include "text/hash.h"
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <stdlib.h>
#include <string.h>

enum { SHORT_WORD = 40 }; /* symbols */
#define NO_MERGE UINT32_MAX

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static struct merge_slot *slot_of(const struct tokenizer *t, uint64_t pair)
{
    size_t i = (size_t)hash_mix(t->merge_key, pair) & t->merge_mask;
    while (t->merge[i].pair != pair && t->merge[i].pair != UINT64_MAX)
        i = (i + 1) & t->merge_mask;
    return &t->merge[i];
}

/* The rank of the merge of two ids and what it makes, or NO_MERGE. */
static uint32_t merge_of(const struct tokenizer *t, int32_t left, int32_t right, int32_t *made)
{
    const struct merge_slot *m = slot_of(t, pair_of(left, right));
    if (m->pair == UINT64_MAX)
        return NO_MERGE;
    *made = m->id;
    return m->rank;
}

/* ---- building ---- */

static int32_t find_string(const struct tokenizer *t, const struct spec_string *s)
{
    int32_t id = vocab_find(&t->vocab, s->bytes, s->len);
    return id >= 0 && !t->spec.piece[id].outside ? id : -1;
}

static int out_of_vocabulary(size_t rank, const char *s, size_t n, struct err *e)
{
    return err_set(e, ERR_FORMAT, "merge %zu: \"%.*s\" is not in the vocabulary", rank,
                   (int)(n > 60 ? 60 : n), s);
}

static int add_merge(struct tokenizer *t, struct buf *joined, size_t rank, struct err *e)
{
    const struct spec_merge *m = &t->spec.merge[rank];
    const struct spec_string *prefix = &t->spec.continuing_prefix;
    int32_t left = find_string(t, &m->left), right = find_string(t, &m->right);
    if (left < 0)
        return out_of_vocabulary(rank, m->left.bytes, m->left.len, e);
    if (right < 0 || m->right.len < prefix->len)
        return out_of_vocabulary(rank, m->right.bytes, m->right.len, e);
    buf_reset(joined);
    buf_add(joined, m->left.bytes, m->left.len);
    buf_add(joined, m->right.bytes + prefix->len, m->right.len - prefix->len);
    int rc = buf_check(joined, "merge", e);
    if (rc)
        return rc;
    int32_t made = find_string(t, &(struct spec_string){joined->data, joined->len});
    if (made < 0)
        return out_of_vocabulary(rank, joined->data, joined->len, e);
    if (t->spec.piece[made].kind != TOKEN_CONTROL) /* which plain text must not give */
        *slot_of(t, pair_of(left, right)) = (struct merge_slot){pair_of(left, right), (uint32_t)rank, made};
    return 0;
}

static int build_merges(struct tokenizer *t, struct err *e)
{
    size_t slots = 16;
    while (slots < 2 * t->spec.merges)
        slots *= 2;
    t->merge = malloc(slots * sizeof *t->merge);
    if (!t->merge)
        return err_set(e, ERR_MEMORY, "out of memory for %zu merges", t->spec.merges);
    memset(t->merge, 0xFF, slots * sizeof *t->merge);
    t->merge_mask = slots - 1;
    t->merge_key = hash_key();
    struct buf joined = {0};
    int rc = 0;
    for (size_t i = 0; i < t->spec.merges && !rc; i++)
        rc = add_merge(t, &joined, i, e);
    buf_deinit(&joined);
    return rc;
}

/* When the last pre-tokenizer step only writes bytes as characters, and every byte has a token, the step is
 * skipped and bytes are looked up by themselves. */
static void find_bytes(struct tokenizer *t)
{
    const struct tokenizer_spec *s = &t->spec;
    const struct spec_pretokenizer *last = s->pretokenizers ? &s->pretokenizer[s->pretokenizers - 1] : NULL;
    if (!last || last->kind != PRETOKENIZER_BYTE_LEVEL || s->continuing_prefix.len || s->word_suffix.len)
        return;
    t->raw_bytes = true;
    for (int b = 0; b < 256; b++) {
        char c = (char)b;
        struct buf piece = {0};
        byte_level_put(&piece, &c, 1);
        t->byte_id[b] = piece.failed ? -1 : find_string(t, &(struct spec_string){piece.data, piece.len});
        t->raw_bytes &= t->byte_id[b] >= 0;
        buf_deinit(&piece);
    }
}

int bpe_init(struct tokenizer *t, struct err *e)
{
    find_bytes(t);
    return build_merges(t, e);
}

/* ---- encoding ---- */

/* The word's characters as ids in s->symbol. */
static int add_symbol(struct scratch *s, size_t *n, int32_t id, struct err *e)
{
    int rc = scratch_symbols(s, *n + 1, e);
    if (!rc)
        s->symbol[(*n)++].id = id;
    return rc;
}

/* What stands for a character at the given place of the word in the vocabulary. */
static int character_piece(const struct tokenizer *t, struct buf *piece, const char *c, size_t n, bool first,
                           bool last, struct err *e)
{
    buf_reset(piece);
    if (!first)
        buf_add(piece, t->spec.continuing_prefix.bytes, t->spec.continuing_prefix.len);
    buf_add(piece, c, n);
    if (last)
        buf_add(piece, t->spec.word_suffix.bytes, t->spec.word_suffix.len);
    return buf_check(piece, "piece", e);
}

static bool has_bytes(const struct tokenizer *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (t->byte_piece[(unsigned char)s[i]] < 0)
            return false;
    return true;
}

struct unknown {
    bool pending; /* an unknown token that may still grow */
};

/* A character without a token: its bytes if they all have one, else the unknown token, else nothing. */
static int add_unknown(const struct tokenizer *t, struct scratch *s, const char *piece, size_t piece_n,
                       struct unknown *u, size_t *n, struct err *e)
{
    int rc = 0;
    if (t->spec.byte_fallback && has_bytes(t, piece, piece_n)) {
        for (size_t i = 0; i < piece_n && !rc; i++)
            rc = add_symbol(s, n, t->byte_piece[(unsigned char)piece[i]], e);
        return rc;
    }
    if (t->spec.unk < 0)
        return 0;
    if (u->pending && !t->spec.fuse_unk)
        rc = add_symbol(s, n, t->spec.unk, e);
    u->pending = true;
    return rc;
}

static int characters(const struct tokenizer *t, struct scratch *s, const char *w, size_t len, size_t *n,
                      struct err *e)
{
    struct unknown u = {false};
    bool affixes = t->spec.continuing_prefix.len || t->spec.word_suffix.len;
    int rc = 0;
    for (size_t i = 0, next; i < len && !rc; i = next) {
        size_t width = unicode_width((unsigned char)w[i]);
        next = width > len - i ? len : i + width;
        const char *piece = w + i;
        size_t piece_n = next - i;
        if (affixes) {
            rc = character_piece(t, &s->word, w + i, next - i, i == 0, next == len, e);
            piece = s->word.data;
            piece_n = s->word.len;
        }
        int32_t id = rc ? -1 : vocab_find(&t->vocab, piece, piece_n);
        if (rc)
            break;
        if (id < 0 || t->spec.piece[id].outside) {
            rc = add_unknown(t, s, piece, piece_n, &u, n, e);
            continue;
        }
        if (u.pending)
            rc = add_symbol(s, n, t->spec.unk, e);
        u.pending = false;
        if (!rc)
            rc = add_symbol(s, n, id, e);
    }
    return !rc && u.pending ? add_symbol(s, n, t->spec.unk, e) : rc;
}

static int bytes(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, struct err *e)
{
    int rc = scratch_symbols(s, n, e);
    for (size_t i = 0; i < n && !rc; i++)
        s->symbol[i].id = t->byte_id[(unsigned char)w[i]];
    return rc;
}

static size_t merge_short(const struct tokenizer *t, int32_t *id, size_t n)
{
    uint32_t rank[SHORT_WORD];
    int32_t made[SHORT_WORD];
    for (size_t i = 0; i + 1 < n; i++)
        rank[i] = merge_of(t, id[i], id[i + 1], &made[i]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == NO_MERGE)
            break;
        id[best] = made[best];
        n--;
        memmove(id + best + 1, id + best + 2, (n - best - 1) * sizeof *id);
        if (best + 1 < n) {
            memmove(rank + best + 1, rank + best + 2, (n - best - 2) * sizeof *rank);
            memmove(made + best + 1, made + best + 2, (n - best - 2) * sizeof *made);
            rank[best] = merge_of(t, id[best], id[best + 1], &made[best]);
        }
        if (best > 0)
            rank[best - 1] = merge_of(t, id[best - 1], id[best], &made[best - 1]);
    }
    return n;
}

static int encode_short(const struct tokenizer *t, struct scratch *s, size_t n, struct tokens *out,
                        struct err *e)
{
    int32_t id[SHORT_WORD];
    int rc = 0;
    for (size_t i = 0; i < n; i++)
        id[i] = s->symbol[i].id;
    n = merge_short(t, id, n);
    for (size_t i = 0; i < n && !rc; i++)
        rc = tokens_add(out, id[i], e);
    return rc;
}

static int push_pair(const struct tokenizer *t, struct scratch *s, int32_t left, int32_t right, struct err *e)
{
    int32_t made;
    if (left < 0 || right < 0)
        return 0;
    uint32_t rank = merge_of(t, s->symbol[left].id, s->symbol[right].id, &made);
    return rank == NO_MERGE
               ? 0
               : heap_push(&s->heap, (struct heap_item){rank, (uint32_t)left, (uint32_t)right, made}, e);
}

/* An item of the heap is stale when its symbols have gone or changed since. */
static bool still_true(const struct tokenizer *t, const struct scratch *s, const struct heap_item *x)
{
    const struct symbol *a = &s->symbol[x->at];
    int32_t made;
    return a->len > 0 && a->next == (int32_t)x->right &&
           merge_of(t, a->id, s->symbol[a->next].id, &made) != NO_MERGE && made == x->made;
}

static int merge_long(const struct tokenizer *t, struct scratch *s, size_t n, struct err *e)
{
    int rc = 0;
    s->heap.n = 0;
    for (size_t i = 0; i < n; i++) {
        s->symbol[i].prev = (int32_t)i - 1;
        s->symbol[i].next = i + 1 < n ? (int32_t)i + 1 : -1;
        s->symbol[i].len = 1;
    }
    for (size_t i = 0; i + 1 < n && !rc; i++)
        rc = push_pair(t, s, (int32_t)i, (int32_t)i + 1, e);
    while (s->heap.n > 0 && !rc) {
        struct heap_item x = heap_pop(&s->heap);
        if (!still_true(t, s, &x))
            continue;
        struct symbol *a = &s->symbol[x.at], *b = &s->symbol[x.right];
        a->id = x.made;
        a->next = b->next;
        b->len = 0;
        if (a->next >= 0)
            s->symbol[a->next].prev = (int32_t)x.at;
        rc = push_pair(t, s, a->prev, (int32_t)x.at, e);
        if (!rc)
            rc = push_pair(t, s, (int32_t)x.at, a->next, e);
    }
    return rc;
}

static int encode_long(const struct tokenizer *t, struct scratch *s, size_t n, struct tokens *out,
                       struct err *e)
{
    int rc = merge_long(t, s, n, e);
    for (int32_t i = 0; i >= 0 && !rc; i = s->symbol[i].next)
        rc = tokens_add(out, s->symbol[i].id, e);
    return rc;
}

/* ignore_merges: the word as the vocabulary writes it. */
static int32_t whole_word(const struct tokenizer *t, struct scratch *s, const char *w, size_t n)
{
    if (n > t->vocab.longest)
        return -1;
    if (!t->raw_bytes)
        return model_find(t, w, n);
    buf_reset(&s->word);
    byte_level_put(&s->word, w, n);
    return s->word.failed ? -1 : model_find(t, s->word.data, s->word.len);
}

int bpe_encode(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, struct tokens *out,
               struct err *e)
{
    if (t->spec.ignore_merges) {
        int32_t id = whole_word(t, s, w, n);
        if (id >= 0)
            return tokens_add(out, id, e);
    }
    size_t symbols = 0;
    int rc;
    if (t->raw_bytes) {
        rc = bytes(t, s, w, n, e);
        symbols = n;
    } else {
        rc = characters(t, s, w, n, &symbols, e);
    }
    if (rc || symbols == 0)
        return rc;
    return symbols <= SHORT_WORD ? encode_short(t, s, symbols, out, e) : encode_long(t, s, symbols, out, e);
}
