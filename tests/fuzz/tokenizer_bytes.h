/* What both tokenizer targets do: any bytes are refused in one line, or what is read encodes: ids in the vocabulary, or
 * an error. */
#ifndef GYEOL_TESTS_FUZZ_TOKENIZER_BYTES_H
#define GYEOL_TESTS_FUZZ_TOKENIZER_BYTES_H

#include "format/tokenizer_file.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char *const texts[] = {"", "a ab\tba<s> 가\u0301나 12", "Hello, world's  \r\n x",
                                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "\u1112\u1161\u11AB <0x41> ▁ab"};

static void encode(const struct tokenizer *t, const char *s, bool special)
{
    struct err e;
    struct tokens ids = {0};
    struct buf text = {0};
    int rc = tokenizer_encode(t, s, strlen(s), special, &ids, &e);
    if (rc && (e.code != rc || !*e.msg || ids.n))
        abort();
    for (size_t i = 0; i < ids.n; i++)
        if (ids.id[i] < 0 || (size_t)ids.id[i] >= tokenizer_size(t))
            abort();
    if (tokenizer_decode(t, ids.id, ids.n, special, &text, &e))
        abort();
    tokens_deinit(&ids);
    buf_deinit(&text);
}

static int try_tokenizer(int (*parse)(struct tokenizer **out, const char *name, const char *bytes, size_t n,
                                      struct err *e),
                         const uint8_t *data, size_t size)
{
    struct tokenizer *t;
    struct err e;
    int rc = parse(&t, "fuzz", (const char *)data, size, &e);
    if (rc && (e.code != rc || strncmp(e.msg, "fuzz: ", 6) != 0 || strpbrk(e.msg, "\r\n")))
        abort();
    for (size_t i = 0; !rc && i < 2 * sizeof texts / sizeof *texts; i++)
        encode(t, texts[i / 2], i % 2);
    if (!rc)
        tokenizer_close(t);
    return 0;
}

#endif
