/* Writing a tokenizer into GGUF metadata: see tokenizer_gguf.c. */
#include "base/size.h"
#include "format/tokenizer_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

const char *const own_models[OWN_MODELS] = {"bpe", "scored_bpe", "unigram", "wordpiece"};
const char *const own_decoders[OWN_DECODERS] = {"plain", "byte_level", "metaspace", "wordpiece"};

struct writing {
    struct gguf_writer *w;
    const struct tokenizer_spec *s;
    size_t n; /* tokens with the padding */
    struct arena arena;
};

/* The names other programs have for the kinds. Merges on characters with byte tokens are SentencePiece's to
 * them. */
static const char *model_name(const struct tokenizer_spec *s)
{
    if (s->model == MODEL_WORDPIECE)
        return "bert";
    if (s->model == MODEL_UNIGRAM)
        return "t5";
    return s->decoder == DECODER_BYTE_LEVEL ? "gpt2" : "llama";
}

static struct gguf_string print(struct arena *a, const char *prefix, const char *s, size_t n)
{
    size_t k = strlen(prefix);
    char *p = arena_alloc(a, k + n + 1, 1);
    if (!p)
        return (struct gguf_string){0};
    memcpy(p, prefix, k);
    if (n)
        memcpy(p + k, s, n);
    return (struct gguf_string){p, k + n};
}

/* WordPiece with the converter's phantom space. */
static struct gguf_string phantom(struct writing *x, const struct spec_piece *p)
{
    const struct spec_string *prefix = &x->s->continuing_prefix;
    if (p->bytes[0] == '[' && p->bytes[p->len - 1] == ']')
        return (struct gguf_string){p->bytes, p->len};
    if (prefix->len && p->len > prefix->len && memcmp(p->bytes, prefix->bytes, prefix->len) == 0)
        return (struct gguf_string){p->bytes + prefix->len, p->len - prefix->len};
    return print(&x->arena, "\xE2\x96\x81", p->bytes, p->len);
}

static struct gguf_string spaces(struct writing *x, const struct spec_piece *p)
{
    char *to = arena_alloc(&x->arena, p->len + 1, 1);
    size_t n = 0;
    for (size_t i = 0; to && i < p->len;)
        if (p->len - i >= 3 && memcmp(p->bytes + i, "\xE2\x96\x81", 3) == 0) {
            to[n++] = ' ';
            i += 3;
        } else {
            to[n++] = p->bytes[i++];
        }
    return (struct gguf_string){to, n};
}

static struct gguf_string token_text(struct writing *x, size_t id)
{
    const struct spec_piece *p = id < x->s->pieces && x->s->piece[id].bytes ? &x->s->piece[id] : NULL;
    if (!p) {
        char number[24];
        int n = snprintf(number, sizeof number, "%zu]", id);
        return print(&x->arena, "[PAD", number, (size_t)n);
    }
    if (x->s->model == MODEL_WORDPIECE)
        return phantom(x, p);
    if (x->s->inline_user && p->kind == TOKEN_USER)
        return spaces(x, p);
    return (struct gguf_string){p->bytes, p->len};
}

static int put_tokens(struct writing *x, struct err *e)
{
    struct gguf_string *text = arena_alloc(&x->arena, x->n, sizeof *text);
    int32_t *kind = arena_alloc(&x->arena, x->n, sizeof *kind);
    bool fine = text && kind;
    for (size_t i = 0; fine && i < x->n; i++) {
        bool piece = i < x->s->pieces && x->s->piece[i].bytes;
        text[i] = token_text(x, i);
        kind[i] = piece ? (int32_t)x->s->piece[i].kind : TOKEN_UNUSED;
        fine = text[i].data != NULL;
    }
    if (!fine)
        return err_set(e, ERR_MEMORY, "out of memory writing %zu tokens", x->n);
    gguf_put_strings(x->w, KEY("tokens"), text, x->n);
    gguf_put_i32s(x->w, KEY("token_type"), kind, x->n);
    return 0;
}

/* Merges on characters have an order but no scores: the earlier the merge, the higher the score of what it
 * makes. */
static void score_merges(const struct writing *x, const struct tokenizer *t, float *score)
{
    for (size_t i = x->s->merges; i-- > 0;) {
        const struct spec_merge *m = &x->s->merge[i];
        struct buf b = {0};
        buf_add(&b, m->left.bytes, m->left.len);
        buf_add(&b, m->right.bytes, m->right.len);
        int32_t id = b.failed ? -1 : tokenizer_find(t, b.data, b.len);
        if (id >= 0 && (size_t)id < x->n)
            score[id] = -(float)i;
        buf_deinit(&b);
    }
}

static int put_scores(struct writing *x, const struct tokenizer *t, struct err *e)
{
    if (!strcmp(model_name(x->s), "gpt2") || x->s->model == MODEL_WORDPIECE)
        return 0;
    float *score = arena_alloc(&x->arena, x->n, sizeof *score);
    if (!score)
        return err_set(e, ERR_MEMORY, "out of memory writing %zu scores", x->n);
    for (size_t i = 0; i < x->s->pieces; i++)
        score[i] = (float)x->s->piece[i].score;
    if (x->s->model == MODEL_BPE)
        score_merges(x, t, score);
    gguf_put_f32s(x->w, KEY("scores"), score, x->n);
    return 0;
}

static int put_merges(struct writing *x, struct err *e)
{
    if (x->s->model != MODEL_BPE)
        return 0;
    struct gguf_string *text = arena_alloc(&x->arena, x->s->merges + 1, sizeof *text);
    for (size_t i = 0; text && i < x->s->merges; i++) {
        const struct spec_merge *m = &x->s->merge[i];
        size_t n = m->left.len + 1 + m->right.len;
        char *to = arena_alloc(&x->arena, n + 1, 1);
        if (m->left.len == 0 || memchr(m->left.bytes + 1, ' ', m->left.len - 1))
            return err_set(e, ERR_FORMAT, "merge %zu: a piece with a space in it cannot be written to GGUF",
                           i);
        if (!to)
            return err_set(e, ERR_MEMORY, "out of memory writing %zu merges", x->s->merges);
        memcpy(to, m->left.bytes, m->left.len);
        to[m->left.len] = ' ';
        memcpy(to + m->left.len + 1, m->right.bytes, m->right.len);
        text[i] = (struct gguf_string){to, n};
    }
    if (!text)
        return err_set(e, ERR_MEMORY, "out of memory writing %zu merges", x->s->merges);
    gguf_put_strings(x->w, KEY("merges"), text, x->s->merges);
    return 0;
}

static void put_id(struct writing *x, const char *key, int32_t id)
{
    if (id >= 0 && (size_t)id < x->n)
        gguf_put_u32(x->w, key, (uint32_t)id);
}

static const struct spec_normalizer *sentencepiece_step(const struct tokenizer_spec *s)
{
    return s->normalizers == 1 && s->normalizer[0].kind == NORMALIZER_SENTENCEPIECE ? &s->normalizer[0]
                                                                                    : NULL;
}

static const struct spec_string *charsmap_of(const struct tokenizer_spec *s)
{
    for (size_t i = 0; i < s->normalizers; i++)
        if (s->normalizer[i].charsmap.len)
            return &s->normalizer[i].charsmap;
    return NULL;
}

/* What llama.cpp wants to know beside the tokens. */
static void put_hints(struct writing *x)
{
    const struct tokenizer_spec *s = x->s;
    const struct spec_normalizer *z = sentencepiece_step(s);
    const struct spec_string *map = charsmap_of(s);
    put_id(x, KEY("bos_token_id"), s->bos);
    put_id(x, KEY("eos_token_id"), s->eos);
    put_id(x, KEY("unknown_token_id"), s->unk);
    put_id(x, KEY("padding_token_id"), s->pad);
    gguf_put_bool(x->w, KEY("add_bos_token"), s->add_bos);
    gguf_put_bool(x->w, KEY("add_eos_token"), s->add_eos);
    if (strcmp(model_name(s), "gpt2") != 0 && s->model != MODEL_WORDPIECE)
        gguf_put_bool(x->w, KEY("add_space_prefix"), z ? z->dummy_prefix : s->strip_prefix);
    if (s->model == MODEL_UNIGRAM)
        gguf_put_bool(x->w, KEY("remove_extra_whitespaces"), !z || z->remove_extra_whitespaces);
    if (map)
        gguf_put_value(x->w, KEY("precompiled_charsmap"),
                       &(struct gguf_value){.type = GGUF_ARRAY,
                                            .element = GGUF_U8,
                                            .count = map->len,
                                            .data = (const unsigned char *)map->bytes});
}

/* ---- our own key ---- */

static json_t *added_json(const struct tokenizer_spec *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->added_count; i++) {
        const struct spec_added *a = &s->added[i];
        json_t *v = json_pack("{s:i, s:b}", "id", (int)a->id, "special", (int)a->special);
        if (a->lstrip)
            json_object_set_new(v, "lstrip", json_true());
        if (a->rstrip)
            json_object_set_new(v, "rstrip", json_true());
        if (a->single_word)
            json_object_set_new(v, "single_word", json_true());
        if (a->normalized)
            json_object_set_new(v, "normalized", json_true());
        json_array_append_new(list, v);
    }
    return list;
}

static json_t *outside_json(const struct tokenizer_spec *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->pieces; i++)
        if (s->piece[i].outside)
            json_array_append_new(list, json_integer((json_int_t)i));
    return list;
}

static void set_json(json_t *o, const char *key, const struct spec_string *text)
{
    if (text->len)
        json_object_set_new(o, key, json_loadb(text->bytes, text->len, JSON_ALLOW_NUL, NULL));
}

static void set_string(json_t *o, const char *key, const struct spec_string *s)
{
    if (s->bytes)
        json_object_set_new(o, key, json_stringn(s->bytes, s->len));
}

static json_t *own_json(const struct tokenizer_spec *s)
{
    const struct spec_normalizer *z = sentencepiece_step(s);
    json_t *o = json_pack("{s:s, s:s, s:b, s:b, s:b, s:b, s:b, s:b, s:i, s:o, s:o}", "model",
                          own_models[s->model], "decoder", own_decoders[s->decoder], "fuse_unk",
                          (int)s->fuse_unk, "byte_fallback", (int)s->byte_fallback, "ignore_merges",
                          (int)s->ignore_merges, "single_precision", (int)s->single_precision, "inline_user",
                          (int)s->inline_user, "strip_prefix", (int)s->strip_prefix, "max_word_chars",
                          (int)s->max_word_chars, "added", added_json(s), "outside", outside_json(s));
    if (s->unk >= 0)
        json_object_set_new(o, "unk", json_integer(s->unk));
    set_string(o, "continuing_prefix", &s->continuing_prefix);
    set_string(o, "word_suffix", &s->word_suffix);
    set_string(o, "pre", &s->pre);
    if (z)
        json_object_set_new(o, "sentencepiece",
                            json_pack("{s:b, s:b, s:b, s:b, s:b}", "dummy_prefix", (int)z->dummy_prefix,
                                      "remove_extra_whitespaces", (int)z->remove_extra_whitespaces,
                                      "escape_whitespaces", (int)z->escape_whitespaces, "whitespace_suffix",
                                      (int)z->whitespace_suffix, "keep_user", (int)z->keep_user));
    else
        set_json(o, "normalizer", &s->normalizer_json);
    set_json(o, "pre_tokenizer", &s->pretokenizer_json);
    return o;
}

static int put_own(struct writing *x, struct err *e)
{
    json_t *o = own_json(x->s);
    char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (!text)
        return err_set(e, ERR_MEMORY, "out of memory writing a tokenizer");
    gguf_put_string(x->w, GYEOL_TOKENIZER_KEY, text, strlen(text));
    free(text);
    return 0;
}

/* Tokens added beyond the model's rows (an image's place in a model without eyes) cannot be given to it, and
 * are left out as the reference converter does. */
static int cut_to(struct tokenizer_spec *s, struct arena *a, size_t n, struct err *e)
{
    size_t beyond = 0, kept = 0;
    struct spec_added *added = arena_alloc(a, s->added_count + 1, sizeof *added);
    if (!added)
        return err_set(e, ERR_MEMORY, "out of memory writing a tokenizer");
    for (size_t i = n; i < s->pieces; i++)
        beyond += s->piece[i].bytes != NULL;
    for (size_t i = 0; i < s->added_count; i++)
        if ((size_t)s->added[i].id < n)
            added[kept++] = s->added[i];
    if (beyond > s->added_count - kept)
        return err_set(e, ERR_FORMAT, "tokenizer of %zu tokens for a model of %zu", s->pieces, n);
    if (s->unk >= 0 && (size_t)s->unk >= n)
        return err_set(e, ERR_FORMAT, "tokenizer whose unknown token is %d for a model of %zu", s->unk, n);
    s->pieces = n;
    s->added = added;
    s->added_count = kept;
    return 0;
}

static int put_all(struct writing *x, const struct tokenizer *t, struct err *e)
{
    const char *model = model_name(x->s);
    gguf_put_string(x->w, KEY("model"), model, strlen(model));
    struct spec_string pre = x->s->pre.len ? x->s->pre : (struct spec_string){"default", 7};
    gguf_put_string(x->w, KEY("pre"), pre.bytes, pre.len);
    int rc = put_tokens(x, e);
    if (!rc)
        rc = put_scores(x, t, e);
    if (!rc)
        rc = put_merges(x, e);
    if (!rc)
        put_hints(x);
    return rc ? rc : put_own(x, e);
}

int tokenizer_put_gguf(struct gguf_writer *w, const struct tokenizer *t, size_t vocabulary, struct err *e)
{
    struct tokenizer_spec spec = *tokenizer_spec_of(t); /* its memory stays the tokenizer's */
    struct writing x = {.w = w, .s = &spec, .n = vocabulary ? vocabulary : tokenizer_size(t)};
    int rc = x.n < spec.pieces ? cut_to(&spec, &x.arena, x.n, e) : 0;
    if (!rc)
        rc = put_all(&x, t, e);
    arena_deinit(&x.arena);
    return rc;
}
