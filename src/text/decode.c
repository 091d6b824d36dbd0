/* Ids back to text. */
#include "text/byte_level.h"
#include "text/tokenizer_int.h"
#include "text/unicode.h"

#include <string.h>

/* A piece of GPT-2's alphabet; one that holds anything else was added as it is. */
static void put_byte_level(struct buf *out, const struct spec_piece *p)
{
    size_t before = out->len;
    for (size_t i = 0; i < p->len;) {
        int b = byte_level_byte(unicode_next(p->bytes, p->len, &i));
        if (b < 0) {
            out->len = before;
            buf_add(out, p->bytes, p->len);
            return;
        }
        char c = (char)b;
        buf_add(out, &c, 1);
    }
}

static void put_metaspace(struct buf *out, const struct spec_piece *p)
{
    for (size_t i = 0, k; i < p->len; i = k) {
        const char *hit = memmem(p->bytes + i, p->len - i, METASPACE, METASPACE_LEN);
        k = hit ? (size_t)(hit - p->bytes) : p->len;
        buf_add(out, p->bytes + i, k - i);
        if (hit) {
            buf_add(out, " ", 1);
            k += METASPACE_LEN;
        }
    }
}

static void put_wordpiece(struct buf *out, const struct tokenizer *t, const struct spec_piece *p, bool first)
{
    const struct spec_string *prefix = &t->spec.continuing_prefix;
    bool continues =
        prefix->len > 0 && p->len > prefix->len && memcmp(p->bytes, prefix->bytes, prefix->len) == 0;
    if (continues)
        buf_add(out, p->bytes + prefix->len, p->len - prefix->len);
    else {
        if (!first)
            buf_add(out, " ", 1);
        buf_add(out, p->bytes, p->len);
    }
}

/* "<0xEA>": the byte */
static void put_byte(struct buf *out, const struct spec_piece *p)
{
    unsigned v = 0;
    for (int i = 3; i < 5 && p->len == 6; i++) {
        char c = p->bytes[i];
        v = v << 4 | (unsigned)(c <= '9' ? c - '0' : c - 'A' + 10);
    }
    char byte = (char)v;
    buf_add(out, &byte, p->len == 6);
}

static void put_piece(struct buf *out, const struct tokenizer *t, const struct spec_piece *p, bool first)
{
    bool written = p->kind == TOKEN_CONTROL || p->kind == TOKEN_UNKNOWN || p->kind == TOKEN_USER;
    if (p->kind == TOKEN_BYTE)
        put_byte(out, p);
    else if (t->spec.decoder == DECODER_WORDPIECE)
        put_wordpiece(out, t, p, first);
    else if (t->spec.decoder == DECODER_METASPACE)
        put_metaspace(out, p);
    else if (t->spec.decoder == DECODER_BYTE_LEVEL && !written)
        put_byte_level(out, p);
    else
        buf_add(out, p->bytes, p->len);
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool special, struct buf *out,
                     struct err *e)
{
    size_t begin = out->len;
    bool strip = t->spec.strip_prefix;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= t->spec.pieces)
            return err_set(e, ERR_FORMAT, "token id %d: the vocabulary has %zu", ids[i], t->spec.pieces);
        const struct spec_piece *p = &t->spec.piece[ids[i]];
        if (!p->bytes || (p->kind == TOKEN_CONTROL && !special))
            continue;
        size_t at = out->len;
        put_piece(out, t, p, at == begin);
        if (strip && out->len > at && p->kind != TOKEN_CONTROL) {
            strip = false;
            if (out->data[at] == ' ' && p->kind != TOKEN_BYTE)
                memmove(out->data + at, out->data + at + 1, out->len-- - at);
        }
    }
    return buf_check(out, "decoded text", e);
}
