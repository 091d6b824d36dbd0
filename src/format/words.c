#include "format/words.h"

#include "format/chat_file.h"
#include "format/tokenizer_file.h"

#include <stdlib.h>
#include <string.h>

static int put_chat_template(struct gguf_writer *w, const char *dir, struct err *e)
{
    char *text;
    size_t n;
    int rc = chat_text(&text, &n, dir, e);
    if (!rc && text)
        gguf_put_string(w, "tokenizer.chat_template", text, n);
    free(text);
    return rc;
}

static void put_id(struct gguf_writer *w, const char *key, int32_t tokenizers, int32_t configured)
{
    if (tokenizers < 0 && configured >= 0)
        gguf_put_u32(w, key, (uint32_t)configured);
}

int words_put_gguf(struct gguf_writer *w, const char *dir, const struct config *c, bool *there, struct err *e)
{
    struct tokenizer *t = NULL;
    int rc = dir ? tokenizer_open(&t, dir, e) : ERR_MISSING;
    *there = !rc;
    if (!rc)
        rc = tokenizer_put_gguf(w, t, c->vocabulary, e);
    if (!rc)
        rc = put_chat_template(w, dir, e);
    if (!*there && rc == ERR_MISSING) {
        gguf_put_string(w, "tokenizer.ggml.model", "none", strlen("none"));
        rc = 0;
    }
    put_id(w, "tokenizer.ggml.bos_token_id", t ? tokenizer_bos(t) : -1, c->bos);
    put_id(w, "tokenizer.ggml.eos_token_id", t ? tokenizer_eos(t) : -1, c->eos);
    put_id(w, "tokenizer.ggml.padding_token_id", t ? tokenizer_pad(t) : -1, c->pad);
    tokenizer_close(t);
    return rc;
}
