/* The normalizer and pre_tokenizer of a tokenizer.json. What the library has and this program does not is
 * refused by name: a step left out would give other tokens. */
#include "base/size.h"
#include "format/tokenizer_int.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 64, DEPTH_MAX = 8 };

static const char *type_of(const json_t *v)
{
    const char *type = json_string_value(json_object_get(v, "type"));
    return type ? type : "";
}

/* {"String": "x"} or {"Regex": "x"} */
static int read_pattern(struct arena *a, const json_t *step, struct spec_string *out, bool *regex,
                        struct err *e)
{
    const json_t *p = json_object_get(step, "pattern");
    *regex = json_object_get(p, "Regex") != NULL;
    int rc = field_string(p, *regex ? "Regex" : "String", a, out, e);
    if (!rc && !out->bytes)
        rc = err_set(e, ERR_FORMAT, "want String or Regex");
    return rc ? err_prefix(e, "pattern: ") : 0;
}

static int required(const struct spec_string *s, const char *key, struct err *e)
{
    return s->bytes ? 0 : err_set(e, ERR_FORMAT, "%s: want a string", key);
}

/* ---- base64, of precompiled_charsmap ---- */

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static int read_base64(struct arena *a, const char *s, size_t n, struct spec_string *out, struct err *e)
{
    unsigned char *to = arena_alloc(a, n / 4 + 1, 3);
    uint32_t bits = 0;
    int have = 0;
    if (!to)
        return err_set(e, ERR_MEMORY, "out of memory for %zu bytes", n);
    *out = (struct spec_string){(char *)to, 0};
    while (n > 0 && s[n - 1] == '=')
        n--;
    for (size_t i = 0; i < n; i++) {
        int d = base64_digit(s[i]);
        if (d < 0)
            return err_set(e, ERR_FORMAT, "not base64 at offset %zu", i);
        bits = bits << 6 | (uint32_t)d;
        have += 6;
        if (have >= 8) {
            have -= 8;
            to[out->len++] = (unsigned char)(bits >> have);
        }
    }
    return 0;
}

/* ---- normalizers ---- */

typedef int normalizer_reader(struct spec_normalizer *z, struct arena *a, const json_t *v, struct err *e);

static int read_strip(struct spec_normalizer *z, struct arena *a, const json_t *v, struct err *e)
{
    (void)a;
    z->left = z->right = true;
    int rc = field_bool(v, "strip_left", &z->left, e);
    return rc ? rc : field_bool(v, "strip_right", &z->right, e);
}

static int read_replace(struct spec_normalizer *z, struct arena *a, const json_t *v, struct err *e)
{
    int rc = read_pattern(a, v, &z->pattern, &z->regex, e);
    if (!rc)
        rc = field_string(v, "content", a, &z->content, e);
    return rc ? rc : required(&z->content, "content", e);
}

static int read_prepend(struct spec_normalizer *z, struct arena *a, const json_t *v, struct err *e)
{
    int rc = field_string(v, "prepend", a, &z->content, e);
    return rc ? rc : required(&z->content, "prepend", e);
}

static int read_bert(struct spec_normalizer *z, struct arena *a, const json_t *v, struct err *e)
{
    (void)a;
    z->clean_text = z->chinese = z->lowercase = true;
    int rc = field_bool(v, "clean_text", &z->clean_text, e);
    if (!rc)
        rc = field_bool(v, "handle_chinese_chars", &z->chinese, e);
    if (!rc)
        rc = field_bool(v, "lowercase", &z->lowercase, e);
    z->strip_accents = z->lowercase; /* unless the file says */
    return rc ? rc : field_bool(v, "strip_accents", &z->strip_accents, e);
}

static int read_precompiled(struct spec_normalizer *z, struct arena *a, const json_t *v, struct err *e)
{
    const json_t *map = json_object_get(v, "precompiled_charsmap");
    if (!map || json_is_null(map))
        return 0;
    if (!json_is_string(map))
        return err_set(e, ERR_FORMAT, "precompiled_charsmap: want a string");
    int rc = read_base64(a, json_string_value(map), json_string_length(map), &z->charsmap, e);
    return rc ? err_prefix(e, "precompiled_charsmap: ") : 0;
}

static const struct {
    const char *type;
    enum normalizer_kind kind;
    normalizer_reader *read;
} normalizers[] = {
    {"NFC", NORMALIZER_NFC, NULL},
    {"NFD", NORMALIZER_NFD, NULL},
    {"NFKC", NORMALIZER_NFKC, NULL},
    {"NFKD", NORMALIZER_NFKD, NULL},
    {"Lowercase", NORMALIZER_LOWERCASE, NULL},
    {"StripAccents", NORMALIZER_STRIP_ACCENTS, NULL},
    {"Strip", NORMALIZER_STRIP, read_strip},
    {"Replace", NORMALIZER_REPLACE, read_replace},
    {"Prepend", NORMALIZER_PREPEND, read_prepend},
    {"Nmt", NORMALIZER_NMT, NULL},
    {"BertNormalizer", NORMALIZER_BERT, read_bert},
    {"Precompiled", NORMALIZER_PRECOMPILED, read_precompiled},
    {"ByteLevel", NORMALIZER_BYTE_LEVEL, NULL},
};

static int add_normalizer(struct tokenizer_spec *s, const json_t *v, int depth, struct err *e);

static int add_normalizers(struct tokenizer_spec *s, const json_t *list, int depth, struct err *e)
{
    int rc = json_is_array(list) && depth < DEPTH_MAX ? 0 : err_set(e, ERR_FORMAT, "Sequence: want an array");
    for (size_t i = 0; i < json_array_size(list) && !rc; i++)
        rc = add_normalizer(s, json_array_get(list, i), depth + 1, e);
    return rc;
}

static int add_normalizer(struct tokenizer_spec *s, const json_t *v, int depth, struct err *e)
{
    const char *type = type_of(v);
    if (!strcmp(type, "Sequence"))
        return add_normalizers(s, json_object_get(v, "normalizers"), depth, e);
    for (size_t i = 0; i < COUNT_OF(normalizers); i++) {
        if (strcmp(type, normalizers[i].type) != 0)
            continue;
        if (s->normalizers == STEPS_MAX)
            return err_set(e, ERR_FORMAT, "more than %d steps", STEPS_MAX);
        struct spec_normalizer *z = &s->normalizer[s->normalizers++];
        z->kind = normalizers[i].kind;
        int rc = normalizers[i].read ? normalizers[i].read(z, &s->arena, v, e) : 0;
        return rc ? err_prefix(e, "%s: ", type) : 0;
    }
    return err_set(e, ERR_FORMAT, "type \"%.40s\" is not supported", type);
}

static int keep_json(struct tokenizer_spec *s, const json_t *v, struct spec_string *out, struct err *e)
{
    char *text = json_dumps(v, JSON_COMPACT);
    int rc = text ? spec_copy(&s->arena, text, strlen(text), out, e)
                  : err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    free(text);
    return rc;
}

int spec_normalizers(struct tokenizer_spec *s, const json_t *v, struct err *e)
{
    if (!v || json_is_null(v))
        return 0;
    s->normalizer = arena_alloc(&s->arena, STEPS_MAX, sizeof *s->normalizer);
    int rc = s->normalizer ? keep_json(s, v, &s->normalizer_json, e)
                           : err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    if (!rc)
        rc = add_normalizer(s, v, 0, e);
    return rc ? err_prefix(e, "normalizer: ") : 0;
}

/* ---- pre-tokenizers ---- */

typedef int pretokenizer_reader(struct spec_pretokenizer *p, struct arena *a, const json_t *v, struct err *e);

static int read_behavior(struct spec_pretokenizer *p, const json_t *v, struct err *e)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext",
                                        "Contiguous"};
    const json_t *b = json_object_get(v, "behavior");
    if (!b || json_is_null(b))
        return 0;
    for (size_t i = 0; i < COUNT_OF(names) && json_is_string(b); i++)
        if (!strcmp(json_string_value(b), names[i])) {
            p->behavior = (enum split_behavior)i;
            return 0;
        }
    return err_set(e, ERR_FORMAT,
                   "behavior: want Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
}

static int read_split(struct spec_pretokenizer *p, struct arena *a, const json_t *v, struct err *e)
{
    int rc = read_pattern(a, v, &p->pattern, &p->regex, e);
    if (!rc && !json_is_string(json_object_get(v, "behavior")))
        rc = err_set(e, ERR_FORMAT, "behavior: want a string");
    if (!rc)
        rc = read_behavior(p, v, e);
    return rc ? rc : field_bool(v, "invert", &p->invert, e);
}

static int read_byte_level(struct spec_pretokenizer *p, struct arena *a, const json_t *v, struct err *e)
{
    (void)a;
    p->prefix_space = p->gpt2_pattern = true;
    int rc = field_bool(v, "add_prefix_space", &p->prefix_space, e);
    return rc ? rc : field_bool(v, "use_regex", &p->gpt2_pattern, e);
}

static int read_scheme(struct spec_pretokenizer *p, const json_t *v, struct err *e)
{
    static const char *const names[] = {"always", "first", "never"};
    const json_t *s = json_object_get(v, "prepend_scheme");
    bool prefix = true;
    int rc = field_bool(v, "add_prefix_space", &prefix, e); /* older files have only this */
    p->prepend = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    if (rc || !s || json_is_null(s))
        return rc;
    for (size_t i = 0; i < COUNT_OF(names) && json_is_string(s); i++)
        if (!strcmp(json_string_value(s), names[i])) {
            p->prepend = prefix ? (enum prepend_scheme)i : PREPEND_NEVER;
            return 0;
        }
    return err_set(e, ERR_FORMAT, "prepend_scheme: want always, first or never");
}

static int read_metaspace(struct spec_pretokenizer *p, struct arena *a, const json_t *v, struct err *e)
{
    p->split = true;
    p->pattern = (struct spec_string){"\xE2\x96\x81", 3};
    int rc = field_string(v, "replacement", a, &p->pattern, e);
    if (!rc)
        rc = field_bool(v, "split", &p->split, e);
    return rc ? rc : read_scheme(p, v, e);
}

static int read_digits(struct spec_pretokenizer *p, struct arena *a, const json_t *v, struct err *e)
{
    (void)a;
    bool individual = false;
    int rc = field_bool(v, "individual_digits", &individual, e);
    p->behavior = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    return rc;
}

static int read_punctuation(struct spec_pretokenizer *p, struct arena *a, const json_t *v, struct err *e)
{
    (void)a;
    p->behavior = SPLIT_ISOLATED;
    return read_behavior(p, v, e);
}

static int read_delimiter(struct spec_pretokenizer *p, struct arena *a, const json_t *v, struct err *e)
{
    p->behavior = SPLIT_REMOVED;
    int rc = field_string(v, "delimiter", a, &p->pattern, e);
    return rc ? rc : required(&p->pattern, "delimiter", e);
}

static const struct {
    const char *type;
    enum pretokenizer_kind kind;
    pretokenizer_reader *read;
} pretokenizers[] = {
    {"Split", PRETOKENIZER_SPLIT, read_split},
    {"ByteLevel", PRETOKENIZER_BYTE_LEVEL, read_byte_level},
    {"Metaspace", PRETOKENIZER_METASPACE, read_metaspace},
    {"Digits", PRETOKENIZER_DIGITS, read_digits},
    {"Punctuation", PRETOKENIZER_PUNCTUATION, read_punctuation},
    {"Whitespace", PRETOKENIZER_WHITESPACE, NULL},
    {"WhitespaceSplit", PRETOKENIZER_WHITESPACE_SPLIT, NULL},
    {"BertPreTokenizer", PRETOKENIZER_BERT, NULL},
    {"CharDelimiterSplit", PRETOKENIZER_SPLIT, read_delimiter},
};

static int add_pretokenizer(struct tokenizer_spec *s, const json_t *v, int depth, struct err *e);

static int add_pretokenizers(struct tokenizer_spec *s, const json_t *list, int depth, struct err *e)
{
    int rc = json_is_array(list) && depth < DEPTH_MAX ? 0 : err_set(e, ERR_FORMAT, "Sequence: want an array");
    for (size_t i = 0; i < json_array_size(list) && !rc; i++)
        rc = add_pretokenizer(s, json_array_get(list, i), depth + 1, e);
    return rc;
}

static int add_pretokenizer(struct tokenizer_spec *s, const json_t *v, int depth, struct err *e)
{
    const char *type = type_of(v);
    if (!strcmp(type, "Sequence"))
        return add_pretokenizers(s, json_object_get(v, "pretokenizers"), depth, e);
    for (size_t i = 0; i < COUNT_OF(pretokenizers); i++) {
        if (strcmp(type, pretokenizers[i].type) != 0)
            continue;
        if (s->pretokenizers == STEPS_MAX)
            return err_set(e, ERR_FORMAT, "more than %d steps", STEPS_MAX);
        struct spec_pretokenizer *p = &s->pretokenizer[s->pretokenizers++];
        p->kind = pretokenizers[i].kind;
        int rc = pretokenizers[i].read ? pretokenizers[i].read(p, &s->arena, v, e) : 0;
        return rc ? err_prefix(e, "%s: ", type) : 0;
    }
    return err_set(e, ERR_FORMAT, "type \"%.40s\" is not supported", type);
}

int spec_pretokenizers(struct tokenizer_spec *s, const json_t *v, struct err *e)
{
    if (!v || json_is_null(v))
        return 0;
    s->pretokenizer = arena_alloc(&s->arena, STEPS_MAX, sizeof *s->pretokenizer);
    int rc = s->pretokenizer ? keep_json(s, v, &s->pretokenizer_json, e)
                             : err_set(e, ERR_MEMORY, "out of memory for a tokenizer");
    if (!rc)
        rc = add_pretokenizer(s, v, 0, e);
    return rc ? err_prefix(e, "pre_tokenizer: ") : 0;
}
