/* The older files of a Hugging Face directory: vocab.json with merges.txt (byte-level BPE), vocab.txt
 * (WordPiece), and the side files that say which tokens are special. They are put into the form of a
 * tokenizer.json and read as one. */
#include "base/file.h"
#include "base/size.h"
#include "format/tokenizer_int.h"
#include "text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- side files ---- */

struct side {
    json_t *config, *special, *added; /* NULL: not there */
};

static int load_optional(json_t **out, const char *dir, const char *name, size_t flags, struct err *e)
{
    struct buf path = {0};
    struct file_map m;
    buf_printf(&path, "%s%s", dir, name);
    int rc = buf_check(&path, name, e);
    if (!rc && access(path.data, F_OK) == 0) {
        rc = file_map_open(&m, path.data, e);
        if (!rc) {
            rc = json_read_with(out, (const char *)m.data, m.len, flags, e);
            if (rc)
                err_prefix(e, "%s: ", path.data);
            file_map_close(&m);
        }
    }
    buf_deinit(&path);
    return rc;
}

static void side_close(struct side *s)
{
    json_decref(s->config);
    json_decref(s->special);
    json_decref(s->added);
    *s = (struct side){0};
}

static int side_open(struct side *s, const char *dir, struct err *e)
{
    *s = (struct side){0};
    /* model_max_length is often 10^30, which no integer holds */
    int rc = load_optional(&s->config, dir, "tokenizer_config.json", JSON_DECODE_INT_AS_REAL, e);
    if (!rc)
        rc = load_optional(&s->special, dir, "special_tokens_map.json", 0, e);
    if (!rc)
        rc = load_optional(&s->added, dir, "added_tokens.json", 0, e);
    if (rc)
        side_close(s);
    return rc;
}

/* "bos_token": "<s>", or an object with content. NULL: none. */
static const json_t *content_of(const json_t *v)
{
    const json_t *c = json_is_object(v) ? json_object_get(v, "content") : v;
    return json_is_string(c) ? c : NULL;
}

static const json_t *named(const struct side *s, const char *key)
{
    const json_t *c = content_of(json_object_get(s->config, key));
    return c ? c : content_of(json_object_get(s->special, key));
}

static void find_id(const struct tokenizer_spec *s, const json_t *content, int32_t *out)
{
    for (size_t i = 0; content && i < s->pieces; i++)
        if (s->piece[i].bytes && s->piece[i].len == json_string_length(content) &&
            memcmp(s->piece[i].bytes, json_string_value(content), s->piece[i].len) == 0) {
            *out = (int32_t)i;
            return;
        }
}

static int apply_side(struct tokenizer_spec *s, const struct side *x, struct err *e)
{
    find_id(s, named(x, "bos_token"), &s->bos);
    find_id(s, named(x, "eos_token"), &s->eos);
    find_id(s, named(x, "pad_token"), &s->pad);
    int rc = field_bool(x->config, "add_bos_token", &s->add_bos, e);
    if (!rc)
        rc = field_bool(x->config, "add_eos_token", &s->add_eos, e);
    return rc ? err_prefix(e, "tokenizer_config.json: ") : 0;
}

int spec_side_files(struct tokenizer_spec *s, const char *dir, struct err *e)
{
    struct side x;
    int rc = side_open(&x, dir, e);
    if (!rc)
        rc = apply_side(s, &x, e);
    side_close(&x);
    return rc;
}

/* ---- added tokens in tokenizer.json's form ---- */

static const char *const special_keys[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                           "pad_token", "cls_token", "mask_token"};

struct listing {
    json_t *list, *seen; /* seen: an object whose keys are the contents */
};

/* Adds a token unless its content is listed already. v: a string, or an object with content and flags. */
static void list_token(struct listing *l, const json_t *v, const json_t *id, bool special)
{
    const json_t *content = content_of(v);
    if (!content || json_object_get(l->seen, json_string_value(content)))
        return;
    json_object_set_new(l->seen, json_string_value(content), json_true());
    json_t *t = json_is_object(v) ? json_copy((json_t *)v) : json_object();
    json_object_set(t, "content", (json_t *)content);
    if (id)
        json_object_set(t, "id", (json_t *)id);
    if (!json_object_get(t, "special"))
        json_object_set_new(t, "special", json_boolean(special));
    json_array_append_new(l->list, t);
}

static bool is_special(const struct side *x, const char *content)
{
    const json_t *sources[] = {x->config, x->special};
    for (size_t k = 0; k < COUNT_OF(sources); k++) {
        for (size_t i = 0; i < COUNT_OF(special_keys); i++) {
            const json_t *c = content_of(json_object_get(sources[k], special_keys[i]));
            if (c && !strcmp(json_string_value(c), content))
                return true;
        }
        const json_t *more = json_object_get(sources[k], "additional_special_tokens");
        for (size_t i = 0; i < json_array_size(more); i++) {
            const json_t *c = content_of(json_array_get(more, i));
            if (c && !strcmp(json_string_value(c), content))
                return true;
        }
    }
    return false;
}

static void list_decoder(struct listing *l, const struct side *x)
{
    const char *key;
    json_t *v;
    json_object_foreach(json_object_get(x->config, "added_tokens_decoder"), key, v)
    {
        json_t *id = json_integer(strtoll(key, NULL, 10));
        list_token(l, v, id, false);
        json_decref(id);
    }
}

static void list_added(struct listing *l, const struct side *x)
{
    const char *key;
    json_t *id;
    json_object_foreach(x->added, key, id)
    {
        json_t *content = json_string(key);
        list_token(l, content, id, is_special(x, key));
        json_decref(content);
    }
}

/* Special tokens that the vocabulary itself has: added only if it does. */
static void list_special(struct listing *l, const json_t *source, const json_t *vocab)
{
    for (size_t i = 0; i < COUNT_OF(special_keys); i++) {
        const json_t *v = json_object_get(source, special_keys[i]), *c = content_of(v);
        if (c && json_object_get(vocab, json_string_value(c)))
            list_token(l, v, NULL, true);
    }
    const json_t *more = json_object_get(source, "additional_special_tokens");
    for (size_t i = 0; i < json_array_size(more); i++) {
        const json_t *v = json_array_get(more, i), *c = content_of(v);
        if (c && json_object_get(vocab, json_string_value(c)))
            list_token(l, v, NULL, true);
    }
}

static struct listing added_tokens(const struct side *x, const json_t *vocab)
{
    struct listing l = {json_array(), json_object()};
    list_decoder(&l, x);
    list_added(&l, x);
    list_special(&l, x->special, vocab);
    list_special(&l, x->config, vocab);
    return l;
}

static int read_root(struct tokenizer_spec *s, json_t *root, const struct side *x, struct err *e)
{
    int rc = root ? spec_from_json(s, root, e) : err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    json_decref(root);
    return rc ? rc : apply_side(s, x, e);
}

static int class_refused(const json_t *config, const char *const *known, size_t n, struct err *e)
{
    const char *name = json_string_value(json_object_get(config, "tokenizer_class"));
    for (size_t i = 0; name && i < n; i++)
        if (!strncmp(name, known[i], strlen(known[i])) &&
            (!name[strlen(known[i])] || !strcmp(name + strlen(known[i]), "Fast")))
            return 0;
    return name ? err_set(e, ERR_FORMAT, "tokenizer_config.json: tokenizer_class \"%.60s\" is not supported",
                          name)
                : 0;
}

/* ---- beside tokenizer.model ---- */

static bool same_text(const struct spec_piece *p, const json_t *content)
{
    return p->bytes && p->len == json_string_length(content) &&
           memcmp(p->bytes, json_string_value(content), p->len) == 0;
}

/* Tokens that the model lacks come behind its pieces, each at the id it declares. */
static int place_behind(struct tokenizer_spec *s, size_t room, const json_t *t, struct err *e)
{
    const json_t *content = json_object_get(t, "content");
    struct spec_added a = {.id = -1};
    struct spec_string text = {0};
    int rc = added_fields(&a, t, e);
    if (!rc && a.id >= 0 && (size_t)a.id < s->pieces && same_text(&s->piece[a.id], content))
        return 0;
    if (!rc && (a.id < 0 || (size_t)a.id >= room || s->piece[a.id].bytes))
        rc = err_set(e, ERR_FORMAT, "added token \"%.40s\": id %d is not free", json_string_value(content),
                     a.id);
    if (!rc)
        rc = spec_copy(&s->arena, json_string_value(content), json_string_length(content), &text, e);
    if (rc || text.len == 0)
        return rc;
    a.normalized = false;
    s->piece[a.id] = (struct spec_piece){.bytes = text.bytes,
                                         .len = (uint32_t)text.len,
                                         .kind = a.special ? TOKEN_CONTROL : TOKEN_USER,
                                         .outside = true};
    s->added[s->added_count++] = a;
    s->pieces = (size_t)a.id >= s->pieces ? (size_t)a.id + 1 : s->pieces;
    return 0;
}

static int add_behind(struct tokenizer_spec *s, const json_t *list, struct err *e)
{
    size_t more = json_array_size(list), room = s->pieces + more, i;
    struct spec_piece *piece = arena_alloc(&s->arena, room + 1, sizeof *piece);
    struct spec_added *added = arena_alloc(&s->arena, s->added_count + more + 1, sizeof *added);
    json_t *t;
    int rc = 0;
    if (!piece || !added)
        return err_set(e, ERR_MEMORY, "out of memory for %zu tokens", room);
    for (size_t k = s->pieces; k < room; k++)
        piece[k].kind = TOKEN_UNUSED;
    memcpy(piece, s->piece, s->pieces * sizeof *piece);
    memcpy(added, s->added, s->added_count * sizeof *added);
    s->piece = piece;
    s->added = added;
    json_array_foreach((json_t *)list, i, t)
    {
        rc = place_behind(s, room, t, e);
        if (rc)
            break;
    }
    return rc;
}

int spec_model_side_files(struct tokenizer_spec *s, const char *dir, struct err *e)
{
    struct side x;
    int rc = side_open(&x, dir, e);
    if (rc)
        return rc;
    struct listing l = {json_array(), json_object()};
    list_decoder(&l, &x);
    list_added(&l, &x);
    if (json_array_size(l.list) > 0)
        rc = add_behind(s, l.list, e);
    json_decref(l.list);
    json_decref(l.seen);
    if (!rc)
        rc = apply_side(s, &x, e);
    side_close(&x);
    return rc;
}

/* ---- vocab.json and merges.txt ---- */

static int add_lines(json_t *list, const char *s, size_t n, struct err *e)
{
    for (size_t i = 0, end, line = 1; i < n; i = end + 1, line++) {
        const char *nl = memchr(s + i, '\n', n - i);
        end = nl ? (size_t)(nl - s) : n;
        size_t len = end - i - (end > i && s[end - 1] == '\r');
        if (len == 0 || (len >= 8 && memcmp(s + i, "#version", 8) == 0))
            continue;
        json_t *v = json_stringn(s + i, len);
        if (!v)
            return err_set(e, ERR_FORMAT, "merges.txt: line %zu: not UTF-8", line);
        json_array_append_new(list, v);
    }
    return 0;
}

static int load_merges(json_t *list, const char *dir, struct err *e)
{
    struct buf path = {0};
    struct file_map m;
    buf_printf(&path, "%smerges.txt", dir);
    int rc = buf_check(&path, "path", e);
    if (!rc)
        rc = file_map_open(&m, path.data, e);
    buf_deinit(&path);
    if (rc)
        return rc;
    rc = add_lines(list, (const char *)m.data, m.len, e);
    file_map_close(&m);
    return rc;
}

static json_t *byte_level_steps(const struct side *x, bool qwen)
{
    const struct preset *p = qwen ? preset_find("qwen2", 5) : preset_find("gpt-2", 5);
    json_t *v = json_loads(p->pretokenizer, 0, NULL);
    if (json_is_true(json_object_get(x->config, "add_prefix_space")) && !qwen)
        json_object_set_new(v, "add_prefix_space", json_true());
    return v;
}

static int from_vocab_and_merges(struct tokenizer_spec *s, const struct side *x, json_t *vocab,
                                 json_t *merges, struct err *e)
{
    static const char *const known[] = {"GPT2Tokenizer",    "RobertaTokenizer", "BartTokenizer",
                                        "LEDTokenizer",     "CodeGenTokenizer", "LongformerTokenizer",
                                        "WhisperTokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer"};
    int rc = class_refused(x->config, known, COUNT_OF(known), e);
    const char *name = json_string_value(json_object_get(x->config, "tokenizer_class"));
    bool qwen = name && !strncmp(name, "Qwen2", 5);
    if (rc)
        return rc;
    struct listing l = added_tokens(x, vocab);
    json_t *root =
        json_pack("{s:{s:s, s:O, s:O}, s:o, s:o, s:o?}", "model", "type", "BPE", "vocab", vocab, "merges",
                  merges, "added_tokens", l.list, "pre_tokenizer", byte_level_steps(x, qwen), "normalizer",
                  qwen ? json_pack("{s:s}", "type", "NFC") : NULL);
    json_decref(l.seen);
    return read_root(s, root, x, e);
}

int spec_from_vocab_json(struct tokenizer_spec *s, const char *dir, const char *bytes, size_t n,
                         struct err *e)
{
    struct side x;
    json_t *vocab = NULL, *merges = json_array();
    (void)bytes, (void)n;
    int rc = side_open(&x, dir, e);
    if (!rc)
        rc = load_optional(&vocab, dir, "vocab.json", 0, e);
    if (!rc)
        rc = load_merges(merges, dir, e);
    if (!rc && !vocab)
        rc = err_set(e, ERR_MISSING, "no vocab.json beside it");
    if (!rc)
        rc = from_vocab_and_merges(s, &x, vocab, merges, e);
    json_decref(vocab);
    json_decref(merges);
    side_close(&x);
    return rc;
}

/* ---- vocab.txt ---- */

static int read_lines(json_t *vocab, const char *s, size_t n, struct err *e)
{
    json_int_t id = 0;
    for (size_t i = 0, end; i < n; i = end + 1, id++) {
        const char *nl = memchr(s + i, '\n', n - i);
        end = nl ? (size_t)(nl - s) : n;
        size_t len = end - i - (end > i && s[end - 1] == '\r');
        if (len == 0)
            continue;
        if (!utf8_valid(s + i, len, NULL) || memchr(s + i, 0, len))
            return err_set(e, ERR_FORMAT, "line %lld: want UTF-8 without NUL", (long long)id + 1);
        json_object_setn_new(vocab, s + i, len, json_integer(id));
    }
    return 0;
}

static json_t *flag(const json_t *config, const char *key, bool otherwise)
{
    const json_t *v = json_object_get(config, key);
    return json_boolean(json_is_boolean(v) ? json_is_true(v) : otherwise);
}

static json_t *bert_normalizer(const json_t *config)
{
    json_t *z = json_pack("{s:s, s:b, s:o, s:o}", "type", "BertNormalizer", "clean_text", 1,
                          "handle_chinese_chars", flag(config, "tokenize_chinese_chars", true), "lowercase",
                          flag(config, "do_lower_case", true));
    const json_t *accents = json_object_get(config, "strip_accents");
    if (json_is_boolean(accents))
        json_object_set(z, "strip_accents", (json_t *)accents);
    return z;
}

/* BERT's special tokens are known by their names where no side file gives others. */
static void list_bert_defaults(struct listing *l, const json_t *vocab)
{
    static const char *const names[] = {"[UNK]", "[SEP]", "[PAD]", "[CLS]", "[MASK]"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        json_t *content = json_string(names[i]);
        if (json_object_get(vocab, names[i]))
            list_token(l, content, NULL, true);
        json_decref(content);
    }
}

static int from_lines(struct tokenizer_spec *s, const struct side *x, json_t *vocab, struct err *e)
{
    static const char *const known[] = {"BertTokenizer",       "DistilBertTokenizer", "ElectraTokenizer",
                                        "MobileBertTokenizer", "MPNetTokenizer",      "RetriBertTokenizer",
                                        "LayoutLMTokenizer",   "BasicTokenizer"};
    int rc = class_refused(x->config, known, COUNT_OF(known), e);
    if (rc)
        return rc;
    const json_t *unk = named(x, "unk_token");
    struct listing l = added_tokens(x, vocab);
    list_bert_defaults(&l, vocab);
    json_t *root =
        json_pack("{s:{s:s, s:O, s:s}, s:o, s:o, s:{s:s}}", "model", "type", "WordPiece", "vocab", vocab,
                  "unk_token", unk ? json_string_value(unk) : "[UNK]", "added_tokens", l.list, "normalizer",
                  bert_normalizer(x->config), "pre_tokenizer", "type", "BertPreTokenizer");
    json_decref(l.seen);
    return read_root(s, root, x, e);
}

int spec_from_vocab_txt(struct tokenizer_spec *s, const char *dir, const char *bytes, size_t n, struct err *e)
{
    struct side x;
    int rc = side_open(&x, dir, e);
    if (rc)
        return rc;
    json_t *vocab = json_object();
    rc = vocab ? read_lines(vocab, bytes, n, e) : err_set(e, ERR_MEMORY, "out of memory for a vocabulary");
    if (!rc)
        rc = from_lines(s, &x, vocab, e);
    json_decref(vocab);
    side_close(&x);
    return rc;
}
