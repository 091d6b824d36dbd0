/* tokenizer.json of Hugging Face's tokenizers library: the vocabulary and merges, the steps before them, the
 * added tokens. Truncation, padding and the post-processor are about training and prompts, not about what the
 * text's tokens are, and are left alone. */
#include "base/size.h"
#include "format/tokenizer_int.h"
#include "text/vocab.h"

#include <stdlib.h>
#include <string.h>

int json_read_with(json_t **out, const char *bytes, size_t n, size_t flags, struct err *e)
{
    json_error_t why;
    *out = json_loadb(n ? bytes : "", n, JSON_ALLOW_NUL | flags, &why);
    if (*out)
        return 0;
    return err_set(e, ERR_FORMAT, "line %d: %s", why.line, why.text);
}

int json_read(json_t **out, const char *bytes, size_t n, struct err *e)
{
    return json_read_with(out, bytes, n, 0, e);
}

int spec_copy(struct arena *a, const char *s, size_t n, struct spec_string *out, struct err *e)
{
    char *copy = arena_copy(a, s, n);
    if (!copy || n > INT32_MAX)
        return err_set(e, ERR_MEMORY, "out of memory for a string of %zu bytes", n);
    *out = (struct spec_string){copy, n};
    return 0;
}

static bool absent(const json_t *v)
{
    return !v || json_is_null(v);
}

int field_bool(const json_t *o, const char *key, bool *out, struct err *e)
{
    const json_t *v = json_object_get(o, key);
    if (absent(v))
        return 0;
    if (!json_is_boolean(v))
        return err_set(e, ERR_FORMAT, "%s: want true or false", key);
    *out = json_is_true(v);
    return 0;
}

int field_id(const json_t *o, const char *key, int32_t *out, struct err *e)
{
    const json_t *v = json_object_get(o, key);
    if (absent(v))
        return 0;
    json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
    if (id < 0 || id > INT32_MAX)
        return err_set(e, ERR_FORMAT, "%s: want a whole number from 0 to %d", key, INT32_MAX);
    *out = (int32_t)id;
    return 0;
}

int field_string(const json_t *o, const char *key, struct arena *a, struct spec_string *out, struct err *e)
{
    const json_t *v = json_object_get(o, key);
    if (absent(v))
        return 0;
    if (!json_is_string(v))
        return err_set(e, ERR_FORMAT, "%s: want a string", key);
    return spec_copy(a, json_string_value(v), json_string_length(v), out, e);
}

/* ---- pieces ---- */

static int grow_table(struct piece_table *v, size_t id, struct err *e)
{
    size_t capacity = v->capacity ? v->capacity : 256, bytes;
    while (capacity <= id)
        capacity *= 2;
    struct spec_piece *p = size_mul(capacity, sizeof *p, &bytes) ? realloc(v->piece, bytes) : NULL;
    if (!p)
        return err_set(e, ERR_MEMORY, "out of memory for a vocabulary of %zu", capacity);
    v->piece = p;
    for (size_t i = v->capacity; i < capacity; i++)
        p[i] = (struct spec_piece){.kind = TOKEN_UNUSED};
    v->capacity = capacity;
    return 0;
}

int piece_put(struct piece_table *v, struct arena *a, int64_t id, const char *s, size_t n,
              enum token_kind kind, double score, struct err *e)
{
    struct spec_string copy = {0};
    if (id < 0 || (uint64_t)id >= v->most || (uint64_t)id >= INT32_MAX)
        return err_set(e, ERR_FORMAT,
                       "token id %lld: want at least 0 and less than %zu in a vocabulary of this size",
                       (long long)id, v->most);
    int rc = (size_t)id >= v->capacity ? grow_table(v, (size_t)id, e) : 0;
    if (!rc && v->piece[id].bytes)
        rc = err_set(e, ERR_FORMAT, "token id %lld is there twice", (long long)id);
    if (!rc)
        rc = spec_copy(a, s, n, &copy, e);
    if (rc)
        return rc;
    v->piece[id] = (struct spec_piece){.bytes = copy.bytes, .len = (uint32_t)n, .kind = kind, .score = score};
    v->n = (size_t)id >= v->n ? (size_t)id + 1 : v->n;
    return 0;
}

int piece_table_give(struct piece_table *v, struct tokenizer_spec *s, struct err *e)
{
    s->piece = arena_alloc(&s->arena, v->n + 1, sizeof *s->piece);
    if (s->piece && v->n)
        memcpy(s->piece, v->piece, v->n * sizeof *s->piece);
    s->pieces = s->piece ? v->n : 0;
    size_t n = v->n;
    piece_table_deinit(v);
    return s->piece ? 0 : err_set(e, ERR_MEMORY, "out of memory for a vocabulary of %zu", n);
}

void piece_table_deinit(struct piece_table *v)
{
    free(v->piece);
    *v = (struct piece_table){0};
}

/* "vocab": {"piece": id} */
static int read_vocab(struct piece_table *v, struct arena *a, const json_t *vocab, struct err *e)
{
    const char *key;
    size_t len;
    json_t *id;
    int rc = 0;
    if (!json_is_object(vocab))
        return err_set(e, ERR_FORMAT, "vocab: want an object");
    json_object_keylen_foreach((json_t *)vocab, key, len, id)
    {
        if (!json_is_integer(id))
            return err_set(e, ERR_FORMAT, "vocab: \"%.40s\": want a whole number", key);
        rc = piece_put(v, a, json_integer_value(id), key, len, TOKEN_NORMAL, 0, e);
        if (rc)
            return err_prefix(e, "vocab: ");
    }
    return 0;
}

/* "vocab": [["piece", score]] of Unigram */
static int read_scored_vocab(struct piece_table *v, struct arena *a, const json_t *vocab, struct err *e)
{
    size_t i;
    json_t *entry;
    if (!json_is_array(vocab))
        return err_set(e, ERR_FORMAT, "vocab: want an array");
    json_array_foreach((json_t *)vocab, i, entry)
    {
        const json_t *piece = json_array_get(entry, 0), *score = json_array_get(entry, 1);
        if (!json_is_string(piece) || !json_is_number(score))
            return err_set(e, ERR_FORMAT, "vocab: entry %zu: want [piece, score]", i);
        int rc = piece_put(v, a, (int64_t)i, json_string_value(piece), json_string_length(piece),
                           TOKEN_NORMAL, json_number_value(score), e);
        if (rc)
            return err_prefix(e, "vocab: ");
    }
    return 0;
}

/* ---- merges ---- */

static int merge_of_string(struct arena *a, const json_t *v, struct spec_merge *m, struct err *e)
{
    const char *s = json_string_value(v), *space;
    size_t n = json_string_length(v);
    space = memchr(s, ' ', n);
    if (!space || memchr(space + 1, ' ', n - (size_t)(space + 1 - s)))
        return err_set(e, ERR_FORMAT, "want two pieces and a space between them");
    struct spec_string copy = {0};
    int rc = spec_copy(a, s, n, &copy, e);
    if (rc)
        return rc;
    size_t left = (size_t)(space - s);
    m->left = (struct spec_string){copy.bytes, left};
    m->right = (struct spec_string){copy.bytes + left + 1, n - left - 1};
    return 0;
}

static int merge_of_pair(struct arena *a, const json_t *v, struct spec_merge *m, struct err *e)
{
    const json_t *l = json_array_get(v, 0), *r = json_array_get(v, 1);
    if (json_array_size(v) != 2 || !json_is_string(l) || !json_is_string(r))
        return err_set(e, ERR_FORMAT, "want two pieces");
    int rc = spec_copy(a, json_string_value(l), json_string_length(l), &m->left, e);
    return rc ? rc : spec_copy(a, json_string_value(r), json_string_length(r), &m->right, e);
}

static int read_merges(struct tokenizer_spec *s, const json_t *merges, struct err *e)
{
    size_t i;
    json_t *v;
    if (!json_is_array(merges))
        return err_set(e, ERR_FORMAT, "merges: want an array");
    s->merges = json_array_size(merges);
    s->merge = arena_alloc(&s->arena, s->merges + 1, sizeof *s->merge);
    if (!s->merge)
        return err_set(e, ERR_MEMORY, "out of memory for %zu merges", s->merges);
    json_array_foreach((json_t *)merges, i, v)
    {
        int rc = json_is_string(v) ? merge_of_string(&s->arena, v, &s->merge[i], e)
                                   : merge_of_pair(&s->arena, v, &s->merge[i], e);
        if (rc)
            return err_prefix(e, "merges: entry %zu: ", i);
    }
    return 0;
}

/* ---- models ---- */

struct reading {
    struct tokenizer_spec *s;
    struct piece_table pieces;
    struct spec_string unk_token;
};

static int read_bpe(struct reading *r, const json_t *m, struct err *e)
{
    struct tokenizer_spec *s = r->s;
    const json_t *dropout = json_object_get(m, "dropout");
    s->model = MODEL_BPE;
    if (json_is_number(dropout) && json_number_value(dropout) > 0)
        return err_set(e, ERR_FORMAT, "dropout %g: such a tokenizer is random", json_number_value(dropout));
    int rc = read_vocab(&r->pieces, &s->arena, json_object_get(m, "vocab"), e);
    if (!rc)
        rc = read_merges(s, json_object_get(m, "merges"), e);
    if (!rc)
        rc = field_string(m, "unk_token", &s->arena, &r->unk_token, e);
    if (!rc)
        rc = field_string(m, "continuing_subword_prefix", &s->arena, &s->continuing_prefix, e);
    if (!rc)
        rc = field_string(m, "end_of_word_suffix", &s->arena, &s->word_suffix, e);
    if (!rc)
        rc = field_bool(m, "fuse_unk", &s->fuse_unk, e);
    if (!rc)
        rc = field_bool(m, "byte_fallback", &s->byte_fallback, e);
    return rc ? rc : field_bool(m, "ignore_merges", &s->ignore_merges, e);
}

static int read_unigram(struct reading *r, const json_t *m, struct err *e)
{
    struct tokenizer_spec *s = r->s;
    s->model = MODEL_UNIGRAM;
    s->fuse_unk = true;
    int rc = read_scored_vocab(&r->pieces, &s->arena, json_object_get(m, "vocab"), e);
    if (!rc)
        rc = field_id(m, "unk_id", &s->unk, e);
    if (!rc && s->unk >= 0 && (size_t)s->unk >= r->pieces.n)
        rc = err_set(e, ERR_FORMAT, "unk_id %d: the vocabulary has %zu", s->unk, r->pieces.n);
    return rc ? rc : field_bool(m, "byte_fallback", &s->byte_fallback, e);
}

static int read_wordpiece(struct reading *r, const json_t *m, struct err *e)
{
    struct tokenizer_spec *s = r->s;
    int32_t most = 100;
    s->model = MODEL_WORDPIECE;
    s->decoder = DECODER_WORDPIECE;
    s->continuing_prefix = (struct spec_string){"##", 2};
    int rc = read_vocab(&r->pieces, &s->arena, json_object_get(m, "vocab"), e);
    if (!rc)
        rc = field_string(m, "unk_token", &s->arena, &r->unk_token, e);
    if (!rc)
        rc = field_string(m, "continuing_subword_prefix", &s->arena, &s->continuing_prefix, e);
    if (!rc)
        rc = field_id(m, "max_input_chars_per_word", &most, e);
    s->max_word_chars = (size_t)most;
    return rc;
}

/* Files from before models had a type are told apart by their fields, as the library does. */
static const char *model_type(const json_t *m)
{
    const json_t *type = json_object_get(m, "type");
    if (json_is_string(type))
        return json_string_value(type);
    if (json_is_array(json_object_get(m, "vocab")))
        return "Unigram";
    return json_object_get(m, "merges") ? "BPE" : "WordPiece";
}

static int read_model(struct reading *r, const json_t *m, struct err *e)
{
    const char *type = model_type(m);
    if (!json_is_object(m))
        return err_set(e, ERR_FORMAT, "want an object");
    const json_t *vocab = json_object_get(m, "vocab");
    /* Ids may have holes, but not so many that the table of them is out of proportion to the file. */
    r->pieces.most = 4 * (json_is_array(vocab) ? json_array_size(vocab) : json_object_size(vocab)) + 65536;
    if (!strcmp(type, "BPE"))
        return read_bpe(r, m, e);
    if (!strcmp(type, "Unigram"))
        return read_unigram(r, m, e);
    if (!strcmp(type, "WordPiece"))
        return read_wordpiece(r, m, e);
    return err_set(e, ERR_FORMAT, "type \"%.40s\": want BPE, Unigram or WordPiece", type);
}

/* ---- added tokens ---- */

int added_fields(struct spec_added *a, const json_t *v, struct err *e)
{
    const struct {
        const char *key;
        bool *flag;
    } flags[] = {{"special", &a->special},
                 {"single_word", &a->single_word},
                 {"lstrip", &a->lstrip},
                 {"rstrip", &a->rstrip},
                 {"normalized", &a->normalized}};
    int rc = field_id(v, "id", &a->id, e);
    for (size_t i = 0; i < COUNT_OF(flags) && !rc; i++)
        rc = field_bool(v, flags[i].key, flags[i].flag, e);
    return rc;
}

/* Unless the file says otherwise, special tokens are matched in the text as it is. */
static int read_added(struct spec_added *a, const json_t *v, struct err *e)
{
    *a = (struct spec_added){.id = -1, .normalized = !json_is_true(json_object_get(v, "special"))};
    return added_fields(a, v, e);
}

/* The piece of an added token: one of the model's, or one of its own at the id it declares. */
static int place_added(struct reading *r, struct spec_added *a, const char *s, size_t n, int32_t in_model,
                       struct err *e)
{
    enum token_kind kind = a->special ? TOKEN_CONTROL : TOKEN_USER;
    int rc = 0;
    if (in_model >= 0)
        a->id = in_model;
    if (a->id < 0)
        return err_set(e, ERR_FORMAT, "\"%.40s\": id: want a whole number", s);
    const struct spec_piece *p = (size_t)a->id < r->pieces.n ? &r->pieces.piece[a->id] : NULL;
    bool there = p && p->bytes && p->len == n && memcmp(p->bytes, s, n) == 0;
    if (!there) {
        rc = piece_put(&r->pieces, &r->s->arena, a->id, s, n, kind, 0, e);
        if (!rc)
            r->pieces.piece[a->id].outside = true;
    }
    if (!rc)
        r->pieces.piece[a->id].kind = kind;
    return rc;
}

/* The library goes by content: an added token that the model's vocabulary has gets that id whatever it
 * declares. */
static int read_all_added(struct reading *r, const json_t *tokens, int32_t *in_model, struct err *e)
{
    struct tokenizer_spec *s = r->s;
    size_t i;
    json_t *v;
    json_array_foreach((json_t *)tokens, i, v)
    {
        const json_t *content = json_object_get(v, "content");
        struct spec_added *a = &s->added[s->added_count];
        int rc =
            json_is_string(content) ? read_added(a, v, e) : err_set(e, ERR_FORMAT, "content: want a string");
        if (!rc && json_string_length(content) == 0)
            continue;
        if (!rc)
            rc = place_added(r, a, json_string_value(content), json_string_length(content), in_model[i], e);
        if (rc)
            return err_prefix(e, "added_tokens: entry %zu: ", i);
        s->added_count++;
    }
    return 0;
}

static void look_up_added(const struct vocab *v, const json_t *tokens, int32_t *in_model)
{
    size_t i;
    json_t *t;
    json_array_foreach((json_t *)tokens, i, t)
    {
        const json_t *c = json_object_get(t, "content");
        in_model[i] = json_is_string(c) ? vocab_find(v, json_string_value(c), json_string_length(c)) : -1;
    }
}

static int read_added_tokens(struct reading *r, const struct vocab *v, const json_t *tokens, struct err *e)
{
    if (absent(tokens))
        return 0;
    if (!json_is_array(tokens))
        return err_set(e, ERR_FORMAT, "added_tokens: want an array");
    size_t n = json_array_size(tokens);
    int32_t *in_model = calloc(n + 1, sizeof *in_model);
    r->s->added = arena_alloc(&r->s->arena, n + 1, sizeof *r->s->added);
    r->pieces.most += n;
    int rc = 0;
    if (!in_model || !r->s->added) {
        rc = err_set(e, ERR_MEMORY, "out of memory for %zu added tokens", n);
    } else {
        look_up_added(v, tokens, in_model);
        rc = read_all_added(r, tokens, in_model, e);
    }
    free(in_model);
    return rc;
}

/* ---- putting it together ---- */

static bool is_byte_piece(const struct spec_piece *p)
{
    return p->bytes && p->len == 6 && memcmp(p->bytes, "<0x", 3) == 0 && p->bytes[5] == '>' &&
           strspn(p->bytes + 3, "0123456789ABCDEF") == 2;
}

static void settle_kinds(struct reading *r)
{
    for (size_t i = 0; i < r->pieces.n && r->s->byte_fallback; i++)
        if (is_byte_piece(&r->pieces.piece[i]) && r->pieces.piece[i].kind == TOKEN_NORMAL)
            r->pieces.piece[i].kind = TOKEN_BYTE;
    if (r->s->unk >= 0)
        r->pieces.piece[r->s->unk].kind = TOKEN_UNKNOWN;
}

static int read_pieces(struct reading *r, const json_t *root, struct err *e)
{
    struct vocab v;
    int rc = read_model(r, json_object_get(root, "model"), e);
    if (rc)
        return err_prefix(e, "model: ");
    rc = vocab_init(&v, r->pieces.piece, r->pieces.n, e);
    if (rc)
        return rc;
    if (r->unk_token.bytes)
        r->s->unk = vocab_find(&v, r->unk_token.bytes, r->unk_token.len);
    if (r->s->model == MODEL_WORDPIECE && r->s->unk < 0)
        rc = err_set(e, ERR_FORMAT, "model: unk_token \"%.40s\" is not in the vocabulary",
                     r->unk_token.bytes ? r->unk_token.bytes : "");
    if (!rc)
        rc = read_added_tokens(r, &v, json_object_get(root, "added_tokens"), e);
    vocab_deinit(&v);
    if (!rc)
        settle_kinds(r);
    return rc ? rc : piece_table_give(&r->pieces, r->s, e);
}

static bool mentions_type(const json_t *v, const char *type, int depth)
{
    const json_t *t = json_object_get(v, "type");
    if (json_is_string(t) && !strcmp(json_string_value(t), type))
        return true;
    static const char *const lists[] = {"normalizers", "pretokenizers", "decoders", "processors"};
    for (size_t k = 0; k < COUNT_OF(lists) && depth < 8; k++) {
        const json_t *list = json_object_get(v, lists[k]);
        for (size_t i = 0; i < json_array_size(list); i++)
            if (mentions_type(json_array_get(list, i), type, depth + 1))
                return true;
    }
    return false;
}

static bool has_step(const struct tokenizer_spec *s, enum normalizer_kind n, enum pretokenizer_kind p)
{
    for (size_t i = 0; i < s->normalizers; i++)
        if (s->normalizer[i].kind == n)
            return true;
    for (size_t i = 0; i < s->pretokenizers; i++)
        if (s->pretokenizer[i].kind == p)
            return true;
    return false;
}

static bool metaspace(const struct spec_string *s)
{
    return s->len == 3 && memcmp(s->bytes, "\xE2\x96\x81", 3) == 0;
}

/* How to decode follows from the steps: what put spaces and bytes into another form says how they come back.
 */
static void choose_decoder(struct tokenizer_spec *s, const json_t *decoder)
{
    bool marks = s->byte_fallback || mentions_type(decoder, "Metaspace", 0);
    for (size_t i = 0; i < s->normalizers; i++) {
        const struct spec_normalizer *z = &s->normalizer[i];
        marks |= z->kind == NORMALIZER_REPLACE && metaspace(&z->content);
        s->strip_prefix |= z->kind == NORMALIZER_PREPEND && metaspace(&z->content);
    }
    for (size_t i = 0; i < s->pretokenizers; i++) {
        const struct spec_pretokenizer *p = &s->pretokenizer[i];
        marks |= p->kind == PRETOKENIZER_METASPACE;
        s->strip_prefix |= p->kind == PRETOKENIZER_METASPACE && p->prepend != PREPEND_NEVER;
        s->strip_prefix |= p->kind == PRETOKENIZER_BYTE_LEVEL && p->prefix_space;
    }
    if (has_step(s, NORMALIZER_BYTE_LEVEL, PRETOKENIZER_BYTE_LEVEL) || mentions_type(decoder, "ByteLevel", 0))
        s->decoder = DECODER_BYTE_LEVEL;
    else if (s->model != MODEL_WORDPIECE && marks)
        s->decoder = DECODER_METASPACE;
}

/* The template of a single text tells whether the model wants a token before and behind it. */
static void read_template(struct tokenizer_spec *s, const json_t *post, int depth)
{
    const json_t *list = json_object_get(post, "processors"), *single = json_object_get(post, "single");
    for (size_t i = 0; i < json_array_size(list) && depth < 8; i++)
        read_template(s, json_array_get(list, i), depth + 1);
    size_t n = json_array_size(single);
    if (n > 1) {
        s->add_bos |= json_object_get(json_array_get(single, 0), "SpecialToken") != NULL;
        s->add_eos |= json_object_get(json_array_get(single, n - 1), "SpecialToken") != NULL;
    }
}

int spec_from_json(struct tokenizer_spec *s, const json_t *root, struct err *e)
{
    struct reading r = {.s = s};
    if (!json_is_object(root) || !json_is_object(json_object_get(root, "model")))
        return err_set(e, ERR_FORMAT, "no tokenizer: want an object with a field model");
    int rc = read_pieces(&r, root, e);
    piece_table_deinit(&r.pieces);
    if (!rc)
        rc = spec_normalizers(s, json_object_get(root, "normalizer"), e);
    if (!rc)
        rc = spec_pretokenizers(s, json_object_get(root, "pre_tokenizer"), e);
    if (rc)
        return rc;
    choose_decoder(s, json_object_get(root, "decoder"));
    read_template(s, json_object_get(root, "post_processor"), 0);
    const char *pre = preset_name_of(json_object_get(root, "pre_tokenizer"), s->ignore_merges);
    if (pre)
        s->pre = (struct spec_string){pre, strlen(pre)};
    return 0;
}

int tokenizer_parse_json(struct tokenizer **out, const char *name, const char *bytes, size_t n, struct err *e)
{
    struct tokenizer_spec s;
    json_t *root = NULL;
    spec_init(&s);
    int rc = json_read(&root, bytes, n, e);
    if (!rc)
        rc = spec_from_json(&s, root, e);
    json_decref(root);
    if (!rc)
        rc = tokenizer_new(out, &s, e);
    spec_deinit(&s);
    return rc ? err_prefix(e, "%s: ", name) : 0;
}
