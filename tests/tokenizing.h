/* What the tests of tokenizers share: tokenizers from JSON written here (with ` for "), and ids as text. */
#ifndef GYEOL_TESTS_TOKENIZING_H
#define GYEOL_TESTS_TOKENIZING_H

#include "base/buf.h"
#include "format/tokenizer_file.h"

#include "testing.h"

static inline int try_json(struct tokenizer **out, const char *json)
{
    char *copy = strdup(json);
    for (char *p = copy; (p = strchr(p, '`'));)
        *p = '"';
    int rc = tokenizer_parse_json(out, "file", copy, strlen(copy), &error);
    free(copy);
    return rc;
}

static inline struct tokenizer *from_json(const char *json)
{
    struct tokenizer *t;
    ok(try_json(&t, json));
    return t;
}

/* Ids as "1 2 3", as the files of expected ids have them. */
static inline void print_tokens(struct buf *out, const struct tokens *t)
{
    buf_add(out, "", 0);
    for (size_t i = 0; i < t->n; i++)
        buf_printf(out, "%s%d", i ? " " : "", (int)t->id[i]);
}

static inline void check_text(const struct tokenizer *t, const char *text, size_t n, bool special,
                              const char *want)
{
    struct tokens ids = {0};
    struct buf got = {0};
    ok(tokenizer_encode(t, text, n, special, &ids, &error));
    print_tokens(&got, &ids);
    if (strcmp(got.data, want) != 0)
        fail_msg("\"%.*s\": got %s, want %s", (int)(n > 200 ? 200 : n), text, got.data, want);
    tokens_deinit(&ids);
    buf_deinit(&got);
}

static inline void check(const struct tokenizer *t, const char *text, const char *want)
{
    check_text(t, text, strlen(text), false, want);
}

static inline void check_special(const struct tokenizer *t, const char *text, const char *want)
{
    check_text(t, text, strlen(text), true, want);
}

/* The tokenizer of one JSON, one text, one answer. */
static inline void check_json(const char *json, const char *text, const char *want)
{
    struct tokenizer *t = from_json(json);
    check(t, text, want);
    tokenizer_close(t);
}

static inline void check_json_refused(const char *json, const char *part)
{
    struct tokenizer *t = NULL;
    int rc = try_json(&t, json);
    if (rc != ERR_FORMAT || strncmp(error.msg, "file: ", 6) != 0 || !strstr(error.msg, part))
        fail_msg("code %d, \"%s\"; wanted \"file: ...%s...\"", rc, rc ? error.msg : "", part);
}

static inline void check_decoded(const struct tokenizer *t, const int32_t *ids, size_t n, bool special,
                                 const char *want)
{
    struct buf b = {0};
    ok(tokenizer_decode(t, ids, n, special, &b, &error));
    buf_add(&b, "", 0);
    assert_string_equal(b.data, want);
    buf_deinit(&b);
}

#endif
