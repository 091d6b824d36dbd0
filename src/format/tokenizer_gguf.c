/* Tokenizers in GGUF metadata: the tokenizer.ggml.* keys as llama.cpp's converter writes and its
 * llama-vocab.cpp reads them, and one key of our own that says exactly what those cannot. */
#include "base/size.h"
#include "format/tokenizer_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY(name) "tokenizer.ggml." name

static bool is(const struct gguf_string *s, const char *name)
{
    return s->len == strlen(name) && memcmp(s->data, name, s->len) == 0;
}

/* An array of strings; NULL and 0 when absent. */
static int get_strings(const struct gguf *g, const char *key, const struct gguf_string **out, size_t *n,
                       struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    *out = NULL;
    *n = 0;
    if (!v)
        return 0;
    if (v->type != GGUF_ARRAY || (v->element != GGUF_STRING && v->count > 0))
        return err_set(e, ERR_FORMAT, "%s: want an array of strings", key);
    *out = v->strings;
    *n = v->count;
    return 0;
}

/* An array of n numbers; NULL when absent. */
static int get_numbers(const struct gguf *g, const char *key, size_t n, const struct gguf_value **out,
                       struct err *e)
{
    const struct gguf_value *v = gguf_find(g, key);
    *out = v;
    if (!v)
        return 0;
    if (v->type != GGUF_ARRAY || v->element == GGUF_STRING || v->element == GGUF_BOOL)
        return err_set(e, ERR_FORMAT, "%s: want an array of numbers", key);
    if (v->count != n)
        return err_set(e, ERR_FORMAT, "%s: %zu entries, want one for each of %zu tokens", key, v->count, n);
    return 0;
}

/* ---- pieces and merges ---- */

/* A place that a writer only filled up: "[PAD123]", type unused. */
static bool is_filler(const struct gguf_string *s, size_t id, enum token_kind kind)
{
    char name[40];
    snprintf(name, sizeof name, "[PAD%zu]", id);
    return kind == TOKEN_UNUSED && is(s, name);
}

static int read_kind(const struct gguf_value *types, size_t i, enum token_kind *out, struct err *e)
{
    double v = types ? gguf_number_at(types, i) : TOKEN_NORMAL;
    if (!(v >= 0 && v <= TOKEN_BYTE))
        return err_set(e, ERR_FORMAT, KEY("token_type") ": entry %zu: %g, want 0 to 6", i, v);
    *out = v < 1 ? TOKEN_NORMAL : (enum token_kind)(int)v; /* 0: undefined */
    return 0;
}

static int read_pieces(struct tokenizer_spec *s, const struct gguf *g, struct err *e)
{
    const struct gguf_string *tokens;
    const struct gguf_value *types, *scores;
    size_t n;
    int rc = get_strings(g, KEY("tokens"), &tokens, &n, e);
    if (!rc && n == 0)
        rc = err_set(e, ERR_MISSING, "no tokenizer: " KEY("tokens") " is absent or empty");
    if (!rc)
        rc = get_numbers(g, KEY("token_type"), n, &types, e);
    if (!rc)
        rc = get_numbers(g, KEY("scores"), n, &scores, e);
    if (rc)
        return rc;
    s->piece = arena_alloc(&s->arena, n + 1, sizeof *s->piece);
    if (!s->piece)
        return err_set(e, ERR_MEMORY, "out of memory for %zu tokens", n);
    s->pieces = n;
    for (size_t i = 0; i < n && !rc; i++) {
        struct spec_string text = {0};
        enum token_kind kind = TOKEN_UNUSED;
        rc = read_kind(types, i, &kind, e);
        bool filler = rc || tokens[i].len == 0 || is_filler(&tokens[i], i, kind);
        if (!filler)
            rc = spec_copy(&s->arena, tokens[i].data, tokens[i].len, &text, e);
        s->piece[i] = (struct spec_piece){.bytes = text.bytes,
                                          .len = (uint32_t)text.len,
                                          .kind = filler ? TOKEN_UNUSED : kind,
                                          .score = scores ? gguf_number_at(scores, i) : 0};
    }
    return rc;
}

static int read_merges(struct tokenizer_spec *s, const struct gguf *g, struct err *e)
{
    const struct gguf_string *merges;
    size_t n;
    int rc = get_strings(g, KEY("merges"), &merges, &n, e);
    if (rc || n == 0)
        return rc;
    s->merge = arena_alloc(&s->arena, n, sizeof *s->merge);
    if (!s->merge)
        return err_set(e, ERR_MEMORY, "out of memory for %zu merges", n);
    s->merges = n;
    for (size_t i = 0; i < n; i++) {
        const struct gguf_string *m = &merges[i];
        const char *space = m->len > 1 ? memchr(m->data + 1, ' ', m->len - 1) : NULL;
        if (!space)
            return err_set(e, ERR_FORMAT,
                           KEY("merges") ": entry %zu: want two pieces and a space between them", i);
        size_t left = (size_t)(space - m->data);
        rc = spec_copy(&s->arena, m->data, left, &s->merge[i].left, e);
        if (!rc)
            rc = spec_copy(&s->arena, space + 1, m->len - left - 1, &s->merge[i].right, e);
        if (rc)
            return rc;
    }
    return 0;
}

static int read_id(const struct gguf *g, const char *key, const struct tokenizer_spec *s, int32_t *out,
                   struct err *e)
{
    uint32_t id = UINT32_MAX;
    int rc = gguf_get_u32(g, key, &id, e);
    if (!rc &&
        id < s->pieces) /* files with an id beyond their vocabulary are about; llama.cpp ignores it too */
        *out = (int32_t)id;
    return rc;
}

static int read_ids(struct tokenizer_spec *s, const struct gguf *g, struct err *e)
{
    int rc = read_id(g, KEY("bos_token_id"), s, &s->bos, e);
    if (!rc)
        rc = read_id(g, KEY("eos_token_id"), s, &s->eos, e);
    if (!rc)
        rc = read_id(g, KEY("padding_token_id"), s, &s->pad, e);
    if (!rc)
        rc = gguf_get_bool(g, KEY("add_bos_token"), &s->add_bos, e);
    return rc ? rc : gguf_get_bool(g, KEY("add_eos_token"), &s->add_eos, e);
}

/* Control and unknown tokens match on demand, user-defined ones always. */
static int add_by_kind(struct tokenizer_spec *s, struct err *e)
{
    s->added = arena_alloc(&s->arena, s->pieces + 1, sizeof *s->added);
    if (!s->added)
        return err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    for (size_t i = 0; i < s->pieces; i++) {
        enum token_kind k = s->piece[i].kind;
        if (s->piece[i].bytes && (k == TOKEN_CONTROL || k == TOKEN_UNKNOWN || k == TOKEN_USER))
            s->added[s->added_count++] = (struct spec_added){.id = (int32_t)i, .special = k != TOKEN_USER};
    }
    return 0;
}

static void add_steps(int *rc, struct tokenizer_spec *s, json_t *normalizer, const char *pretokenizer,
                      struct err *e)
{
    json_t *pre = pretokenizer ? json_loads(pretokenizer, 0, NULL) : NULL;
    if (!*rc)
        *rc = spec_normalizers(s, normalizer, e);
    if (!*rc)
        *rc = spec_pretokenizers(s, pre, e);
    json_decref(normalizer);
    json_decref(pre);
}

/* ---- the kinds ---- */

static int read_gpt2(struct tokenizer_spec *s, const struct gguf *g, struct err *e)
{
    struct gguf_string name = {"default", 7};
    int rc = gguf_get_string(g, KEY("pre"), &name, e);
    if (rc)
        return rc;
    const struct preset *p = preset_find(name.data, name.len);
    if (!p)
        return err_set(e, ERR_FORMAT, KEY("pre") ": pre-tokenizer \"%.*s\" is not supported",
                       (int)(name.len < 60 ? name.len : 60), name.data);
    s->model = MODEL_BPE;
    s->decoder = DECODER_BYTE_LEVEL;
    s->ignore_merges = p->ignore_merges;
    rc = spec_copy(&s->arena, name.data, name.len, &s->pre, e);
    add_steps(&rc, s, NULL, p->pretokenizer, e);
    if (!rc)
        rc = read_merges(s, g, e);
    return rc ? rc : add_by_kind(s, e);
}

static int read_charsmap(struct tokenizer_spec *s, const struct gguf *g, struct spec_string *out,
                         struct err *e)
{
    const struct gguf_value *map = gguf_find(g, KEY("precompiled_charsmap"));
    if (!map)
        return 0;
    if (map->type != GGUF_ARRAY || (map->element != GGUF_U8 && map->element != GGUF_I8))
        return err_set(e, ERR_FORMAT, KEY("precompiled_charsmap") ": want an array of bytes");
    return spec_copy(&s->arena, (const char *)map->data, map->count, out, e);
}

/* llama.cpp's SentencePiece BPE keeps white space and has no character map, whatever the file says. */
static int read_sentencepiece(struct tokenizer_spec *s, const struct gguf *g, bool unigram, struct err *e)
{
    struct spec_normalizer z = {.kind = NORMALIZER_SENTENCEPIECE,
                                .dummy_prefix = !unigram,
                                .escape_whitespaces = true,
                                .keep_user = unigram};
    int rc = gguf_get_bool(g, KEY("add_space_prefix"), &z.dummy_prefix, e);
    if (!rc && unigram)
        rc = gguf_get_bool(g, KEY("remove_extra_whitespaces"), &z.remove_extra_whitespaces, e);
    if (!rc && unigram)
        rc = read_charsmap(s, g, &z.charsmap, e);
    s->model = unigram ? MODEL_UNIGRAM : MODEL_SCORED_BPE;
    s->name = unigram ? "SentencePiece Unigram" : "SentencePiece BPE";
    s->inline_user = unigram;
    for (size_t i = 0; i < s->pieces; i++)
        s->byte_fallback |= s->piece[i].kind == TOKEN_BYTE;
    return rc ? rc : spec_sentencepiece(s, &z, e);
}

/* The converter writes WordPiece with U+2581 before pieces that begin a word and nothing before those that go
 * on,
 * "[CLS]" and the like as they are. Back to BERT's own form. */
static int undo_phantom_space(struct tokenizer_spec *s, struct err *e)
{
    for (size_t i = 0; i < s->pieces; i++) {
        struct spec_piece *p = &s->piece[i];
        if (!p->bytes || (p->bytes[0] == '[' && p->bytes[p->len - 1] == ']'))
            continue;
        if (p->len > 3 && memcmp(p->bytes, "\xE2\x96\x81", 3) == 0) {
            p->bytes += 3;
            p->len -= 3;
            continue;
        }
        char *text = arena_alloc(&s->arena, (size_t)p->len + 3, 1);
        if (!text)
            return err_set(e, ERR_MEMORY, "out of memory for %zu tokens", s->pieces);
        memcpy(text, "##", 2);
        memcpy(text + 2, p->bytes, p->len);
        p->bytes = text;
        p->len += 2;
    }
    return 0;
}

/* The file does not say whether the text is lower-cased: a vocabulary without capitals is. */
static bool has_capitals(const struct tokenizer_spec *s)
{
    for (size_t i = 0; i < s->pieces; i++)
        for (size_t k = 0;
             k < s->piece[i].len && s->piece[i].kind == TOKEN_NORMAL && s->piece[i].bytes[0] != '['; k++)
            if (s->piece[i].bytes[k] >= 'A' && s->piece[i].bytes[k] <= 'Z')
                return true;
    return false;
}

static int read_bert(struct tokenizer_spec *s, struct err *e)
{
    s->model = MODEL_WORDPIECE;
    s->decoder = DECODER_WORDPIECE;
    s->continuing_prefix = (struct spec_string){"##", 2};
    int rc = undo_phantom_space(s, e);
    for (size_t i = 0; i < s->pieces && s->unk < 0; i++)
        if (s->piece[i].bytes && s->piece[i].len == 5 && memcmp(s->piece[i].bytes, "[UNK]", 5) == 0)
            s->unk = (int32_t)i;
    json_t *z = json_pack("{s:s, s:b, s:b, s:b}", "type", "BertNormalizer", "clean_text", 1,
                          "handle_chinese_chars", 1, "lowercase", !has_capitals(s));
    add_steps(&rc, s, z, "{\"type\":\"BertPreTokenizer\"}", e);
    return rc ? rc : add_by_kind(s, e);
}

static int read_standard(struct tokenizer_spec *s, const struct gguf *g, struct err *e)
{
    struct gguf_string model = {"", 0};
    int rc = gguf_get_string(g, KEY("model"), &model, e);
    if (!rc)
        rc = read_id(g, KEY("unknown_token_id"), s, &s->unk, e);
    if (rc)
        return rc;
    if (is(&model, "gpt2")) {
        s->unk = -1; /* bytes all have a token: nothing is unknown */
        return read_gpt2(s, g, e);
    }
    if (is(&model, "llama"))
        return read_sentencepiece(s, g, false, e);
    if (is(&model, "t5"))
        return read_sentencepiece(s, g, true, e);
    if (is(&model, "bert"))
        return read_bert(s, e);
    return err_set(e, ERR_FORMAT, KEY("model") ": \"%.*s\": want gpt2, llama, t5 or bert",
                   (int)(model.len < 60 ? model.len : 60), model.data);
}

/* ---- our own key ---- */

static int read_added(struct tokenizer_spec *s, const json_t *list, struct err *e)
{
    size_t i, n = json_array_size(list);
    json_t *v;
    s->added = arena_alloc(&s->arena, n + 1, sizeof *s->added);
    if (!s->added)
        return err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    json_array_foreach((json_t *)list, i, v)
    {
        struct spec_added *a = &s->added[s->added_count++];
        a->id = -1;
        int rc = added_fields(a, v, e);
        if (rc)
            return err_prefix(e, "added: entry %zu: ", i);
    }
    return 0;
}

static void mark_outside(struct tokenizer_spec *s, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t id = json_integer_value(json_array_get(list, i));
        if (id >= 0 && (size_t)id < s->pieces)
            s->piece[id].outside = true;
    }
}

static int read_own_sentencepiece(struct tokenizer_spec *s, const struct gguf *g, const json_t *o,
                                  struct err *e)
{
    struct spec_normalizer z = {.kind = NORMALIZER_SENTENCEPIECE};
    int rc = field_bool(o, "dummy_prefix", &z.dummy_prefix, e);
    if (!rc)
        rc = field_bool(o, "remove_extra_whitespaces", &z.remove_extra_whitespaces, e);
    if (!rc)
        rc = field_bool(o, "escape_whitespaces", &z.escape_whitespaces, e);
    if (!rc)
        rc = field_bool(o, "whitespace_suffix", &z.whitespace_suffix, e);
    if (!rc)
        rc = field_bool(o, "keep_user", &z.keep_user, e);
    if (!rc)
        rc = read_charsmap(s, g, &z.charsmap, e);
    s->normalizer = arena_alloc(&s->arena, 1, sizeof *s->normalizer);
    if (!rc && !s->normalizer)
        rc = err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    if (!rc) {
        *s->normalizer = z;
        s->normalizers = 1;
    }
    return rc;
}

/* "model": one of names; its index. */
static int read_choice(const json_t *o, const char *key, const char *const *names, size_t n, int *out,
                       struct err *e)
{
    const char *v = json_string_value(json_object_get(o, key));
    for (size_t i = 0; v && i < n; i++)
        if (!strcmp(v, names[i])) {
            *out = (int)i;
            return 0;
        }
    return err_set(e, ERR_FORMAT, "%s: \"%.40s\" is not known", key, v ? v : "");
}

static int read_flags(struct tokenizer_spec *s, const json_t *o, struct err *e)
{
    const struct {
        const char *key;
        bool *flag;
    } flags[] = {
        {"fuse_unk", &s->fuse_unk},           {"byte_fallback", &s->byte_fallback},
        {"ignore_merges", &s->ignore_merges}, {"single_precision", &s->single_precision},
        {"inline_user", &s->inline_user},     {"strip_prefix", &s->strip_prefix},
    };
    int rc = 0;
    for (size_t i = 0; i < COUNT_OF(flags) && !rc; i++)
        rc = field_bool(o, flags[i].key, flags[i].flag, e);
    return rc;
}

static int read_own_fields(struct tokenizer_spec *s, const json_t *o, struct err *e)
{
    int model = 0, decoder = 0;
    int32_t most = 100;
    int rc = read_choice(o, "model", own_models, OWN_MODELS, &model, e);
    if (!rc)
        rc = read_choice(o, "decoder", own_decoders, OWN_DECODERS, &decoder, e);
    s->model = (enum tokenizer_model)model;
    s->decoder = (enum tokenizer_decoder)decoder;
    if (!rc)
        rc = read_flags(s, o, e);
    if (!rc)
        rc = field_id(o, "unk", &s->unk, e);
    if (!rc)
        rc = field_id(o, "max_word_chars", &most, e);
    s->max_word_chars = (size_t)most;
    if (!rc)
        rc = field_string(o, "continuing_prefix", &s->arena, &s->continuing_prefix, e);
    if (!rc)
        rc = field_string(o, "word_suffix", &s->arena, &s->word_suffix, e);
    if (!rc)
        rc = field_string(o, "pre", &s->arena, &s->pre, e);
    mark_outside(s, json_object_get(o, "outside"));
    return rc ? rc : read_added(s, json_object_get(o, "added"), e);
}

/* In SentencePiece files other programs want spaces as such in user-defined pieces. */
static int restore_spaces(struct tokenizer_spec *s, struct err *e)
{
    for (size_t i = 0; i < s->pieces; i++) {
        struct spec_piece *p = &s->piece[i];
        if (p->kind != TOKEN_USER || !p->bytes || !memchr(p->bytes, ' ', p->len))
            continue;
        char *text = arena_alloc(&s->arena, (size_t)p->len + 1, 3);
        size_t n = 0;
        if (!text)
            return err_set(e, ERR_MEMORY, "out of memory for %zu tokens", s->pieces);
        for (size_t k = 0; k < p->len; k++)
            if (p->bytes[k] == ' ') {
                memcpy(text + n, "\xE2\x96\x81", 3);
                n += 3;
            } else {
                text[n++] = p->bytes[k];
            }
        p->bytes = text;
        p->len = (uint32_t)n;
    }
    return 0;
}

static int read_own(struct tokenizer_spec *s, const struct gguf *g, const json_t *o, struct err *e)
{
    int rc = read_own_fields(s, o, e);
    const json_t *spm = json_object_get(o, "sentencepiece");
    if (!rc && s->model == MODEL_BPE)
        rc = read_merges(s, g, e);
    if (!rc && s->model == MODEL_WORDPIECE)
        rc = undo_phantom_space(s, e);
    if (!rc && s->inline_user)
        rc = restore_spaces(s, e);
    if (!rc && json_is_object(spm))
        rc = read_own_sentencepiece(s, g, spm, e);
    else if (!rc)
        rc = spec_normalizers(s, json_object_get(o, "normalizer"), e);
    return rc ? rc : spec_pretokenizers(s, json_object_get(o, "pre_tokenizer"), e);
}

int spec_from_gguf(struct tokenizer_spec *s, const struct gguf *g, struct err *e)
{
    struct gguf_string own = {0};
    json_t *o = NULL;
    int rc = read_pieces(s, g, e);
    if (!rc)
        rc = read_ids(s, g, e);
    if (!rc)
        rc = gguf_get_string(g, GYEOL_TOKENIZER_KEY, &own, e);
    if (rc || !own.data)
        return rc ? rc : read_standard(s, g, e);
    rc = json_read(&o, own.data, own.len, e);
    if (!rc)
        rc = read_own(s, g, o, e);
    json_decref(o);
    return rc ? err_prefix(e, GYEOL_TOKENIZER_KEY ": ") : 0;
}

int tokenizer_from_gguf(struct tokenizer **out, const struct gguf *g, struct err *e)
{
    struct tokenizer_spec s;
    spec_init(&s);
    int rc = spec_from_gguf(&s, g, e);
    if (!rc)
        rc = tokenizer_new(out, &s, e);
    spec_deinit(&s);
    return rc ? err_prefix(e, "%s: ", gguf_name(g)) : 0;
}
