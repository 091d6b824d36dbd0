/* Plain text as one long row of tokens, cut into sequences. */
#include "train/corpus_int.h"

#include "base/file.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>

enum { PIECE = 1 << 16 /* bytes that a thread tokenizes at a time, about */ };

struct text {
    struct corpus base;
    int32_t *ids;
    size_t n, length; /* of all, of one sequence */
};

/* ---- reading ---- */

/* Whole lines. */
struct piece {
    const char *begin, *end;
    struct tokens ids;
    int rc;
    const char *line; /* where it went wrong */
    struct err error;
};

struct reading {
    const char *path, *bytes;
    size_t n;
    struct piece *piece;
    size_t pieces;
};

static int add_document(struct piece *p, const struct tokenizer *t, const char *text, size_t n)
{
    size_t bad;
    if (!utf8_valid(text, n, &bad))
        return err_set(&p->error, ERR_FORMAT, "not UTF-8: byte 0x%02x at offset %zu",
                       (unsigned char)text[bad], bad);
    int rc = tokenizer_encode(t, text, n, false, &p->ids, &p->error);
    return rc ? rc : tokens_add(&p->ids, tokenizer_eos(t), &p->error);
}

static void read_piece(struct piece *p, const struct tokenizer *t)
{
    for (const char *at = p->begin; !p->rc && at < p->end;) {
        const char *end = memchr(at, '\n', (size_t)(p->end - at));
        const char *next = end ? end + 1 : p->end;
        if (!end)
            end = p->end;
        end -= end > at && end[-1] == '\r';
        p->line = at;
        if (end > at)
            p->rc = add_document(p, t, at, (size_t)(end - at));
        at = next;
    }
}

static int split(struct reading *r, struct err *e)
{
    const char *at = r->bytes, *end = at + r->n;
    r->piece = calloc(r->n / PIECE + 1, sizeof *r->piece);
    if (!r->piece)
        return err_set(e, ERR_MEMORY, "%s: out of memory", r->path);
    if (r->n >= 3 && memcmp(at, "\xEF\xBB\xBF", 3) == 0)
        at += 3;
    while (at < end) {
        const char *to = end - at > PIECE ? memchr(at + PIECE, '\n', (size_t)(end - at - PIECE)) : NULL;
        to = to ? to + 1 : end;
        r->piece[r->pieces++] = (struct piece){.begin = at, .end = to};
        at = to;
    }
    return 0;
}

static size_t line_number(const struct reading *r, const char *at)
{
    size_t line = 1;
    for (const char *p = r->bytes; (p = memchr(p, '\n', (size_t)(at - p))); p++)
        line++;
    return line;
}

/* The pieces' tokens, one after another; each piece's memory is given back when it is copied. */
static int join(struct text *x, struct reading *r, struct err *e)
{
    size_t n = 0;
    for (size_t i = 0; i < r->pieces; i++) {
        const struct piece *p = &r->piece[i];
        n += p->ids.n;
        if (p->rc)
            return err_set(e, p->rc, "%s:%zu: %s", r->path, line_number(r, p->line), p->error.msg);
    }
    x->ids = malloc((n + 1) * sizeof *x->ids);
    if (!x->ids)
        return err_set(e, ERR_MEMORY, "%s: out of memory for %zu tokens", r->path, n);
    for (size_t i = 0; i < r->pieces; i++) {
        struct tokens *t = &r->piece[i].ids;
        if (t->n)
            memcpy(x->ids + x->n, t->id, t->n * sizeof *t->id);
        x->n += t->n;
        tokens_deinit(t);
    }
    return 0;
}

static int read_text(struct text *x, const char *path, const struct tokenizer *t, struct err *e)
{
    struct reading r = {.path = path};
    char *bytes = NULL;
    int rc = file_read(&bytes, &r.n, path, BUF_LIMIT, e);
    r.bytes = bytes;
    if (!rc)
        rc = split(&r, e);
    if (!rc) {
#pragma omp parallel for schedule(dynamic, 1)
        for (size_t i = 0; i < r.pieces; i++)
            read_piece(&r.piece[i], t);
        rc = join(x, &r, e);
    }
    for (size_t i = 0; i < r.pieces; i++)
        tokens_deinit(&r.piece[i].ids);
    free(r.piece);
    free(bytes);
    return rc;
}

/* ---- items ---- */

static int add_item(const struct corpus *c, size_t i, struct batch *b, struct err *e)
{
    const struct text *x = (const struct text *)c;
    const int32_t *ids = x->ids + i * x->length;
    size_t n = c->length[i], first = b->n_tokens;
    int rc = batch_add_run(b, ids, n, -1, corpus_key(i, 0), e);
    for (size_t k = 0; !rc && k + 1 < n; k++)
        rc = batch_add_target(b, (struct target){.token = first + k, .id = ids[k + 1], .weight = 1}, e);
    return rc;
}

static void close_text(struct corpus *c)
{
    free(((struct text *)c)->ids);
    corpus_free(c);
}

static const struct corpus_ops ops = {.add = add_item, .close = close_text};

/* A last sequence is left out when it has no token to be predicted. */
static int cut(struct text *x, const char *path, struct err *e)
{
    size_t n = x->n / x->length + (x->n % x->length > 1);
    if (!n)
        return err_set(e, ERR_FORMAT, "%s: no text to train on", path);
    int rc = corpus_items(&x->base, n, e);
    for (size_t i = 0; !rc && i < n; i++) {
        size_t left = x->n - i * x->length;
        x->base.length[i] = (uint32_t)(left < x->length ? left : x->length);
        x->base.weight[i] = (double)x->base.length[i] - 1;
    }
    x->base.n = n;
    return rc;
}

static void name(struct text *x)
{
    struct digest d;
    uint64_t length = x->length;
    digest_init(&d, DIGEST_SHA256, 0);
    digest_update(&d, "text", 4);
    digest_update(&d, &length, sizeof length);
    digest_update(&d, x->ids, x->n * sizeof *x->ids);
    digest_final(&d, x->base.sha256);
}

int corpus_text(struct corpus **out, const char *path, const struct tokenizer *t, size_t length,
                struct err *e)
{
    *out = NULL;
    if (length < 2 || length >= UINT32_MAX)
        return err_set(e, ERR_USAGE, "sequences of %zu tokens: want at least 2", length);
    if (tokenizer_eos(t) < 0)
        return err_set(e, ERR_FORMAT, "tokenizer (%s): no token that ends a text", tokenizer_name(t));
    struct text *x = calloc(1, sizeof *x);
    if (!x)
        return err_set(e, ERR_MEMORY, "out of memory");
    x->base.ops = &ops;
    x->length = length;
    int rc = read_text(x, path, t, e);
    if (!rc)
        rc = cut(x, path, e);
    if (rc) {
        close_text(&x->base);
        return rc;
    }
    name(x);
    *out = &x->base;
    return 0;
}
