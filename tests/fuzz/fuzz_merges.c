/* Any bytes as merges.txt, vocab.txt or the tokenizer's part of a GGUF file; the first byte says which. */
#include "base/file.h"
#include "format/tokenizer_file.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/gyeol-fuzz-XXXXXX";

static void put(const char *name, const void *data, size_t n)
{
    char path[100];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f || (n && fwrite(data, 1, n, f) != n) || fclose(f))
        abort();
}

static void clean(void)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "vocab.txt"};
    char path[100];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

static void start(void)
{
    static const char vocab[] = "{\"a\":0,\"b\":1,\"ab\":2,\"\xC4\xA0\":3,\"\xC4\xA0"
                                "a\":4,\"c\":5,\"abc\":6,\"bc\":7}";
    if (!mkdtemp(dir))
        abort();
    put("vocab.json", vocab, sizeof vocab - 1);
    atexit(clean);
}

static void use(struct tokenizer *t, int rc, const struct err *e)
{
    struct err ignored;
    struct tokens ids = {0};
    static const char text[] = "abc ab cba <s>[UNK]a\xEA\xB0\x80 \xE2\x96\x81";
    if (rc && (e->code != rc || !*e->msg))
        abort();
    if (rc)
        return;
    (void)!tokenizer_encode(t, text, sizeof text - 1, true, &ids, &ignored);
    for (size_t i = 0; i < ids.n; i++)
        if (ids.id[i] < 0 || (size_t)ids.id[i] >= tokenizer_size(t))
            abort();
    tokens_deinit(&ids);
    tokenizer_close(t);
}

static void as_gguf(const uint8_t *data, size_t size)
{
    struct gguf *g;
    struct tokenizer *t = NULL;
    struct err e;
    if (gguf_parse(&g, "fuzz", data, size, &e))
        return;
    int rc = tokenizer_from_gguf(&t, g, &e);
    use(t, rc, &e);
    gguf_close(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;
    char path[100];
    struct tokenizer *t = NULL;
    struct err e;
    if (!started)
        start();
    started = true;
    if (size == 0)
        return 0;
    if (data[0] % 3 == 2) {
        as_gguf(data + 1, size - 1);
        return 0;
    }
    snprintf(path, sizeof path, "%s/%s", dir, data[0] % 3 ? "merges.txt" : "vocab.txt");
    put(data[0] % 3 ? "merges.txt" : "vocab.txt", data + 1, size - 1);
    int rc = tokenizer_open(&t, path, &e);
    use(t, rc, &e);
    return 0;
}
