/* Building a tokenizer from its description: everything that encoding relies on is proved here. */
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 64, WORD_CHARS_MAX = 1 << 20 };

void spec_init(struct tokenizer_spec *s)
{
    *s = (struct tokenizer_spec){.bos = -1, .eos = -1, .unk = -1, .pad = -1, .max_word_chars = 100};
}

void spec_deinit(struct tokenizer_spec *s)
{
    arena_deinit(&s->arena);
    spec_init(s);
}

static int check_id(const struct tokenizer_spec *s, const char *what, int32_t id, struct err *e)
{
    if (id < -1 || (id >= 0 && (size_t)id >= s->pieces))
        return err_set(e, ERR_FORMAT, "%s token id %d: the vocabulary has %zu", what, id, s->pieces);
    return 0;
}

static int check_spec(struct tokenizer_spec *s, struct err *e)
{
    if (s->pieces == 0 || s->pieces > INT32_MAX)
        return err_set(e, ERR_FORMAT, "vocabulary of %zu pieces", s->pieces);
    if (s->normalizers > STEPS_MAX || s->pretokenizers > STEPS_MAX)
        return err_set(e, ERR_FORMAT, "%zu normalizers and %zu pre-tokenizers: at most %d of each",
                       s->normalizers, s->pretokenizers, STEPS_MAX);
    for (size_t i = 0; i < s->added_count; i++) {
        int32_t id = s->added[i].id;
        if (id < 0 || (size_t)id >= s->pieces || !s->piece[id].bytes)
            return err_set(e, ERR_FORMAT, "added token %zu: id %d has no piece", i, id);
    }
    if (s->max_word_chars > WORD_CHARS_MAX)
        s->max_word_chars = WORD_CHARS_MAX;
    int rc = check_id(s, "beginning-of-text", s->bos, e);
    if (!rc)
        rc = check_id(s, "end-of-text", s->eos, e);
    if (!rc)
        rc = check_id(s, "unknown", s->unk, e);
    return rc ? rc : check_id(s, "padding", s->pad, e);
}

/* ---- byte tokens ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "<0xEA>": 0xEA, else -1 */
static int byte_of_piece(const struct spec_piece *p)
{
    if (!p->bytes || p->len != 6 || memcmp(p->bytes, "<0x", 3) != 0 || p->bytes[5] != '>')
        return -1;
    int hi = hex_digit(p->bytes[3]), lo = hex_digit(p->bytes[4]);
    return hi < 0 || lo < 0 ? -1 : hi << 4 | lo;
}

static void find_byte_pieces(struct tokenizer *t)
{
    for (int b = 0; b < 256; b++)
        t->byte_piece[b] = -1;
    for (size_t i = 0; i < t->spec.pieces && t->spec.byte_fallback; i++) {
        int b = t->spec.piece[i].outside ? -1 : byte_of_piece(&t->spec.piece[i]);
        if (b >= 0)
            t->byte_piece[b] = (int32_t)i;
    }
}

/* ---- steps ---- */

static int build_steps(struct tokenizer *t, struct err *e)
{
    size_t n = t->spec.normalizers, p = t->spec.pretokenizers;
    t->normalizer = calloc(n + 1, sizeof *t->normalizer);
    t->pretokenizer = calloc(p + 1, sizeof *t->pretokenizer);
    if (!t->normalizer || !t->pretokenizer)
        return err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++)
        rc = normalizer_init(&t->normalizer[i], &t->spec.normalizer[i], e);
    for (size_t i = 0; i < p && !rc; i++)
        rc = pretokenizer_init(&t->pretokenizer[i], &t->spec.pretokenizer[i], e);
    return rc;
}

/* ---- added tokens ---- */

static int add_normalized(struct tokenizer *t, struct scratch *s, size_t i, struct err *e)
{
    const struct spec_piece *p = &t->spec.piece[t->spec.added[i].id];
    const char *text = p->bytes;
    size_t n = p->len;
    int rc = normalize(t, s, p->bytes, p->len, &text, &n, e);
    return rc || n == 0 ? rc : trie_add(&t->normalized, text, n, (int32_t)i, e);
}

/* Of two with the same text the first counts. */
static int build_added(struct tokenizer *t, struct err *e)
{
    struct scratch s = {.match = regex_match_new(), .normal = {{.limit = 1 << 20}, {.limit = 1 << 20}}};
    int rc = s.match ? 0 : err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    for (size_t i = t->spec.added_count; i-- > 0 && !rc;) {
        const struct spec_added *a = &t->spec.added[i];
        const struct spec_piece *p = &t->spec.piece[a->id];
        if (p->len == 0)
            continue;
        if (a->normalized)
            rc = add_normalized(t, &s, i, e);
        else
            rc = trie_add(&t->raw, p->bytes, p->len, (int32_t)i, e);
        t->normalized_plain |= a->normalized && !a->special;
        t->raw_plain |= !a->normalized && !a->special;
    }
    buf_deinit(&s.normal[0]);
    buf_deinit(&s.normal[1]);
    regex_match_free(s.match);
    return rc;
}

static int build_user(struct tokenizer *t, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < t->spec.pieces && t->spec.inline_user && !rc; i++) {
        const struct spec_piece *p = &t->spec.piece[i];
        if (p->kind == TOKEN_USER && p->len > 0 && !p->outside)
            rc = trie_add(&t->user, p->bytes, p->len, (int32_t)i, e);
    }
    return rc;
}

/* ---- parts ---- */

/* A space behind something else within a piece. */
static bool spans_a_space(const struct spec_piece *p)
{
    for (size_t i = 1; i + METASPACE_LEN <= p->len; i++)
        if (memcmp(p->bytes + i, METASPACE, METASPACE_LEN) == 0 &&
            (i < METASPACE_LEN || memcmp(p->bytes + i - METASPACE_LEN, METASPACE, METASPACE_LEN) != 0))
            return true;
    return false;
}

/* A piece that merging might make, or break up again, across a space. */
static bool forbids_cuts(const struct tokenizer_spec *s, const struct spec_piece *p)
{
    if (!p->bytes || p->outside)
        return false;
    if (s->model == MODEL_SCORED_BPE && p->kind == TOKEN_UNUSED)
        return true;
    return (s->model == MODEL_BPE || p->kind == TOKEN_NORMAL || p->kind == TOKEN_USER) && spans_a_space(p);
}

/* See part() in tokenizer.c. The space itself must be a piece, or it might join an unknown token before it. */
static bool can_cut(const struct tokenizer *t)
{
    const struct tokenizer_spec *s = &t->spec;
    if ((s->model != MODEL_BPE && s->model != MODEL_SCORED_BPE) || s->ignore_merges ||
        s->continuing_prefix.len || s->word_suffix.len || model_find(t, METASPACE, METASPACE_LEN) < 0)
        return false;
    for (size_t i = 0; i < s->pieces; i++)
        if (forbids_cuts(s, &s->piece[i]))
            return false;
    return true;
}

static const char *model_name(const struct tokenizer_spec *s)
{
    static const char *const names[] = {"BPE", "SentencePiece BPE", "Unigram", "WordPiece"};
    return s->name ? s->name : s->decoder == DECODER_BYTE_LEVEL ? "byte-level BPE" : names[s->model];
}

static int build(struct tokenizer *t, struct err *e)
{
    const struct tokenizer_spec *s = &t->spec;
    int rc = check_spec(&t->spec, e);
    if (!rc)
        rc = vocab_init(&t->vocab, s->piece, s->pieces, e);
    if (rc)
        return rc;
    find_byte_pieces(t);
    rc = build_steps(t, e);
    if (!rc)
        rc = build_user(t, e);
    if (!rc)
        rc = build_added(t, e);
    if (!rc && s->model == MODEL_BPE)
        rc = bpe_init(t, e);
    if (!rc && s->model == MODEL_SCORED_BPE)
        rc = scored_init(t, e);
    if (!rc && s->model == MODEL_UNIGRAM)
        rc = unigram_init(t, e);
    t->cut_at_space = !rc && can_cut(t);
    snprintf(t->name, sizeof t->name, "%s%s%.*s", model_name(s), s->pre.len ? ", " : "",
             (int)(s->pre.len < 40 ? s->pre.len : 40), s->pre.bytes ? s->pre.bytes : "");
    return rc;
}

int tokenizer_new(struct tokenizer **out, struct tokenizer_spec *s, struct err *e)
{
    *out = NULL;
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t) {
        spec_deinit(s);
        return err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    }
    t->spec = *s;
    spec_init(s);
    int rc = build(t, e);
    if (rc) {
        tokenizer_close(t);
        return rc;
    }
    *out = t;
    return 0;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t)
        return;
    for (size_t i = 0; t->normalizer && i < t->spec.normalizers; i++)
        normalizer_deinit(&t->normalizer[i]);
    for (size_t i = 0; t->pretokenizer && i < t->spec.pretokenizers; i++)
        pretokenizer_deinit(&t->pretokenizer[i]);
    free(t->normalizer);
    free(t->pretokenizer);
    vocab_deinit(&t->vocab);
    trie_deinit(&t->raw);
    trie_deinit(&t->normalized);
    trie_deinit(&t->user);
    trie_deinit(&t->pieces);
    free(t->merge);
    free(t->rank);
    free(t->unused);
    spec_deinit(&t->spec);
    free(t);
}
