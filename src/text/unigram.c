/* Unigram language model: the sequence of pieces with the greatest sum of scores, by dynamic programming over
 * the bytes (SentencePiece, unigram_model.cc, EncodeOptimized). SentencePiece adds in single precision and
 * gives pieces that were added whole a bonus; the tokenizers library adds in double precision and knows no
 * such pieces. Both are followed to the last bit, for ties and near-ties decide. */
#include "base/size.h"
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN_PENALTY 10.0

static bool counts(const struct tokenizer *t, const struct spec_piece *p)
{
    return p->bytes && !p->outside && (!t->spec.single_precision || p->kind == TOKEN_NORMAL);
}

int unigram_init(struct tokenizer *t, struct err *e)
{
    int rc = 0;
    t->min_score = DBL_MAX;
    t->max_score = -DBL_MAX;
    for (size_t i = 0; i < t->spec.pieces && !rc; i++) {
        const struct spec_piece *p = &t->spec.piece[i];
        if (counts(t, p)) {
            t->min_score = p->score < t->min_score ? p->score : t->min_score;
            t->max_score = p->score > t->max_score ? p->score : t->max_score;
        }
        if (p->len > 0 && !p->outside && (p->kind == TOKEN_NORMAL || p->kind == TOKEN_USER))
            rc = trie_add(&t->pieces, p->bytes, p->len, (int32_t)i, e);
    }
    if (t->min_score == DBL_MAX)
        t->min_score = t->max_score = 0;
    return rc;
}

static int room_for_path(struct scratch *s, size_t n, struct err *e)
{
    size_t bytes;
    if (n + 1 > s->path_capacity) {
        free(s->path);
        s->path_capacity = 0;
        s->path = size_mul(n + 1, sizeof *s->path, &bytes) ? malloc(bytes) : NULL;
        if (!s->path)
            return err_set(e, ERR_MEMORY, "out of memory encoding %zu bytes", n);
        s->path_capacity = n + 1;
    }
    for (size_t i = 0; i <= n; i++)
        s->path[i].from = UINT32_MAX;
    s->path[0].score = 0;
    return 0;
}

static void offer(const struct tokenizer *t, struct best_path *to, double score, size_t from, int32_t id)
{
    if (to->from != UINT32_MAX && !(score > to->score))
        return;
    *to = (struct best_path){t->spec.single_precision ? (double)(float)score : score, (uint32_t)from, id};
}

/* The sum as the original's types make it: in double, of floats; offer() rounds what it keeps. */
static double sum(const struct tokenizer *t, double so_far, int32_t id, size_t length)
{
    const struct spec_piece *p = &t->spec.piece[id];
    if (!t->spec.single_precision)
        return p->score + so_far;
    if (p->kind == TOKEN_USER)
        return ((double)((float)length * (float)t->max_score) - 0.1) + so_far;
    return (double)(float)p->score + so_far;
}

static double unknown_sum(const struct tokenizer *t, double so_far)
{
    if (!t->spec.single_precision)
        return (t->min_score - UNKNOWN_PENALTY) + so_far;
    return (double)((float)t->min_score - (float)UNKNOWN_PENALTY + (float)so_far);
}

static void forward(const struct tokenizer *t, struct scratch *s, const char *w, size_t n)
{
    for (size_t i = 0; i < n;) {
        double so_far = s->path[i].score;
        size_t width = unicode_width((unsigned char)w[i]);
        bool single = false;
        width = width < n - i ? width : n - i;
        uint32_t node = 0;
        for (size_t k = i; k < n; k++) {
            node = trie_step(&t->pieces, node, (unsigned char)w[k]);
            if (!node)
                break;
            int32_t id = t->pieces.value[node];
            if (id < 0)
                continue;
            offer(t, &s->path[k + 1], sum(t, so_far, id, k + 1 - i), i, id);
            single |= k + 1 - i == width;
        }
        if (!single)
            offer(t, &s->path[i + width], unknown_sum(t, so_far), i, -1);
        i += width;
    }
}

/* Turns the links round: path[i].from becomes where the piece that begins at i ends. */
static void turn_round(struct best_path *path, size_t n)
{
    size_t end = n;
    int32_t id = path[n].id;
    uint32_t from = path[n].from;
    while (end > 0) {
        uint32_t at = from;
        int32_t here = id;
        from = path[at].from;
        id = path[at].id;
        path[at].from = (uint32_t)end;
        path[at].id = here;
        end = at;
    }
}

/* Bytes that have no token are unknown by themselves. */
static int put_bytes(const struct tokenizer *t, const char *w, size_t n, struct tokens *out, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < n && !rc; i++) {
        int32_t id = t->byte_piece[(unsigned char)w[i]];
        if (id >= 0 || t->spec.unk >= 0)
            rc = tokens_add(out, id >= 0 ? id : t->spec.unk, e);
    }
    return rc;
}

static bool all_bytes(const struct tokenizer *t, const char *w, size_t n)
{
    bool all = true;
    for (size_t i = 0; i < n && all; i++)
        all = t->byte_piece[(unsigned char)w[i]] >= 0;
    return all;
}

/* A run of unknown characters: bytes, or one unknown token. The library wants a token for every byte of the run, and
 * looks the whole run up once more. */
static int put_unknown(const struct tokenizer *t, const char *w, size_t n, struct tokens *out, struct err *e)
{
    int32_t id = t->spec.single_precision ? -1 : model_find(t, w, n);
    if (id < 0 && t->spec.byte_fallback && (t->spec.single_precision || all_bytes(t, w, n)))
        return put_bytes(t, w, n, out, e);
    id = id < 0 ? t->spec.unk : id;
    if (id < 0)
        return err_set(e, ERR_FORMAT, "a character without a piece, and the vocabulary has no unknown token");
    return tokens_add(out, id, e);
}

int unigram_encode(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, struct tokens *out,
                   struct err *e)
{
    int rc = room_for_path(s, n, e);
    if (rc)
        return rc;
    forward(t, s, w, n);
    turn_round(s->path, n);
    for (size_t i = 0, end; i < n && !rc; i = end) {
        end = s->path[i].from;
        if (s->path[i].id >= 0) {
            rc = tokens_add(out, s->path[i].id, e);
            continue;
        }
        while (end < n && s->path[end].id < 0)
            end = s->path[end].from;
        rc = put_unknown(t, w + i, end - i, out, e);
    }
    return rc;
}
