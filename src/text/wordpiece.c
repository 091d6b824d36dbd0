/* WordPiece: from the left, always the longest piece that fits; a word that cannot be covered is one unknown
 * token (Hugging Face tokenizers, models/wordpiece). */
#include "text/tokenizer_int.h"
#include "text/unicode.h"

static size_t count_characters(const char *w, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += ((unsigned char)w[i] & 0xC0) != 0x80;
    return count;
}

/* The longest piece at w[at..n), and in *end where it ends; -1: none. */
static int32_t longest(const struct tokenizer *t, struct scratch *s, const char *w, size_t n, size_t at,
                       size_t *end)
{
    const struct spec_string *prefix = &t->spec.continuing_prefix;
    size_t most = t->vocab.longest;
    *end = n - at > most ? at + most : n;
    while (*end < n && ((unsigned char)w[*end] & 0xC0) == 0x80)
        --*end;
    buf_reset(&s->word);
    if (at > 0)
        buf_add(&s->word, prefix->bytes, prefix->len);
    buf_add(&s->word, w + at, *end - at);
    size_t before = s->word.len - (*end - at);
    while (*end > at && !s->word.failed) {
        int32_t id = model_find(t, s->word.data, before + *end - at);
        if (id >= 0)
            return id;
        do
            --*end;
        while (*end > at && ((unsigned char)w[*end] & 0xC0) == 0x80);
    }
    return -1;
}

int wordpiece_encode(const struct tokenizer *t, struct scratch *s, const char *w, size_t n,
                     struct tokens *out, struct err *e)
{
    size_t begin = out->n;
    int rc = 0;
    bool bad = n > 4 * t->spec.max_word_chars || count_characters(w, n) > t->spec.max_word_chars;
    for (size_t at = 0, end; at < n && !bad && !rc; at = end) {
        int32_t id = longest(t, s, w, n, at, &end);
        if (id >= 0)
            rc = tokens_add(out, id, e);
        bad = id < 0;
    }
    if (!bad || rc)
        return rc ? rc : buf_check(&s->word, "word", e);
    out->n = begin;
    rc = buf_check(&s->word, "word", e);
    return rc || t->spec.unk < 0 ? rc : tokens_add(out, t->spec.unk, e);
}
