#include "text/tokenizer.h"

#include "base/size.h"
#include "text/tokenizer_int.h"
#include "text/unicode.h"
#include "text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX = 1 << 30 };

int tokens_add(struct tokens *t, int32_t id, struct err *e)
{
    if (t->n == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64, bytes;
        int32_t *ids = size_mul(capacity, sizeof *ids, &bytes) ? realloc(t->id, bytes) : NULL;
        if (!ids)
            return err_set(e, ERR_MEMORY, "out of memory for %zu tokens", t->n);
        t->id = ids;
        t->capacity = capacity;
    }
    t->id[t->n++] = id;
    return 0;
}

void tokens_deinit(struct tokens *t)
{
    free(t->id);
    *t = (struct tokens){0};
}

int scratch_symbols(struct scratch *s, size_t n, struct err *e)
{
    size_t capacity = s->symbols_capacity ? s->symbols_capacity : 256, bytes;
    if (n <= s->symbols_capacity)
        return 0;
    while (capacity < n)
        capacity *= 2;
    struct symbol *p = size_mul(capacity, sizeof *p, &bytes) ? realloc(s->symbol, bytes) : NULL;
    if (!p)
        return err_set(e, ERR_MEMORY, "out of memory for a word of %zu characters", n);
    s->symbol = p;
    s->symbols_capacity = capacity;
    return 0;
}

/* What steps may make of n bytes: no step of a real tokenizer makes a text more than a few times longer, but a file can
 * hold one that doubles it sixty times. */
static size_t grown(size_t n)
{
    return 64 * n + 65536;
}

static int scratch_init(struct scratch *s, size_t n, struct err *e)
{
    *s = (struct scratch){.match = regex_match_new()};
    for (int i = 0; i < 2; i++)
        s->normal[i].limit = s->spans[i].text.limit = grown(n);
    return s->match ? 0 : err_set(e, ERR_MEMORY, "out of memory encoding a text");
}

static void scratch_deinit(struct scratch *s)
{
    for (int i = 0; i < 2; i++) {
        buf_deinit(&s->normal[i]);
        buf_deinit(&s->spans[i].text);
        free(s->spans[i].at);
    }
    buf_deinit(&s->word);
    regex_match_free(s->match);
    free(s->symbol);
    heap_deinit(&s->heap);
    free(s->path);
    free(s->unused_left);
}

int32_t model_find(const struct tokenizer *t, const char *s, size_t n)
{
    int32_t id = vocab_find(&t->vocab, s, n);
    if (id < 0 || t->spec.piece[id].outside)
        return -1;
    enum token_kind k = t->spec.piece[id].kind;
    return k == TOKEN_NORMAL || k == TOKEN_USER || k == TOKEN_UNUSED ? id : -1;
}

/* ---- encoding ---- */

static int encode_word(const struct tokenizer *t, struct scratch *s, const char *w, size_t n,
                       struct tokens *out, struct err *e)
{
    switch (t->spec.model) {
    case MODEL_BPE:
        return bpe_encode(t, s, w, n, out, e);
    case MODEL_SCORED_BPE:
        return scored_encode(t, s, w, n, out, e);
    case MODEL_UNIGRAM:
        return unigram_encode(t, s, w, n, out, e);
    case MODEL_WORDPIECE:
        return wordpiece_encode(t, s, w, n, out, e);
    }
    return 0;
}

/* Where no piece holds a space (U+2581) behind anything but spaces, nothing is ever merged across such a
 * place, and a text that is one long word for the model can be encoded in parts: the same ids, in cache. */
static size_t part(const struct tokenizer *t, const char *w, size_t n)
{
    if (!t->cut_at_space)
        return n;
    for (size_t i = METASPACE_LEN; i < n; i += METASPACE_LEN) {
        const char *hit = memmem(w + i, n - i, METASPACE, METASPACE_LEN);
        if (!hit)
            return n;
        i = (size_t)(hit - w);
        if (memcmp(hit - METASPACE_LEN, METASPACE, METASPACE_LEN) != 0)
            return i;
    }
    return n;
}

static int encode_long_word(const struct tokenizer *t, struct scratch *s, const char *w, size_t n,
                            struct tokens *out, struct err *e)
{
    int rc = 0;
    s->last_unknown = false;
    for (size_t i = 0, k; i < n && !rc; i += k) {
        k = part(t, w + i, n - i);
        rc = encode_word(t, s, w + i, k, out, e);
    }
    return rc;
}

static int encode_plain(const struct tokenizer *t, struct scratch *s, const char *text, size_t n,
                        bool at_start, struct tokens *out, struct err *e)
{
    int which, rc = pretokenize(t, s, text, n, at_start, &which, e);
    for (size_t i = 0; i < s->spans[which].n && !rc; i++) {
        struct span w = s->spans[which].at[i];
        rc = encode_long_word(t, s, s->words + w.begin, w.end - w.begin, out, e);
    }
    return rc;
}

/* ---- added tokens ---- */

static bool surrounded(const struct spec_added *a, const char *s, size_t n, size_t begin, size_t end)
{
    size_t i = end;
    if (!a->single_word)
        return true;
    return (begin == 0 || !unicode_is_word(unicode_before(s, begin))) &&
           (end == n || !unicode_is_word(unicode_next(s, n, &i)));
}

static size_t blanks_before(const char *s, size_t i, size_t least)
{
    while (i > least) {
        uint32_t c = unicode_before(s, i);
        if (!unicode_is_white_space(c))
            break;
        i -= c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
    }
    return i < least ? least : i;
}

static size_t blanks_behind(const char *s, size_t n, size_t i)
{
    size_t next;
    for (; i < n; i = next) {
        next = i;
        if (!unicode_is_white_space(unicode_next(s, n, &next)))
            break;
    }
    return i;
}

/* The next added token in s[from..n): leftmost, of those the longest; one that may not stand there is passed
 * over whole. Its index in the spec, or -1. *begin is not before `done`. */
static int32_t next_added(const struct tokenizer *t, const struct trie *trie, const char *s, size_t n,
                          size_t done, bool special, size_t *begin, size_t *end)
{
    size_t k;
    for (size_t i = done; i < n;) {
        int32_t found = trie->root[(unsigned char)s[i]] ? trie_longest(trie, s + i, n - i, &k) : -1;
        if (found < 0) {
            i++;
            continue;
        }
        const struct spec_added *a = &t->spec.added[found];
        if ((a->special && !special) || !surrounded(a, s, n, i, i + k)) {
            i += k;
            continue;
        }
        *begin = a->lstrip ? blanks_before(s, i, done) : i;
        *end = a->rstrip ? blanks_behind(s, n, i + k) : i + k;
        return found;
    }
    return -1;
}

struct call {
    const struct tokenizer *t;
    struct scratch *s;
    struct tokens *out;
    bool special;
};

typedef int stretch_fn(const struct call *c, const char *s, size_t n, bool at_start, struct err *e);

/* Cuts s at its added tokens: their ids, and what is between them to `between`. */
static int partition(const struct call *c, const struct trie *trie, bool any, const char *s, size_t n,
                     bool at_start, stretch_fn *between, struct err *e)
{
    size_t done = 0, begin, end;
    int rc = 0;
    while (done < n && !rc) {
        int32_t found = any ? next_added(c->t, trie, s, n, done, c->special, &begin, &end) : -1;
        if (found < 0)
            return between(c, s + done, n - done, at_start && done == 0, e);
        if (begin > done)
            rc = between(c, s + done, begin - done, at_start && done == 0, e);
        if (!rc)
            rc = tokens_add(c->out, c->t->spec.added[found].id, e);
        done = end;
    }
    return rc;
}

static int encode_normalized(const struct call *c, const char *s, size_t n, bool at_start, struct err *e)
{
    return encode_plain(c->t, c->s, s, n, at_start, c->out, e);
}

static int encode_raw(const struct call *c, const char *s, size_t n, bool at_start, struct err *e)
{
    int rc = normalize(c->t, c->s, s, n, &s, &n, e);
    bool any = c->t->normalized.nodes > 0 && (c->special || c->t->normalized_plain);
    return rc ? rc : partition(c, &c->t->normalized, any, s, n, at_start, encode_normalized, e);
}

int tokenizer_encode(const struct tokenizer *t, const char *text, size_t n, bool special, struct tokens *out,
                     struct err *e)
{
    size_t bad, before = out->n;
    struct scratch s;
    if (n > TEXT_MAX)
        return err_set(e, ERR_LIMIT, "text of %zu bytes: at most %d", n, TEXT_MAX);
    if (!utf8_valid(text, n, &bad))
        return err_set(e, ERR_FORMAT, "text: not UTF-8 at offset %zu", bad);
    int rc = scratch_init(&s, n, e);
    if (rc)
        return rc;
    struct call c = {t, &s, out, special};
    rc = partition(&c, &t->raw, t->raw.nodes > 0 && (special || t->raw_plain), text, n, true, encode_raw, e);
    scratch_deinit(&s);
    if (rc)
        out->n = before;
    return rc;
}

/* ---- what it is ---- */

size_t tokenizer_size(const struct tokenizer *t)
{
    return t->spec.pieces;
}

const char *tokenizer_name(const struct tokenizer *t)
{
    return t->name;
}

int32_t tokenizer_bos(const struct tokenizer *t)
{
    return t->spec.bos;
}

int32_t tokenizer_eos(const struct tokenizer *t)
{
    return t->spec.eos;
}

int32_t tokenizer_unk(const struct tokenizer *t)
{
    return t->spec.unk;
}

int32_t tokenizer_pad(const struct tokenizer *t)
{
    return t->spec.pad;
}

int32_t tokenizer_find(const struct tokenizer *t, const char *piece, size_t n)
{
    return vocab_find(&t->vocab, piece, n);
}

const char *tokenizer_piece(const struct tokenizer *t, int32_t id, size_t *n)
{
    *n = t->spec.piece[id].len;
    return t->spec.piece[id].bytes ? t->spec.piece[id].bytes : "";
}

enum token_kind tokenizer_kind(const struct tokenizer *t, int32_t id)
{
    return t->spec.piece[id].kind;
}

const struct tokenizer_spec *tokenizer_spec_of(const struct tokenizer *t)
{
    return &t->spec;
}
